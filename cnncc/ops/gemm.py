"""Products of matrices."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import OpError
from ..ir import Activation, Op, Operand, TensorType
from ..records import record
from .dtypes import FLOATS, NUMERIC, common_dtype
from .elementwise import broadcast_shapes
from .sizes import agree

__all__ = ["Gemm", "MatMul"]

Array = np.ndarray[Any, Any]


@record
class Gemm(Op):
    """ONNX Gemm-13: alpha * A' B' + beta * C, floating point.

    A' [M, K] is A, with transA its transpose; so for B' [K, N]. C is broadcast to [M, N]. Beyond ONNX: `R` [M, N] (a
    residual) is added to the result, then `activation` is applied; passes fuse them here.
    """

    since = 13
    operands = ("A", "B", "C?", "R?")

    alpha: float = 1.0
    beta: float = 1.0
    transA: bool = False
    transB: bool = False
    activation: Activation | None = None

    def infer(self, a: Operand, b: Operand, c: Operand | None = None,
              r: Operand | None = None) -> tuple[TensorType, ...]:
        dtype = common_dtype("Gemm", [o for o in (a, b, c, r) if o is not None], FLOATS)
        if a.type.rank != 2 or b.type.rank != 2:
            raise OpError(f"Gemm: A and B must be matrices, not {a.type} and {b.type}")
        m, k = a.type.shape[::-1] if self.transA else a.type.shape
        k2, n = b.type.shape[::-1] if self.transB else b.type.shape
        if agree((k, k2)) is None:
            raise OpError(f"Gemm: A {a.type} has {k} columns, but B {b.type} has {k2} rows "
                          f"(transA={int(self.transA)}, transB={int(self.transB)})")
        if c is not None and (c.type.rank > 2 or broadcast_shapes("Gemm", ((m, n), c.type.shape)) != (m, n)):
            raise OpError(f"Gemm: C {c.type} cannot be broadcast to [{m},{n}]")
        return (_with_residual("Gemm", TensorType(dtype, (m, n)), r),)

    def reference(self, a: Array, b: Array, c: Array | None = None, r: Array | None = None) -> tuple[Array, ...]:
        number = a.dtype.type
        y = number(self.alpha) * ((a.T if self.transA else a) @ (b.T if self.transB else b))
        if c is not None:
            y = y + number(self.beta) * c
        if r is not None:
            y = y + r
        return (y if self.activation is None else self.activation.apply(y),)


def _with_residual(op_type: str, y: TensorType, r: Operand | None) -> TensorType:
    """The type of the result, which R must have."""
    if r is not None and r.type != y:
        raise OpError(f"{op_type}: R {r.type} must have the result's type {y}")
    return y


@record
class MatMul(Op):
    """ONNX MatMul-13: as numpy.matmul: the leading axes are broadcast, and a vector is a row on the left, a column on
    the right.

    Beyond ONNX, for floating point: C [N] (a bias, one number a column) and R of the result's type (a residual) are
    added, then `activation` is applied; passes fuse them here.
    """

    since = 13
    operands = ("A", "B", "C?", "R?")

    activation: Activation | None = None

    def infer(self, a: Operand, b: Operand, c: Operand | None = None,
              r: Operand | None = None) -> tuple[TensorType, ...]:
        fused = c is not None or r is not None or self.activation is not None
        dtype = common_dtype("MatMul", [o for o in (a, b, c, r) if o is not None], FLOATS if fused else NUMERIC)
        if a.type.rank == 0 or b.type.rank == 0:
            raise OpError(f"MatMul: A and B must have an axis, not {a.type} and {b.type}")
        rows, columns = a.type.shape[-2:-1], b.type.shape[-1:] if b.type.rank > 1 else ()
        if agree((a.type.shape[-1], b.type.shape[-2:][0])) is None:
            raise OpError(f"MatMul: A {a.type} has {a.type.shape[-1]} columns, but B {b.type} has "
                          f"{b.type.shape[-2:][0]} rows")
        batch = broadcast_shapes("MatMul", (a.type.shape[:-2], b.type.shape[:-2]))
        if c is not None and (not columns or c.type.shape != columns):
            raise OpError(f"MatMul: C {c.type} must hold one number for each column of B {b.type}")
        return (_with_residual("MatMul", TensorType(dtype, (*batch, *rows, *columns)), r),)

    def reference(self, a: Array, b: Array, c: Array | None = None, r: Array | None = None) -> tuple[Array, ...]:
        y = np.asarray(np.matmul(a, b))
        for addend in (c, r):
            if addend is not None:
                y = y + addend
        return (y if self.activation is None else self.activation.apply(y),)
