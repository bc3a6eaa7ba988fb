"""Operators that write elements to given places: ScatterElements, ScatterND and TensorScatter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import OpError
from ..ir import DType, Op, Operand, TensorType
from ..records import record
from .dtypes import ANY, INDICES, NUMERIC, check_dtype
from .sizes import agree, may_be_equal, resolve_axis

__all__ = ["ScatterElements", "ScatterND", "TensorScatter"]

Array = np.ndarray[Any, Any]
# What an update does to the element that is there; several updates of one element all do it.
_REDUCTIONS: dict[str, Callable[[Array, tuple[Array, ...], Array], None]] = {
    "none": lambda y, places, updates: y.__setitem__(places, updates),
    "add": np.add.at,
    "mul": np.multiply.at,
    "max": np.maximum.at,
    "min": np.minimum.at,
}


@record
class _Scatter(Op):
    since = 18
    operands = ("data", "indices", "updates")
    results = ("output",)

    def check(self) -> None:
        reduction: str = getattr(self, "reduction", "none")
        if reduction not in _REDUCTIONS:
            raise OpError(f"{self.op_type}: reduction must be one of {', '.join(_REDUCTIONS)}, not '{reduction}'")

    def _check(self, data: Operand, indices: Operand, updates: Operand) -> None:
        """Raises OpError where types do not fit."""
        reduction: str = getattr(self, "reduction", "none")
        check_dtype(self.op_type, "data", data, ANY if reduction == "none" else NUMERIC)
        check_dtype(self.op_type, "indices", indices, INDICES)
        if updates.type.dtype != data.type.dtype:
            raise OpError(f"{self.op_type}: updates {updates.type} must be of data's type {data.type.dtype.value}")

    def _place(self, y: Array, places: list[Array], axes: list[int], updates: Array) -> Array:
        """y with the updates at `places` along `axes` (an array of indices each); raises OpError outside of y."""
        for axis, index in zip(axes, places, strict=True):
            outside = index[(index < -y.shape[axis]) | (index >= y.shape[axis])]
            if outside.size:
                raise OpError(f"{self.op_type}: index {outside.ravel()[0]} is outside an axis of size {y.shape[axis]}")
        reduction: str = getattr(self, "reduction", "none")
        _REDUCTIONS[reduction](y, tuple(places), updates)
        return y


@record
class ScatterElements(_Scatter):
    """ONNX ScatterElements-18: data, but each element of updates put (or reduced) at its own place, where along `axis`
    the index counts that stands there."""

    axis: int = 0
    reduction: str = "none"

    def infer(self, data: Operand, indices: Operand, updates: Operand) -> tuple[TensorType, ...]:
        self._check(data, indices, updates)
        resolve_axis(self.op_type, self.axis, data.type.rank)
        if indices.type.shape != updates.type.shape or indices.type.rank != data.type.rank:
            raise OpError(f"ScatterElements: indices {indices.type} and updates {updates.type} must have one shape, of "
                          f"the rank of data {data.type}")
        return (data.type,)

    def reference(self, data: Array, indices: Array, updates: Array) -> tuple[Array, ...]:
        places: list[Array] = list(np.indices(indices.shape))
        places[self.axis] = indices
        return (self._place(data.copy(), places, list(range(data.ndim)), updates),)


@record
class ScatterND(_Scatter):
    """ONNX ScatterND-18: data, but what the last axis of indices addresses replaced (or reduced) by updates, which has
    the shape of indices without its last axis, then that of what is addressed."""

    reduction: str = "none"

    def infer(self, data: Operand, indices: Operand, updates: Operand) -> tuple[TensorType, ...]:
        self._check(data, indices, updates)
        shape = indices.type.shape
        depth = shape[-1] if shape else None
        if not isinstance(depth, int) or not 1 <= depth <= data.type.rank:
            raise OpError(f"ScatterND: the last axis of indices {indices.type} must have a fixed size from 1 to "
                          f"{data.type.rank}, the rank of data")
        wanted = (*shape[:-1], *data.type.shape[depth:])
        if len(wanted) != updates.type.rank or any(agree(pair) is None for pair in
                                                   zip(wanted, updates.type.shape, strict=True)):
            raise OpError(f"ScatterND: updates must be {TensorType(data.type.dtype, wanted)}, not {updates.type}")
        return (data.type,)

    def reference(self, data: Array, indices: Array, updates: Array) -> tuple[Array, ...]:
        places = list(np.moveaxis(indices, -1, 0))
        return (self._place(data.copy(), places, list(range(len(places))), updates),)


@record
class TensorScatter(Op):
    """ONNX TensorScatter-24: past_cache with `update` written over it from write_indices[n] on along `axis`, for each n
    of axis 0; by default from 0 on. In mode "circular" the places beyond the end are those from the beginning."""

    since = 24
    operands = ("past_cache", "update", "write_indices?")
    results = ("present_cache",)

    mode: str = "linear"
    axis: int = -2

    def check(self) -> None:
        if self.mode not in ("linear", "circular"):
            raise OpError(f"TensorScatter: mode must be linear or circular, not '{self.mode}'")

    def _axis(self, rank: int) -> int:
        axis = resolve_axis("TensorScatter", self.axis, rank)
        if axis == 0:
            raise OpError("TensorScatter: axis must not be 0, the batch")
        return axis

    def infer(self, cache: Operand, update: Operand, starts: Operand | None = None) -> tuple[TensorType, ...]:
        check_dtype("TensorScatter", "past_cache", cache, ANY)
        axis = self._axis(cache.type.rank)
        rest = [i == axis or may_be_equal(*sizes)
                for i, sizes in enumerate(zip(cache.type.shape, update.type.shape, strict=False))]
        if update.type.dtype != cache.type.dtype or update.type.rank != cache.type.rank or not all(rest):
            raise OpError(f"TensorScatter: update {update.type} must be as past_cache {cache.type} but for axis {axis}")
        if starts is not None:
            check_dtype("TensorScatter", "write_indices", starts, (DType.I64,))
            if starts.type.rank != 1 or not may_be_equal(starts.type.shape[0], cache.type.shape[0]):
                raise OpError(f"TensorScatter: write_indices {starts.type} must hold one number for each place of axis "
                              f"0 of past_cache {cache.type}")
        return (cache.type,)

    def reference(self, cache: Array, update: Array, starts: Array | None = None) -> tuple[Array, ...]:
        axis, result = self._axis(cache.ndim), cache.copy()
        size, count = cache.shape[axis], update.shape[axis]
        for n in range(cache.shape[0]):
            places = np.arange(count) + (0 if starts is None else int(starts[n]))
            if self.mode == "circular":
                places %= size
            if (places < 0).any() or (places >= size).any():
                raise OpError(f"TensorScatter: places {places[0]} to {places[-1]} are outside an axis of size {size}")
            np.moveaxis(result[n], axis - 1, 0)[places] = np.moveaxis(update[n], axis - 1, 0)
        return (result,)
