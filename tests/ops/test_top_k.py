"""TopK against onnx and onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cnncc.ir import DType
from cnncc.ops.top_k import TopK

from .cases import Case, assert_refused, check, inferred, normal, operand, trials


def top(x: Any, k: int, **attributes: Any) -> Case:
    return Case(TopK(**attributes), (x, np.array([k])), constants=(1,), outputs=2)


CASES = [
    top(normal(3, 7), 3),
    top(normal(3, 7), 3, largest=False),
    top(normal(4, 3, 2), 2, axis=0),
    top(normal(2, 5), 5),
    top(np.array([1, 3, 3, 2, 3, 1], np.float32), 4),
    top(np.array([1, 3, 3, 2, 3, 1], np.float32), 4, largest=False),
    top(np.array([[5, -(2**63), 2**62]]), 2),
]


@pytest.mark.parametrize(("case", "judge", "dtype"), trials(CASES))
def test_against_judges(case: Case, judge: str, dtype: DType) -> None:
    check(case, judge, dtype)


def test_infer() -> None:
    assert inferred(TopK(axis=1), "f32[N,9]", operand("i64[1]", [4])) == "f32[N,4], i64[N,4]"
    assert inferred(TopK(axis=0), "f32[N,9]", operand("i64[1]", [4])) == "f32[4,9], i64[4,9]"


def test_wrong_input() -> None:
    assert_refused(TopK, ["f32[3]", operand("i64[1]", [4])],
                   "TopK: axis 0 of X f32[3] has fewer elements than K = 4")
    assert_refused(TopK, ["f32[3]", operand("i64[1]", [-1])], "TopK: K must be one number of at least 0, not [-1]")
    assert_refused(TopK, ["bool[3]", operand("i64[1]", [1])], "TopK: X is bool[3], but must be of type")
