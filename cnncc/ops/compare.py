"""Comparisons, logic, and Where."""

from __future__ import annotations

import functools
import operator
from typing import Any

import numpy as np

from ..ir import DimLike, DType, Op, Operand, TensorType
from ..records import record
from .dtypes import ANY, BOOL, NUMERIC, check_dtype, common_dtype
from .elementwise import Elementwise, broadcast_shapes, elementwise
from .sizes import is_equal, is_less

__all__ = ["COMPARISONS", "LOGIC", "Where"]

Array = np.ndarray[Any, Any]


def _is_less_or_equal(a: DimLike, b: DimLike) -> bool | None:
    more = is_less(b, a)
    return None if more is None else not more


_row = functools.partial(elementwise, __name__)

COMPARISONS: tuple[type[Elementwise], ...] = (
    _row("Equal", 19, "A B", np.equal, ANY, gives=DType.BOOL, on_sizes=is_equal),
    _row("Greater", 13, "A B", np.greater, NUMERIC, gives=DType.BOOL, on_sizes=lambda a, b: is_less(b, a)),
    _row("GreaterOrEqual", 16, "A B", np.greater_equal, NUMERIC, gives=DType.BOOL,
         on_sizes=lambda a, b: _is_less_or_equal(b, a)),
    _row("Less", 13, "A B", np.less, NUMERIC, gives=DType.BOOL, on_sizes=is_less),
    _row("LessOrEqual", 16, "A B", np.less_equal, NUMERIC, gives=DType.BOOL, on_sizes=_is_less_or_equal),
)

LOGIC: tuple[type[Elementwise], ...] = (
    _row("And", 7, "A B", np.logical_and, BOOL, on_sizes=operator.and_),
    _row("Or", 7, "A B", np.logical_or, BOOL, on_sizes=operator.or_),
    _row("Xor", 7, "A B", np.logical_xor, BOOL, on_sizes=operator.xor),
)


@record
class Where(Op):
    """ONNX Where-16: X where the condition holds, else Y; all three are broadcast."""

    since = 16
    operands = ("condition", "X", "Y")
    shape_arithmetic = True

    def infer(self, condition: Operand, x: Operand, y: Operand) -> tuple[TensorType, ...]:
        check_dtype("Where", "the condition", condition, BOOL)
        dtype = common_dtype("Where", (x, y), ANY)
        return (TensorType(dtype, broadcast_shapes("Where", [o.type.shape for o in (condition, x, y)])),)

    def reference(self, condition: Array, x: Array, y: Array) -> tuple[Array, ...]:
        return (np.where(condition, x, y),)
