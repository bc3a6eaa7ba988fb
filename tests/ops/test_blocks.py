"""DepthToSpace and SpaceToDepth against onnx and onnxruntime, and with symbolic sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cnncc.ir import DType
from cnncc.ops.blocks import DepthToSpace, SpaceToDepth

from .cases import Case, assert_refused, check, inferred, normal, trials

F32 = (DType.F32,)
OLD = {"onnxruntime": "it has no SpaceToDepth with a mode"}

CASES = [
    *(Case(DepthToSpace(blocksize=b, mode=mode), (normal(2, 2 * b * b, 3, 4),), dtypes=F32)
      for b in (1, 2, 3) for mode in ("DCR", "CRD")),
    *(Case(SpaceToDepth(blocksize=b), (normal(2, 3, 2 * b, 4 * b),), dtypes=F32) for b in (1, 2, 3)),
    Case(SpaceToDepth(blocksize=2, mode="CRD"), (normal(2, 3, 4, 6),), dtypes=F32, skip=OLD),
]


@pytest.mark.parametrize(("case", "judge", "dtype"), trials(CASES))
def test_against_judges(case: Case, judge: str, dtype: DType) -> None:
    check(case, judge, dtype)


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_one_undoes_the_other(mode: str) -> None:
    x = normal(2, 3, 4, 6)
    (y,) = SpaceToDepth(blocksize=2, mode=mode).reference(x)
    (z,) = DepthToSpace(blocksize=2, mode=mode).reference(y)
    np.testing.assert_array_equal(z, x)


def test_infer_symbolic() -> None:
    assert inferred(DepthToSpace(blocksize=2), "f32[N,4*C,H,W]") == "f32[N,C,2*H,2*W]"
    assert inferred(SpaceToDepth(blocksize=2), "f32[N,C,2*H,W]") == "f32[N,4*C,H,W//2]"


@pytest.mark.parametrize(("make", "operands", "message"), [
    (lambda: DepthToSpace(blocksize=0), [], "DepthToSpace: blocksize must be at least 1, not 0"),
    (lambda: SpaceToDepth(blocksize=2, mode="X"), [], "SpaceToDepth: mode must be DCR or CRD, not 'X'"),
    (lambda: DepthToSpace(blocksize=2), ["f32[4,2]"], "DepthToSpace: the input must be [N, C, H, W], not f32[4,2]"),
    (lambda: DepthToSpace(blocksize=2), ["f32[1,6,2,2]"],
     "DepthToSpace: the 6 channels of f32[1,6,2,2] are not divisible by blocksize^2 = 4"),
    (lambda: SpaceToDepth(blocksize=2), ["f32[1,6,3,2]"],
     "SpaceToDepth: the height and width of f32[1,6,3,2] are not divisible by blocksize = 2"),
])
def test_wrong_input(make: Any, operands: list[Any], message: str) -> None:
    assert_refused(make, operands, message)
