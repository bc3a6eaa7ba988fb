"""Slice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import OpError
from ..ir import DimLike, Operand, TensorType, unknown
from ..records import record
from .sizes import ShapeArithmetic, is_less, known_ints, known_sizes, resolve_axes, shape_text, unknown_sizes

__all__ = ["Slice"]

Array = np.ndarray[Any, Any]
INT_MAX = 2**31 - 1  # an end from here on (or from its negative down) is the end of any axis


@record
class Slice(ShapeArithmetic):
    """ONNX Slice-13: elements starts, starts + steps, ... before ends, along the axes that `axes` names (by default the
    first ones); negative positions count from the back, and positions outside the axis are clamped to it.

    Along a symbolic axis the size of the output is an expression where it follows without a minimum or maximum. There a
    start counted from the front and an end counted from the back are taken to lie in the axis; with a size for which
    they do not, the expression is negative and no tensor's size.
    """

    since = 13
    operands = ("data", "starts", "ends", "axes?", "steps?")
    shaped_by = ("starts", "ends", "axes", "steps")

    def infer(self, x: Operand, starts: Operand, ends: Operand, axes: Operand | None = None,
              steps: Operand | None = None) -> tuple[TensorType, ...]:
        if any(o is not None and o.value is None for o in (axes, steps)):
            return (TensorType(x.type.dtype, unknown_sizes("Slice", x.type.rank)),)
        shape = list(x.type.shape)
        for axis, _, count, _ in self._ranges(
                x.type.shape, known_sizes("Slice", "starts", starts), known_sizes("Slice", "ends", ends),
                None if axes is None else known_ints("Slice", "axes", axes),
                None if steps is None else known_ints("Slice", "steps", steps)):
            shape[axis] = unknown(f"d{axis}") if count is None else count
        return (TensorType(x.type.dtype, tuple(shape)),)

    def reference(self, x: Array, starts: Array, ends: Array, axes: Array | None = None,
                  steps: Array | None = None) -> tuple[Array, ...]:
        for axis, first, count, step in self._ranges(
                x.shape, starts.ravel().tolist(), ends.ravel().tolist(),
                None if axes is None else axes.ravel().tolist(), None if steps is None else steps.ravel().tolist()):
            x = np.take(x, first + step * np.arange(count), axis)
        return (x,)

    def _ranges(self, shape: Sequence[DimLike], starts: Sequence[DimLike], ends: Sequence[DimLike],
                axes: Sequence[int] | None, steps: Sequence[int] | None) -> list[tuple[int, Any, Any, int]]:
        """(axis, first position, count, step) for each axis that is cut."""
        axes = range(len(starts)) if axes is None else axes
        steps = [1] * len(starts) if steps is None else steps
        if not len(starts) == len(ends) == len(axes) == len(steps):
            raise OpError(f"Slice: starts {shape_text(starts)}, ends {shape_text(ends)}, axes {shape_text(axes)} and "
                          f"steps {shape_text(steps)} must have one number each for every axis")
        if 0 in steps:
            raise OpError(f"Slice: the steps {list(steps)} must not be 0")
        found = resolve_axes("Slice", axes, len(shape))
        return [(axis, *_range(shape[axis], start, end, step), step)
                for axis, start, end, step in zip(found, starts, ends, steps, strict=True)]


def _range(size: DimLike, start: DimLike, end: DimLike, step: int) -> tuple[DimLike | None, DimLike | None]:
    """The first position and the number of positions; None where that depends on symbolic sizes."""
    count: DimLike
    if step > 0:
        first = _position(size, start, 0, size, assume_high=True)
        last = _position(size, end, 0, size, assume_low=True)
        if first is None or last is None:
            return None, None
        count = (last - first + (step - 1)) // step
    else:
        first = _position(size, start, 0, size - 1)
        last = _position(size, end, -1, size - 1)
        if first is None or last is None:
            return None, None
        count = (first - last + (-step - 1)) // -step
    return first, max(count, 0) if isinstance(count, int) else count


def _position(size: DimLike, at: DimLike, low: DimLike, high: DimLike, *, assume_low: bool = False,
              assume_high: bool = False) -> DimLike | None:
    """`at`, counted from the front and clamped to low..high. With assume_low (assume_high) a position counted from the
    back (front) of a symbolic axis is taken to be no less than low (no more than high). None where it depends on the
    symbolic sizes."""
    if isinstance(size, int) and isinstance(at, int) and isinstance(low, int) and isinstance(high, int):
        return min(max(at + size if at < 0 else at, low), high)
    if isinstance(at, int) and at >= INT_MAX:
        return high
    negative = is_less(at, 0)
    if negative is not None:
        place = at + size if negative else at
        if is_less(place, high) is False:
            return high
        below = (isinstance(at, int) and at <= -INT_MAX) or is_less(low, place) is False
        if below and is_less(high, low) is False:
            return low
        if not below and (((assume_low and negative) or is_less(place, low) is False)
                          and ((assume_high and not negative) or is_less(high, place) is False)):
            return place
    return None
