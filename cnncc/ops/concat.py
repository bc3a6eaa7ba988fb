"""Operators that put tensors together and take them apart: Concat, Split, Tile."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import OpError
from ..ir import DimLike, Op, Operand, TensorType
from ..records import record
from .dtypes import ANY, common_dtype
from .sizes import ShapeArithmetic, agree, check_shape, known_sizes, may_be_equal, resolve_axis, shape_text

__all__ = ["Concat", "Split", "Tile"]

Array = np.ndarray[Any, Any]
MAX_PARTS = 1 << 16  # of a Split whose sizes are not given: its types are listed one by one


@record
class Concat(Op):
    """ONNX Concat-13: the inputs, which differ in size along `axis` only, one behind the other."""

    since = 13
    operands = ("inputs*",)
    shape_arithmetic = True

    axis: int

    def infer(self, *operands: Operand) -> tuple[TensorType, ...]:
        dtype = common_dtype("Concat", operands, ANY)
        shapes = [o.type.shape for o in operands]
        if len({len(s) for s in shapes}) > 1:
            raise OpError(f"Concat: all inputs must be of one rank, not {' and '.join(map(shape_text, shapes))}")
        axis = resolve_axis("Concat", self.axis, len(shapes[0]))
        out: list[DimLike] = []
        for i, sizes in enumerate(zip(*shapes, strict=True)):
            size = sum(sizes[1:], sizes[0]) if i == axis else agree(sizes)
            if size is None:
                raise OpError(f"Concat: the inputs {' and '.join(map(shape_text, shapes))} differ in size along axis "
                              f"{i}, but may along axis {axis} only")
            out.append(size)
        return (TensorType(dtype, tuple(out)),)

    def reference(self, *arrays: Array) -> tuple[Array, ...]:
        return (np.concatenate(arrays, self.axis),)


@record
class Split(ShapeArithmetic):
    """ONNX Split-18: the parts of the input along `axis`, of the sizes in `split`; without that, `num_outputs` parts of
    one size, of which the last may be smaller."""

    since = 18
    operands = ("input", "split?")
    results = ("outputs*",)
    shaped_by = ("split",)

    axis: int = 0
    num_outputs: int = 0

    def infer(self, x: Operand, split: Operand | None = None) -> tuple[TensorType, ...]:
        sizes = None if split is None else known_sizes("Split", "split", split)
        axis = resolve_axis("Split", self.axis, x.type.rank)
        return tuple(TensorType(x.type.dtype, (*x.type.shape[:axis], part, *x.type.shape[axis + 1:]))
                     for part in self._parts(x.type.shape[axis], sizes))

    def reference(self, x: Array, split: Array | None = None) -> tuple[Array, ...]:
        parts = self._parts(x.shape[self.axis], None if split is None else split.ravel().tolist())
        ends = list(itertools.accumulate(parts))
        return tuple(np.array(part) for part in np.split(x, ends[:-1], self.axis))

    def _parts(self, size: DimLike, split: Sequence[DimLike] | None) -> tuple[Any, ...]:
        if split is not None:
            if self.num_outputs not in (0, len(split)):
                raise OpError(f"Split: num_outputs {self.num_outputs} contradicts the {len(split)} sizes in split")
            sizes = check_shape("Split", tuple(split))
            if not sizes or not may_be_equal(sum(sizes[1:], sizes[0]), size):
                raise OpError(f"Split: the sizes {shape_text(split)} do not add up to the axis' {size}")
            return sizes
        if self.num_outputs < 1:
            raise OpError("Split: how many outputs there are must be given, by the input split or by num_outputs")
        if self.num_outputs > MAX_PARTS:
            raise OpError(f"Split: at most {MAX_PARTS} parts are supported, not {self.num_outputs}")
        part = (size + (self.num_outputs - 1)) // self.num_outputs
        last = size - part * (self.num_outputs - 1)
        if isinstance(last, int) and last < 0:
            raise OpError(f"Split: {size} elements do not fill {self.num_outputs} parts; give their sizes in split")
        return (*(part,) * (self.num_outputs - 1), last)


@record
class Tile(ShapeArithmetic):
    """ONNX Tile-13: the input repeated along each axis as often as `repeats` says."""

    since = 13
    operands = ("input", "repeats")
    shaped_by = ("repeats",)

    def infer(self, x: Operand, repeats: Operand) -> tuple[TensorType, ...]:
        times = known_sizes("Tile", "repeats", repeats)
        if len(times) != x.type.rank:
            raise OpError(f"Tile: repeats {shape_text(times)} must have a number for each axis of {x.type}")
        check_shape("Tile", times)
        return (TensorType(x.type.dtype, tuple(d * t for d, t in zip(x.type.shape, times, strict=True))),)

    def reference(self, x: Array, repeats: Array) -> tuple[Array, ...]:
        return (np.tile(x, repeats.tolist()),)
