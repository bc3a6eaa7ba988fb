"""Elementwise operators: one row each, an ONNX name and its NumPy formula."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..errors import OpError
from ..ir import DimLike, Op, Operand, TensorType

__all__ = ["BINARY", "Binary", "broadcast_shapes"]

Array = np.ndarray[Any, Any]


def broadcast_shapes(op_type: str, shapes: Sequence[tuple[DimLike, ...]]) -> tuple[DimLike, ...]:
    """The shape to which all broadcast, as in NumPy. A symbolic dimension matches itself and 1; beside another size
    it must turn out equal to it, and the fixed one is kept."""
    rank = max(map(len, shapes), default=0)
    out: list[DimLike] = []
    for axis in range(rank):
        dims = [s[axis - rank + len(s)] for s in shapes if axis - rank + len(s) >= 0]
        wide = list(dict.fromkeys(d for d in dims if d != 1))
        fixed = [d for d in wide if isinstance(d, int)]
        if len(fixed) > 1:
            raise OpError(f"{op_type}: the shapes {' and '.join(str(list(s)) for s in shapes)} do not broadcast")
        out.append(fixed[0] if fixed else wide[0] if wide else 1)
    return tuple(out)


@dataclass(frozen=True)
class Binary(Op):
    """ONNX arithmetic with two inputs of one type, broadcast to each other."""

    operands = ("A", "B")
    results = ("C",)
    formula: ClassVar[Callable[[Array, Array], Array]]

    def infer(self, a: Operand, b: Operand) -> tuple[TensorType, ...]:
        if a.type.dtype != b.type.dtype:
            raise OpError(f"{self.op_type}: both inputs must have one type, not {a.type} and {b.type}")
        return (TensorType(a.type.dtype, broadcast_shapes(self.op_type, (a.type.shape, b.type.shape))),)

    def reference(self, a: Array, b: Array) -> tuple[Array, ...]:
        return (np.asarray(type(self).formula(a, b)),)


def _divide(a: Array, b: Array) -> Array:
    """Integers are truncated towards zero, as in C; symbolic ones, which are sizes, are floored."""
    if a.dtype == object or b.dtype == object:
        return np.floor_divide(a, b)
    if a.dtype.kind not in "iu":
        return np.divide(a, b)
    quotient = np.floor_divide(np.abs(a), np.abs(b))
    return np.where((a < 0) != (b < 0), -quotient, quotient).astype(a.dtype)


def _binary(name: str, since: int, formula: Callable[[Array, Array], Array],
            shape_arithmetic: bool = False) -> type[Binary]:
    members = {"since": since, "formula": staticmethod(formula), "shape_arithmetic": shape_arithmetic,
               "__doc__": f"ONNX {name}-{since}.", "__module__": __name__}
    return dataclass(frozen=True)(type(name, (Binary,), members))


BINARY = (
    _binary("Add", 14, np.add, shape_arithmetic=True),
    _binary("Sub", 14, np.subtract, shape_arithmetic=True),
    _binary("Mul", 14, np.multiply, shape_arithmetic=True),
    _binary("Div", 14, _divide, shape_arithmetic=True),
)
