"""A 1x1 convolution and a depthwise one behind it, as one operator."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import OpError
from ..ir import Activation, Op, Operand, TensorType
from ..records import record
from .conv import Conv
from .sizes import shape_text

__all__ = ["PointwiseDepthwiseConv"]

Array = np.ndarray[Any, Any]


@record
class PointwiseDepthwiseConv(Op):
    """cnncc's own: a Conv of X [N, C, *spatial] with W [M, C, 1, ...] and B [M], then a depthwise Conv of its result
    with V [M, 1, *kernel] and D [M].

    `inner` is the activation of the first, `activation` that of the second, whose `pads` and `strides` these are.
    """

    domain = "cnncc"
    operands = ("X", "W", "V", "B?", "D?")

    activation: Activation | None = None
    inner: Activation | None = None
    pads: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()

    def check(self) -> None:
        self.depthwise(1).check()

    @property
    def pointwise(self) -> Conv:
        return Conv(activation=self.inner)

    def depthwise(self, channels: int) -> Conv:
        return Conv(group=channels, pads=self.pads, strides=self.strides, activation=self.activation)

    def infer(self, x: Operand, w: Operand, v: Operand, b: Operand | None = None,
              d: Operand | None = None) -> tuple[TensorType, ...]:
        channels = w.type.shape[0] if w.type.rank else None
        fits = isinstance(channels, int) and channels > 0 and all(k == 1 for k in w.type.shape[2:])
        if not fits or v.type.rank < 2 or v.type.shape[:2] != (channels, 1):
            raise OpError(f"{self.op_type}: W must be [M, C, 1, ...] and V [M, 1, *kernel], but there are W "
                          f"{shape_text(w.type.shape)} and V {shape_text(v.type.shape)}")
        assert isinstance(channels, int)
        [middle] = self.pointwise.infer(x, w, b)
        return self.depthwise(channels).infer(Operand(middle), v, d)

    def reference(self, x: Array, w: Array, v: Array, b: Array | None = None,
                  d: Array | None = None) -> tuple[Array, ...]:
        [middle] = self.pointwise.reference(x, w, b)
        return self.depthwise(w.shape[0]).reference(middle, v, d)
