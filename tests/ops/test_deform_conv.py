"""DeformConv against onnx and onnxruntime."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cnncc.ir import DType, Op, Operand
from cnncc.ops.conv import Conv
from cnncc.ops.deform_conv import DeformConv

from .cases import Case, assert_refused, assert_same, check, check_half, inferred, normal, trials


def deformed(x: tuple[int, ...], w: tuple[int, ...], out: tuple[int, ...], *, bias: bool = False, mask: bool = False,
             **attributes: Any) -> Case:
    taps, groups, rank = int(np.prod(w[2:])), attributes.get("offset_group", 1), len(out)
    inputs = (normal(*x), normal(*w), normal(x[0], groups * taps * rank, *out, seed=1),
              normal(w[0], seed=2) if bias else None,
              np.abs(normal(x[0], groups * taps, *out, seed=3)) if mask else None)
    last = max(i for i, v in enumerate(inputs) if v is not None)
    skip = {"onnx": "it takes up to a minute for many channels"} if x[1] >= 32 else {}
    return Case(DeformConv(**attributes), inputs[:last + 1], constants=(1, 3), dtypes=(DType.F32,), tolerance=8,
                skip=skip)


CASES = [
    deformed((1, 2, 5, 6), (3, 2, 2, 3), (4, 4)),
    deformed((2, 4, 6, 5), (4, 2, 3, 3), (3, 3), bias=True, mask=True, group=2, offset_group=2,
             pads=(1, 1, 1, 1), strides=(2, 2)),
    deformed((1, 4, 7, 7), (2, 4, 2, 2), (5, 5), mask=True, dilations=(2, 2), offset_group=4),
    deformed((2, 64, 5, 4), (64, 32, 2, 2), (2, 4), mask=True, group=2, offset_group=4,
             pads=(0, 1, 0, 0), strides=(2, 1)),
    deformed((1, 128, 4, 3), (64, 128, 3, 3), (4, 3), pads=(1, 1, 1, 1)),
    deformed((1, 32, 5, 4), (20, 32, 3, 3), (5, 4), bias=True, mask=True, pads=(1, 1, 1, 1)),
]


@pytest.mark.parametrize(("case", "judge", "dtype"), trials(CASES))
def test_against_judges(case: Case, judge: str, dtype: DType) -> None:
    check(case, judge, dtype)


def test_half() -> None:
    check_half(CASES[0])


@pytest.mark.parametrize("spatial", [(9,), (5, 6), (4, 5, 3)])
def test_taps_that_stay_are_a_convolution(spatial: tuple[int, ...]) -> None:
    """Of any number of axes, which the judges have two of."""
    rank = len(spatial)
    x, w = normal(1, 4, *spatial), normal(6, 2, *(3,) * rank)
    geometry: dict[str, Any] = {"group": 2, "pads": (1,) * (2 * rank), "strides": (2,) * rank}
    [expected] = Conv(**geometry).reference(x, w)
    [got] = DeformConv(**geometry).reference(x, w, np.zeros((1, 3**rank * rank, *expected.shape[2:]), np.float32))
    assert_same(got, expected, 4)


@pytest.mark.parametrize(("op", "operands", "types"), [
    (DeformConv(pads=(1, 1, 1, 1)), ["f32[N,4,H,W]", "f32[8,4,3,3]", "f32[N,18,H,W]", None, "f32[N,9,H,W]"],
     "f32[N,8,H,W]"),
])
def test_infer(op: Op, operands: list[str | Operand | None], types: str) -> None:
    assert inferred(op, *operands) == types


@pytest.mark.parametrize(("make", "operands", "message"), [
    (lambda: DeformConv(group=0), [], "DeformConv: group and offset_group must be at least 1, not 0 and 1"),
    (DeformConv, ["f32[1,4,5,5]", "f32[8,4,3]", "f32[1,18,3,3]"],
     "DeformConv: X must be [N, C, *spatial] and W [OC, C/group, *kernel], not f32[1,4,5,5] and f32[8,4,3]"),
    (lambda: DeformConv(kernel_shape=(2, 2)), ["f32[1,4,5,5]", "f32[8,4,3,3]", "f32[1,18,3,3]"],
     "DeformConv: W [8,4,3,3] must have a fixed kernel, kernel_shape [2, 2] where that is given"),
    (lambda: DeformConv(offset_group=3), ["f32[1,4,5,5]", "f32[8,4,3,3]", "f32[1,18,3,3]"],
     "DeformConv: X f32[1,4,5,5] and W f32[8,4,3,3] do not fit 1 groups and 3 groups of offsets"),
    (DeformConv, ["f32[1,4,5,5]", "f32[8,4,3,3]", "f32[1,9,3,3]"],
     "DeformConv: offset must be [1,18,3,3], not f32[1,9,3,3]"),
    (DeformConv, ["f32[1,4,5,5]", "f32[8,4,3,3]", "f32[1,18,3,3]", None, "f32[1,18,3,3]"],
     "DeformConv: mask must be [1,9,3,3], not f32[1,18,3,3]"),
    (DeformConv, ["f32[1,4,5,5]", "f32[8,4,3,3]", "f32[1,18,3,3]", "f32[4]"], "DeformConv: B must be [8], not f32[4]"),
])
def test_wrong_input(make: Callable[[], Op], operands: list[str | Operand | None], message: str) -> None:
    assert_refused(make, operands, message)
