"""Operators that put windows back: MaxUnpool and Col2Im, and CenterCropPad, which cuts and pads around the middle."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import OpError
from ..ir import DimLike, DType, Op, Operand, TensorType
from ..records import record
from .dtypes import ANY, FLOATS, NUMERIC, check_dtype
from .sizes import agree, check_shape, is_equal, known_ints, known_sizes, product, resolve_axes
from .spatial import Windows, check_windows, place_windows

__all__ = ["CenterCropPad", "Col2Im", "MaxUnpool"]

Array = np.ndarray[Any, Any]


@record
class MaxUnpool(Op):
    """ONNX MaxUnpool-22: zeros, but each element of X [N, C, *spatial] at the place that I has for it: the number of
    an element of the flattened output, as MaxPool's Indices are of its input.

    The output has `output_shape`, or (size - 1) * stride - pads + kernel elements along each spatial axis. Where
    places come twice the last one counts.
    """

    since = 22
    operands = ("X", "I", "output_shape?")
    results = ("output",)
    shaped_by = ("output_shape",)

    kernel_shape: tuple[int, ...]
    pads: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()

    def check(self) -> None:
        check_windows("MaxUnpool", auto_pad="NOTSET", pads=self.pads, strides=self.strides, dilations=(),
                      kernel=self.kernel_shape)

    def infer(self, x: Operand, places: Operand, shape: Operand | None = None) -> tuple[TensorType, ...]:
        check_dtype("MaxUnpool", "X", x, FLOATS)
        check_dtype("MaxUnpool", "I", places, (DType.I64,))
        rank = len(self.kernel_shape)
        if len(self.pads) not in (0, 2 * rank) or len(self.strides) not in (0, rank):
            raise OpError(f"MaxUnpool: pads {list(self.pads)} and strides {list(self.strides)} must be for the {rank} "
                          "axes of kernel_shape")
        if x.type.rank != rank + 2 or places.type.shape != x.type.shape:
            raise OpError(f"MaxUnpool: X must be [N, C, *spatial] with one axis for each number of kernel_shape "
                          f"{list(self.kernel_shape)}, and I have its shape, not {x.type} and {places.type}")
        sizes = self._sizes(x.type.shape) if shape is None else known_sizes("MaxUnpool", "output_shape", shape)
        if len(sizes) != x.type.rank or any(agree(p) is None for p in zip(sizes[:2], x.type.shape[:2], strict=True)):
            raise OpError(f"MaxUnpool: output_shape must be [N, C, *spatial] like X {x.type}, not {list(sizes)}")
        return (TensorType(x.type.dtype, check_shape("MaxUnpool", tuple(sizes))),)

    def _sizes(self, shape: tuple[DimLike, ...]) -> tuple[DimLike, ...]:
        rank = len(self.kernel_shape)
        pads, strides = self.pads or (0,) * (2 * rank), self.strides or (1,) * rank
        return (*shape[:2], *((n - 1) * strides[d] + (self.kernel_shape[d] - pads[d] - pads[d + rank])
                              for d, n in enumerate(shape[2:])))

    def reference(self, x: Array, places: Array, shape: Array | None = None) -> tuple[Array, ...]:
        sizes: Any = self._sizes(x.shape) if shape is None else shape
        y = np.zeros([int(n) for n in sizes], x.dtype)
        outside = places[(places < 0) | (places >= y.size)]
        if outside.size:
            raise OpError(f"MaxUnpool: the place {outside.ravel()[0]} is outside an output of {y.size} elements")
        y.reshape(-1)[places.ravel()] = x.ravel()
        return (y,)


@record
class Col2Im(Op):
    """ONNX Col2Im-18: the sum of overlapping blocks, input [N, C * prod(block_shape), blocks] -> [N, C, *image_shape].

    Blocks are in C order, and so are the elements of a block; it is the transpose of cutting an image into windows of
    block_shape. What lies in the pads is dropped.
    """

    since = 18
    operands = ("input", "image_shape", "block_shape")
    results = ("output",)
    shaped_by = ("image_shape",)

    dilations: tuple[int, ...] = ()
    pads: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()

    def check(self) -> None:
        check_windows("Col2Im", auto_pad="NOTSET", pads=self.pads, strides=self.strides, dilations=self.dilations,
                      kernel=())

    def windows(self, image: Sequence[DimLike], block: Sequence[int]) -> Windows:
        return place_windows("Col2Im", image, block, strides=self.strides, dilations=self.dilations, pads=self.pads,
                             auto_pad="NOTSET")

    def infer(self, x: Operand, image: Operand, block: Operand) -> tuple[TensorType, ...]:
        check_dtype("Col2Im", "the input", x, NUMERIC)
        sizes = known_sizes("Col2Im", "image_shape", image)
        kernel = known_ints("Col2Im", "block_shape", block)
        if x.type.rank != 3 or len(sizes) != len(kernel) or min(kernel, default=0) < 1:
            raise OpError("Col2Im: the input must be [N, C * block, blocks], image_shape and block_shape of one "
                          f"length, not {x.type}, {list(sizes)} and {list(kernel)}")
        images, rows, blocks = x.type.shape
        count, taps = product(self.windows(sizes, kernel).output), math.prod(kernel)
        if is_equal(count, blocks) is False or (isinstance(rows, int) and rows % taps):
            raise OpError(f"Col2Im: an image of {list(sizes)} has {count} blocks of {taps} elements, which does not "
                          f"fit the input {x.type}")
        return (TensorType(x.type.dtype, check_shape("Col2Im", (images, rows // taps, *sizes))),)

    def reference(self, x: Array, image: Array, block: Array) -> tuple[Array, ...]:
        kernel, sizes = tuple(int(k) for k in block), [int(n) for n in image]
        g = self.windows(sizes, kernel)
        columns = x.reshape(x.shape[0], -1, *kernel, *g.counts)
        padded = np.zeros((*columns.shape[:2], *(n + b + e for n, b, e in zip(sizes, g.begin, g.end, strict=True))),
                          x.dtype)
        for tap in np.ndindex(*kernel):
            to = tuple(slice(t * d, t * d + (o - 1) * s + 1, s)
                       for t, d, o, s in zip(tap, g.dilations, g.counts, g.strides, strict=True))
            padded[(slice(None), slice(None), *to)] += columns[(slice(None), slice(None), *tap)]
        kept: Any = [slice(b, b + n) for b, n in zip(g.begin, sizes, strict=True)]
        return (padded[(..., *kept)].copy(),)


@record
class CenterCropPad(Op):
    """ONNX CenterCropPad-18: the middle of the input along each of `axes` (by default all), `shape` elements long, or
    the input in the middle of zeros. Of an odd difference the larger half is behind."""

    since = 18
    operands = ("input_data", "shape")
    results = ("output_data",)
    shaped_by = ("shape",)

    axes: tuple[int, ...] = ()

    def infer(self, x: Operand, shape: Operand) -> tuple[TensorType, ...]:
        check_dtype("CenterCropPad", "input_data", x, ANY)
        sizes = check_shape("CenterCropPad", known_sizes("CenterCropPad", "shape", shape))
        axes = self._axes(x.type.rank)
        if len(sizes) != len(axes):
            raise OpError(f"CenterCropPad: shape has {len(sizes)} numbers, but there are {len(axes)} axes")
        new = list(x.type.shape)
        for axis, size in zip(axes, sizes, strict=True):
            new[axis] = size
        return (TensorType(x.type.dtype, tuple(new)),)

    def _axes(self, rank: int) -> tuple[int, ...]:
        return resolve_axes("CenterCropPad", self.axes or range(rank), rank)

    @staticmethod
    def widths(old: Sequence[int], new: Sequence[int]) -> list[tuple[int, int]]:
        """Elements added before and behind each axis, less than 0 where they are cut away."""
        return [(more // 2, more - more // 2) if more >= 0 else (-(-more // 2), more + -more // 2)
                for more in (n - o for o, n in zip(old, new, strict=True))]

    def reference(self, x: Array, shape: Array) -> tuple[Array, ...]:
        new = list(x.shape)
        for axis, size in zip(self._axes(x.ndim), shape, strict=True):
            new[axis] = int(size)
        widths = self.widths(x.shape, new)
        kept = x[tuple(slice(max(-b, 0), n - max(-e, 0)) for n, (b, e) in zip(x.shape, widths, strict=True))]
        return (np.pad(kept, [(max(b, 0), max(e, 0)) for b, e in widths]),)
