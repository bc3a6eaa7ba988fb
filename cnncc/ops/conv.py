"""Conv, of any spatial rank."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from ..errors import OpError
from ..ir import Activation, DimLike, Op, Operand, TensorType
from ..records import record
from .sizes import shape_text
from .spatial import Windows, check_windows, place_windows, taps

__all__ = ["Conv", "ConvBase"]

Array = np.ndarray[Any, Any]


@record
class ConvBase(Op):
    """The geometry of a convolution: X [N, C, *spatial], W [OC, C/group, *kernel]; `weights` is W's number among the
    operands."""

    weights: ClassVar[int] = 1

    auto_pad: str = "NOTSET"
    dilations: tuple[int, ...] = ()
    group: int = 1
    kernel_shape: tuple[int, ...] = ()
    pads: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()

    def check(self) -> None:
        check_windows(self.op_type, auto_pad=self.auto_pad, pads=self.pads, strides=self.strides,
                      dilations=self.dilations, kernel=self.kernel_shape)
        if self.group < 1:
            raise OpError(f"{self.op_type}: group must be at least 1, not {self.group}")

    def windows(self, x: tuple[DimLike, ...], w: tuple[DimLike, ...]) -> Windows:
        """The geometry for inputs of these shapes, defaults filled in. Raises OpError where they do not fit."""
        rank = len(x) - 2
        if rank < 1 or len(w) != rank + 2:
            raise OpError(f"{self.op_type}: X must be [N, C, *spatial] and W of the same rank, but there are "
                          f"X {shape_text(x)} and W {shape_text(w)}")
        kernel = tuple(d for d in w[2:] if isinstance(d, int))
        if len(kernel) != rank or not isinstance(w[0], int) or not isinstance(w[1], int):
            raise OpError(f"{self.op_type}: the shape of W must be fixed, not {shape_text(w)}")
        if self.kernel_shape and self.kernel_shape != kernel:
            raise OpError(f"{self.op_type}: kernel_shape {shape_text(self.kernel_shape)} is not that of W "
                          f"{shape_text(w)}")
        if x[1] != w[1] * self.group or w[0] % self.group:
            given = f"X {shape_text(x)} and W {shape_text(w)}"
            raise OpError(f"{self.op_type}: {given} do not fit with group {self.group}: X must have "
                          f"{w[1] * self.group} channels, and W's first axis must be divisible by {self.group}")
        return place_windows(self.op_type, x[2:], kernel, strides=self.strides, dilations=self.dilations,
                             pads=self.pads, auto_pad=self.auto_pad)


@record
class Conv(ConvBase):
    """ONNX Conv-22: Y[n, oc, o] = sum over c, k of X[n, c, o*stride + k*dilation - pad] * W[oc, c, k] + B[oc].

    X [N, C, *spatial], W [OC, C/group, *kernel], B [OC]. Beyond ONNX: R, of Y's shape, is added to the sum, and
    `activation` is applied last; passes fuse them here.
    """

    since = 22
    operands = ("X", "W", "B?", "R?")

    activation: Activation | None = None

    def infer(self, x: Operand, w: Operand, b: Operand | None = None,
              r: Operand | None = None) -> tuple[TensorType, ...]:
        geometry = self.windows(x.type.shape, w.type.shape)
        out = TensorType(x.type.dtype, (x.type.shape[0], w.type.shape[0], *geometry.output))
        if not x.type.dtype.is_float or x.type.dtype != w.type.dtype:
            raise OpError(f"Conv: X and W must have one floating-point type, not {x.type.dtype.value} and "
                          f"{w.type.dtype.value}")
        if b is not None and b.type != TensorType(x.type.dtype, (w.type.shape[0],)):
            raise OpError(f"Conv: B must be {x.type.dtype.value}[{w.type.shape[0]}], not {b.type}")
        if r is not None and r.type != out:
            raise OpError(f"Conv: the residual R must be {out}, not {r.type}")
        return (out,)

    def reference(self, x: Array, w: Array, b: Array | None = None, r: Array | None = None) -> tuple[Array, ...]:
        g = self.windows(x.shape, w.shape)
        n, oc = x.shape[0], w.shape[0]
        x = x.reshape(n, self.group, w.shape[1], *x.shape[2:])
        w = w.reshape(self.group, oc // self.group, *w.shape[1:])
        pixels = math.prod(g.counts)
        y: Array = np.zeros((n, self.group, oc // self.group, pixels), x.dtype)
        for tap, window in taps(x, g):
            at: Any = tap
            y += w[(..., *at)] @ window.reshape(*window.shape[:3], pixels)
        y = y.reshape(n, oc, *g.counts)
        if b is not None:
            y = y + b.reshape(-1, *(1,) * len(g.kernel))
        if r is not None:
            y = y + r
        return (y if self.activation is None else self.activation.apply(y),)
