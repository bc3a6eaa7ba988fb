"""RotaryEmbedding against onnx and onnxruntime."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from cnncc.ir import DType, Op
from cnncc.ops.rotary_embedding import RotaryEmbedding

from .cases import Case, assert_refused, check, inferred, normal, trials

X, FLAT = normal(2, 3, 5, 8), normal(2, 5, 24)
COS, SIN = normal(2, 5, 4, seed=1), normal(2, 5, 4, seed=2)
IDS = np.array([[0, 1, 2, 3, 4], [6, 2, 2, 0, 5]])

HALF = (DType.F16, DType.F32)  # no judge takes float64

CASES = [
    Case(RotaryEmbedding(), (X, COS, SIN), dtypes=HALF),
    Case(RotaryEmbedding(interleaved=True), (X, COS, SIN), dtypes=HALF),
    Case(RotaryEmbedding(), (X, normal(7, 4), normal(7, 4, seed=3), IDS), dtypes=HALF),
    Case(RotaryEmbedding(num_heads=3), (FLAT, COS, SIN), dtypes=HALF),
    Case(RotaryEmbedding(num_heads=3, interleaved=True), (FLAT, normal(7, 4), normal(7, 4, seed=3), IDS), dtypes=HALF),
    Case(RotaryEmbedding(num_heads=3, rotary_embedding_dim=4), (FLAT, COS[..., :2], SIN[..., :2]), dtypes=HALF),
    Case(RotaryEmbedding(rotary_embedding_dim=4, interleaved=True, num_heads=3), (X, COS[..., :2], SIN[..., :2]),
         dtypes=HALF),
]


@pytest.mark.parametrize(("case", "judge", "dtype"), trials(CASES))
def test_against_judges(case: Case, judge: str, dtype: DType) -> None:
    check(case, judge, dtype)


def test_infer() -> None:
    assert inferred(RotaryEmbedding(), "f32[N,4,L,8]", "f32[N,L,4]", "f32[N,L,4]") == "f32[N,4,L,8]"
    assert inferred(RotaryEmbedding(num_heads=2), "f16[N,L,12]", "f16[P,3]", "f16[P,3]", "i64[N,L]") == "f16[N,L,12]"


@pytest.mark.parametrize(("make", "operands", "message"), [
    (RotaryEmbedding, ["f32[1,5,8]", "f32[1,5,4]", "f32[1,5,4]"], "with num_heads 0"),
    (RotaryEmbedding, ["f32[1,2,5,7]", "f32[1,5,3]", "f32[1,5,3]"], "7 of the 7 elements of a head cannot be turned"),
    (lambda: RotaryEmbedding(rotary_embedding_dim=10), ["f32[1,2,5,8]", "f32[1,5,4]", "f32[1,5,4]"],
     "10 of the 8 elements"),
    (lambda: RotaryEmbedding(num_heads=3), ["f32[1,5,8]", "f32[1,5,4]", "f32[1,5,4]"],
     "8 elements are not 3 heads of one size"),
    (RotaryEmbedding, ["f32[1,2,5,8]", "f32[1,5,4]", "f32[1,6,4]"],
     "sin_cache must be [1,5,4], not f32[1,6,4]"),
    (RotaryEmbedding, ["f32[1,2,5,8]", "f32[9,4]", "f32[9,4]"], "cos_cache must be [1,5,4], not f32[9,4]"),
    (RotaryEmbedding, ["f32[1,2,5,8]", "f32[9,4]", "f32[9,4]", "i64[1,4]"], "position_ids must be [1,5]"),
])
def test_refused(make: Callable[[], Op], operands: list[str], message: str) -> None:
    assert_refused(make, operands, message)
