"""QuantizeLinear and its kin: between real numbers and integers with a scale and a zero point."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import OpError
from ..ir import DimLike, DType, Op, Operand, TensorType
from ..records import record
from .dtypes import FLOATS, check_dtype
from .sizes import agree, resolve_axis

__all__ = ["BYTES", "MICROSOFT", "DequantizeLinear", "DynamicQuantizeLinear", "QuantizeLinear", "check_parameter",
           "dequantized", "quantized", "spread"]

Array = np.ndarray[Any, Any]

MICROSOFT = "com.microsoft"  # the domain of the operators that ONNX Runtime adds
BYTES = (DType.I8, DType.U8)
_QUANTIZED = (DType.I8, DType.I16, DType.U8, DType.U16)


def quantized(x: Array, scale: Array, zero_point: Array | None, dtype: np.dtype[Any]) -> Array:
    """saturate(round(x / scale) + zero_point), ties to even; a NaN gives the zero point."""
    return saturated(x / scale, zero_point, dtype)


def saturated(x: Array, zero_point: Array | None, dtype: np.dtype[Any]) -> Array:
    """saturate(round(x) + zero_point) for x in units of the scale."""
    wide = np.rint(np.nan_to_num(np.asarray(x, np.float64), nan=0.0, posinf=np.inf, neginf=-np.inf))
    limits = np.iinfo(dtype)
    return np.clip(wide + (0 if zero_point is None else zero_point), limits.min, limits.max).astype(dtype)


def dequantized(x: Array, scale: Array, zero_point: Array | None) -> Array:
    """(x - zero_point) * scale, in the scale's type."""
    wide = x.astype(np.int64) - (0 if zero_point is None else zero_point.astype(np.int64))
    return np.asarray(wide.astype(scale.dtype) * scale)


def spread(parameter: Array, shape: Sequence[int], axis: int, block_size: int) -> Array:
    """A scale or zero point such that it broadcasts to `shape`: one for all, one for each index of `axis`, or one for
    each block of `block_size` of these."""
    if parameter.ndim == 0 or (parameter.size == 1 and not block_size):
        return parameter.reshape(())
    if block_size:
        wide = np.repeat(parameter, block_size, axis)
        return np.take(wide, range(shape[axis]), axis)
    return parameter.reshape(tuple(-1 if i == axis % len(shape) else 1 for i in range(len(shape))))


def check_parameter(op_type: str, name: str, operand: Operand | None, channels: DimLike | None = None) -> None:
    """Raises OpError unless the scale or zero point is one number, or one for each of the channels."""
    if operand is None:
        return
    shape = operand.type.shape
    if shape in ((), (1,)) or (channels is not None and len(shape) == 1 and agree((shape[0], channels)) is not None):
        return
    wanted = "one number" if channels is None else f"one number or {channels}"
    raise OpError(f"{op_type}: {name} must hold {wanted}, not {operand.type}")


@record
class _Linear(Op):
    """What QuantizeLinear and DequantizeLinear share: how scale and zero point lie along x.

    One number serves all of x; a vector has one for each index of `axis`; with block_size, scale and zero point have
    x's rank, and each number serves block_size neighbours along `axis` (the last block may be shorter).
    """

    axis: int = 1
    block_size: int = 0
    output_dtype: DType | None = None

    def check(self) -> None:
        if self.block_size < 0:
            raise OpError(f"{self.op_type}: block_size must be at least 0, not {self.block_size}")

    def check_parameters(self, x: Operand, scale: Operand, zero_point: Operand | None) -> None:
        single = scale.type.shape in ((), (1,))
        if zero_point is not None and zero_point.type.shape != scale.type.shape and not (
                single and zero_point.type.shape in ((), (1,))):
            raise OpError(f"{self.op_type}: the zero point {zero_point.type} must have the shape of the scale "
                          f"{scale.type}")
        if not self.block_size:
            axis = 0 if single else resolve_axis(self.op_type, self.axis, x.type.rank)
            check_parameter(self.op_type, "the scale", scale, None if single else x.type.shape[axis])
            return
        axis = resolve_axis(self.op_type, self.axis, x.type.rank)
        blocks = tuple(-(-d // self.block_size) if i == axis else d for i, d in enumerate(x.type.shape))
        if scale.type.rank != x.type.rank or any(agree(pair) is None
                                                 for pair in zip(blocks, scale.type.shape, strict=True)):
            raise OpError(f"{self.op_type}: with block_size {self.block_size} along axis {axis} of {x.type}, the scale "
                          f"must be [{','.join(map(str, blocks))}], not {scale.type}")


@record
class QuantizeLinear(_Linear):
    """ONNX QuantizeLinear-25: saturate(round(x / y_scale) + y_zero_point), ties to even.

    The output has the zero point's type, or `output_dtype`, or is u8. With `precision`, x / y_scale is computed in that
    type.
    """

    since = 25
    operands = ("x", "y_scale", "y_zero_point?")
    results = ("y",)

    precision: DType | None = None
    saturate: bool = True

    def infer(self, x: Operand, scale: Operand, zero_point: Operand | None = None) -> tuple[TensorType, ...]:
        check_dtype("QuantizeLinear", "x", x, (*FLOATS, DType.I32))
        check_dtype("QuantizeLinear", "y_scale", scale, (*FLOATS, DType.I32))
        self.check_parameters(x, scale, zero_point)
        dtype = zero_point.type.dtype if zero_point is not None else self.output_dtype or DType.U8
        if dtype not in _QUANTIZED or self.output_dtype not in (None, dtype):
            raise OpError(f"QuantizeLinear: the output must be of one type of i8, i16, u8 and u16, not {dtype.value}"
                          + (f" and {self.output_dtype.value}" if self.output_dtype else ""))
        return (TensorType(dtype, x.type.shape),)

    def reference(self, x: Array, scale: Array, zero_point: Array | None = None) -> tuple[Array, ...]:
        dtype = zero_point.dtype if zero_point is not None else (self.output_dtype or DType.U8).numpy
        scale = spread(scale, x.shape, self.axis, self.block_size)
        zero_point = None if zero_point is None else spread(zero_point, x.shape, self.axis, self.block_size)
        wide = scale.dtype if self.precision is None else self.precision.numpy
        if x.dtype.kind != "f" or self.precision is not None:
            x = x.astype(wide)
        with np.errstate(all="ignore"):
            return (quantized(x, scale.astype(wide), zero_point, dtype),)


@record
class DequantizeLinear(_Linear):
    """ONNX DequantizeLinear-25: (x - x_zero_point) * x_scale, in the scale's type or `output_dtype`."""

    since = 25
    operands = ("x", "x_scale", "x_zero_point?")
    results = ("y",)

    def infer(self, x: Operand, scale: Operand, zero_point: Operand | None = None) -> tuple[TensorType, ...]:
        check_dtype("DequantizeLinear", "x", x, (*_QUANTIZED, DType.I32))
        check_dtype("DequantizeLinear", "x_scale", scale, FLOATS)
        if zero_point is not None and zero_point.type.dtype != x.type.dtype:
            raise OpError(f"DequantizeLinear: the zero point {zero_point.type} must have the type of x {x.type}")
        self.check_parameters(x, scale, zero_point)
        dtype = self.output_dtype or scale.type.dtype
        if not dtype.is_float:
            raise OpError(f"DequantizeLinear: output_dtype must be a floating-point type, not {dtype.value}")
        return (TensorType(dtype, x.type.shape),)

    def reference(self, x: Array, scale: Array, zero_point: Array | None = None) -> tuple[Array, ...]:
        scale = spread(scale, x.shape, self.axis, self.block_size)
        zero_point = None if zero_point is None else spread(zero_point, x.shape, self.axis, self.block_size)
        y = dequantized(x, scale, zero_point)
        return (y if self.output_dtype is None else y.astype(self.output_dtype.numpy),)


@record
class DynamicQuantizeLinear(Op):
    """ONNX DynamicQuantizeLinear-11: x as u8, the scale that spreads its range (with 0 in it) over 0 .. 255, and the
    zero point. A range of 0 has the scale 1 / 255, as in ONNX's reference; ONNX Runtime has 1 there."""

    since = 11
    operands = ("x",)
    results = ("y", "y_scale", "y_zero_point")

    def infer(self, x: Operand) -> tuple[TensorType, ...]:
        check_dtype("DynamicQuantizeLinear", "x", x, (DType.F32,))
        return TensorType(DType.U8, x.type.shape), TensorType(x.type.dtype, ()), TensorType(DType.U8, ())

    def reference(self, x: Array) -> tuple[Array, ...]:
        number = x.dtype.type
        low, high = x.min(initial=number(0)), x.max(initial=number(0))
        scale = (number(1) if low == high else high - low) / number(255)
        zero_point = np.rint(np.clip(-low / scale, 0, 255)).astype(np.uint8)
        return quantized(x, scale, zero_point, np.dtype(np.uint8)), np.asarray(scale), np.asarray(zero_point)
