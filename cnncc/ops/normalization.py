"""Normalizations by statistics of the input itself: over pixels, groups of channels, trailing or given axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import OpError
from ..ir import DimLike, DType, Op, Operand, TensorType
from ..records import record
from .dtypes import FLOATS, check_dtype
from .sizes import is_equal, resolve_axes, resolve_axis, shape_text

__all__ = ["GroupNormalization", "InstanceNormalization", "LayerNormalization", "LpNormalization",
           "MeanVarianceNormalization", "RMSNormalization", "standardize"]

Array = np.ndarray[Any, Any]
Axes = tuple[int, ...]
_STASH = {1: DType.F32, 10: DType.F16, 11: DType.F64}  # stash_type: ONNX's number of an element type


def standardize(x: Array, axes: Axes, epsilon: float) -> tuple[Array, Array, Array]:
    """((x - mean) / sqrt(variance + epsilon), mean, 1 / sqrt(variance + epsilon)), statistics taken along `axes`."""
    mean = x.mean(axes, keepdims=True)
    centred = x - mean
    inverse = 1 / np.sqrt((centred * centred).mean(axes, keepdims=True) + x.dtype.type(epsilon))
    return centred * inverse, mean, inverse


def _widened(x: Array, stash_type: int) -> Array:
    """x in the precision in which statistics are taken: at least that of stash_type."""
    return x.astype(np.promote_types(x.dtype, _STASH[stash_type].numpy))


def _check_stash(op_type: str, stash_type: int) -> None:
    if stash_type not in _STASH:
        raise OpError(f"{op_type}: stash_type must be 1 (f32), 10 (f16) or 11 (f64), not {stash_type}")


def _check_channels(op_type: str, channels: DimLike, names: Sequence[str], parameters: Sequence[Operand]) -> None:
    """Raises OpError unless each parameter holds one number a channel."""
    for name, p in zip(names, parameters, strict=True):
        check_dtype(op_type, name, p, FLOATS)
        if p.type.shape != (channels,):
            raise OpError(f"{op_type}: {name} must be of shape [{channels}], one number for each channel, not {p.type}")


def _check_channelled(op_type: str, name: str, x: Operand) -> None:
    check_dtype(op_type, name, x, FLOATS)
    if x.type.rank < 2:
        raise OpError(f"{op_type}: {name} must be [N, C, ...], not {x.type}")


@record
class InstanceNormalization(Op):
    """ONNX InstanceNormalization-22: each channel of each image less its mean, over its standard deviation, times
    scale[c] plus B[c]. input [N, C, *spatial], scale and B [C]."""

    since = 22
    operands = ("input", "scale", "B")
    results = ("output",)

    epsilon: float = 1e-5

    def infer(self, x: Operand, scale: Operand, bias: Operand) -> tuple[TensorType, ...]:
        _check_channelled(self.op_type, "input", x)
        _check_channels(self.op_type, x.type.shape[1], self.operands[1:], (scale, bias))
        return (x.type,)

    def reference(self, x: Array, scale: Array, bias: Array) -> tuple[Array, ...]:
        y, _, _ = standardize(_widened(x, 1), tuple(range(2, x.ndim)), self.epsilon)
        along = (-1, *(1,) * (x.ndim - 2))
        return ((y * scale.reshape(along) + bias.reshape(along)).astype(x.dtype),)


@record
class GroupNormalization(Op):
    """ONNX GroupNormalization-21: as InstanceNormalization with statistics over each of `num_groups` groups of
    neighbouring channels together. X [N, C, ...], scale and bias [C]."""

    since = 21
    operands = ("X", "scale", "bias")

    num_groups: int
    epsilon: float = 1e-5
    stash_type: int = 1

    def check(self) -> None:
        _check_stash(self.op_type, self.stash_type)
        if self.num_groups < 1:
            raise OpError(f"GroupNormalization: num_groups must be at least 1, not {self.num_groups}")

    def infer(self, x: Operand, scale: Operand, bias: Operand) -> tuple[TensorType, ...]:
        _check_channelled(self.op_type, "X", x)
        channels = x.type.shape[1]
        if is_equal(channels % self.num_groups, 0) is False:
            raise OpError(f"GroupNormalization: the {channels} channels of X {x.type} do not divide into "
                          f"{self.num_groups} groups")
        _check_channels(self.op_type, channels, self.operands[1:], (scale, bias))
        return (x.type,)

    def reference(self, x: Array, scale: Array, bias: Array) -> tuple[Array, ...]:
        wide = _widened(x, self.stash_type)
        grouped = wide.reshape(x.shape[0], self.num_groups, x.shape[1] // self.num_groups, *x.shape[2:])
        y, _, _ = standardize(grouped, tuple(range(2, grouped.ndim)), self.epsilon)
        along = (-1, *(1,) * (x.ndim - 2))
        return ((y.reshape(x.shape) * scale.reshape(along) + bias.reshape(along)).astype(x.dtype),)


@record
class LayerNormalization(Op):
    """ONNX LayerNormalization-17: statistics over all axes from `axis` on; Scale and B broadcast to X. The outputs Mean
    and InvStdDev have size 1 there, and the type that stash_type names."""

    since = 17
    operands = ("X", "Scale", "B?")
    results = ("Y", "Mean?", "InvStdDev?")

    axis: int = -1
    epsilon: float = 1e-5
    stash_type: int = 1

    def check(self) -> None:
        _check_stash(self.op_type, self.stash_type)

    def infer(self, x: Operand, scale: Operand, bias: Operand | None = None) -> tuple[TensorType, ...]:
        check_dtype(self.op_type, "X", x, FLOATS)
        axis = resolve_axis(self.op_type, self.axis, x.type.rank)
        for name, p in (("Scale", scale), ("B", bias)):
            if p is not None:
                _check_broadcast(self.op_type, name, p, x)
        kept = (*x.type.shape[:axis], *(1,) * (x.type.rank - axis))
        statistics = TensorType(_STASH[self.stash_type], kept)
        return x.type, statistics, statistics

    def reference(self, x: Array, scale: Array, bias: Array | None = None) -> tuple[Array, ...]:
        axis = self.axis % x.ndim
        y, mean, inverse = standardize(_widened(x, self.stash_type), tuple(range(axis, x.ndim)), self.epsilon)
        y = y * scale
        if bias is not None:
            y = y + bias
        stash = _STASH[self.stash_type].numpy if x.dtype != np.float64 else x.dtype
        return y.astype(x.dtype), mean.astype(stash), inverse.astype(stash)


def _check_broadcast(op_type: str, name: str, p: Operand, x: Operand) -> None:
    """Raises OpError unless `p` is of X's type and broadcasts to its shape."""
    check_dtype(op_type, name, p, FLOATS)
    shape = (1,) * (x.type.rank - p.type.rank) + p.type.shape
    if p.type.rank > x.type.rank or any(d not in (1, n) for d, n in zip(shape, x.type.shape, strict=True)):
        raise OpError(f"{op_type}: {name} {shape_text(p.type.shape)} does not broadcast to X {x.type}")


@record
class RMSNormalization(Op):
    """ONNX RMSNormalization-23: X / sqrt(mean of X^2 over all axes from `axis` on + epsilon) * scale."""

    since = 23
    operands = ("X", "scale")

    axis: int = -1
    epsilon: float = 1e-5
    stash_type: int = 1

    def check(self) -> None:
        _check_stash(self.op_type, self.stash_type)

    def infer(self, x: Operand, scale: Operand) -> tuple[TensorType, ...]:
        check_dtype(self.op_type, "X", x, FLOATS)
        resolve_axis(self.op_type, self.axis, x.type.rank)
        _check_broadcast(self.op_type, "scale", scale, x)
        return (TensorType(scale.type.dtype, x.type.shape),)

    def reference(self, x: Array, scale: Array) -> tuple[Array, ...]:
        wide = _widened(x, self.stash_type)
        axes = tuple(range(self.axis % x.ndim, x.ndim))
        root = np.sqrt((wide * wide).mean(axes, keepdims=True) + wide.dtype.type(self.epsilon))
        return ((wide / root).astype(x.dtype).astype(scale.dtype) * scale,)


@record
class MeanVarianceNormalization(Op):
    """ONNX MeanVarianceNormalization-13: (X - mean) / (standard deviation + 1e-9), statistics taken along `axes`."""

    since = 13

    axes: tuple[int, ...] = (0, 2, 3)

    def infer(self, x: Operand) -> tuple[TensorType, ...]:
        check_dtype(self.op_type, "X", x, FLOATS)
        resolve_axes(self.op_type, self.axes, x.type.rank)
        return (x.type,)

    def reference(self, x: Array) -> tuple[Array, ...]:
        axes = resolve_axes(self.op_type, self.axes, x.ndim)
        wide = _widened(x, 1)
        centred = wide - wide.mean(axes, keepdims=True)
        deviation = np.sqrt((centred * centred).mean(axes, keepdims=True))
        return ((centred / (deviation + wide.dtype.type(1e-9))).astype(x.dtype),)


@record
class LpNormalization(Op):
    """ONNX LpNormalization-22: input over its norm of order `p` (1 or 2) along `axis`; 0 where that norm is 0."""

    since = 22
    operands = ("input",)
    results = ("output",)

    axis: int = -1
    p: int = 2

    def check(self) -> None:
        if self.p not in (1, 2):
            raise OpError(f"LpNormalization: p must be 1 or 2, not {self.p}")

    def infer(self, x: Operand) -> tuple[TensorType, ...]:
        check_dtype(self.op_type, "input", x, FLOATS)
        resolve_axis(self.op_type, self.axis, x.type.rank)
        return (x.type,)

    def reference(self, x: Array) -> tuple[Array, ...]:
        wide = _widened(x, 1)
        norm = np.abs(wide).sum(self.axis, keepdims=True) if self.p == 1 else \
            np.sqrt((wide * wide).sum(self.axis, keepdims=True))
        return (np.where(norm == 0, 0, wide / np.where(norm == 0, 1, norm)).astype(x.dtype),)
