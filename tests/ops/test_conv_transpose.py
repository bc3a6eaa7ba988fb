"""ConvTranspose against onnx and onnxruntime."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cnncc.ir import Activation, DType, Op
from cnncc.ops.conv_transpose import ConvTranspose

from .cases import Case, assert_refused, assert_same, check, check_half, inferred, normal, trials


def transposed(x: tuple[int, ...], w: tuple[int, ...], *, bias: bool = False, skip: Any = None,
               **attributes: Any) -> Case:
    arrays = [normal(*x), normal(*w, seed=1)]
    if bias:
        arrays.append(normal(w[1] * attributes.get("group", 1), seed=2))
    return Case(ConvTranspose(**attributes), tuple(arrays), tolerance=2.0, skip=skip or {})


GROUPS = {"onnx": "its reference takes one output channel a group and no bias"}
GIVEN = {"onnx": "its reference takes the pads of an output_shape to be 0 unless auto_pad is SAME"}
CASES = [
    transposed((1, 3, 4, 5), (3, 4, 3, 3)),
    transposed((2, 3, 4, 5), (3, 4, 4, 4), bias=True, strides=(2, 2), pads=(1, 1, 1, 1), kernel_shape=(4, 4)),
    transposed((1, 4, 3, 3), (4, 2, 2, 2), strides=(2, 2), bias=True),
    transposed((1, 3, 4, 5), (3, 4, 3, 3), strides=(2, 2), pads=(1, 1, 1, 1), output_padding=(1, 1)),
    transposed((1, 3, 4, 5), (3, 4, 3, 2), strides=(3, 2), pads=(1, 0, 0, 1), output_padding=(2, 1), bias=True),
    transposed((1, 2, 4, 4), (2, 3, 3, 3), dilations=(2, 3), strides=(2, 3), pads=(2, 1, 1, 2)),
    transposed((1, 2, 4, 4), (2, 3, 3, 3), dilations=(2, 2), strides=(3, 4)),
    transposed((1, 2, 4, 4), (2, 3, 2, 2), strides=(3, 4)),
    transposed((2, 4, 4, 4), (4, 3, 3, 3), group=2, bias=True, strides=(2, 2), skip=GROUPS),
    transposed((1, 4, 5, 5), (4, 1, 4, 4), group=4, strides=(2, 2), pads=(1, 1, 1, 1)),
    transposed((1, 3, 7), (3, 4, 5), bias=True, strides=(3,), pads=(1, 2)),
    transposed((1, 2, 3, 4, 3), (2, 3, 2, 3, 2), strides=(2, 1, 2), pads=(0, 1, 1, 1, 0, 0), bias=True),
    transposed((1, 2, 4, 4), (2, 3, 3, 3), strides=(2, 2), output_shape=(10, 8), skip=GIVEN),
    transposed((1, 2, 4, 5), (2, 3, 3, 3), strides=(2, 2), output_shape=(8, 10), skip=GIVEN),
    transposed((1, 2, 4, 5), (2, 3, 3, 3), strides=(2, 2), output_shape=(8, 10), auto_pad="SAME_UPPER"),
    transposed((1, 2, 4, 5), (2, 3, 4, 3), strides=(2, 2), auto_pad="SAME_UPPER"),
    transposed((1, 2, 4, 5), (2, 3, 4, 3), strides=(2, 2), auto_pad="SAME_LOWER"),
    transposed((1, 2, 4, 5), (2, 3, 4, 3), strides=(2, 2), auto_pad="VALID", bias=True),
    transposed((0, 2, 4, 5), (2, 3, 4, 3), strides=(2, 2), skip={"onnx": "its reference needs an image"}),
    transposed((1, 3, 4, 5), (3, 4, 3, 3), bias=True, strides=(2, 2), activation=Activation("relu")),
]


@pytest.mark.parametrize(("case", "judge", "dtype"), trials(CASES))
def test_against_judges(case: Case, judge: str, dtype: DType) -> None:
    check(case, judge, dtype)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_half(case: Case) -> None:
    check_half(case)


def test_fused_activation() -> None:
    x, w, b = normal(1, 4, 6, 5), normal(4, 3, 3, 3), normal(6)
    attributes: dict[str, Any] = {"group": 2, "strides": (2, 2), "pads": (1, 1, 1, 1)}
    [plain] = ConvTranspose(**attributes).reference(x, w, b)
    [fused] = ConvTranspose(**attributes, activation=Activation("silu")).reference(x, w, b)
    assert_same(fused, Activation("silu").apply(plain))


@st.composite
def convolutions(draw: st.DrawFn) -> Case:
    """A transposed convolution over one or two spatial axes of which something is left."""
    rank = draw(st.integers(1, 2))
    each = st.integers(1, 3)
    kernel, strides, dilations = (draw(st.tuples(*[each] * rank)) for _ in range(3))
    pads = draw(st.tuples(*[st.integers(0, 3)] * (2 * rank)))
    sizes = draw(st.tuples(*[st.integers(1, 5)] * rank))
    more = tuple(draw(st.integers(0, s - 1)) for s in strides)
    group, c, m = draw(each), draw(each), draw(each)
    assume(all((n - 1) * s + (k - 1) * d + 1 + e > a + b for n, s, k, d, e, a, b in
               zip(sizes, strides, kernel, dilations, more, pads[:rank], pads[rank:], strict=True)))
    op = ConvTranspose(strides=strides, dilations=dilations, pads=pads, group=group, output_padding=more)
    return Case(op, (normal(1, c * group, *sizes), normal(c * group, m, *kernel, seed=1)), tolerance=2.0)


@given(convolutions())
@settings(max_examples=40, deadline=None, derandomize=True)
def test_random(case: Case) -> None:
    check(case, "onnxruntime", DType.F32)


@pytest.mark.parametrize(("op", "operands", "types"), [
    (ConvTranspose(strides=(2, 2)), ["f32[N,3,H,W]", "f32[3,8,2,2]"], "f32[N,8,2*H,2*W]"),
    (ConvTranspose(strides=(2, 2), pads=(1, 1, 1, 1)), ["f32[N,3,H,W]", "f32[3,8,4,3]"], "f32[N,8,2*H,2*W-1]"),
    (ConvTranspose(strides=(2, 2), auto_pad="SAME_UPPER"), ["f32[N,3,H,W]", "f32[3,8,4,3]", "f32[8]"],
     "f32[N,8,2*H,2*W]"),
    (ConvTranspose(group=2), ["f16[1,4,5]", "f16[4,3,3]"], "f16[1,6,7]"),
])
def test_infer(op: Op, operands: list[str | None], types: str) -> None:
    assert inferred(op, *operands) == types


X, W = "f32[1,3,5,5]", "f32[3,4,3,3]"


@pytest.mark.parametrize(("make", "operands", "message"), [
    (ConvTranspose, [X, "f32[2,4,3,3]"], "ConvTranspose: X [1,3,5,5] and W [2,4,3,3] do not fit with group 1: W's "
                                         "first axis must be X's channels, and divisible by 1"),
    (lambda: ConvTranspose(group=2), [X, W], "and divisible by 2"),
    (lambda: ConvTranspose(group=0), [X, W], "ConvTranspose: group must be at least 1, not 0"),
    (ConvTranspose, ["f32[1,3]", "f32[3,4]"], "ConvTranspose: X must be [N, C, *spatial] and W of the same rank, but "
                                              "there are X [1,3] and W [3,4]"),
    (ConvTranspose, [X, "f32[3,4,K,3]"], "ConvTranspose: the shape of W must be fixed, not [3,4,K,3]"),
    (ConvTranspose, [X, W, "f32[3]"], "ConvTranspose: B must be f32[4], not f32[3]"),
    (ConvTranspose, [X, "f64[3,4,3,3]"],
     "ConvTranspose: X and W must have one floating-point type, not f32 and f64"),
    (lambda: ConvTranspose(kernel_shape=(2, 2)), [X, W],
     "ConvTranspose: kernel_shape [2,2] is not that of W [3,4,3,3]"),
    (lambda: ConvTranspose(output_padding=(1,)), [X, W],
     "ConvTranspose: output_padding [1] must have one number for each of the 2 spatial axes"),
    (lambda: ConvTranspose(output_padding=(-1, 0)), [X, W],
     "ConvTranspose: output_padding must be at least 0, not [-1, 0]"),
    (lambda: ConvTranspose(pads=(1, 1)), [X, W], "ConvTranspose: pads has 2 numbers, but 2 spatial axes need 4"),
    (lambda: ConvTranspose(pads=(4, 0, 3, 0)), [X, W],
     "ConvTranspose: pads 4 and 3 leave nothing of the 7 elements of axis 2"),
    (lambda: ConvTranspose(output_shape=(8, 8)), ["f32[1,3,H,5]", W],
     "ConvTranspose: output_shape [8,8] needs a fixed input, but axis 2 of X is H: give the input a fixed size"),
])
def test_wrong_input(make: Callable[[], Op], operands: list[str | None], message: str) -> None:
    assert_refused(make, operands, message)
