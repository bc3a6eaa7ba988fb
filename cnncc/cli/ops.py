"""`cnncc ops`."""

from __future__ import annotations

from typing import Annotated

import typer

from .console import print_json, print_line, print_table
from .options import Json

__all__ = ["ops"]


def ops(names: Annotated[list[str] | None, typer.Argument(help="Operators; by default all.")] = None,
        markdown: Annotated[bool, typer.Option("--markdown", help="Print docs/operators.md.")] = False,
        as_json: Json = False) -> None:
    """Lists the operators: opsets, element types, and which of these have native kernels.

        cnncc ops

        cnncc ops Conv Resize
    """
    from .. import operators
    from ..operators import types_text

    if markdown:
        print_line(operators.markdown().rstrip("\n"))
        return
    rows, others = operators.table(names or ()), [] if names else operators.by_definition()
    if as_json:
        print_json({"operators": [
            {"name": row.name, "domain": row.domain, "since_opset": row.opset, "types": [t.value for t in row.types],
             "cpu": "none needed" if row.free else [t.value for t in row.native],
             "cuda": "none needed" if row.free else [t.value for t in row.cuda]} for row in rows],
            "by_definition": [{"name": name, "domain": at, "since_opset": first} for name, at, first in others]})
        return
    print_table(("operator", "domain", "since opset", "element types", "native CPU kernel", "CUDA kernel"),
                [(row.name, row.domain, row.opset, types_text(row.types), row.kernel, row.cuda_kernel)
                 for row in rows],
                right=("since opset",))
    if others:
        print_line()
        print_table(("by ONNX's own definition", "domain", "since opset"), others, right=("since opset",))
