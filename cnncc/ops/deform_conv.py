"""DeformConv."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..errors import OpError
from ..ir import DimLike, Op, Operand, TensorType
from ..records import record
from .dtypes import FLOATS, common_dtype
from .sampling import Reading, sample
from .sizes import agree, shape_text
from .spatial import Windows, check_windows, place_windows

__all__ = ["DeformConv"]

Array = np.ndarray[Any, Any]


@record
class DeformConv(Op):
    """ONNX DeformConv-22: a Conv of X [N, C, *spatial] by W [OC, C/group, *kernel] whose taps are moved by `offset`
    [N, offset_group * taps * r, *out], one number for each of the r spatial axes and each tap, the axes last.

    Moved taps read linearly between elements, zeros outside. C divides into offset_group groups with offsets of their
    own. What a tap reads is multiplied by `mask` [N, offset_group * taps, *out]; B [OC] is added.
    """

    since = 22
    operands = ("X", "W", "offset", "B?", "mask?")

    dilations: tuple[int, ...] = ()
    group: int = 1
    kernel_shape: tuple[int, ...] = ()
    offset_group: int = 1
    pads: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()

    def check(self) -> None:
        check_windows("DeformConv", auto_pad="NOTSET", pads=self.pads, strides=self.strides, dilations=self.dilations,
                      kernel=self.kernel_shape)
        if self.group < 1 or self.offset_group < 1:
            raise OpError(f"DeformConv: group and offset_group must be at least 1, not {self.group} and "
                          f"{self.offset_group}")

    def windows(self, x: tuple[DimLike, ...], w: tuple[DimLike, ...]) -> Windows:
        """The geometry of the taps before they are moved."""
        kernel = tuple(k for k in w[2:] if isinstance(k, int))
        if len(kernel) != len(w) - 2 or (self.kernel_shape and self.kernel_shape != kernel):
            raise OpError(f"DeformConv: W {shape_text(w)} must have a fixed kernel, kernel_shape "
                          f"{list(self.kernel_shape)} where that is given")
        return place_windows("DeformConv", x[2:], kernel, strides=self.strides, dilations=self.dilations,
                             pads=self.pads, auto_pad="NOTSET")

    def infer(self, x: Operand, w: Operand, offset: Operand, bias: Operand | None = None,
              mask: Operand | None = None) -> tuple[TensorType, ...]:
        dtype = common_dtype("DeformConv", (o for o in (x, w, offset, bias, mask) if o is not None), FLOATS)
        rank = x.type.rank - 2
        if rank < 1 or w.type.rank != x.type.rank:
            raise OpError(f"DeformConv: X must be [N, C, *spatial] and W [OC, C/group, *kernel], not {x.type} and "
                          f"{w.type}")
        g = self.windows(x.type.shape, w.type.shape)
        (images, channels), (outputs, inputs) = x.type.shape[:2], w.type.shape[:2]
        if agree((channels, inputs * self.group)) is None or (isinstance(outputs, int) and outputs % self.group) \
                or (isinstance(channels, int) and channels % self.offset_group):
            raise OpError(f"DeformConv: X {x.type} and W {w.type} do not fit {self.group} groups and "
                          f"{self.offset_group} groups of offsets")
        taps = self.offset_group * math.prod(g.kernel)
        _check_like("offset", offset, (images, taps * rank, *g.output))
        if mask is not None:
            _check_like("mask", mask, (images, taps, *g.output))
        if bias is not None and (bias.type.rank != 1 or agree((bias.type.shape[0], outputs)) is None):
            raise OpError(f"DeformConv: B must be [{outputs}], not {bias.type}")
        return (TensorType(dtype, (images, outputs, *g.output)),)

    def columns(self, x: Array, kernel: tuple[int, ...], offset: Array, mask: Array | None) -> Array:
        """What each tap reads for each channel: [N, C, taps, *out]."""
        g = self.windows(x.shape, (1, 1, *kernel))
        taps, rank, images = math.prod(kernel), len(kernel), x.shape[0]
        moves = offset.reshape(images, self.offset_group, taps, rank, *g.counts)
        scales = None if mask is None else mask.reshape(images, self.offset_group, 1, taps, *g.counts)
        groups = np.split(x, self.offset_group, axis=1)
        starts = np.meshgrid(*(np.arange(o) * s - b for o, s, b in zip(g.counts, g.strides, g.begin, strict=True)),
                             indexing="ij")
        found = []
        for i, part in enumerate(groups):
            read = []
            for t, tap in enumerate(np.ndindex(*kernel)):
                at = [(starts[d] + tap[d] * g.dilations[d]).astype(x.dtype) + moves[:, i, t, d] for d in range(rank)]
                read.append(sample(part, at, Reading()))
            columns = np.stack(read, 2)
            found.append(columns if scales is None else columns * scales[:, i])
        return np.concatenate(found, 1)

    def reference(self, x: Array, w: Array, offset: Array, bias: Array | None = None,
                  mask: Array | None = None) -> tuple[Array, ...]:
        wide = np.promote_types(x.dtype, np.float32)
        columns = self.columns(x.astype(wide), w.shape[2:], offset.astype(wide), mask)
        n, _, _, *out = columns.shape
        y = np.einsum("ngk...,gok->ngo...", columns.reshape(n, self.group, -1, *out),
                      w.astype(wide).reshape(self.group, w.shape[0] // self.group, -1))
        y = y.reshape(n, w.shape[0], *out)
        if bias is not None:
            y = y + bias.reshape(-1, *(1,) * len(out))
        return (y.astype(x.dtype),)


def _check_like(name: str, operand: Operand, wanted: tuple[DimLike, ...]) -> None:
    if operand.type.rank != len(wanted) or any(agree(p) is None for p in zip(operand.type.shape, wanted, strict=True)):
        raise OpError(f"DeformConv: {name} must be {shape_text(wanted)}, not {operand.type}")
