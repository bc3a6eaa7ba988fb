"""Compress and Unique: how many elements they give, only the data tell."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import OpError
from ..ir import DimLike, DType, Op, Operand, TensorType, unknown
from ..records import record
from .dtypes import ANY, BOOL, check_dtype
from .sizes import resolve_axis

__all__ = ["Compress", "Unique"]

Array = np.ndarray[Any, Any]


def _with_count(op_type: str, x: TensorType, axis: int | None, count: DimLike) -> TensorType:
    """x with `count` places along the axis, or that many of its elements where there is none."""
    if axis is None:
        return TensorType(x.dtype, (count,))
    at = resolve_axis(op_type, axis, x.rank)
    return TensorType(x.dtype, (*x.shape[:at], count, *x.shape[at + 1:]))


@record
class Compress(Op):
    """ONNX Compress-11: the places along the axis (without one: the elements, row by row) for which the condition is
    true. It may be shorter than the axis: the rest counts as false."""

    since = 11
    operands = ("input", "condition")
    results = ("output",)
    shaped_by = ("condition",)

    axis: int | None = None

    def infer(self, x: Operand, condition: Operand) -> tuple[TensorType, ...]:
        check_dtype("Compress", "the input", x, ANY)
        check_dtype("Compress", "condition", condition, BOOL)
        if condition.type.rank != 1:
            raise OpError(f"Compress: condition must have one axis, not {condition.type}")
        count: DimLike = unknown("count")
        if condition.value is not None and condition.value.dtype != object:
            count = int(np.count_nonzero(condition.value))
        return (_with_count("Compress", x.type, self.axis, count),)

    def reference(self, x: Array, condition: Array) -> tuple[Array, ...]:
        size = x.size if self.axis is None else x.shape[self.axis]
        if condition[size:].any():
            raise OpError(f"Compress: the condition is true beyond the {size} places that there are")
        return (np.compress(condition[:size], x, self.axis),)


@record
class Unique(Op):
    """ONNX Unique-11: the distinct elements, or slices along the axis: sorted, or in order of appearance; where each
    first stands, which of them every place holds, and how many do."""

    since = 11
    results = ("Y", "indices?", "inverse_indices?", "counts?")

    axis: int | None = None
    sorted: bool = True

    def infer(self, x: Operand) -> tuple[TensorType, ...]:
        check_dtype("Unique", "X", x, ANY)
        count = unknown("count")
        places = x.type.size if self.axis is None else x.type.shape[resolve_axis("Unique", self.axis, x.type.rank)]
        listed = TensorType(DType.I64, (count,))
        return (_with_count("Unique", x.type, self.axis, count), listed, TensorType(DType.I64, (places,)), listed)

    def reference(self, x: Array) -> tuple[Array, ...]:
        y, first, inverse, counts = np.unique(x, True, True, True, axis=self.axis)
        inverse = inverse.reshape(-1)
        if not self.sorted:
            order = np.argsort(first)
            place = np.empty_like(order)
            place[order] = np.arange(order.size)
            y, first, inverse, counts = np.take(y, order, self.axis or 0), first[order], place[inverse], counts[order]
        return y, *(np.asarray(a, np.int64) for a in (first, inverse, counts))
