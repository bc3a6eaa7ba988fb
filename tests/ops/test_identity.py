"""Identity and Dropout against onnx and onnxruntime."""

from __future__ import annotations

import numpy as np
import pytest

from cnncc.ir import DType, symbol
from cnncc.ops.identity import Dropout, Identity

from .cases import Case, assert_refused, check, check_half, inferred, normal, operand, trials

CASES = [
    Case(Identity(), (normal(2, 3),)),
    Case(Identity(), (np.arange(5),)),
    Case(Identity(), (np.array([True, False]),)),
    Case(Identity(), (np.array(3, np.uint8),)),
    Case(Dropout(), (normal(2, 3),), outputs=2),
    Case(Dropout(seed=5), (normal(2, 3), np.array(0.7, np.float32)), outputs=2),
    Case(Dropout(), (normal(2, 3), np.array(0.7, np.float32), np.array(False)), constants=(1, 2), outputs=2),
    Case(Dropout(), (normal(2, 3), None, np.array(False)), constants=(2,)),
]


@pytest.mark.parametrize(("case", "judge", "dtype"), trials(CASES))
def test_against_judges(case: Case, judge: str, dtype: DType) -> None:
    check(case, judge, dtype)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_half(case: Case) -> None:
    check_half(case)


def test_infer() -> None:
    assert inferred(Identity(), "i64[2,N]") == "i64[2,N]"
    assert inferred(Dropout(), "f32[N,C]") == "f32[N,C], bool[N,C]"


def test_identity_of_sizes_is_known() -> None:
    sizes = np.array([symbol("N"), 3], object)
    [known] = Identity().known(operand("i64[2]").__class__(operand("i64[2]").type, sizes)) or ()
    assert known.tolist() == [symbol("N"), 3]


def test_wrong_input() -> None:
    training = "Dropout: training_mode must be a constant false: export the model for inference"
    assert_refused(Dropout, ["f32[3]", None, operand("bool[]", True)], training)
    assert_refused(Dropout, ["f32[3]", None, "bool[]"], training)
    assert_refused(Dropout, ["i32[3]"], "Dropout: data is i32[3], but must be of type f16 or f32 or f64")
