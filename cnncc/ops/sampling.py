"""Reading a tensor between its elements: positions along each spatial axis, the elements around them, their weights."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..records import record

__all__ = ["FARTHEST", "PADDINGS", "SAMPLE_MODES", "Reading", "sample"]

Array = np.ndarray[Any, Any]
SAMPLE_MODES = ("linear", "nearest", "cubic")
PADDINGS = ("zeros", "border", "reflection")
CUBIC_A = -0.75  # the parameter of Keys' kernel that GridSample prescribes
FARTHEST = 2.0**30  # positions beyond are as good as this one, and it is an integer of any index type


@record
class Reading:
    """How positions between elements are read: SAMPLE_MODES, and PADDINGS for what lies outside. Reflection is at the
    centres of the outermost elements with `align_corners`, at their outer edges without."""

    mode: str = "linear"
    padding: str = "zeros"
    align_corners: bool = False


def sample(x: Array, positions: Sequence[Array], how: Reading) -> Array:
    """What x [N, C, *spatial] has at `positions`, one array [N, *out] of element numbers for each spatial axis:
    [N, C, *out] in the type of the positions (that of x where `nearest`). A NaN lies outside, before the axis."""
    images = np.arange(x.shape[0]).reshape(-1, *(1,) * (positions[0].ndim - 1))
    axes = [_taps(at, size, how) for at, size in zip(positions, x.shape[2:], strict=True)]
    rows = np.moveaxis(x, 1, -1)  # [N, *spatial, C], so that an index of pixels gives [N, *out, C]
    total = np.zeros((*positions[0].shape, x.shape[1]), x.dtype if how.mode == "nearest" else positions[0].dtype)
    for taps in itertools.product(*axes):
        index = tuple(i for i, _, _ in taps)
        inside = np.logical_and.reduce([kept for _, kept, _ in taps])
        weight = np.prod([w for _, _, w in taps], axis=0, dtype=positions[0].dtype)
        if how.mode == "nearest":
            total += np.where(inside[..., None], rows[(images, *index)], 0).astype(x.dtype)
        else:
            total += np.where(inside, weight, 0)[..., None] * np.where(inside[..., None], rows[(images, *index)], 0)
    return np.moveaxis(total, -1, 1)


def _taps(at: Array, size: int, how: Reading) -> list[tuple[Array, Array, Array]]:
    """(index inside the axis, whether it counts, weight) of each element that is read around the positions."""
    at = np.clip(np.where(np.isnan(at), -2, at), -FARTHEST, FARTHEST)
    if how.mode == "nearest":
        at = np.rint(at)
    at = _returned(at, size, how)
    base = np.floor(at)
    part = at - base
    steps: tuple[int, ...]
    if how.mode == "nearest":
        steps, weights = (0,), [np.ones_like(at)]
    elif how.mode == "linear":
        steps, weights = (0, 1), [1 - part, part]
    else:
        steps, weights = (-1, 0, 1, 2), [_far(1 + part), _near(part), _near(1 - part), _far(2 - part)]
    return [(*_element(base + step, size, how), weight) for step, weight in zip(steps, weights, strict=True)]


def _returned(at: Array, size: int, how: Reading) -> Array:
    """Positions outside the axis taken back into it. A cubic kernel goes on beyond a border, though, where all elements
    are the last one (as in PyTorch and ONNX Runtime; onnx's reference evaluator moves the position)."""
    low, high = _ends(size, how)
    outside = (at < low) | (at > high)
    if how.padding == "border" and how.mode != "cubic":
        return np.where(outside, np.clip(at, 0, size - 1), at)
    return np.where(outside, _reflected(at, low, high), at) if how.padding == "reflection" else at


def _element(index: Array, size: int, how: Reading) -> tuple[Array, Array]:
    """Element numbers inside the axis, and whether what stands there counts."""
    inside = (index >= 0) & (index < size)
    if how.padding == "reflection":
        index = np.where(inside, index, np.trunc(_reflected(index, *_ends(size, how))))
    counts = inside if how.padding == "zeros" else np.ones_like(inside)
    return np.clip(index, 0, size - 1).astype(np.int64), counts


def _ends(size: int, how: Reading) -> tuple[float, float]:
    return (0.0, size - 1.0) if how.align_corners else (-0.5, size - 0.5)


def _reflected(at: Array, low: float, high: float) -> Array:
    """Mirrored at both ends until it lies between them."""
    reach = high - low
    if reach == 0:
        return np.full_like(at, low)
    beyond = np.where(at < low, low - at, at - high)
    turns = np.floor(beyond / reach)
    rest = beyond - turns * reach
    from_low = (at < low) == (turns % 2 == 0)
    return np.where((at >= low) & (at <= high), at, np.where(from_low, low + rest, high - rest))


def _near(d: Array) -> Array:
    """Keys' cubic kernel at distances up to 1."""
    return ((CUBIC_A + 2) * d - (CUBIC_A + 3)) * d * d + 1


def _far(d: Array) -> Array:
    """Keys' cubic kernel at distances from 1 to 2."""
    return ((CUBIC_A * d - 5 * CUBIC_A) * d + 8 * CUBIC_A) * d - 4 * CUBIC_A
