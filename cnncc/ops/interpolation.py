"""How Resize samples one axis: for each output position the input elements it reads, and their weights."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..records import record

__all__ = ["COORDINATES", "MODES", "NEAREST_MODES", "Axis", "Sampling", "Samples", "line", "sample_axis"]

Array = np.ndarray[Any, Any]
MODES = ("nearest", "linear", "cubic")
COORDINATES = ("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric",
               "tf_crop_and_resize")
NEAREST_MODES = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")


@record
class Sampling:
    """The attributes of Resize that tell how an axis is sampled (see there)."""

    mode: str
    coordinates: str
    nearest_mode: str
    antialias: bool
    cubic_coeff_a: float
    exclude_outside: bool


@record
class Axis:
    """An axis of `size` elements that becomes one of `output`; `start` and `end` are its region of interest."""

    size: int
    output: int
    scale: float
    start: float = 0.0
    end: float = 1.0


@record
class Samples:
    """Output position o is the sum over t of weights[o, t] * input[indices[o, t]], or where outside[o] the
    extrapolation value. indices are inside the axis."""

    indices: Array
    weights: Array
    outside: Array


def sample_axis(axis: Axis, how: Sampling) -> Samples:
    """Positions are rounded to single precision, in which ONNX gives scales: with a scale of 0.8 the position of
    output 4 is 5, not just below."""
    shift, scale, offset = line(axis, how.coordinates)
    at = ((np.arange(axis.output) + shift) / scale + offset).astype(np.float32).astype(np.float64)
    outside = np.zeros(axis.output, bool)
    if how.coordinates == "tf_crop_and_resize":
        outside = (at < 0) | (at > axis.size - 1)
    if how.mode == "nearest":
        indices, weights = _nearest(at, how.nearest_mode)[:, None], np.ones((axis.output, 1))
    else:
        indices, weights = _filter(at, axis, how)
    if how.exclude_outside:
        weights = np.where((indices < 0) | (indices >= axis.size), 0, weights)
        weights /= weights.sum(1, keepdims=True)
    return Samples(np.clip(indices, 0, axis.size - 1), weights, outside)


def line(axis: Axis, coordinates: str) -> tuple[float, float, float]:
    """(shift, scale, offset): output position o lies at (o + shift) / scale + offset on the input axis."""
    last = axis.size - 1
    if coordinates == "asymmetric":
        return 0.0, axis.scale, 0.0
    if coordinates == "align_corners":
        return 0.0, (axis.output - 1) / last if axis.output > 1 and last > 0 else math.inf, 0.0
    if coordinates == "tf_crop_and_resize":
        reach = (axis.end - axis.start) * last
        if axis.output == 1:
            return 0.0, math.inf, 0.5 * (axis.start + axis.end) * last
        return 0.0, (axis.output - 1) / reach if reach else math.inf, axis.start * last
    if coordinates == "pytorch_half_pixel" and axis.output == 1:
        return 0.0, math.inf, 0.0
    offset = -0.5
    if coordinates == "half_pixel_symmetric":
        offset += axis.size / 2 * (1 - axis.output / (axis.scale * axis.size))
    return 0.5, axis.scale, offset


def _nearest(at: Array, nearest_mode: str) -> Array:
    rounded = {"floor": np.floor(at), "ceil": np.ceil(at), "round_prefer_floor": np.ceil(at - 0.5),
               "round_prefer_ceil": np.floor(at + 0.5)}[nearest_mode]
    return rounded.astype(np.int64)


def _filter(at: Array, axis: Axis, how: Sampling) -> tuple[Array, Array]:
    """Indices, not yet inside the axis, and weights of a kernel around each position; with antialias it is stretched
    by 1 / scale where elements get fewer."""
    reach = 1 if how.mode == "linear" else 2
    stretch = max(1.0, 1.0 / axis.scale) if how.antialias else 1.0
    taps = np.arange(1 - math.ceil(reach * stretch), math.ceil(reach * stretch) + 1)
    base = np.floor(at)
    distance = np.abs(base[:, None] + taps - at[:, None]) / stretch
    weights = np.maximum(1 - distance, 0) if how.mode == "linear" else _cubic(distance, how.cubic_coeff_a)
    weights = weights / weights.sum(1, keepdims=True)
    return base.astype(np.int64)[:, None] + taps, weights


def _cubic(d: Array, a: float) -> Array:
    """The cubic convolution kernel at distances d >= 0 (Keys 1981, equation 4)."""
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))
