"""RoiAlign and MaxRoiPool against onnx and onnxruntime."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cnncc.errors import OpError
from cnncc.ir import DType, Op, Operand
from cnncc.ops.regions import MaxRoiPool, RoiAlign

from .cases import Case, assert_refused, check, check_half, inferred, normal, trials

# onnx's reference lacks MaxRoiPool; ONNX Runtime has both operators in single precision only, with older forms.
ROIS = np.array([[1, 1.5, 9, 8], [0, 0, 20, 24], [-6, -7, 3.3, 5], [15, 3, 14, 30], [4, 4, 4, 4]], np.float32)
PICTURES = np.array((1, 0, 1, 0, 1))


def aligned(x: tuple[int, ...] = (2, 3, 11, 13), **attributes: Any) -> Case:
    """Numbers of at least 0: where the largest is taken, ONNX's two implementations differ for samples outside."""
    return Case(RoiAlign(**attributes), (np.abs(normal(*x)), ROIS, PICTURES), dtypes=(DType.F32,), tolerance=4)


CASES = [
    *(aligned(output_height=3, output_width=2, sampling_ratio=ratio, spatial_scale=0.5, mode=mode,
              coordinate_transformation_mode=coordinates)
      for ratio in (0, 2) for mode in ("avg", "max") for coordinates in ("half_pixel", "output_half_pixel")),
    aligned((2, 20, 6, 5), output_height=1, output_width=3, spatial_scale=0.25),
    Case(RoiAlign(), (normal(1, 2, 4, 4), np.zeros((0, 4), np.float32), np.zeros(0, np.int64)), dtypes=(DType.F32,)),
    *(Case(MaxRoiPool((2, 3), spatial_scale=scale),
           (normal(2, 3, 11, 13), np.concatenate([PICTURES[:, None], ROIS], 1).astype(np.float32)),
           dtypes=(DType.F32,), skip={"onnx": "its reference lacks the operator"}) for scale in (1.0, 0.5)),
]


@pytest.mark.parametrize(("case", "judge", "dtype"), trials(CASES))
def test_against_judges(case: Case, judge: str, dtype: DType) -> None:
    check(case, judge, dtype)


def test_half() -> None:
    check_half(CASES[0])


def test_a_picture_that_is_not_there() -> None:
    with pytest.raises(OpError, match="RoiAlign: a region lies in picture 2, but there are 2"):
        RoiAlign().reference(normal(2, 1, 4, 4), ROIS[:1], np.array([2]))
    with pytest.raises(OpError, match="MaxRoiPool: a region lies in picture -1, but there are 1"):
        MaxRoiPool((1, 1)).reference(normal(1, 1, 4, 4), np.array([[-1, 0, 0, 2, 2]], np.float32))


@pytest.mark.parametrize(("op", "operands", "types"), [
    (RoiAlign(output_height=7, output_width=5), ["f32[N,C,H,W]", "f32[R,4]", "i64[R]"], "f32[R,C,7,5]"),
    (MaxRoiPool((7, 5)), ["f16[N,C,H,W]", "f16[R,5]"], "f16[R,C,7,5]"),
])
def test_infer(op: Op, operands: list[str | Operand | None], types: str) -> None:
    assert inferred(op, *operands) == types


@pytest.mark.parametrize(("make", "operands", "message"), [
    (lambda: RoiAlign(mode="min"), [], "RoiAlign: mode must be avg or max, not 'min'"),
    (lambda: RoiAlign(coordinate_transformation_mode="corners"), [],
     "RoiAlign: coordinate_transformation_mode must be half_pixel or output_half_pixel, not 'corners'"),
    (lambda: RoiAlign(output_width=0), [], "RoiAlign: output_width must be at least 1, not 0"),
    (RoiAlign, ["f32[1,3,4]", "f32[R,4]", "i64[R]"], "RoiAlign: X must be [N, C, H, W] with pixels, not f32[1,3,4]"),
    (RoiAlign, ["f32[1,3,4,4]", "f32[R,5]", "i64[R]"],
     "RoiAlign: rois must be [R, 4] and batch_indices [R], not f32[R,5] and i64[R]"),
    (RoiAlign, ["f32[0,3,4,4]", "f32[2,4]", "i64[2]"], "RoiAlign: rois f32[2,4] lie in no picture: X is f32[0,3,4,4]"),
    (RoiAlign, ["f32[1,3,4,4]", "f16[R,4]", "i64[R]"], "RoiAlign: all inputs must have one element type"),
    (lambda: MaxRoiPool((2,)), [], "MaxRoiPool: pooled_shape must be a height and a width, not [2]"),
    (lambda: MaxRoiPool((2, 2)), ["f32[1,3,4,4]", "f32[R,4]"], "MaxRoiPool: rois must be [R, 5], not f32[R,4]"),
])
def test_wrong_input(make: Callable[[], Op], operands: list[str | Operand | None], message: str) -> None:
    assert_refused(make, operands, message)
