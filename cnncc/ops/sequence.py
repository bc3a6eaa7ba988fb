"""Range, sums and products up to a place, triangles, reversed sequences: what depends on positions along axes."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from ..errors import OpError
from ..ir import Dim, DType, Op, Operand, TensorType, unknown
from ..records import record
from .dtypes import ANY, FLOATS, INDICES, WIDE, check_dtype, common_dtype
from .sizes import may_be_equal, resolve_axis

__all__ = ["CumProd", "CumSum", "EyeLike", "Range", "ReverseSequence", "Trilu"]

Array = np.ndarray[Any, Any]


@record
class Range(Op):
    """ONNX Range-27: start, start + delta, ... before limit, from scalars.

    Half precision is computed in the type `stash_type`, ONNX's number of it: 1 for f32, 11 for f64.
    """

    since = 27
    operands = ("start", "limit", "delta")
    shape_arithmetic = True
    shaped_by = ("start", "limit", "delta")

    stash_type: int = DType.F32.onnx

    def check(self) -> None:
        if self.stash_type not in (DType.F32.onnx, DType.F64.onnx):
            raise OpError(f"Range: stash_type must be 1 (f32) or 11 (f64), not {self.stash_type}")

    def infer(self, start: Operand, limit: Operand, delta: Operand) -> tuple[TensorType, ...]:
        dtype = common_dtype("Range", (start, limit, delta), (*FLOATS, DType.I16, DType.I32, DType.I64))
        scalars = []
        for name, o in (("start", start), ("limit", limit), ("delta", delta)):
            if o.type.size != 1:
                raise OpError(f"Range: {name} must be a scalar, not {o.type}")
            scalars += [] if o.value is None else [o.value.ravel()[0]]
        if len(scalars) < 3:
            return (TensorType(dtype, (unknown("count"),)),)
        return (TensorType(dtype, (_count(*scalars),)),)

    def reference(self, start: Array, limit: Array, delta: Array) -> tuple[Array, ...]:
        dtype = start.dtype
        stash = DType.from_onnx(self.stash_type)
        if dtype == np.float16 and stash is not None:
            start, limit, delta = (a.astype(stash.numpy) for a in (start, limit, delta))
        first, end, step = (a.ravel()[0] for a in (start, limit, delta))
        steps = np.arange(_count(first, end, step)).astype(start.dtype)
        return (np.asarray(first + steps * step).astype(dtype),)

    def known(self, *operands: Operand | None) -> tuple[Array, ...] | None:
        symbolic = any(o is not None and o.value is not None and o.value.dtype == object for o in operands)
        return None if symbolic else super().known(*operands)


def _count(start: Any, limit: Any, delta: Any) -> Any:
    """max(ceil((limit - start) / delta), 0), exact for integers; a symbolic limit is taken to lie beyond start."""
    if not isinstance(delta, Dim) and delta == 0:
        raise OpError("Range: delta must not be 0")
    if isinstance(start, np.floating):
        with np.errstate(all="ignore"):
            steps = float(limit - start) / float(delta)
        if not math.isfinite(steps):
            raise OpError(f"Range: from {start} to {limit} by {delta} is no finite number of steps")
        return max(math.ceil(steps), 0)
    first, last, step = (a if isinstance(a, Dim) else int(a) for a in (start, limit, delta))
    if isinstance(step, Dim):
        raise OpError(f"Range: delta must be a fixed number, not {step}; fix the symbolic dimensions")
    reach, size = (last - first, step) if step > 0 else (first - last, -step)
    count = (reach + (size - 1)) // size
    return max(count, 0) if isinstance(count, int) else count


@record
class _Cumulative(Op):
    """A ufunc accumulated along the axis; the element itself is left out where `exclusive`, and it begins at the end
    where `reverse`."""

    operands = ("x", "axis")
    ufunc: ClassVar[np.ufunc]

    exclusive: bool = False
    reverse: bool = False

    def infer(self, x: Operand, axis: Operand) -> tuple[TensorType, ...]:
        check_dtype(self.op_type, "x", x, WIDE)
        check_dtype(self.op_type, "axis", axis, INDICES)
        if axis.type.size != 1:
            raise OpError(f"{self.op_type}: axis must be one number, not {axis.type}")
        if x.type.rank == 0:
            raise OpError(f"{self.op_type}: x must have an axis to go along, but is {x.type}")
        if axis.value is not None and axis.value.dtype != object:
            resolve_axis(self.op_type, int(axis.value.ravel()[0]), x.type.rank)
        return (x.type,)

    def reference(self, x: Array, axis: Array) -> tuple[Array, ...]:
        at = resolve_axis(self.op_type, int(axis.ravel()[0]), x.ndim)
        x = np.flip(x, at) if self.reverse else x
        y = self.ufunc.accumulate(x, at, dtype=x.dtype)
        if self.exclusive:
            y = np.roll(y, 1, at)
            y[(slice(None),) * at + (slice(0, 1),)] = self.ufunc.identity
        return (np.flip(y, at) if self.reverse else y,)


@record
class CumSum(_Cumulative):
    """ONNX CumSum-14: the sums of all elements up to each one along the axis."""

    since = 14
    ufunc = np.add


@record
class CumProd(_Cumulative):
    """ONNX CumProd-26: the products of all elements up to each one along the axis."""

    since = 26
    ufunc = np.multiply


@record
class Trilu(Op):
    """ONNX Trilu-14: the upper or lower triangle of the last two axes, zeros elsewhere; k moves its edge to the right
    of the main diagonal."""

    since = 14
    operands = ("input", "k?")

    upper: bool = True

    def infer(self, x: Operand, k: Operand | None = None) -> tuple[TensorType, ...]:
        check_dtype("Trilu", "the input", x, ANY)
        if x.type.rank < 2:
            raise OpError(f"Trilu: the input must have at least two axes, not {x.type}")
        if k is not None:
            check_dtype("Trilu", "k", k, (DType.I64,))
            if k.type.size != 1:
                raise OpError(f"Trilu: k must be one number, not {k.type}")
        return (x.type,)

    def reference(self, x: Array, k: Array | None = None) -> tuple[Array, ...]:
        edge = 0 if k is None else int(k.ravel()[0])
        return (np.triu(x, edge) if self.upper else np.tril(x, edge),)


@record
class EyeLike(Op):
    """ONNX EyeLike-22: ones on the diagonal k places to the right of the main one, zeros elsewhere; of the input's
    shape, and of its type where `dtype` gives none."""

    since = 22
    operands = ("input",)
    results = ("output",)

    dtype: DType | None = None
    k: int = 0

    def infer(self, x: Operand) -> tuple[TensorType, ...]:
        if x.type.rank != 2:
            raise OpError(f"EyeLike: the input must have two axes, not {x.type}")
        return (TensorType(self.dtype or x.type.dtype, x.type.shape),)

    def reference(self, x: Array) -> tuple[Array, ...]:
        return (np.eye(x.shape[0], x.shape[1], self.k, x.dtype if self.dtype is None else self.dtype.numpy),)


@record
class ReverseSequence(Op):
    """ONNX ReverseSequence-28: the first sequence_lens[i] elements along the time axis in reverse order, for each i of
    the batch axis. These are the first two axes, in either order."""

    since = 28
    operands = ("input", "sequence_lens")

    batch_axis: int = 1
    time_axis: int = 0

    def check(self) -> None:
        if {self.batch_axis, self.time_axis} != {0, 1}:
            raise OpError("ReverseSequence: batch_axis and time_axis must be 0 and 1 or 1 and 0, not "
                          f"{self.batch_axis} and {self.time_axis}")

    def infer(self, x: Operand, lengths: Operand) -> tuple[TensorType, ...]:
        check_dtype("ReverseSequence", "the input", x, ANY)
        check_dtype("ReverseSequence", "sequence_lens", lengths, (DType.I64,))
        if x.type.rank < 2 or lengths.type.rank != 1 \
                or not may_be_equal(lengths.type.shape[0], x.type.shape[self.batch_axis]):
            raise OpError(f"ReverseSequence: sequence_lens {lengths.type} must hold one number for each place of axis "
                          f"{self.batch_axis} of the input {x.type}")
        return (x.type,)

    def reference(self, x: Array, lengths: Array) -> tuple[Array, ...]:
        y = np.moveaxis(x, self.batch_axis, 0).copy()
        for sequence, length in zip(y, lengths.tolist(), strict=True):
            if not 0 <= length <= len(sequence):
                raise OpError(f"ReverseSequence: a length of {length} is not within the time axis of {len(sequence)}")
            sequence[:length] = sequence[:length][::-1].copy()
        return (np.ascontiguousarray(np.moveaxis(y, 0, self.batch_axis)),)
