"""Frontends: from a user's network to a Graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError, ModelError
from ..ir import Dim, Graph

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx

__all__ = ["load_graph"]


def load_graph(source: str | Path | bytes | onnx.ModelProto, *,
               shapes: Mapping[str, Sequence[int | str | Dim]] | None = None,
               constants: Mapping[str, npt.ArrayLike] | None = None, max_bytes: int | None = None,
               **options: Any) -> Graph:
    """The graph of a network: an `.onnx` or `.cnn` file by path, the bytes of an ONNX file, or an onnx.ModelProto.

    For some of its inputs, `shapes` gives the shape to assume, and `constants` contents that are then fixed. No
    tensor of an ONNX model, nor all its weights, may have more than `max_bytes`, by default CNNCC_MAX_BYTES. A `.cnn`
    file takes the options of `read_network` too: `name`, `weights`, `seed` and `parameters`.

    Raises ModelError where it cannot be read, and UnsupportedError listing what cnncc does not support.
    """
    if isinstance(source, (str, Path)) and Path(source).suffix.lower() not in _SUFFIXES and not Path(source).is_dir():
        raise ModelError(f"'{source}' is not a network cnncc reads: the file's name must end in "
                         f"{' or '.join(_SUFFIXES)}")
    if isinstance(source, (str, Path)) and Path(source).suffix.lower() == ".cnn":
        from .dsl import fix_inputs, read_network

        return fix_inputs(read_network(source, **options), shapes or {}, constants or {})
    if options:
        raise InputError(f"'{next(iter(options))}' is for networks in .cnn files; an ONNX model has its own")
    from .onnx import import_model

    return import_model(source, shapes=shapes, constants=constants, max_bytes=max_bytes)


_SUFFIXES = (".onnx", ".cnn")
