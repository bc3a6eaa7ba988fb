"""Resize."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from ..errors import OpError
from ..ir import DimLike, DType, Op, Operand, TensorType, unknown
from ..records import record
from .dtypes import FLOATS, NUMERIC, check_dtype
from .interpolation import COORDINATES, MODES, NEAREST_MODES, Axis, Sampling, sample_axis
from .sizes import check_shape, known_sizes, resolve_axes, shape_text

__all__ = ["Resize"]

Array = np.ndarray[Any, Any]
_POLICIES = ("stretch", "not_larger", "not_smaller")


@record
class Resize(Op):
    """ONNX Resize-19: X sampled anew along each of `axes` (by default all), to floor(size * scale) elements or `sizes`.

    `mode` is the kernel (nearest, linear or cubic, one axis after the other), coordinate_transformation_mode says where
    an output position lies on the input. Beyond its ends an axis goes on with its last element, unless exclude_outside
    leaves such elements out. tf_crop_and_resize samples the region `roi` [starts, ends], in units of the whole axis,
    and gives extrapolation_value outside the axis. The other inputs are f32 and i64 of one dimension.
    """

    since = 19
    operands = ("X", "roi?", "scales?", "sizes?")
    shaped_by = ("roi", "scales", "sizes")

    antialias: bool = False
    axes: tuple[int, ...] = ()
    coordinate_transformation_mode: str = "half_pixel"
    cubic_coeff_a: float = -0.75
    exclude_outside: bool = False
    extrapolation_value: float = 0.0
    keep_aspect_ratio_policy: str = "stretch"
    mode: str = "nearest"
    nearest_mode: str = "round_prefer_floor"

    def check(self) -> None:
        for name, allowed in (("mode", MODES), ("coordinate_transformation_mode", COORDINATES),
                              ("nearest_mode", NEAREST_MODES), ("keep_aspect_ratio_policy", _POLICIES)):
            if getattr(self, name) not in allowed:
                raise OpError(f"Resize: {name} must be one of {', '.join(allowed)}, not '{getattr(self, name)}'")

    @property
    def sampling(self) -> Sampling:
        return Sampling(self.mode, self.coordinate_transformation_mode, self.nearest_mode,
                        self.antialias and self.mode != "nearest", self.cubic_coeff_a,
                        self.exclude_outside and self.mode != "nearest")

    @property
    def crops(self) -> bool:
        return self.coordinate_transformation_mode == "tf_crop_and_resize"

    def named(self, rank: int) -> tuple[int, ...]:
        """The axes that scales, sizes and roi are about, in their order."""
        return resolve_axes("Resize", self.axes, rank) if self.axes else tuple(range(rank))

    # -- types ---------------------------------------------------------------------------------------------------------

    def infer(self, x: Operand, roi: Operand | None = None, scales: Operand | None = None,
              sizes: Operand | None = None) -> tuple[TensorType, ...]:
        check_dtype("Resize", "X", x, NUMERIC)
        axes = self.named(x.type.rank)
        if (scales is None) == (sizes is None):
            raise OpError("Resize: give either scales or sizes")
        if self.crops and (roi is None or roi.type.shape != (2 * len(axes),)):
            raise OpError(f"Resize: tf_crop_and_resize needs a roi of {2 * len(axes)} numbers, a start and an end for "
                          f"each axis, not {'none' if roi is None else roi.type}")
        shape = list(x.type.shape)
        if sizes is not None:
            wanted = known_sizes("Resize", "sizes", sizes)
            _check_count("sizes", axes, wanted)
            new = self._kept_aspect([shape[a] for a in axes], wanted)
        elif any(o is not None and o.value is None for o in ((scales, roi) if self.crops else (scales,))):
            new = tuple(unknown(f"d{a}") for a in axes)
        else:
            assert scales is not None
            factors = _floats("scales", scales)
            _check_count("scales", axes, factors)
            parts = [1.0] * len(axes) if not self.crops else _extents(_floats("roi", roi))
            new = tuple(_scaled(shape[a], f, p) for a, f, p in zip(axes, factors, parts, strict=True))
        for axis, size in zip(axes, new, strict=True):
            if shape[axis] == 0 and isinstance(size, int) and size > 0:
                raise OpError(f"Resize: axis {axis} of {x.type} has no elements to make {size} of")
            shape[axis] = size
        return (TensorType(x.type.dtype, check_shape("Resize", tuple(shape))),)

    def _kept_aspect(self, shape: Sequence[DimLike], sizes: Sequence[DimLike]) -> tuple[DimLike, ...]:
        """The sizes after keep_aspect_ratio_policy: all axes scaled alike, halves rounded up."""
        if self.keep_aspect_ratio_policy == "stretch":
            return tuple(sizes)
        pairs = [(n, s) for n, s in zip(shape, sizes, strict=True) if isinstance(n, int) and isinstance(s, int)]
        if any(n == 0 for n, _ in pairs):
            raise OpError(f"Resize: keep_aspect_ratio_policy={self.keep_aspect_ratio_policy} has nothing to keep where "
                          f"{shape_text(shape)} is resized to {shape_text(sizes)}")
        if len(pairs) < len(sizes):
            return tuple(unknown(f"d{axis}") for axis in range(len(sizes)))
        scale = self._common_scale(pairs)
        return tuple(math.floor(n * scale + Fraction(1, 2)) for n, _ in pairs)

    def _common_scale(self, pairs: Sequence[tuple[int, int]]) -> Fraction:
        pick = min if self.keep_aspect_ratio_policy == "not_larger" else max
        return pick(Fraction(s, n) for n, s in pairs)

    # -- numbers -------------------------------------------------------------------------------------------------------

    def resized(self, shape: tuple[int, ...], output: tuple[int, ...], roi: Array | None, scales: Array | None,
                sizes: Array | None) -> dict[int, Axis]:
        """The axes that change, from the shapes of X and Y (without a 0) and the contents of the other inputs."""
        axes = self.named(len(shape))
        factors = [1.0] * len(axes)
        if scales is not None:
            factors = [float(f) for f in scales]
        elif self.keep_aspect_ratio_policy != "stretch" and sizes is not None:
            common = self._common_scale([(shape[a], int(s)) for a, s in zip(axes, sizes, strict=True)])
            factors = [float(common)] * len(axes)
        else:
            factors = [output[a] / shape[a] for a in axes]
        found = {}
        for i, axis in enumerate(axes):
            region = (float(roi[i]), float(roi[i + len(axes)])) if self.crops and roi is not None else (0.0, 1.0)
            if output[axis] == shape[axis] and factors[i] == 1 and region == (0.0, 1.0):
                continue
            found[axis] = Axis(shape[axis], output[axis], factors[i], *region)
        return found

    def reference(self, x: Array, roi: Array | None = None, scales: Array | None = None,
                  sizes: Array | None = None) -> tuple[Array, ...]:
        operands = [None if v is None else Operand(TensorType(DType.of(v.dtype), v.shape), v)
                    for v in (x, roi, scales, sizes)]
        output = self.infer(*operands)[0].static_shape  # type: ignore[arg-type]  # x is there
        if 0 in output:
            return (np.zeros(output, x.dtype),)
        wide = np.promote_types(x.dtype, np.float32) if x.dtype.kind == "f" else np.dtype(np.float64)
        y = x if self.mode == "nearest" else x.astype(wide)
        outside = np.zeros((1,) * x.ndim, bool)
        for axis, change in self.resized(x.shape, output, roi, scales, sizes).items():
            samples = sample_axis(change, self.sampling)
            along = (-1, *(1,) * (x.ndim - 1 - axis))
            if self.mode == "nearest":
                y = y.take(samples.indices[:, 0], axis)
            else:
                weights = samples.weights.astype(wide)
                y = sum((y.take(samples.indices[:, t], axis) * weights[:, t].reshape(along)
                         for t in range(weights.shape[1])), np.zeros((), wide))
            outside = outside | samples.outside.reshape(along)
        if self.crops:
            y = np.where(outside, wide.type(self.extrapolation_value), y)
        if x.dtype.kind != "f" and y.dtype != x.dtype:
            limits = np.iinfo(x.dtype)
            y = np.clip(np.rint(y), limits.min, limits.max)
        return (y.astype(x.dtype),)


def _check_count(name: str, axes: Sequence[int], values: Sequence[Any]) -> None:
    if len(values) != len(axes):
        raise OpError(f"Resize: {name} has {len(values)} numbers, but there are {len(axes)} axes to resize")


def _floats(name: str, operand: Operand | None) -> list[float]:
    """The contents of a one-dimensional floating-point operand that is known."""
    assert operand is not None
    check_dtype("Resize", name, operand, FLOATS)
    if operand.type.rank != 1 or operand.value is None:
        raise OpError(f"Resize: {name} must be a constant of one dimension, not {operand.type}")
    return [float(v) for v in operand.value]


def _extents(roi: Sequence[float]) -> list[float]:
    half = len(roi) // 2
    return [end - start for start, end in zip(roi[:half], roi[half:], strict=True)]


def _scaled(size: DimLike, scale: float, part: float) -> DimLike:
    """floor(size * part * scale), where scales have single precision."""
    if not math.isfinite(scale) or scale <= 0:
        raise OpError(f"Resize: scales must be greater than 0, not {scale}")
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = np.floor(np.float32(size if isinstance(size, int) else 1) * np.float32(part) * np.float32(scale))
    if not np.isfinite(scaled):
        raise OpError(f"Resize: {size} elements times {scale} are more than there may be")
    if isinstance(size, int):
        return int(scaled)
    ratio = Fraction(scale) * Fraction(part)
    if ratio.denominator > 64:  # the floor of a rounded product: no polynomial
        return unknown(f"{size} * {scale} * {part}")
    return (size * ratio.numerator) // ratio.denominator
