"""Operators on regions of pictures: RoiAlign and MaxRoiPool."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..errors import OpError
from ..ir import DType, Op, Operand, TensorType
from ..records import record
from .dtypes import FLOATS, check_dtype, common_dtype
from .sizes import agree

__all__ = ["MaxRoiPool", "RoiAlign"]

Array = np.ndarray[Any, Any]


def _check_picture(op_type: str, x: Operand) -> None:
    if x.type.rank != 4 or 0 in x.type.shape[2:]:
        raise OpError(f"{op_type}: X must be [N, C, H, W] with pixels, not {x.type}")


def _pictures(op_type: str, numbers: Array, images: int) -> list[int]:
    """The numbers of the pictures that regions lie in; raises OpError where there is no such picture."""
    found = [int(n) for n in numbers]
    if any(not 0 <= n < images for n in found):
        raise OpError(f"{op_type}: a region lies in picture {next(n for n in found if not 0 <= n < images)}, but there "
                      f"are {images}")
    return found


MOST_SAMPLES = 1 << 14  # of a bin along an axis: regions are not larger than pictures, but a file may say anything


@record
class RoiAlign(Op):
    """ONNX RoiAlign-22: X [N, C, H, W], rois [R, 4] of x1, y1, x2, y2 and batch_indices [R] (the picture of each)
    -> Y [R, C, output_height, output_width].

    A region, times spatial_scale and half a pixel less where `half_pixel`, is divided into bins, and each bin into
    sampling_ratio^2 parts (0: of a pixel or less, at most MOST_SAMPLES^2), in whose middle X is read linearly.
    An output is the mean of its samples, or (`max`) the largest of all weighted pixels that they are sums of. Samples
    more than a pixel outside count as 0. With `output_half_pixel` regions have sides of at least 1.
    """

    since = 22
    operands = ("X", "rois", "batch_indices")

    coordinate_transformation_mode: str = "half_pixel"
    mode: str = "avg"
    output_height: int = 1
    output_width: int = 1
    sampling_ratio: int = 0
    spatial_scale: float = 1.0

    def check(self) -> None:
        for name, allowed in (("mode", ("avg", "max")),
                              ("coordinate_transformation_mode", ("half_pixel", "output_half_pixel"))):
            if getattr(self, name) not in allowed:
                raise OpError(f"RoiAlign: {name} must be {' or '.join(allowed)}, not '{getattr(self, name)}'")
        for name, least in (("output_height", 1), ("output_width", 1), ("sampling_ratio", 0)):
            if getattr(self, name) < least:
                raise OpError(f"RoiAlign: {name} must be at least {least}, not {getattr(self, name)}")
        if self.sampling_ratio > MOST_SAMPLES:
            raise OpError(f"RoiAlign: sampling_ratio must be at most {MOST_SAMPLES}, not {self.sampling_ratio}")
        if not math.isfinite(self.spatial_scale):
            raise OpError(f"RoiAlign: spatial_scale must be a finite number, not {self.spatial_scale}")

    def infer(self, x: Operand, rois: Operand, pictures: Operand) -> tuple[TensorType, ...]:
        dtype = common_dtype("RoiAlign", (x, rois), FLOATS)
        check_dtype("RoiAlign", "batch_indices", pictures, (DType.I64,))
        _check_picture("RoiAlign", x)
        if rois.type.rank != 2 or rois.type.shape[1] != 4 or pictures.type.rank != 1 \
                or agree((rois.type.shape[0], pictures.type.shape[0])) is None:
            raise OpError(f"RoiAlign: rois must be [R, 4] and batch_indices [R], not {rois.type} and {pictures.type}")
        if x.type.shape[0] == 0 and isinstance(rois.type.shape[0], int) and rois.type.shape[0]:
            raise OpError(f"RoiAlign: rois {rois.type} lie in no picture: X is {x.type}")
        return (TensorType(dtype, (rois.type.shape[0], x.type.shape[1], self.output_height, self.output_width)),)

    def reference(self, x: Array, rois: Array, pictures: Array) -> tuple[Array, ...]:
        wide = np.promote_types(x.dtype, np.float32)
        y = np.zeros((len(rois), x.shape[1], self.output_height, self.output_width), wide)
        for r, picture in enumerate(_pictures("RoiAlign", pictures, x.shape[0])):
            rows, columns = (self._samples(rois[r].astype(wide), axis, x.shape[3 - axis]) for axis in (1, 0))
            for ph, pw in np.ndindex(y.shape[2:]):
                taps = [(h, w, a * b) for row in rows[ph] for column in columns[pw] for h, a in row for w, b in column]
                if taps:
                    read = np.stack([x[picture, :, h, w].astype(wide) * weight for h, w, weight in taps])
                    y[r, :, ph, pw] = read.sum(0) / (len(taps) // 4) if self.mode == "avg" else read.max(0)
        return (y.astype(x.dtype),)

    def _samples(self, roi: Array, axis: int, size: int) -> list[list[list[tuple[int, Any]]]]:
        """For each bin along an axis (0: x, 1: y) its samples: the two pixels of each, with their weights."""
        aligned = self.coordinate_transformation_mode == "half_pixel"
        scale, shift = roi.dtype.type(self.spatial_scale), roi.dtype.type(0.5 if aligned else 0)
        start, end = roi[axis] * scale - shift, roi[axis + 2] * scale - shift
        length = end - start if aligned else max(end - start, roi.dtype.type(1))
        bins = self.output_height if axis else self.output_width
        width = length / bins
        count = self.sampling_ratio or max(math.ceil(min(width, MOST_SAMPLES)), 0)
        return [[_pair(start + b * width + (i + roi.dtype.type(0.5)) * width / count, size) for i in range(count)]
                for b in range(bins)]


def _pair(at: Any, size: int) -> list[tuple[int, Any]]:
    """The two elements that a position lies between, and their weights: those of the axis' end beyond it, and 0 more
    than an element outside."""
    if not -1 <= at <= size:
        return [(0, type(at)(0))] * 2
    at = min(max(at, type(at)(0)), type(at)(size - 1))
    low = int(at)
    return [(low, 1 - (at - low)), (min(low + 1, size - 1), at - low)]


@record
class MaxRoiPool(Op):
    """ONNX MaxRoiPool-22: X [N, C, H, W] and rois [R, 5] of picture, x1, y1, x2, y2 -> Y [R, C, *pooled_shape].

    A region, times spatial_scale and rounded to whole pixels, both ends included, is divided into bins that reach
    outwards to whole pixels; an output is the largest pixel of its bin, 0 where the bin lies outside.
    """

    since = 22
    operands = ("X", "rois")

    pooled_shape: tuple[int, ...]
    spatial_scale: float = 1.0

    def check(self) -> None:
        if len(self.pooled_shape) != 2 or min(self.pooled_shape) < 1:
            raise OpError(f"MaxRoiPool: pooled_shape must be a height and a width, not {list(self.pooled_shape)}")

    def infer(self, x: Operand, rois: Operand) -> tuple[TensorType, ...]:
        dtype = common_dtype("MaxRoiPool", (x, rois), FLOATS)
        _check_picture("MaxRoiPool", x)
        if rois.type.rank != 2 or rois.type.shape[1] != 5:
            raise OpError(f"MaxRoiPool: rois must be [R, 5], not {rois.type}")
        return (TensorType(dtype, (rois.type.shape[0], x.type.shape[1], *self.pooled_shape)),)

    def reference(self, x: Array, rois: Array) -> tuple[Array, ...]:
        y = np.zeros((len(rois), x.shape[1], *self.pooled_shape), x.dtype)
        for r, picture in enumerate(_pictures("MaxRoiPool", rois[:, 0], x.shape[0])):
            rows, columns = (self._bins(rois[r], axis, x.shape[3 - axis]) for axis in (1, 0))
            for (i, (top, bottom)), (j, (left, right)) in ((a, b) for a in enumerate(rows) for b in enumerate(columns)):
                if top < bottom and left < right:
                    y[r, :, i, j] = x[picture, :, top:bottom, left:right].max((1, 2))
        return (y,)

    def _bins(self, roi: Array, axis: int, size: int) -> list[tuple[int, int]]:
        """The pixels [from, to) of each bin along an axis (0: x, 1: y)."""
        wide = np.promote_types(roi.dtype, np.float32).type
        start, end = (_rounded(wide(roi[1 + axis + 2 * k]) * wide(self.spatial_scale)) for k in (0, 1))
        count = self.pooled_shape[1 - axis]
        width = wide(max(end - start + 1, 1)) / wide(count)
        ends = [(math.floor(b * width) + start, math.ceil((b + 1) * width) + start) for b in range(count)]
        return [(min(max(first, 0), size), min(max(last, 0), size)) for first, last in ends]


def _rounded(value: Any) -> int:
    """To the nearest integer, halves away from zero."""
    return math.floor(value + type(value)(0.5)) if value >= 0 else math.ceil(value - type(value)(0.5))
