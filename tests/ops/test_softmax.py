"""Softmax, LogSoftmax and Hardmax against onnx and onnxruntime."""

from __future__ import annotations

import numpy as np
import pytest

from cnncc.ir import DType
from cnncc.ops.softmax import Hardmax, LogSoftmax, Softmax

from .cases import Case, assert_refused, check, check_half, inferred, normal, trials

OPERATORS = (Softmax, LogSoftmax, Hardmax)
CASES = [
    *(Case(op(axis=axis), (normal(2, 3, 4, 5) * 3,)) for op in OPERATORS for axis in (-1, 0, 1, -2)),
    *(Case(op(), (normal(7),)) for op in OPERATORS),
    *(Case(op(axis=1), (normal(0, 5),)) for op in OPERATORS),
    *(Case(op(axis=1), (np.array([[1000, -1000, 1000], [-1e30, 1e30, 0]], np.float32),),
           dtypes=(DType.F32, DType.F64), note="large") for op in (Softmax, Hardmax)),
]


@pytest.mark.parametrize(("case", "judge", "dtype"), trials(CASES))
def test_against_judges(case: Case, judge: str, dtype: DType) -> None:
    check(case, judge, dtype)


@pytest.mark.parametrize("case", [c for c in CASES if c.note != "large"], ids=str)
def test_half(case: Case) -> None:
    check_half(case)


@pytest.mark.parametrize("make", OPERATORS)
def test_infer(make: type[Softmax]) -> None:
    assert inferred(make(axis=1), "f32[N,C,2*H]") == "f32[N,C,2*H]"


@pytest.mark.parametrize("make", OPERATORS)
def test_wrong_input(make: type[Softmax]) -> None:
    name = make.__name__
    assert_refused(make, ["i32[3]"], f"{name}: the input is i32[3], but must be of type f16 or f32 or f64")
    assert_refused(lambda: make(axis=3), ["f32[1,2,3]"], f"{name}: axis 3 is outside [-3, 2]")
    assert_refused(lambda: make(axis=-4), ["f32[1,2,3]"], f"{name}: axis -4 is outside [-3, 2]")
