"""PointwiseDepthwiseConv against the two convolutions that it stands for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from cnncc.errors import OpError
from cnncc.ir import Activation, Op
from cnncc.ops.conv import Conv
from cnncc.ops.pointwise_depthwise import PointwiseDepthwiseConv

from .cases import assert_refused, inferred, normal


@pytest.mark.parametrize("biases", [(), (normal(6, seed=3),), (None, normal(6, seed=4))])
def test_it_is_one_convolution_after_the_other(biases: tuple[np.ndarray | None, ...]) -> None:
    x, w, v = normal(2, 3, 7, 8), normal(6, 3, 1, 1, seed=1), normal(6, 1, 3, 3, seed=2)
    b, d = (*biases, None, None)[:2]
    op = PointwiseDepthwiseConv(Activation("relu"), Activation("silu"), (1, 0, 1, 1), (2, 1))
    [middle] = Conv(activation=Activation("silu")).reference(x, w, b)
    [want] = Conv(group=6, pads=(1, 0, 1, 1), strides=(2, 1), activation=Activation("relu")).reference(middle, v, d)
    [got] = op.reference(x, w, v, *biases)
    np.testing.assert_array_equal(got, want)


def test_sizes_may_be_symbolic() -> None:
    op = PointwiseDepthwiseConv(pads=(1, 1, 1, 1))
    assert inferred(op, "f32[N,3,H,9]", "f32[6,3,1,1]", "f32[6,1,3,3]") == "f32[N,6,H,9]"


@pytest.mark.parametrize(("make", "operands", "message"), [
    (PointwiseDepthwiseConv, ["f32[1,3,9,9]", "f32[6,3,3,3]", "f32[6,1,3,3]"],
     "PointwiseDepthwiseConv: W must be [M, C, 1, ...] and V [M, 1, *kernel], but there are W [6,3,3,3] and V "
     "[6,1,3,3]"),
    (PointwiseDepthwiseConv, ["f32[1,3,9,9]", "f32[6,3,1,1]", "f32[12,1,3,3]"],
     "PointwiseDepthwiseConv: W must be [M, C, 1, ...] and V [M, 1, *kernel], but there are W [6,3,1,1] and V "
     "[12,1,3,3]"),
    (lambda: PointwiseDepthwiseConv(strides=(0, 1)), [], "Conv: strides must be at least 1, not [0, 1]"),
])
def test_what_is_refused(make: Callable[[], Op], operands: list[str], message: str) -> None:
    assert_refused(make, operands, message)


def test_operands_of_the_convolutions_are_checked() -> None:
    with pytest.raises(OpError, match="do not fit with group 1"):
        inferred(PointwiseDepthwiseConv(), "f32[1,4,9,9]", "f32[6,3,1,1]", "f32[6,1,3,3]")
