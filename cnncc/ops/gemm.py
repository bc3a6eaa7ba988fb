"""Products of matrices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import OpError
from ..ir import Activation, DimLike, DType, Op, Operand, TensorType
from .elementwise import broadcast_shapes

__all__ = ["Gemm", "MatMul"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Gemm(Op):
    """ONNX Gemm-13: alpha * A' B' + beta * C, floating point.

    A' [M, K] is A, with transA its transpose; so for B' [K, N]. C is broadcast to [M, N]. Beyond ONNX: `activation`
    is applied last; passes fuse it here.
    """

    since = 13
    operands = ("A", "B", "C?")

    alpha: float = 1.0
    beta: float = 1.0
    transA: bool = False
    transB: bool = False
    activation: Activation | None = None

    def infer(self, a: Operand, b: Operand, c: Operand | None = None) -> tuple[TensorType, ...]:
        dtype = a.type.dtype
        if a.type.rank != 2 or b.type.rank != 2:
            raise OpError(f"Gemm: A and B must be matrices, not {a.type} and {b.type}")
        if not dtype.is_float or any(o is not None and o.type.dtype != dtype for o in (b, c)):
            given = ", ".join(str(o.type) for o in (a, b, c) if o is not None)
            raise OpError(f"Gemm: the inputs must have one floating-point type, not {given}")
        m, k = a.type.shape[::-1] if self.transA else a.type.shape
        k2, n = b.type.shape[::-1] if self.transB else b.type.shape
        if _differ(k, k2):
            raise OpError(f"Gemm: A {a.type} has {k} columns, but B {b.type} has {k2} rows "
                          f"(transA={int(self.transA)}, transB={int(self.transB)})")
        if c is not None and (c.type.rank > 2 or broadcast_shapes("Gemm", ((m, n), c.type.shape)) != (m, n)):
            raise OpError(f"Gemm: C {c.type} cannot be broadcast to [{m},{n}]")
        return (TensorType(dtype, (m, n)),)

    def reference(self, a: Array, b: Array, c: Array | None = None) -> tuple[Array, ...]:
        number = a.dtype.type
        y = number(self.alpha) * ((a.T if self.transA else a) @ (b.T if self.transB else b))
        if c is not None:
            y = y + number(self.beta) * c
        return (y if self.activation is None else self.activation.apply(y),)


@dataclass(frozen=True)
class MatMul(Op):
    """ONNX MatMul-13: as numpy.matmul: the leading axes are broadcast, and a vector is a row on the left, a column on
    the right."""

    since = 13
    operands = ("A", "B")

    def infer(self, a: Operand, b: Operand) -> tuple[TensorType, ...]:
        if a.type.dtype != b.type.dtype or a.type.dtype is DType.BOOL:
            raise OpError(f"MatMul: A and B must have one type of numbers, not {a.type} and {b.type}")
        if a.type.rank == 0 or b.type.rank == 0:
            raise OpError(f"MatMul: A and B must have an axis, not {a.type} and {b.type}")
        rows, columns = a.type.shape[-2:-1], b.type.shape[-1:] if b.type.rank > 1 else ()
        if _differ(a.type.shape[-1], b.type.shape[-2:][0]):
            raise OpError(f"MatMul: A {a.type} has {a.type.shape[-1]} columns, but B {b.type} has "
                          f"{b.type.shape[-2:][0]} rows")
        batch = broadcast_shapes("MatMul", (a.type.shape[:-2], b.type.shape[:-2]))
        return (TensorType(a.type.dtype, (*batch, *rows, *columns)),)

    def reference(self, a: Array, b: Array) -> tuple[Array, ...]:
        return (np.asarray(np.matmul(a, b)),)


def _differ(a: DimLike, b: DimLike) -> bool:
    """Whether two sizes cannot be equal; beside another, a symbolic one must turn out so."""
    return isinstance(a, int) and isinstance(b, int) and a != b
