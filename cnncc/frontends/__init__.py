"""Frontends: from a user's network to a Graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ModelError
from ..ir import Dim, Graph

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx

__all__ = ["load_graph"]


def load_graph(source: str | Path | bytes | onnx.ModelProto, *,
               shapes: Mapping[str, Sequence[int | str | Dim]] | None = None,
               constants: Mapping[str, npt.ArrayLike] | None = None) -> Graph:
    """The graph of a network: an `.onnx` file by path, its bytes, or an onnx.ModelProto.

    For some of its inputs, `shapes` gives the shape to assume, and `constants` contents that are then fixed.

    Raises ModelError where it cannot be read, and UnsupportedError listing what cnncc does not support.
    """
    if isinstance(source, (str, Path)) and Path(source).suffix.lower() not in _SUFFIXES and not Path(source).is_dir():
        raise ModelError(f"'{source}' is not a network cnncc reads: the file's name must end in "
                         f"{' or '.join(_SUFFIXES)}")
    from .onnx import import_model

    return import_model(source, shapes=shapes, constants=constants)


_SUFFIXES = (".onnx",)
