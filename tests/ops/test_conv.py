"""Conv against onnx and onnxruntime."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cnncc.ir import Activation, DType, Op
from cnncc.ops.conv import Conv

from .cases import Case, assert_refused, assert_same, check, check_half, inferred, normal, trials


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
    conv((1, 2, 1, 1), (3, 2, 3, 3), pads=(3, 3, 3, 3), strides=(2, 2)),
    conv((1, 3, 6, 5), (4, 3, 3, 3), bias=True, pads=(1, 1, 1, 1), activation=Activation("relu")),
    Case(Conv(activation=Activation("clip", (0.0, 6.0))),
         (normal(2, 4, 5), normal(6, 4, 3), normal(6), normal(2, 6, 3))),
    Case(Conv(group=2), (normal(2, 4, 5, 5), normal(6, 2, 3, 3), None, normal(2, 6, 3, 3))),
]


@pytest.mark.parametrize(("case", "judge", "dtype"), trials(CASES))
def test_against_judges(case: Case, judge: str, dtype: DType) -> None:
    check(case, judge, dtype)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_half(case: Case) -> None:
    check_half(case)


@pytest.mark.parametrize("kind", ["relu", "leaky_relu", "silu", "gelu"])
def test_fused_residual_and_activation(kind: str) -> None:
    x, w, b, r = normal(1, 4, 6, 5), normal(6, 2, 3, 3), normal(6), normal(1, 6, 3, 3)
    attributes: dict[str, Any] = {"group": 2, "strides": (2, 2), "pads": (1, 1, 1, 1)}
    [plain] = Conv(**attributes).reference(x, w, b)
    [fused] = Conv(**attributes, activation=Activation(kind)).reference(x, w, b, r)
    assert_same(fused, Activation(kind).apply(plain + r))


@st.composite
def convolutions(draw: st.DrawFn) -> Case:
    """A convolution over one or two spatial axes in which a window fits."""
    rank = draw(st.integers(1, 2))
    each = st.integers(1, 3)
    kernel, strides, dilations = (draw(st.tuples(*[each] * rank)) for _ in range(3))
    pads = draw(st.tuples(*[st.integers(0, 3)] * (2 * rank)))
    sizes = draw(st.tuples(*[st.integers(1, 7)] * rank))
    group, c, oc = draw(each), draw(each), draw(each)
    assume(all(size + b + e > (k - 1) * d for size, k, d, b, e in
               zip(sizes, kernel, dilations, pads[:rank], pads[rank:], strict=True)))
    op = Conv(strides=strides, dilations=dilations, pads=pads, group=group)
    return Case(op, (normal(1, c * group, *sizes), normal(oc * group, c, *kernel, seed=1)), tolerance=2.0)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(case=convolutions())
def test_any_geometry(case: Case) -> None:
    check(case, "onnxruntime", DType.F32)


@pytest.mark.parametrize(("op", "operands", "types"), [
    (Conv(pads=(1, 1, 1, 1), strides=(2, 2)), ["f32[N,3,H,W]", "f32[8,3,3,3]"], "f32[N,8,(H+1)//2,(W+1)//2]"),
    (Conv(), ["f16[N,3,4*H,W]", "f16[8,3,1,1]", "f16[8]"], "f16[N,8,4*H,W]"),
    (Conv(strides=(4, 1), pads=(1, 1, 1, 1)), ["f32[N,3,4*H,W]", "f32[8,3,3,3]"], "f32[N,8,H,W]"),
    (Conv(auto_pad="SAME_UPPER"), ["f32[N,3,L]", "f32[8,3,4]"], "f32[N,8,L]"),
    (Conv(auto_pad="SAME_LOWER", strides=(2,)), ["f32[N,3,9]", "f32[8,3,4]"], "f32[N,8,5]"),
    (Conv(dilations=(2,), group=3), ["f32[N,3,L]", "f32[6,1,3]", None, "f32[N,6,L-4]"], "f32[N,6,L-4]"),
    (Conv(), ["f32[1,2,5,6,7]", "f32[4,2,2,3,4]"], "f32[1,4,4,4,4]"),
])
def test_infer(op: Op, operands: list[str | None], types: str) -> None:
    assert inferred(op, *operands) == types


X, W = "f32[1,3,5,5]", "f32[4,3,3,3]"


@pytest.mark.parametrize(("make", "operands", "message"), [
    (Conv, [X, "f32[4,2,3,3]"], "Conv: X [1,3,5,5] and W [4,2,3,3] do not fit with group 1: X must have 2 channels, "
                                "and W's first axis must be divisible by 1"),
    (lambda: Conv(group=3), [X, "f32[4,1,3,3]"], "W's first axis must be divisible by 3"),
    (lambda: Conv(group=0), [X, W], "Conv: group must be at least 1, not 0"),
    (Conv, [X, "f32[4,3,3]"],
     "Conv: X must be [N, C, *spatial] and W of the same rank, but there are X [1,3,5,5] and W [4,3,3]"),
    (Conv, ["f32[1,3]", "f32[4,3]"],
     "Conv: X must be [N, C, *spatial] and W of the same rank, but there are X [1,3] and W [4,3]"),
    (Conv, [X, "f32[4,3,K,3]"], "Conv: the shape of W must be fixed, not [4,3,K,3]"),
    (Conv, [X, "f32[4,3,6,1]"], "Conv: a window of 6 does not fit the padded input of 5 (input 5, pads 0 and 0)"),
    (Conv, [X, W, "f32[3]"], "Conv: B must be f32[4], not f32[3]"),
    (Conv, [X, W, None, "f32[1,4,3,2]"], "Conv: the residual R must be f32[1,4,3,3], not f32[1,4,3,2]"),
    (Conv, [X, "f64[4,3,3,3]"], "Conv: X and W must have one floating-point type, not f32 and f64"),
    (Conv, ["i8[1,3,5,5]", "i8[4,3,3,3]"], "Conv: X and W must have one floating-point type, not i8 and i8"),
    (lambda: Conv(kernel_shape=(2, 2)), [X, W], "Conv: kernel_shape [2,2] is not that of W [4,3,3,3]"),
    (lambda: Conv(strides=(1,)), [X, W], "Conv: strides [1] must have one number for each of the 2 spatial axes"),
    (lambda: Conv(dilations=(0, 1)), [X, W], "Conv: dilations must be at least 1, not [0, 1]"),
    (lambda: Conv(pads=(1, 1)), [X, W], "Conv: pads has 2 numbers, but 2 spatial axes need 4"),
    (lambda: Conv(pads=(-1, 0, 0, 0)), [X, W], "Conv: pads must be at least 0, not [-1, 0, 0, 0]"),
    (lambda: Conv(auto_pad="SAME_UPPER", strides=(2, 2)), ["f32[1,3,H,5]", W],
     "Conv: auto_pad=SAME_UPPER with stride 2 needs a fixed size, but the axis is H: give the input a fixed size"),
])
def test_wrong_input(make: Callable[[], Op], operands: list[str | None], message: str) -> None:
    assert_refused(make, operands, message)
