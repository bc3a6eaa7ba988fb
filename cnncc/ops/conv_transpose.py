"""ConvTranspose, of any spatial rank."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from ..errors import OpError
from ..ir import Activation, DimLike, Op, Operand, TensorType
from ..records import record
from .sizes import shape_text
from .spatial import Windows, check_windows, window_extent

__all__ = ["ConvTranspose"]

Array = np.ndarray[Any, Any]


@record
class ConvTranspose(Op):
    """ONNX ConvTranspose-22: each X[n, c, i] adds X * W[c, m, k] to Y[n, m, i*stride + k*dilation - pad]; then B[m].

    X [N, C, *spatial], W [C, M/group, *kernel], B [M]. A spatial axis of Y has
    (size - 1) * stride + output_padding + (kernel - 1) * dilation + 1 - pads elements, or what output_shape says, from
    which pads follow. Beyond ONNX: `activation` is applied last; passes fuse it here.
    """

    since = 22
    operands = ("X", "W", "B?")

    auto_pad: str = "NOTSET"
    dilations: tuple[int, ...] = ()
    group: int = 1
    kernel_shape: tuple[int, ...] = ()
    output_padding: tuple[int, ...] = ()
    output_shape: tuple[int, ...] = ()
    pads: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()
    activation: Activation | None = None

    def check(self) -> None:
        check_windows(self.op_type, auto_pad=self.auto_pad, pads=self.pads, strides=self.strides,
                      dilations=self.dilations, kernel=self.kernel_shape)
        if self.group < 1:
            raise OpError(f"{self.op_type}: group must be at least 1, not {self.group}")
        for name, least in (("output_padding", 0), ("output_shape", 1)):
            values = getattr(self, name)
            if any(v < least for v in values):
                raise OpError(f"{self.op_type}: {name} must be at least {least}, not {list(values)}")

    def windows(self, x: tuple[DimLike, ...], w: tuple[DimLike, ...]) -> Windows:
        """The geometry for inputs of these shapes: X's position i and tap t belong to Y's i*stride + t*dilation -
        begin. Raises OpError where they do not fit."""
        rank = len(x) - 2
        given = f"X {shape_text(x)} and W {shape_text(w)}"
        if rank < 1 or len(w) != rank + 2:
            raise OpError(f"ConvTranspose: X must be [N, C, *spatial] and W of the same rank, but there are {given}")
        kernel = tuple(d for d in w[2:] if isinstance(d, int))
        if len(kernel) != rank or not isinstance(w[0], int) or not isinstance(w[1], int):
            raise OpError(f"ConvTranspose: the shape of W must be fixed, not {shape_text(w)}")
        if self.kernel_shape and self.kernel_shape != kernel:
            raise OpError(f"ConvTranspose: kernel_shape {shape_text(self.kernel_shape)} is not that of W "
                          f"{shape_text(w)}")
        if x[1] != w[0] or w[0] % self.group:
            raise OpError(f"ConvTranspose: {given} do not fit with group {self.group}: W's first axis must be X's "
                          f"channels, and divisible by {self.group}")
        return self._place(x[2:], kernel)

    def _place(self, sizes: tuple[DimLike, ...], kernel: tuple[int, ...]) -> Windows:
        rank = len(sizes)
        strides, dilations = self.strides or (1,) * rank, self.dilations or (1,) * rank
        extra, pads = self.output_padding or (0,) * rank, self.pads or (0,) * (2 * rank)
        for name, values in (("strides", strides), ("dilations", dilations), ("output_padding", extra),
                             ("output_shape", self.output_shape or strides)):
            if len(values) != rank:
                raise OpError(f"ConvTranspose: {name} {list(values)} must have one number for each of the {rank} "
                              "spatial axes")
        if len(pads) != 2 * rank:
            raise OpError(f"ConvTranspose: pads has {len(pads)} numbers, but {rank} spatial axes need {2 * rank}")
        begin: list[int] = []
        end: list[int] = []
        output: list[DimLike] = []
        for axis, (size, k, s, d, more) in enumerate(zip(sizes, kernel, strides, dilations, extra, strict=True)):
            full = (size - 1) * s + more + window_extent(k, d)
            b, e = self._pads(axis, size, s, full, pads)
            out = full - b - e
            if isinstance(out, int) and out < 1:
                raise OpError(f"ConvTranspose: pads {b} and {e} leave nothing of the {full} elements of axis "
                              f"{axis + 2}")
            begin.append(b)
            end.append(e)
            output.append(out)
        return Windows(kernel, strides, dilations, tuple(begin), tuple(end), tuple(output))

    def _pads(self, axis: int, size: DimLike, stride: int, full: DimLike, pads: tuple[int, ...]) -> tuple[int, int]:
        """What is cut off before and behind an axis of `full` elements; a negative number adds elements, which are 0.

        Where the size is prescribed, by output_shape or (size * stride) by SAME_*, an odd element is cut off behind it
        with SAME_UPPER, else before.
        """
        rank = len(pads) // 2
        if not self.output_shape and self.auto_pad in ("NOTSET", "VALID"):
            return (0, 0) if self.auto_pad == "VALID" else (pads[axis], pads[axis + rank])
        total = full - (self.output_shape[axis] if self.output_shape else size * stride)
        if not isinstance(total, int):
            raise OpError(f"ConvTranspose: output_shape {shape_text(self.output_shape)} needs a fixed input, but axis "
                          f"{axis + 2} of X is {size}: give the input a fixed size")
        half = max(total, 0) // 2
        begin = half if self.auto_pad == "SAME_UPPER" else max(total, 0) - half
        return begin, total - begin

    def infer(self, x: Operand, w: Operand, b: Operand | None = None) -> tuple[TensorType, ...]:
        geometry = self.windows(x.type.shape, w.type.shape)
        if not x.type.dtype.is_float or x.type.dtype != w.type.dtype:
            raise OpError(f"ConvTranspose: X and W must have one floating-point type, not {x.type.dtype.value} and "
                          f"{w.type.dtype.value}")
        channels = w.type.shape[1] * self.group
        if b is not None and b.type != TensorType(x.type.dtype, (channels,)):
            raise OpError(f"ConvTranspose: B must be {x.type.dtype.value}[{channels}], not {b.type}")
        return (TensorType(x.type.dtype, (x.type.shape[0], channels, *geometry.output)),)

    def reference(self, x: Array, w: Array, b: Array | None = None) -> tuple[Array, ...]:
        g = self.windows(x.shape, w.shape)
        n, c, *sizes = x.shape
        x = x.reshape(n, self.group, c // self.group, math.prod(sizes))
        w = w.reshape(self.group, c // self.group, *w.shape[1:])
        reach = [max((size - 1) * s + window_extent(k, d), begin + o) for size, s, k, d, begin, o in
                 zip(sizes, g.strides, g.kernel, g.dilations, g.begin, g.counts, strict=True)]
        y: Array = np.zeros((n, self.group, w.shape[2], *reach), x.dtype)
        for tap in itertools.product(*map(range, g.kernel)):
            at: Any = tap
            written: Any = [slice(t * d, t * d + (size - 1) * s + 1, s)
                            for t, d, s, size in zip(tap, g.dilations, g.strides, sizes, strict=True)]
            y[(..., *written)] += (np.swapaxes(w[(..., *at)], 1, 2) @ x).reshape(*y.shape[:3], *sizes)
        kept: Any = [slice(begin, begin + o) for begin, o in zip(g.begin, g.counts, strict=True)]
        y = y[(..., *kept)].reshape(n, w.shape[2] * self.group, *g.counts)
        if b is not None:
            y = y + b.reshape(-1, *(1,) * len(g.kernel))
        return (y if self.activation is None else self.activation.apply(y),)
