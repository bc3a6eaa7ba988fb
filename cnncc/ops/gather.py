"""Operators that pick elements by indices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import OpError
from ..ir import DimLike, DType, Op, Operand, TensorType, unknown
from ..records import record
from .dtypes import ANY, INDICES, NUMERIC, check_dtype
from .sizes import ShapeArithmetic, agree, known_sizes, resolve_axis, shape_text

__all__ = ["Gather", "GatherElements", "GatherND", "NonZero", "OneHot"]

Array = np.ndarray[Any, Any]


def _check_range(op_type: str, indices: Array | None, size: DimLike) -> None:
    """Raises OpError where a known index lies outside an axis of known size."""
    if indices is None or indices.dtype == object or not isinstance(size, int):
        return
    outside = indices[(indices < -size) | (indices >= size)]
    if outside.size:
        raise OpError(f"{op_type}: index {outside[0]} is outside [{-size}, {size - 1}], an axis of size {size}")


@record
class Gather(ShapeArithmetic):
    """ONNX Gather-13: Y[i.., j.., k..] = data[i.., indices[j..], k..], where `axis` of data is indexed and negative
    indices count from the back."""

    since = 13
    operands = ("data", "indices")

    axis: int = 0

    def infer(self, data: Operand, indices: Operand) -> tuple[TensorType, ...]:
        check_dtype("Gather", "indices", indices, INDICES)
        shape = data.type.shape
        axis = resolve_axis("Gather", self.axis, len(shape))
        _check_range("Gather", indices.value, shape[axis])
        if shape[axis] == 0 and all(isinstance(d, int) and d for d in indices.type.shape):
            raise OpError(f"Gather: the axis {axis} of data {data.type} has no elements, but indices {indices.type} "
                          "ask for some")
        return (TensorType(data.type.dtype, (*shape[:axis], *indices.type.shape, *shape[axis + 1:])),)

    def reference(self, data: Array, indices: Array) -> tuple[Array, ...]:
        _check_range("Gather", indices, data.shape[self.axis])
        return (np.asarray(np.take(data, indices, self.axis)),)


@record
class GatherElements(ShapeArithmetic):
    """ONNX GatherElements-13: each output element is the one of data at its own place, but along `axis` at the index
    that stands there."""

    since = 13
    operands = ("data", "indices")

    axis: int = 0

    def infer(self, data: Operand, indices: Operand) -> tuple[TensorType, ...]:
        check_dtype("GatherElements", "indices", indices, INDICES)
        if data.type.rank != indices.type.rank:
            raise OpError(f"GatherElements: data {data.type} and indices {indices.type} must be of one rank")
        axis = resolve_axis("GatherElements", self.axis, data.type.rank)
        _check_range("GatherElements", indices.value, data.type.shape[axis])
        for i, (d, n) in enumerate(zip(data.type.shape, indices.type.shape, strict=True)):
            if i != axis and isinstance(d, int) and isinstance(n, int) and n > d:
                raise OpError(f"GatherElements: indices {indices.type} is larger than data {data.type} along axis {i}")
        return (TensorType(data.type.dtype, indices.type.shape),)

    def reference(self, data: Array, indices: Array) -> tuple[Array, ...]:
        _check_range("GatherElements", indices, data.shape[self.axis])
        places: list[Array] = list(np.indices(indices.shape, sparse=True))
        places[self.axis] = indices
        return (data[tuple(places)],)


@record
class GatherND(ShapeArithmetic):
    """ONNX GatherND-13: the last axis of indices holds a place in data's axes after the first `batch_dims`, which data
    and indices share; the output has there what data has at that place."""

    since = 13
    operands = ("data", "indices")

    batch_dims: int = 0

    def infer(self, data: Operand, indices: Operand) -> tuple[TensorType, ...]:
        check_dtype("GatherND", "indices", indices, INDICES)
        shape, at, batch = data.type.shape, indices.type.shape, self.batch_dims
        if not 0 <= batch < min(len(shape), len(at)):
            raise OpError(f"GatherND: batch_dims {batch} must be less than the ranks of {data.type} and {indices.type}")
        depth = at[-1]
        if not isinstance(depth, int) or not 1 <= depth <= len(shape) - batch:
            raise OpError(f"GatherND: the last axis of indices {indices.type} must have a fixed size from 1 to "
                          f"{len(shape) - batch} for data {data.type}")
        shared: list[DimLike] = []
        for d, n in zip(shape[:batch], at[:batch], strict=True):
            size = agree((d, n))
            if size is None:
                raise OpError(f"GatherND: data {data.type} and indices {indices.type} must agree in the first {batch} "
                              "axes")
            shared.append(size)
        for i in range(depth):
            _check_range("GatherND", None if indices.value is None else indices.value[..., i], shape[batch + i])
        return (TensorType(data.type.dtype, (*shared, *at[batch:-1], *shape[batch + depth:])),)

    def reference(self, data: Array, indices: Array) -> tuple[Array, ...]:
        for i in range(indices.shape[-1]):
            _check_range("GatherND", indices[..., i], data.shape[self.batch_dims + i])
        batch = np.indices(indices.shape[:self.batch_dims], sparse=True)
        rest = (1,) * (indices.ndim - 1 - self.batch_dims)
        places = [b.reshape(b.shape + rest) for b in batch] + list(np.moveaxis(indices, -1, 0))
        return (np.asarray(data[tuple(places)]),)


@record
class OneHot(Op):
    """ONNX OneHot-28: values = [off, on]; a new `axis` of size depth is on where its position is the index and off
    elsewhere. Negative indices count from depth; those outside [-depth, depth-1] leave all off."""

    since = 28
    operands = ("indices", "depth", "values")
    shaped_by = ("depth",)

    axis: int = -1

    def infer(self, indices: Operand, depth: Operand, values: Operand) -> tuple[TensorType, ...]:
        check_dtype("OneHot", "indices", indices, NUMERIC)
        check_dtype("OneHot", "values", values, ANY)
        if values.type.rank != 1 or agree((values.type.size, 2)) is None:
            raise OpError(f"OneHot: values must be the two numbers [off, on], not {values.type}")
        axis = resolve_axis("OneHot", self.axis, indices.type.rank + 1)
        shape: Sequence[DimLike] = indices.type.shape
        return (TensorType(values.type.dtype, (*shape[:axis], self._depth(depth), *shape[axis:])),)

    def _depth(self, depth: Operand) -> DimLike:
        if depth.value is not None and depth.value.dtype != object:
            depth = Operand(TensorType(INDICES[-1], depth.type.shape), depth.value.astype(np.int64))
        elif depth.value is None:
            return unknown("depth")
        sizes = known_sizes("OneHot", "depth", depth)
        if len(sizes) != 1 or (isinstance(sizes[0], int) and sizes[0] < 1):
            raise OpError(f"OneHot: depth must be one number of at least 1, not {shape_text(sizes)}")
        return sizes[0]

    def reference(self, indices: Array, depth: Array, values: Array) -> tuple[Array, ...]:
        count = int(depth.ravel()[0])
        axis = self.axis % (indices.ndim + 1)
        places = np.expand_dims(indices.astype(np.int64), axis)
        positions = np.arange(count).reshape(-1, *(1,) * (indices.ndim - axis))
        return (np.where((places == positions) | (places + count == positions), values[1], values[0]),)


@record
class NonZero(Op):
    """ONNX NonZero-13: where the elements that are not zero stand, in row-major order: a row of positions an axis."""

    since = 13

    def infer(self, x: Operand) -> tuple[TensorType, ...]:
        check_dtype("NonZero", "X", x, ANY)
        count: DimLike = unknown("count")
        if x.value is not None and x.value.dtype != object:
            count = int(np.count_nonzero(x.value))
        return (TensorType(DType.I64, (x.type.rank, count)),)

    def reference(self, x: Array) -> tuple[Array, ...]:
        return (np.array(np.nonzero(np.atleast_1d(x)), np.int64)[:x.ndim],)
