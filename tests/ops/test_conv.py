"""Conv against onnx and onnxruntime."""

from __future__ import annotations

from typing import Any

import pytest

from cnncc.ir import DType
from cnncc.ops.conv import Conv

from .cases import Case, check, check_half, normal, trials


def conv(x: tuple[int, ...], w: tuple[int, ...], *, bias: bool = False, **attributes: Any) -> Case:
    arrays = [normal(*x), normal(*w, seed=1)] + ([normal(w[0], seed=2)] if bias else [])
    return Case(Conv(**attributes), tuple(arrays), tolerance=2.0)


CASES = [
    conv((1, 3, 7, 6), (4, 3, 3, 3)),
    conv((2, 3, 7, 6), (4, 3, 3, 3), bias=True, pads=(1, 1, 1, 1), kernel_shape=(3, 3)),
    conv((1, 2, 9, 8), (3, 2, 3, 2), strides=(2, 3), pads=(0, 1, 2, 0)),
    conv((1, 2, 11, 12), (3, 2, 3, 3), dilations=(2, 3), pads=(2, 3, 2, 3)),
    conv((1, 2, 11, 12), (3, 2, 3, 3), dilations=(3, 2), strides=(2, 2)),
    conv((2, 4, 5, 5), (6, 2, 3, 3), group=2, bias=True),
    conv((1, 4, 6, 6), (4, 1, 3, 3), group=4, pads=(1, 1, 1, 1), strides=(2, 2)),
    conv((1, 4, 5, 5), (8, 1, 5, 5), group=4, pads=(2, 2, 2, 2)),
    conv((2, 5, 4, 3), (7, 5, 1, 1), bias=True),
    conv((1, 5, 5, 5), (7, 5, 1, 1), strides=(2, 2)),
    conv((1, 3, 10), (4, 3, 3), bias=True),
    conv((2, 4, 11), (6, 2, 3), group=2, strides=(2,), dilations=(2,), pads=(1, 2)),
    conv((1, 2, 5, 6, 7), (3, 2, 3, 2, 3), bias=True, pads=(1, 0, 1, 1, 1, 1)),
    conv((1, 4, 5, 6, 5), (4, 2, 2, 2, 2), group=2, strides=(1, 2, 2), dilations=(2, 1, 2)),
    conv((1, 2, 7, 8), (3, 2, 3, 3), auto_pad="SAME_UPPER", strides=(2, 2)),
    conv((1, 2, 7, 8), (3, 2, 4, 2), auto_pad="SAME_UPPER"),
    conv((1, 2, 7, 8), (3, 2, 4, 2), auto_pad="SAME_LOWER"),
    conv((1, 2, 7, 8), (3, 2, 3, 3), auto_pad="SAME_LOWER", strides=(2, 3)),
    conv((1, 2, 7, 8), (3, 2, 3, 3), auto_pad="VALID", bias=True),
    conv((1, 2, 9), (3, 2, 4), auto_pad="SAME_LOWER", strides=(2,)),
    conv((0, 2, 5, 5), (3, 2, 3, 3)),
]


@pytest.mark.parametrize(("case", "judge", "dtype"), trials(CASES))
def test_against_judges(case: Case, judge: str, dtype: DType) -> None:
    check(case, judge, dtype)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_half(case: Case) -> None:
    check_half(case)
