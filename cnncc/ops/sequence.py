"""Range, CumSum and Trilu: what depends on positions along axes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import OpError
from ..ir import Dim, DType, Op, Operand, TensorType, unknown
from .dtypes import ANY, FLOATS, INDICES, WIDE, check_dtype, common_dtype
from .sizes import resolve_axis

__all__ = ["CumSum", "Range", "Trilu"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
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
        return max(math.ceil(float(limit - start) / float(delta)), 0)
    first, last, step = (a if isinstance(a, Dim) else int(a) for a in (start, limit, delta))
    if isinstance(step, Dim):
        raise OpError(f"Range: delta must be a fixed number, not {step}; fix the symbolic dimensions")
    reach, size = (last - first, step) if step > 0 else (first - last, -step)
    count = (reach + (size - 1)) // size
    return max(count, 0) if isinstance(count, int) else count


@dataclass(frozen=True)
class CumSum(Op):
    """ONNX CumSum-14: the sums of all elements up to each one along the axis; without itself where `exclusive`, from
    the end where `reverse`."""

    since = 14
    operands = ("x", "axis")

    exclusive: bool = False
    reverse: bool = False

    def infer(self, x: Operand, axis: Operand) -> tuple[TensorType, ...]:
        check_dtype("CumSum", "x", x, WIDE)
        check_dtype("CumSum", "axis", axis, INDICES)
        if axis.type.size != 1:
            raise OpError(f"CumSum: axis must be one number, not {axis.type}")
        if x.type.rank == 0:
            raise OpError(f"CumSum: x must have an axis to add along, but is {x.type}")
        if axis.value is not None and axis.value.dtype != object:
            resolve_axis("CumSum", int(axis.value.ravel()[0]), x.type.rank)
        return (x.type,)

    def reference(self, x: Array, axis: Array) -> tuple[Array, ...]:
        at = resolve_axis("CumSum", int(axis.ravel()[0]), x.ndim)
        x = np.flip(x, at) if self.reverse else x
        y = np.cumsum(x, at, dtype=x.dtype)
        if self.exclusive:
            y = np.roll(y, 1, at)
            y[(slice(None),) * at + (slice(0, 1),)] = 0
        return (np.flip(y, at) if self.reverse else y,)


@dataclass(frozen=True)
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
