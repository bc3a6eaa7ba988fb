"""The types of a model's inputs: symbolic dimensions from dim_param, and shapes given by the caller."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx

from ...errors import GraphError, InputError, ModelError, UnsupportedError
from ...ir import Dim, DimLike, DType, TensorType, parse_dim, symbol
from .limits import Limits
from .tensors import dtype_name

__all__ = ["InputShape", "InputTypes", "check_names", "matching_array"]

InputShape = Sequence[int | str | Dim]


class InputTypes:
    """Gives each input its type.

    A dim_param is one symbol in the whole model, its name made an identifier (`batch size` -> `batch_size`); a
    dimension without a name gets a symbol of its own (`x_d0`). A shape of the caller's replaces the model's: of a
    named dimension in all inputs, and even of a fixed one, where the operators must then agree.
    """

    def __init__(self, inputs: Sequence[onnx.ValueInfoProto], shapes: Mapping[str, InputShape],
                 limits: Limits) -> None:
        self._limits = limits
        self._symbols: dict[str, Dim] = {}
        self._taken: set[str] = set()
        self._counts: dict[str, int] = {}
        for proto in inputs:
            for dim in proto.type.tensor_type.shape.dim:
                if dim.dim_param and dim.dim_param not in self._symbols:
                    self._symbols[dim.dim_param] = self._fresh(dim.dim_param)
        self._given = {name: _parse_shape(name, shape) for name, shape in shapes.items()}
        self._bindings: dict[str, DimLike] = {}
        for proto in inputs:
            if proto.name in self._given:
                self._bind(proto)

    def type_of(self, proto: onnx.ValueInfoProto) -> TensorType:
        """The type of one input. Raises ModelError for a rank that is unknown or a size that cannot be, and
        UnsupportedError for an element type or a kind of value that cnncc lacks."""
        what = f"the input '{proto.name}'"
        kind = proto.type.WhichOneof("value")
        if kind != "tensor_type":
            what_kind = (kind or "value without a type").removesuffix("_type")
            raise UnsupportedError(f"{what} is a {what_kind}, not a tensor")
        tensor = proto.type.tensor_type
        dtype = DType.from_onnx(tensor.elem_type)
        if dtype is None:
            raise UnsupportedError(f"{what} has the element type {dtype_name(tensor.elem_type)}")
        if proto.name in self._given:
            shape: tuple[DimLike, ...] = self._given[proto.name]
        elif not tensor.HasField("shape"):
            raise ModelError(f"{what} has no known number of dimensions; give its shape, as in "
                             f"shapes={{'{proto.name}': ['N', 3, 224, 224]}}")
        else:
            shape = tuple(self._dim(proto.name, axis, dim) for axis, dim in enumerate(tensor.shape.dim))
        type_ = TensorType(dtype, shape)
        self._limits.check_type(type_, what)
        return type_

    def _dim(self, name: str, axis: int, dim: onnx.TensorShapeProto.Dimension) -> DimLike:
        if dim.HasField("dim_value"):
            return int(dim.dim_value)
        if dim.dim_param:
            found = self._symbols[dim.dim_param]
            return self._bindings.get(str(found), found)
        return self._fresh(f"{name}_d{axis}")

    def _bind(self, proto: onnx.ValueInfoProto) -> None:
        """Takes the caller's shape of one input as the sizes of its named dimensions."""
        given, shape = self._given[proto.name], proto.type.tensor_type.shape
        if not proto.type.tensor_type.HasField("shape"):
            return
        if len(shape.dim) != len(given):
            raise InputError(f"the input '{proto.name}' has {len(shape.dim)} dimensions, but the shape given for it, "
                             f"{_text(given)}, has {len(given)}")
        for dim, size in zip(shape.dim, given, strict=True):
            if dim.dim_param:
                was = self._bindings.setdefault(str(self._symbols[dim.dim_param]), size)
                if was != size:
                    raise InputError(f"the shapes given make the dimension '{dim.dim_param}' both {was} and {size}")

    def _fresh(self, text: str) -> Dim:
        word = re.sub(r"[^A-Za-z0-9_]", "_", text)
        stem = word if word[:1].isalpha() or word[:1] == "_" else f"d{word}"
        name = stem
        while name in self._taken:
            self._counts[stem] = self._counts.get(stem, 0) + 1
            name = f"{stem}_{self._counts[stem]}"
        self._taken.add(name)
        return symbol(name)


def check_names(given: Iterable[str], inputs: Sequence[onnx.ValueInfoProto]) -> None:
    """Raises InputError for a shape or contents given for something that is not an input."""
    names = [proto.name for proto in inputs]
    for name in given:
        if name not in names:
            raise InputError(f"a shape or contents are given for '{name}', but the model's inputs are "
                             f"{', '.join(names) or 'none'}")


def matching_array(contents: np.typing.ArrayLike, type_: TensorType, name: str) -> np.ndarray[Any, Any]:
    """A copy of the contents given for an input. Raises InputError where they are not of its type."""
    array = np.array(contents)
    fits = array.dtype == type_.dtype.numpy and array.ndim == type_.rank
    if not fits or any(isinstance(d, int) and d != n for d, n in zip(type_.shape, array.shape, strict=True)):
        raise InputError(f"the contents given for the input '{name}' are {array.dtype}{list(array.shape)}, but it is "
                         f"{type_}")
    return array


def _parse_shape(name: str, shape: InputShape) -> tuple[DimLike, ...]:
    if isinstance(shape, (str, bytes)) or not isinstance(shape, Sequence):
        raise InputError(f"the shape given for '{name}' must be a list such as ['N', 3, 224, 224], not {shape!r}")
    out: list[DimLike] = []
    for dim in shape:
        try:
            size = parse_dim(dim) if isinstance(dim, str) else dim
        except GraphError as error:
            raise InputError(f"the shape given for '{name}': {error}") from None
        if isinstance(size, bool) or not isinstance(size, (int, Dim)) or (isinstance(size, int) and size < 0):
            raise InputError(f"the shape given for '{name}' has the dimension {dim!r}; give a size or a name")
        out.append(size)
    return tuple(out)


def _text(shape: Sequence[DimLike]) -> str:
    return f"[{','.join(map(str, shape))}]"
