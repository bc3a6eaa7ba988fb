"""LRN against onnx and onnxruntime."""

from __future__ import annotations

import pytest

from cnncc.ir import DType
from cnncc.ops.lrn import LRN

from .cases import Case, assert_refused, assert_same, check, check_half, inferred, normal, trials

# onnx's reference normalises as many channels as the batch has items, and is no judge of the rest.
ONNX = {"onnx": "its reference loops over the batch where it means the channels"}
CASES = [
    Case(LRN(size=5), (normal(2, 7, 3, 4),), skip=ONNX),
    Case(LRN(size=5, alpha=0.5, beta=0.6, bias=2.0), (normal(2, 7, 3, 4),), skip=ONNX),
    Case(LRN(size=3, alpha=1.0), (normal(1, 2, 3, 3),), skip=ONNX),
    Case(LRN(size=1, alpha=1.0), (normal(1, 3, 2, 2),), skip=ONNX),
    Case(LRN(size=9, alpha=1.0), (normal(1, 3, 2, 2),), skip=ONNX),
    Case(LRN(size=5, alpha=1.0), (normal(5, 5, 2, 3),), note="batch as large as the channels"),
    Case(LRN(size=4, alpha=1.0), (normal(6, 6, 2, 2),), skip={"onnxruntime": "it takes odd sizes only"}),
]


@pytest.mark.parametrize(("case", "judge", "dtype"), trials(CASES))
def test_against_judges(case: Case, judge: str, dtype: DType) -> None:
    check(case, judge, dtype)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_half(case: Case) -> None:
    check_half(case)


@pytest.mark.parametrize("shape", [(2, 4), (2, 4, 3), (1, 4, 2, 2, 2)])
def test_any_rank_is_rank_four(shape: tuple[int, ...]) -> None:
    x = normal(*shape)
    [y] = LRN(size=3, alpha=1.0).reference(x)
    [expected] = LRN(size=3, alpha=1.0).reference(x.reshape(*shape[:2], -1, 1))
    assert_same(y, expected.reshape(shape))


def test_infer() -> None:
    assert inferred(LRN(size=5), "f32[N,C,H,W]") == "f32[N,C,H,W]"


def test_wrong_input() -> None:
    assert_refused(lambda: LRN(size=0), ["f32[1,3,2,2]"], "LRN: size must be at least 1, not 0")
    assert_refused(lambda: LRN(size=3), ["f32[3]"], "LRN: X must be [N, C, *spatial], not f32[3]")
    assert_refused(lambda: LRN(size=3), ["i8[1,3]"], "LRN: X is i8[1,3], but must be of type f16 or f32 or f64")
