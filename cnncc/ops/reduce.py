"""Reductions along axes: one row each, an ONNX name and its NumPy formula."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from ..errors import OpError
from ..ir import DType, Op, Operand, TensorType
from ..records import record
from .dtypes import BOOL, FLOATS, NUMERIC, WIDE, check_dtype
from .sizes import ShapeArithmetic, count_of, known_ints, resolve_axes, resolve_axis, unknown_sizes

__all__ = ["REDUCTIONS", "ArgMax", "ArgMin", "Reduce"]

Array = np.ndarray[Any, Any]
Axes = tuple[int, ...]


@record
class Reduce(ShapeArithmetic):
    """A function of all elements along `axes`, which keep size 1 with keepdims and vanish without.

    Where no axes are given, all are reduced, or with noop_with_empty_axes none is (what the function does to the single
    elements is done all the same).
    """

    operands = ("data", "axes?")
    shaped_by = ("axes",)
    formula: ClassVar[Callable[[Array, Axes], Any]]  # keeps the dimensions
    accepts: ClassVar[tuple[DType, ...]]

    noop_with_empty_axes: bool = False
    keepdims: bool = True

    def axes(self, rank: int, given: tuple[int, ...]) -> Axes:
        """The axes that are reduced, from the contents of the input axes (empty where it is absent)."""
        if given:
            return resolve_axes(self.op_type, given, rank)
        return () if self.noop_with_empty_axes else tuple(range(rank))

    def infer(self, x: Operand, axes: Operand | None = None) -> tuple[TensorType, ...]:
        check_dtype(self.op_type, "data", x, self.accepts)
        if axes is not None and axes.value is None and (count := count_of(self.op_type, "axes", axes)):
            rank = x.type.rank if self.keepdims else x.type.rank - count
            return (TensorType(x.type.dtype, unknown_sizes(self.op_type, rank)),)
        given = () if axes is None or axes.value is None else known_ints(self.op_type, "axes", axes)
        gone = self.axes(x.type.rank, given)
        sizes = [1 if i in gone else d for i, d in enumerate(x.type.shape) if self.keepdims or i not in gone]
        return (TensorType(x.type.dtype, tuple(sizes)),)

    def reference(self, x: Array, axes: Array | None = None) -> tuple[Array, ...]:
        gone = self.axes(x.ndim, () if axes is None else tuple(axes.ravel().tolist()))
        with np.errstate(all="ignore"):
            y = np.asarray(type(self).formula(x, gone), x.dtype)
        return (y if self.keepdims else np.squeeze(y, gone),)


def _sum(x: Array, axes: Axes) -> Any:
    return np.sum(x, axes, keepdims=True)


def _mean(x: Array, axes: Axes) -> Any:
    """Half precision is added up in single precision, integers in double."""
    total = np.sum(x, axes, np.promote_types(x.dtype, np.float32), keepdims=True)
    return total / math.prod(x.shape[a] for a in axes)


def _log_sum_exp(x: Array, axes: Axes) -> Any:
    """log(sum(e^x)), computed of x - max(x) so that no exponential overflows."""
    top = np.max(x, axes, keepdims=True, initial=-np.inf)
    top = np.where(np.isfinite(top), top, 0).astype(x.dtype)
    return np.log(_sum(np.exp(x - top), axes)) + top


def _least(dtype: np.dtype[Any]) -> Any:
    return False if dtype.kind == "b" else -np.inf if dtype.kind == "f" else np.iinfo(dtype).min


def _greatest(dtype: np.dtype[Any]) -> Any:
    return True if dtype.kind == "b" else np.inf if dtype.kind == "f" else np.iinfo(dtype).max


def _row(name: str, since: int, accepts: tuple[DType, ...], formula: Callable[[Array, Axes], Any],
         shape_arithmetic: bool = False) -> type[Reduce]:
    members = {"since": since, "accepts": accepts, "formula": staticmethod(formula),
               "shape_arithmetic": shape_arithmetic, "__doc__": f"ONNX {name}-{since}.", "__module__": __name__}
    return record(type(name, (Reduce,), members))


_EXTREMA = (*WIDE, DType.I8, DType.U8, *BOOL)

REDUCTIONS: tuple[type[Reduce], ...] = (
    _row("ReduceL1", 18, WIDE, lambda x, axes: _sum(np.abs(x), axes)),
    _row("ReduceL2", 18, WIDE, lambda x, axes: np.sqrt(_sum(np.square(x), axes))),
    _row("ReduceLogSum", 18, FLOATS, lambda x, axes: np.log(_sum(x, axes))),
    _row("ReduceLogSumExp", 18, FLOATS, _log_sum_exp),
    _row("ReduceMax", 20, _EXTREMA, lambda x, axes: np.max(x, axes, keepdims=True, initial=_least(x.dtype))),
    _row("ReduceMean", 18, WIDE, _mean),
    _row("ReduceMin", 20, _EXTREMA, lambda x, axes: np.min(x, axes, keepdims=True, initial=_greatest(x.dtype))),
    _row("ReduceProd", 18, WIDE, lambda x, axes: np.prod(x, axes, keepdims=True), shape_arithmetic=True),
    _row("ReduceSum", 13, WIDE, _sum, shape_arithmetic=True),
    _row("ReduceSumSquare", 18, WIDE, lambda x, axes: _sum(np.square(x), axes)),
)


@record
class ArgMax(Op):
    """ONNX ArgMax-13: the position along `axis` of the largest element, the first or the last of equal ones."""

    since = 13
    operands = ("data",)

    axis: int = 0
    keepdims: bool = True
    select_last_index: bool = False

    def infer(self, x: Operand) -> tuple[TensorType, ...]:
        check_dtype(self.op_type, "data", x, NUMERIC)
        axis = resolve_axis(self.op_type, self.axis, x.type.rank)
        if x.type.shape[axis] == 0:
            raise OpError(f"{self.op_type}: axis {axis} of {x.type} has no elements to choose from")
        kept = (1,) if self.keepdims else ()
        return (TensorType(DType.I64, (*x.type.shape[:axis], *kept, *x.type.shape[axis + 1:])),)

    def reference(self, x: Array) -> tuple[Array, ...]:
        if not self.select_last_index:
            return (self._first(x),)
        return (x.shape[self.axis] - 1 - self._first(np.flip(x, self.axis)),)

    def _first(self, x: Array) -> Array:
        return np.asarray(np.argmax(x, self.axis, keepdims=self.keepdims), np.int64)


@record
class ArgMin(ArgMax):
    """ONNX ArgMin-13: the position along `axis` of the smallest element, the first or the last of equal ones."""

    def _first(self, x: Array) -> Array:
        return np.asarray(np.argmin(x, self.axis, keepdims=self.keepdims), np.int64)
