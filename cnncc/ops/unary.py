"""Functions of one input, element by element. (Activations have files of their own.)"""

from __future__ import annotations

import functools
import operator
from typing import Any

import numpy as np

from ..ir import DType
from ..ir.activation import erf
from ..records import record
from .dtypes import BOOL, FLOATS, INTEGERS, NUMERIC, SIGNED
from .elementwise import Elementwise, elementwise

__all__ = ["UNARY", "IsInf", "Shrink"]

Array = np.ndarray[Any, Any]


@record
class IsInf(Elementwise):
    """ONNX IsInf-20: where X is one of the infinities that are to be detected."""

    since = 20
    accepts = FLOATS
    gives = DType.BOOL

    detect_negative: bool = True
    detect_positive: bool = True

    def reference(self, x: Array) -> tuple[Array, ...]:
        return (np.isposinf(x) & self.detect_positive | np.isneginf(x) & self.detect_negative,)


@record
class Shrink(Elementwise):
    """ONNX Shrink-9: x + bias where x < -lambd, x - bias where x > lambd, else 0."""

    since = 9
    operands = ("input",)
    accepts = NUMERIC

    bias: float = 0.0
    lambd: float = 0.5

    def reference(self, x: Array) -> tuple[Array, ...]:
        low, high = x < -self.lambd, x > self.lambd
        return (np.where(low, x + self.bias, np.where(high, x - self.bias, 0)).astype(x.dtype),)


_row = functools.partial(elementwise, __name__)

UNARY: tuple[type[Elementwise], ...] = (
    _row("Abs", 13, "X", np.abs, NUMERIC),
    _row("Acos", 22, "input", np.arccos, FLOATS),
    _row("Acosh", 22, "input", np.arccosh, FLOATS),
    _row("Asin", 22, "input", np.arcsin, FLOATS),
    _row("Asinh", 22, "input", np.arcsinh, FLOATS),
    _row("Atan", 22, "input", np.arctan, FLOATS),
    _row("Atanh", 22, "input", np.arctanh, FLOATS),
    _row("BitwiseNot", 18, "X", np.bitwise_not, INTEGERS),
    _row("Ceil", 13, "X", np.ceil, FLOATS),
    _row("Cos", 22, "input", np.cos, FLOATS),
    _row("Cosh", 22, "input", np.cosh, FLOATS),
    _row("Erf", 13, "input", lambda x: erf(x).astype(x.dtype), FLOATS),
    _row("Exp", 13, "input", np.exp, FLOATS),
    _row("Floor", 13, "X", np.floor, FLOATS),
    IsInf,
    _row("IsNaN", 20, "X", np.isnan, FLOATS, gives=DType.BOOL),
    _row("Log", 13, "input", np.log, FLOATS),
    _row("Neg", 13, "X", np.negative, SIGNED, on_sizes=operator.neg),
    _row("Not", 1, "X", np.logical_not, BOOL, on_sizes=operator.not_),
    _row("Reciprocal", 13, "X", lambda x: 1 / x, FLOATS),
    _row("Round", 22, "X", np.rint, FLOATS),
    Shrink,
    _row("Sign", 13, "input", np.sign, NUMERIC),
    _row("Sin", 22, "input", np.sin, FLOATS),
    _row("Sinh", 22, "input", np.sinh, FLOATS),
    _row("Sqrt", 13, "X", np.sqrt, FLOATS),
    _row("Tan", 22, "input", np.tan, FLOATS),
)
