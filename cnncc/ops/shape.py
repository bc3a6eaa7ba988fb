"""Operators that read, change or are given shapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import OpError
from ..ir import Dim, DimLike, DType, Op, Operand, TensorType
from ..records import record
from .elementwise import broadcast_shapes
from .sizes import (
    ShapeArithmetic,
    check_shape,
    count_of,
    known_ints,
    known_sizes,
    may_be_equal,
    product,
    resolve_axes,
    shape_text,
    sizes_array,
    unknown_sizes,
)

__all__ = [
    "SHAPE_OPS", "ConstantOfShape", "Expand", "Flatten", "Reshape", "Shape", "Size", "Squeeze", "Transpose",
    "Unsqueeze",
]

Array = np.ndarray[Any, Any]


@record
class Shape(Op):
    """ONNX Shape-15: the sizes of axes start..end-1 as i64; negative ones count from the back, and all are clamped."""

    since = 15
    operands = ("data",)
    shape_arithmetic = True

    start: int = 0
    end: int | None = None

    def infer(self, x: Operand) -> tuple[TensorType, ...]:
        return (TensorType(DType.I64, (len(x.type.shape[self.start:self.end]),)),)

    def reference(self, x: Array) -> tuple[Array, ...]:
        return (sizes_array(x.shape[self.start:self.end]),)

    def known(self, *operands: Operand | None) -> tuple[Array, ...] | None:
        """The sizes follow from the type: the contents need not be known."""
        (x,) = operands
        assert x is not None
        return (sizes_array(x.type.shape[self.start:self.end]),)


@record
class Size(Op):
    """ONNX Size-13: the number of elements, an i64 scalar."""

    since = 13
    operands = ("data",)
    shape_arithmetic = True

    def infer(self, x: Operand) -> tuple[TensorType, ...]:
        return (TensorType(DType.I64, ()),)

    def reference(self, x: Array) -> tuple[Array, ...]:
        return (np.array(x.size, np.int64),)

    def known(self, *operands: Operand | None) -> tuple[Array, ...] | None:
        """The number follows from the type: the contents need not be known."""
        (x,) = operands
        assert x is not None
        return (sizes_array([x.type.size]).reshape(()),)


@record
class Reshape(ShapeArithmetic):
    """ONNX Reshape-14: the same elements in order, in another shape. In it a 0 stands for the input's size of that axis
    (with allowzero for 0 itself), and one -1 for what is left over."""

    since = 14
    operands = ("data", "shape")
    alias = True
    shaped_by = ("shape",)

    allowzero: bool = False

    def infer(self, x: Operand, shape: Operand) -> tuple[TensorType, ...]:
        return (TensorType(x.type.dtype, self._target(x.type.shape, known_sizes("Reshape", "shape", shape))),)

    def reference(self, x: Array, shape: Array) -> tuple[Array, ...]:
        return (x.reshape(self._target(x.shape, shape.reshape(-1).tolist())),)

    def _target(self, source: Sequence[DimLike], wanted: Sequence[DimLike]) -> tuple[DimLike, ...]:
        if list(wanted).count(-1) > 1 or any(isinstance(d, int) and d < -1 for d in wanted):
            raise OpError(f"Reshape: {shape_text(wanted)} is not a shape: sizes are at least 0, and one may be -1")
        if self.allowzero and 0 in wanted and -1 in wanted:
            raise OpError(f"Reshape: the shape {shape_text(wanted)} has both 0 and -1, which allowzero forbids: the "
                          "size for -1 could be any")
        target = list(wanted)
        for axis, size in enumerate(wanted):
            if size == 0 and not self.allowzero:
                if axis >= len(source):
                    raise OpError(f"Reshape: axis {axis} of the shape {shape_text(wanted)} is 0, which copies the "
                                  f"input's size, but the input {shape_text(source)} has no such axis")
                target[axis] = source[axis]
        if -1 in wanted:
            target[target.index(-1)] = _remainder(source, [d for d in target if d != -1])
        if not may_be_equal(product(source), product(target)):
            raise OpError(f"Reshape: the input {shape_text(source)} does not have the number of elements of the shape "
                          f"{shape_text(wanted)}")
        return check_shape("Reshape", tuple(target))


def _remainder(source: Sequence[DimLike], others: Sequence[DimLike]) -> DimLike:
    """The size that with `others` makes the product of `source`. Equal sizes cancel before what is left is divided, so
    that symbolic ones divide exactly where they can."""
    left, divisors = list(source), []
    for d in others:
        if d in left:
            left.remove(d)
        else:
            divisors.append(d)
    divisor = product(divisors)
    if divisor == 0:
        raise OpError(f"Reshape: the size for -1 cannot be told for the input {shape_text(source)}: another size is 0")
    return product(left) // divisor


@record
class Flatten(ShapeArithmetic):
    """ONNX Flatten-11: two dimensions, of the axes before `axis` and of those from it on."""

    since = 11
    operands = ("input",)
    alias = True

    axis: int = 1

    def infer(self, x: Operand) -> tuple[TensorType, ...]:
        return (TensorType(x.type.dtype, self._target(x.type.shape)),)

    def reference(self, x: Array) -> tuple[Array, ...]:
        return (x.reshape(self._target(x.shape)),)

    def _target(self, shape: Sequence[DimLike]) -> tuple[DimLike, DimLike]:
        rank = len(shape)
        if not -rank <= self.axis <= rank:
            raise OpError(f"Flatten: axis {self.axis} is outside [{-rank}, {rank}] for the input {shape_text(shape)}")
        at = self.axis if self.axis >= 0 else self.axis + rank
        return product(shape[:at]), product(shape[at:])


@record
class Squeeze(ShapeArithmetic):
    """ONNX Squeeze-13: without the named axes, which are of size 1; without all such where none are named."""

    since = 13
    operands = ("data", "axes?")
    alias = True
    shaped_by = ("axes",)

    def infer(self, x: Operand, axes: Operand | None = None) -> tuple[TensorType, ...]:
        if axes is not None and axes.value is None:
            rank = x.type.rank - count_of("Squeeze", "axes", axes)
            return (TensorType(x.type.dtype, unknown_sizes("Squeeze", rank)),)
        named = None if axes is None else known_ints("Squeeze", "axes", axes)
        gone = self._gone(x.type.shape, named)
        return (TensorType(x.type.dtype, tuple(d for i, d in enumerate(x.type.shape) if i not in gone)),)

    def reference(self, x: Array, axes: Array | None = None) -> tuple[Array, ...]:
        return (np.squeeze(x, self._gone(x.shape, None if axes is None else axes.ravel().tolist())),)

    def _gone(self, shape: Sequence[DimLike], axes: Sequence[int] | None) -> tuple[int, ...]:
        if axes is None:
            if any(isinstance(d, Dim) for d in shape):
                raise OpError(f"Squeeze: which axes of {shape_text(shape)} have size 1 depends on the symbolic "
                              "dimensions; name the axes or fix the dimensions")
            return tuple(i for i, d in enumerate(shape) if d == 1)
        gone = resolve_axes("Squeeze", axes, len(shape))
        for i in gone:
            if not may_be_equal(shape[i], 1):
                raise OpError(f"Squeeze: axis {i} of {shape_text(shape)} has size {shape[i]}, not 1")
        return gone


@record
class Unsqueeze(ShapeArithmetic):
    """ONNX Unsqueeze-13: with axes of size 1 inserted, which `axes` names by their places in the output."""

    since = 13
    operands = ("data", "axes")
    alias = True
    shaped_by = ("axes",)

    def infer(self, x: Operand, axes: Operand) -> tuple[TensorType, ...]:
        if axes.value is None:
            rank = x.type.rank + count_of("Unsqueeze", "axes", axes)
            return (TensorType(x.type.dtype, unknown_sizes("Unsqueeze", rank)),)
        return (TensorType(x.type.dtype, self._target(x.type.shape, known_ints("Unsqueeze", "axes", axes))),)

    def reference(self, x: Array, axes: Array) -> tuple[Array, ...]:
        return (x.reshape(self._target(x.shape, axes.ravel().tolist())),)

    def _target(self, shape: Sequence[DimLike], axes: Sequence[int]) -> tuple[DimLike, ...]:
        rank = len(shape) + len(axes)
        new = resolve_axes("Unsqueeze", axes, rank)
        old = iter(shape)
        return tuple(1 if i in new else next(old) for i in range(rank))


@record
class Expand(ShapeArithmetic):
    """ONNX Expand-13: broadcast to the shape; sizes of 1 in the shape leave the input's as they are."""

    since = 13
    operands = ("input", "shape")
    shaped_by = ("shape",)

    def infer(self, x: Operand, shape: Operand) -> tuple[TensorType, ...]:
        wanted = check_shape("Expand", known_sizes("Expand", "shape", shape))
        return (TensorType(x.type.dtype, broadcast_shapes("Expand", (x.type.shape, wanted))),)

    def reference(self, x: Array, shape: Array) -> tuple[Array, ...]:
        return (np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(shape.reshape(-1).tolist()))).copy(),)


@record
class ConstantOfShape(Op):
    """ONNX ConstantOfShape-9: `value`, as `dtype`, in every element. (ONNX's attribute `value` is a tensor of one
    element that holds both.)"""

    since = 9
    operands = ("input",)
    shape_arithmetic = True
    shaped_by = ("input",)

    value: int | float = 0.0
    dtype: DType = DType.F32

    def check(self) -> None:
        if not self.dtype.is_float:
            low, high = (0, 1) if self.dtype is DType.BOOL else _range_of(self.dtype)
            if not (isinstance(self.value, int) and low <= self.value <= high):
                raise OpError(f"ConstantOfShape: {self.value} is no value of type {self.dtype.value}")

    def infer(self, shape: Operand) -> tuple[TensorType, ...]:
        sizes = known_sizes("ConstantOfShape", "input", shape)
        return (TensorType(self.dtype, check_shape("ConstantOfShape", sizes)),)

    def reference(self, shape: Array) -> tuple[Array, ...]:
        return (np.full(tuple(shape.reshape(-1).tolist()), self.value, self.dtype.numpy),)


def _range_of(dtype: DType) -> tuple[int, int]:
    limits = np.iinfo(dtype.numpy)
    return int(limits.min), int(limits.max)


@record
class Transpose(ShapeArithmetic):
    """ONNX Transpose-13: axis i of the output is axis perm[i] of the input; by default the axes are reversed."""

    since = 13
    operands = ("data",)

    perm: tuple[int, ...] = ()

    def permutation(self, rank: int) -> tuple[int, ...]:
        """perm, its default filled in; raises OpError where it is no permutation of `rank` axes."""
        perm = tuple(reversed(range(rank))) if not self.perm else self.perm
        if sorted(perm) != list(range(rank)):
            raise OpError(f"Transpose: perm {list(perm)} does not name each of the input's {rank} axes once")
        return perm

    def infer(self, x: Operand) -> tuple[TensorType, ...]:
        return (TensorType(x.type.dtype, tuple(x.type.shape[i] for i in self.permutation(x.type.rank))),)

    def reference(self, x: Array) -> tuple[Array, ...]:
        return (np.array(np.transpose(x, self.permutation(x.ndim)), order="C"),)


SHAPE_OPS: tuple[type[Op], ...] = (
    ConstantOfShape, Expand, Flatten, Reshape, Shape, Size, Squeeze, Transpose, Unsqueeze,
)
