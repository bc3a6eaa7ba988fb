"""Pools, of any spatial rank."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..errors import OpError
from ..ir import DimLike, DType, Op, Operand, TensorType
from ..records import record
from .dtypes import FLOATS, check_dtype
from .spatial import Windows, check_windows, place_windows, taps, window_extent

__all__ = ["POOLS", "AveragePool", "GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool", "GlobalPool", "LpPool",
           "MaxPool", "Pool"]

Array = np.ndarray[Any, Any]


@record
class Pool(Op):
    """Base of the pools over windows: X [N, C, *spatial] -> Y [N, C, *counts].

    A pad must be smaller than the window: each then reaches into the input, and reads it unless dilation makes it step
    over (onnxruntime asks for a pad smaller than the kernel even when dilated). ceil_mode has its meaning with
    auto_pad=VALID too, as in onnxruntime and in onnx's shape inference.
    """

    kernel_shape: tuple[int, ...]
    auto_pad: str = "NOTSET"
    ceil_mode: bool = False
    dilations: tuple[int, ...] = ()
    pads: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()

    def check(self) -> None:
        check_windows(self.op_type, auto_pad=self.auto_pad, pads=self.pads, strides=self.strides,
                      dilations=self.dilations, kernel=self.kernel_shape)
        dilations = self.dilations or (1,) * len(self.kernel_shape)
        extents = [window_extent(k, d) for k, d in zip(self.kernel_shape, dilations, strict=False)]
        if any(pad >= extent for pad, extent in zip(self.pads, extents * 2, strict=False)):
            raise OpError(f"{self.op_type}: pads {list(self.pads)} must be smaller than the window of {extents}: "
                          "pad the input by an operator of its own")

    def windows(self, x: tuple[DimLike, ...]) -> Windows:
        """The geometry for an input of this shape, defaults filled in. Raises OpError where it does not fit."""
        return place_windows(self.op_type, x[2:], self.kernel_shape, strides=self.strides, dilations=self.dilations,
                             pads=self.pads, auto_pad=self.auto_pad, ceil_mode=self.ceil_mode)

    def infer(self, x: Operand) -> tuple[TensorType, ...]:
        _check_input(self.op_type, x, FLOATS)
        return (TensorType(x.type.dtype, (*x.type.shape[:2], *self.windows(x.type.shape).output)),)


@record
class MaxPool(Pool):
    """ONNX MaxPool-22: the largest element under the window; a NaN is larger than all else.

    Indices (i64) tells where in X, flattened, the first largest is, or -1 where a window reads padding only; with
    `storage_order` 1 the spatial axes count in reversed order.
    """

    since = 22
    results = ("Y", "Indices")

    storage_order: int = 0

    def check(self) -> None:
        super().check()
        if self.storage_order not in (0, 1):
            raise OpError(f"MaxPool: storage_order must be 0 or 1, not {self.storage_order}")

    def infer(self, x: Operand) -> tuple[TensorType, ...]:
        _check_input(self.op_type, x, (*FLOATS, DType.I8, DType.U8))
        shape = (*x.type.shape[:2], *self.windows(x.type.shape).output)
        return TensorType(x.type.dtype, shape), TensorType(DType.I64, shape)

    def reference(self, x: Array) -> tuple[Array, ...]:
        g = self.windows(x.shape)
        least = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
        y = np.full((*x.shape[:2], *g.counts), least, x.dtype)
        index = np.full(y.shape, -1, np.int64)
        for (_, window), (_, places) in zip(taps(x, g, least), taps(self._places(x.shape), g, -1), strict=True):
            first = (index < 0) & (places >= 0)
            better = first | (window > y) | ((window != window) & (y == y))
            y, index = np.where(better, window, y), np.where(better, places, index)
        return y, index

    def _places(self, shape: tuple[int, ...]) -> Array:
        """The number of each element of X."""
        if self.storage_order == 0:
            return np.arange(math.prod(shape)).reshape(shape)
        stored = np.arange(math.prod(shape)).reshape(*shape[:2], *shape[:1:-1])
        return stored.transpose(0, 1, *range(len(shape) - 1, 1, -1))


@record
class AveragePool(Pool):
    """ONNX AveragePool-22: the mean of the input elements under the window, 0 where it reads padding only.

    With `count_include_pad` elements of the pads count as zeros; what ceil_mode lets hang over the end never counts.
    """

    since = 22

    count_include_pad: bool = False

    def reference(self, x: Array) -> tuple[Array, ...]:
        g = self.windows(x.shape)
        inside = np.ones(x.shape[2:], x.dtype)
        total = np.zeros((*x.shape[:2], *g.counts), x.dtype)
        count = np.zeros(g.counts, x.dtype)
        if self.count_include_pad:
            pads = list(zip(g.begin, g.end, strict=True))
            x = np.pad(x, [(0, 0), (0, 0), *pads])
            inside = np.pad(inside, pads, constant_values=1)
            none = (0,) * len(pads)
            g = Windows(g.kernel, g.strides, g.dilations, none, none, g.output)
        for (_, window), (_, counted) in zip(taps(x, g), taps(inside, g), strict=True):
            total += window
            count += counted
        return (total / np.maximum(count, 1),)


@record
class LpPool(Pool):
    """ONNX LpPool-22: the p-norm of the elements under the window."""

    since = 22

    p: int = 2

    def check(self) -> None:
        super().check()
        _check_p(self.op_type, self.p)

    def reference(self, x: Array) -> tuple[Array, ...]:
        g = self.windows(x.shape)
        total = np.zeros((*x.shape[:2], *g.counts), x.dtype)
        for _, window in taps(np.abs(x) ** self.p, g):
            total += window
        return (total ** (1 / self.p),)


@record
class GlobalPool(Op):
    """Base of the pools over all spatial axes: X [N, C, *spatial] -> Y [N, C, 1, ...]."""

    def infer(self, x: Operand) -> tuple[TensorType, ...]:
        _check_input(self.op_type, x, FLOATS)
        return (TensorType(x.type.dtype, (*x.type.shape[:2], *(1,) * (x.type.rank - 2))),)


@record
class GlobalAveragePool(GlobalPool):
    """ONNX GlobalAveragePool-22: the mean."""

    since = 22

    def reference(self, x: Array) -> tuple[Array, ...]:
        return (x.mean(tuple(range(2, x.ndim)), keepdims=True),)


@record
class GlobalMaxPool(GlobalPool):
    """ONNX GlobalMaxPool-22: the largest element; a NaN is larger than all else."""

    since = 22

    def reference(self, x: Array) -> tuple[Array, ...]:
        return (x.max(tuple(range(2, x.ndim)), keepdims=True, initial=-np.inf),)


@record
class GlobalLpPool(GlobalPool):
    """ONNX GlobalLpPool-22: the p-norm."""

    since = 22

    p: int = 2

    def check(self) -> None:
        _check_p(self.op_type, self.p)

    def reference(self, x: Array) -> tuple[Array, ...]:
        return ((np.abs(x) ** self.p).sum(tuple(range(2, x.ndim)), keepdims=True) ** (1 / self.p),)


POOLS = (AveragePool, GlobalAveragePool, GlobalLpPool, GlobalMaxPool, LpPool, MaxPool)


def _check_input(op_type: str, x: Operand, accepted: tuple[DType, ...]) -> None:
    check_dtype(op_type, "X", x, accepted)
    if x.type.rank < 3:
        raise OpError(f"{op_type}: X must be [N, C, *spatial], not {x.type}")


def _check_p(op_type: str, p: int) -> None:
    if p < 1:
        raise OpError(f"{op_type}: p must be at least 1, not {p}")
