"""Gemm and MatMul against onnx and onnxruntime."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from cnncc.ir import Activation, DType, Op
from cnncc.ops.gemm import Gemm, MatMul

from .cases import Case, assert_refused, assert_same, check, check_half, inferred, normal, trials

CASES = [
    Case(Gemm(), (normal(4, 5), normal(5, 3))),
    Case(Gemm(), (normal(4, 5), normal(5, 3), normal(3))),
    Case(Gemm(), (normal(4, 5), normal(5, 3), normal(4, 1))),
    Case(Gemm(), (normal(4, 5), normal(5, 3), normal(4, 3))),
    Case(Gemm(), (normal(1, 5), normal(5, 3), np.array(0.5, np.float32))),
    Case(Gemm(alpha=0.5, beta=2.0, transB=True), (normal(4, 5), normal(3, 5), normal(1, 3))),
    Case(Gemm(alpha=-1.5, transA=True), (normal(5, 4), normal(5, 3), normal(1))),
    Case(Gemm(beta=0.0, transA=True, transB=True), (normal(5, 4), normal(3, 5), normal(3))),
    Case(Gemm(), (normal(0, 5), normal(5, 3), normal(3))),
    Case(Gemm(transB=True, activation=Activation("relu")), (normal(4, 5), normal(3, 5), normal(3))),
    Case(Gemm(activation=Activation("clip", (0.0, 0.5))), (normal(4, 5), normal(5, 3))),
    Case(MatMul(), (normal(4, 5), normal(5, 3))),
    Case(MatMul(), (normal(2, 3, 4, 5), normal(2, 3, 5, 6))),
    Case(MatMul(), (normal(2, 1, 4, 5), normal(3, 5, 6))),
    Case(MatMul(), (normal(2, 3, 4), normal(4, 5))),
    Case(MatMul(), (normal(5), normal(5))),
    Case(MatMul(), (normal(5), normal(2, 5, 3))),
    Case(MatMul(), (normal(2, 4, 5), normal(5))),
    Case(MatMul(), (np.arange(6, dtype=np.int32).reshape(2, 3), np.arange(12, dtype=np.int32).reshape(3, 4))),
]


@pytest.mark.parametrize(("case", "judge", "dtype"), trials(CASES))
def test_against_judges(case: Case, judge: str, dtype: DType) -> None:
    check(case, judge, dtype)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_half(case: Case) -> None:
    check_half(case)


@pytest.mark.parametrize("kind", ["relu", "tanh", "hard_swish"])
def test_fused_activation(kind: str) -> None:
    a, b, c = normal(4, 5), normal(5, 3), normal(3)
    [plain] = Gemm(alpha=2.0).reference(a, b, c)
    [fused] = Gemm(alpha=2.0, activation=Activation(kind)).reference(a, b, c)
    assert_same(fused, Activation(kind).apply(plain))


def test_fused_sums() -> None:
    relu = Activation("relu")
    a, b, c, r = normal(2, 4, 5), normal(5, 3), normal(3), normal(2, 4, 3)
    assert_same(MatMul(activation=relu).reference(a, b, c, r)[0], np.maximum(a @ b + c + r, 0))
    assert_same(Gemm(beta=2.0, activation=relu).reference(a[0], b, c, r[0])[0], np.maximum(a[0] @ b + 2 * c + r[0], 0))


@pytest.mark.parametrize(("op", "operands", "types"), [
    (MatMul(activation=Activation("relu")), ["f32[N,7,5]", "f32[5,M]", "f32[M]", "f32[N,7,M]"], "f32[N,7,M]"),
    (Gemm(), ["f32[N,5]", "f32[5,3]", "f32[3]", "f32[N,3]"], "f32[N,3]"),
    (Gemm(), ["f32[N,K]", "f32[K,10]", "f32[10]"], "f32[N,10]"),
    (Gemm(transA=True, transB=True), ["f16[K,N]", "f16[M,K]", "f16[N,1]"], "f16[N,M]"),
    (Gemm(), ["f32[N,C*H]", "f32[512,10]"], "f32[N,10]"),
    (MatMul(), ["f32[N,1,4,5]", "f32[7,5,M]"], "f32[N,7,4,M]"),
    (MatMul(), ["f32[N,5]", "f32[5]"], "f32[N]"),
    (MatMul(), ["f32[5]", "f32[5]"], "f32[]"),
])
def test_infer(op: Op, operands: list[str], types: str) -> None:
    assert inferred(op, *operands) == types


@pytest.mark.parametrize(("make", "operands", "message"), [
    (Gemm, ["f32[4,5]", "f32[4,3]"],
     "Gemm: A f32[4,5] has 5 columns, but B f32[4,3] has 4 rows (transA=0, transB=0)"),
    (lambda: Gemm(transA=True), ["f32[4,5]", "f32[5,3]"],
     "Gemm: A f32[4,5] has 4 columns, but B f32[5,3] has 5 rows (transA=1, transB=0)"),
    (Gemm, ["f32[2,4,5]", "f32[5,3]"], "Gemm: A and B must be matrices, not f32[2,4,5] and f32[5,3]"),
    (Gemm, ["f32[4,5]", "f32[5,3]", "f32[4]"], "Gemm: the shapes [4,3] and [4] do not broadcast"),
    (Gemm, ["f32[1,5]", "f32[5,3]", "f32[2,3]"], "Gemm: C f32[2,3] cannot be broadcast to [1,3]"),
    (Gemm, ["f32[1,5]", "f32[5,3]", "f32[1,1,3]"], "Gemm: C f32[1,1,3] cannot be broadcast to [1,3]"),
    (Gemm, ["f32[4,5]", "f64[5,3]"],
     "Gemm: all inputs must have one element type, not f32[4,5] and f64[5,3]; insert a Cast"),
    (Gemm, ["i32[4,5]", "i32[5,3]"],
     "Gemm: the input is i32[4,5], but must be of type f16 or f32 or f64; insert a Cast"),
    (Gemm, ["f32[4,5]"], "Gemm lacks its input B"),
    (MatMul, ["f32[4,5]", "f32[2,6,3]"], "MatMul: A f32[4,5] has 5 columns, but B f32[2,6,3] has 6 rows"),
    (MatMul, ["f32[4,5]", "f32[5,3]", "f32[4]"],
     "MatMul: C f32[4] must hold one number for each column of B f32[5,3]"),
    (MatMul, ["f32[4,5]", "f32[5,3]", "f32[3]", "f32[3]"], "MatMul: R f32[3] must have the result's type f32[4,3]"),
    (Gemm, ["f32[4,5]", "f32[5,3]", "f32[3]", "f32[3]"], "Gemm: R f32[3] must have the result's type f32[4,3]"),
    (lambda: MatMul(activation=Activation("relu")), ["i32[4,5]", "i32[5,3]"],
     "MatMul: the input is i32[4,5], but must be of type f16 or f32 or f64; insert a Cast"),
    (MatMul, ["f32[2,4,5]", "f32[3,5,4]"], "MatMul: the shapes [2] and [3] do not broadcast"),
    (MatMul, ["f32[]", "f32[5]"], "MatMul: A and B must have an axis, not f32[] and f32[5]"),
    (MatMul, ["f32[4,5]", "i32[5,3]"], "MatMul: all inputs must have one element type, not f32[4,5] and i32[5,3]"),
])
def test_wrong_input(make: Callable[[], Op], operands: list[str], message: str) -> None:
    assert_refused(make, operands, message)
