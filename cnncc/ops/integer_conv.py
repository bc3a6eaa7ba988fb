"""Convolutions of 8-bit integers, exact, and with their results quantised again."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..errors import OpError
from ..ir import Activation, DType, Operand, TensorType
from ..records import record
from .conv import ConvBase
from .dtypes import FLOATS, check_dtype
from .quantize import BYTES, check_parameter, quantized, saturated
from .spatial import taps

__all__ = ["ConvInteger", "QLinearConv", "centred", "check_clip", "check_scales", "check_zero_points", "clip_ends",
           "requantized", "to_i32"]

Array = np.ndarray[Any, Any]


def centred(x: Array, zero_point: Array | None) -> Array:
    """x - zero_point in double precision, in which all sums below 2^53 are exact."""
    return x.astype(np.float64) - (0.0 if zero_point is None else zero_point.astype(np.float64))


def to_i32(x: Array) -> Array:
    """Exact integers as i32, of which the low bits are kept."""
    return np.asarray(x.astype(np.int64).astype(np.int32))


def requantized(total: Array, multiplier: Array, zero_point: Array | None, dtype: np.dtype[Any],
                activation: Activation | None = None, scale: Array | None = None) -> Array:
    """saturate(round(total * multiplier) + zero_point): an i32 converted to the multiplier's type, multiplied once,
    rounded to even. This is what ONNX Runtime computes; ONNX's reference adds the zero point before rounding.

    `activation`, relu or clip, is applied to the result: with rounding being monotone, that is the same as before it.
    """
    with np.errstate(all="ignore"):
        y = saturated(total.astype(multiplier.dtype) * multiplier, zero_point, dtype)
        if activation is None:
            return y
        assert scale is not None
        low, high = clip_ends(activation)
        ends = (quantized(scale.dtype.type(end), scale, zero_point, dtype) for end in (low, high))
    return np.clip(y, *ends)


def clip_ends(activation: Activation) -> tuple[float, float]:
    """The least and the greatest number that relu or clip gives."""
    if activation.kind == "relu":
        return 0.0, math.inf
    low, high = activation.parameters
    return low, high


def check_clip(op_type: str, activation: Activation | None) -> None:
    """Raises OpError for an activation that quantised results cannot have."""
    if activation is not None and activation.kind not in ("relu", "clip"):
        raise OpError(f"{op_type}: the activation must be relu or clip, not {activation.kind}")


def check_scales(op_type: str, *scales: Operand | None) -> None:
    given = [s for s in scales if s is not None]
    for scale in given:
        check_dtype(op_type, "a scale", scale, FLOATS)
    if len({s.type.dtype for s in given}) > 1:
        raise OpError(f"{op_type}: all scales must have one type, not {' and '.join(str(s.type) for s in given)}")


def check_zero_points(op_type: str, *pairs: tuple[Operand, Operand | None]) -> None:
    """Raises OpError unless each zero point has the type of what it belongs to."""
    for tensor, zero_point in pairs:
        if zero_point is not None and zero_point.type.dtype != tensor.type.dtype:
            raise OpError(f"{op_type}: the zero point {zero_point.type} must have the type of {tensor.type}")


def _column(parameter: Array, rank: int) -> Array:
    """One number, or one a channel, along axis 1 of a tensor of this rank."""
    return parameter.reshape(()) if parameter.size == 1 else parameter.reshape(-1, *(1,) * (rank - 2))


@record
class _IntegerConv(ConvBase):
    """What ConvInteger and QLinearConv share."""

    def output(self, dtype: DType, x: Operand, w: Operand) -> TensorType:
        check_dtype(self.op_type, "x", x, BYTES)
        check_dtype(self.op_type, "w", w, BYTES)
        geometry = self.windows(x.type.shape, w.type.shape)
        return TensorType(dtype, (x.type.shape[0], w.type.shape[0], *geometry.output))

    def total(self, x: Array, w: Array, x_zero_point: Array | None, w_zero_point: Array | None) -> Array:
        """The sums as i32; what lies in the padding is the zero point."""
        per_channel = None if w_zero_point is None else w_zero_point.reshape(-1, *(1,) * (w.ndim - 1))
        g, n, oc = self.windows(x.shape, w.shape), x.shape[0], w.shape[0]
        x = centred(x, x_zero_point).reshape(n, self.group, w.shape[1], *x.shape[2:])
        w = centred(w, per_channel).reshape(self.group, oc // self.group, *w.shape[1:])
        pixels = math.prod(g.counts)
        y: Array = np.zeros((n, self.group, oc // self.group, pixels))
        for tap, window in taps(x, g):
            at: Any = tap
            y += w[(..., *at)] @ window.reshape(*window.shape[:3], pixels)
        return to_i32(y.reshape(n, oc, *g.counts))


@record
class ConvInteger(_IntegerConv):
    """ONNX ConvInteger-10: the convolution of x - x_zero_point with w - w_zero_point, as i32.

    Beyond ONNX: with `scale` (one number, or one for each output channel) the sums become floating point and are
    multiplied by it; then B [OC] is added and `activation` applied. Passes fuse them here.
    """

    since = 10
    operands = ("x", "w", "x_zero_point?", "w_zero_point?", "scale?", "B?")
    results = ("y",)

    activation: Activation | None = None

    def infer(self, x: Operand, w: Operand, x_zero_point: Operand | None = None, w_zero_point: Operand | None = None,
              scale: Operand | None = None, b: Operand | None = None) -> tuple[TensorType, ...]:
        y = self.output(DType.I32 if scale is None else scale.type.dtype, x, w)
        check_parameter("ConvInteger", "x_zero_point", x_zero_point)
        check_parameter("ConvInteger", "w_zero_point", w_zero_point, w.type.shape[0])
        check_zero_points("ConvInteger", (x, x_zero_point), (w, w_zero_point))
        if scale is not None:
            check_dtype("ConvInteger", "scale", scale, FLOATS)
            check_parameter("ConvInteger", "scale", scale, w.type.shape[0])
        elif b is not None or self.activation is not None:
            raise OpError("ConvInteger: B and activation need a scale, without which the output is an integer")
        if b is not None and scale is not None and b.type != TensorType(scale.type.dtype, (w.type.shape[0],)):
            raise OpError(f"ConvInteger: B must be {scale.type.dtype.value}[{w.type.shape[0]}], not {b.type}")
        return (y,)

    def reference(self, x: Array, w: Array, x_zero_point: Array | None = None, w_zero_point: Array | None = None,
                  scale: Array | None = None, b: Array | None = None) -> tuple[Array, ...]:
        y = self.total(x, w, x_zero_point, w_zero_point)
        if scale is None:
            return (y,)
        y = y.astype(scale.dtype) * _column(scale, y.ndim)
        if b is not None:
            y = y + _column(b, y.ndim)
        return (y if self.activation is None else self.activation.apply(y),)


@record
class QLinearConv(_IntegerConv):
    """ONNX QLinearConv-10: ConvInteger with the bias B (i32 [OC], of the scale x_scale * w_scale) added, quantised
    again by y_scale and y_zero_point.

    The sums are multiplied by x_scale * w_scale / y_scale, computed from the left in single precision (see
    `requantized`). Beyond ONNX: `activation`, relu or clip, is applied last; a pass fuses it here.
    """

    since = 10
    weights = 3
    operands = ("x", "x_scale", "x_zero_point", "w", "w_scale", "w_zero_point", "y_scale", "y_zero_point", "B?")
    results = ("y",)

    activation: Activation | None = None

    def check(self) -> None:
        super().check()
        check_clip("QLinearConv", self.activation)

    def infer(self, x: Operand, x_scale: Operand, x_zero_point: Operand, w: Operand, w_scale: Operand,
              w_zero_point: Operand, y_scale: Operand, y_zero_point: Operand,
              b: Operand | None = None) -> tuple[TensorType, ...]:
        check_dtype("QLinearConv", "y_zero_point", y_zero_point, BYTES)
        y = self.output(y_zero_point.type.dtype, x, w)
        for name, operand in (("x_scale", x_scale), ("x_zero_point", x_zero_point), ("y_scale", y_scale),
                              ("y_zero_point", y_zero_point)):
            check_parameter("QLinearConv", name, operand)
        for name, operand in (("w_scale", w_scale), ("w_zero_point", w_zero_point)):
            check_parameter("QLinearConv", name, operand, w.type.shape[0])
        check_scales("QLinearConv", x_scale, w_scale, y_scale)
        check_zero_points("QLinearConv", (x, x_zero_point), (w, w_zero_point))
        if b is not None and b.type != TensorType(DType.I32, (w.type.shape[0],)):
            raise OpError(f"QLinearConv: B must be i32[{w.type.shape[0]}], not {b.type}")
        return (y,)

    def reference(self, x: Array, x_scale: Array, x_zero_point: Array, w: Array, w_scale: Array, w_zero_point: Array,
                  y_scale: Array, y_zero_point: Array, b: Array | None = None) -> tuple[Array, ...]:
        total = self.total(x, w, x_zero_point, w_zero_point)
        if b is not None:
            total = to_i32(total.astype(np.int64) + _column(b, total.ndim))
        y_scale, zero = y_scale.reshape(()), y_zero_point.reshape(())
        multiplier = _column(x_scale.reshape(()) * w_scale / y_scale, total.ndim)
        return (requantized(total, multiplier, zero, y_zero_point.dtype, self.activation, y_scale),)
