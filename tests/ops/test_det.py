"""Det against onnx and onnxruntime."""

from __future__ import annotations

import numpy as np
import pytest

from cnncc.ir import DType
from cnncc.ops.det import Det

from .cases import Case, assert_refused, check, check_half, inferred, normal, trials

CASES = [Case(Det(), (normal(*shape),)) for shape in ((3, 3), (2, 4, 1, 1), (5, 2, 2))]


@pytest.mark.parametrize(("case", "judge", "dtype"), trials(CASES))
def test_against_judges(case: Case, judge: str, dtype: DType) -> None:
    check(case, judge, dtype)


def test_half_precision() -> None:
    check_half(CASES[0])
    assert Det().reference(np.eye(2, dtype=np.float16))[0] == 1


def test_infer() -> None:
    assert inferred(Det(), "f32[N,C,3,3]") == "f32[N,C]"
    assert_refused(Det, ["f32[N,2,3]"], "Det: X f32[N,2,3] must hold square matrices in its last two axes")
    assert_refused(Det, ["f32[3]"], "must hold square matrices")
