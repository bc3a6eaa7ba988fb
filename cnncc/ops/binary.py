"""Arithmetic of two and more inputs, and operations on bits."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import OpError
from ..ir import DimLike, Operand, TensorType
from ..records import record
from .dtypes import FLOATS, INTEGERS, NUMERIC, check_dtype
from .elementwise import Elementwise, broadcast_shapes, elementwise
from .sizes import larger, smaller

__all__ = ["BINARY", "VARIADIC", "BitShift", "Mod", "Pow"]

Array = np.ndarray[Any, Any]


def _divide(a: Array, b: Array) -> Array:
    """Integers are truncated towards zero, as in C."""
    if a.dtype.kind not in "iu":
        return np.asarray(np.divide(a, b))
    quotient = np.floor_divide(a, b)
    return np.asarray(quotient + ((quotient * b != a) & ((a < 0) != (b < 0)))).astype(a.dtype)


def _divide_sizes(a: DimLike, b: DimLike) -> DimLike | None:
    """Plain integers are truncated; symbolic ones, which are sizes, are floored."""
    if b == 0:
        return None
    if isinstance(a, int) and isinstance(b, int):
        return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
    return a // b


@record
class Mod(Elementwise):
    """ONNX Mod-28: the remainder of a division rounded down (of B's sign) or, with fmod, truncated (of A's sign)."""

    since = 28
    operands = ("A", "B")
    accepts = NUMERIC
    shape_arithmetic = True
    on_sizes = staticmethod(lambda a, b: None if b == 0 else a - a // b * b)

    fmod: bool = False

    def reference(self, a: Array, b: Array) -> tuple[Array, ...]:
        if a.dtype == object or b.dtype == object:
            return (self._symbolic((a, b)),)
        with np.errstate(all="ignore"):
            return (np.asarray(np.fmod(a, b) if self.fmod else np.mod(a, b)),)

    def known(self, *operands: Operand | None) -> tuple[Array, ...] | None:
        return None if self.fmod else super().known(*operands)


@record
class Pow(Elementwise):
    """ONNX Pow-15: X to the power Y, which may be of another type; the output has X's."""

    since = 15
    operands = ("X", "Y")
    accepts = NUMERIC

    def infer(self, x: Operand, y: Operand) -> tuple[TensorType, ...]:
        check_dtype("Pow", "X", x, self.accepts)
        check_dtype("Pow", "Y", y, self.accepts)
        return (TensorType(x.type.dtype, broadcast_shapes("Pow", (x.type.shape, y.type.shape))),)

    def reference(self, x: Array, y: Array) -> tuple[Array, ...]:
        with np.errstate(all="ignore"):
            if x.dtype.kind in "iu" and y.dtype.kind in "iu":
                # NumPy refuses negative integer powers of integers.
                inverse = np.power(x.astype(np.float64), np.minimum(y, 0))
                return (np.where(y < 0, inverse.astype(x.dtype), np.power(x, np.maximum(y, 0)).astype(x.dtype)),)
            return (np.asarray(np.power(x, y)).astype(x.dtype),)


@record
class BitShift(Elementwise):
    """ONNX BitShift-28: X shifted by Y bits to the LEFT or the RIGHT, there with copies of the sign bit. Shifting by a
    negative Y, or by all bits, leaves nothing but the sign."""

    since = 28
    operands = ("X", "Y")
    accepts = INTEGERS

    direction: str

    def check(self) -> None:
        if self.direction not in ("LEFT", "RIGHT"):
            raise OpError(f"BitShift: direction must be LEFT or RIGHT, not '{self.direction}'")

    def reference(self, x: Array, y: Array) -> tuple[Array, ...]:
        beyond = (y < 0) | (y >= x.dtype.itemsize * 8)
        amount = np.where(beyond, 0, y).astype(y.dtype)
        if self.direction == "LEFT":
            return (np.where(beyond, 0, np.left_shift(x, amount)).astype(x.dtype),)
        return (np.where(beyond, np.where(x < 0, -1, 0), np.right_shift(x, amount)).astype(x.dtype),)


_row = functools.partial(elementwise, __name__)


def _fold(formula: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    return lambda *arrays: functools.reduce(formula, arrays)


BINARY: tuple[type[Elementwise], ...] = (
    _row("Add", 14, "A B", np.add, NUMERIC, on_sizes=operator.add),
    _row("Sub", 14, "A B", np.subtract, NUMERIC, on_sizes=operator.sub),
    _row("Mul", 14, "A B", np.multiply, NUMERIC, on_sizes=operator.mul),
    _row("Div", 14, "A B", _divide, NUMERIC, on_sizes=_divide_sizes),
    _row("BitwiseAnd", 18, "A B", np.bitwise_and, INTEGERS),
    _row("BitwiseOr", 18, "A B", np.bitwise_or, INTEGERS),
    _row("BitwiseXor", 18, "A B", np.bitwise_xor, INTEGERS),
    BitShift,
    Mod,
    Pow,
)

VARIADIC: tuple[type[Elementwise], ...] = (
    _row("Max", 13, "data_0*", _fold(np.maximum), NUMERIC, on_sizes=larger),
    _row("Mean", 13, "data_0*", lambda *xs: _fold(np.add)(*xs) / len(xs), FLOATS),
    _row("Min", 13, "data_0*", _fold(np.minimum), NUMERIC, on_sizes=smaller),
    _row("Sum", 13, "data_0*", _fold(np.add), FLOATS),
)
