"""Pools against onnx and onnxruntime."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cnncc.ir import DType, Op, parse_type
from cnncc.ops.pool import AveragePool, GlobalAveragePool, GlobalLpPool, GlobalMaxPool, LpPool, MaxPool

from .cases import Case, assert_refused, assert_same, check, check_half, inferred, normal, run_onnxruntime, trials

# Where a judge departs from the operator's text.
ONNX_PLACES = {"onnx": "its reference numbers the places within one channel's image, not within X"}
ONNX_NO_GLOBAL_LP = {"onnx": "its reference lacks the operator"}
ONNX_GLOBAL_MAX = {"onnx": "its reference takes the maximum over the wrong axes unless there are two spatial ones"}
ONNX_SAME_LOWER = {"onnx": "its reference rounds the output size of SAME_LOWER down"}
ONNX_HANG_OVER = {"onnx": "its reference computes another last window with ceil_mode"}
ONNX_INTEGERS = {"onnx": "its reference pads integers with NaN"}
ORT_DILATED_SAME = {"onnxruntime": "it resolves auto_pad=SAME_* as if the window were not dilated"}


def row(*numbers: float) -> np.ndarray:
    return np.array(numbers, np.float32).reshape(1, 1, -1)


def pool(make: Callable[..., Op], shape: tuple[int, ...], kernel: tuple[int, ...], *,
         skip: dict[str, str] | None = None, outputs: int = 1, **attributes: Any) -> Case:
    return Case(make(kernel_shape=kernel, **attributes), (normal(*shape),), outputs=outputs, skip=skip or {})


GEOMETRIES: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((1, 2, 7, 6), (3, 3), {}),
    ((2, 3, 8, 9), (3, 2), {"strides": (2, 3), "pads": (1, 0, 2, 1)}),
    ((1, 2, 7, 7), (3, 3), {"strides": (2, 2), "ceil_mode": True}),
    ((1, 2, 8, 8), (3, 3), {"strides": (2, 2), "ceil_mode": True, "pads": (0, 0, 1, 1)}),
    ((1, 2, 8, 8), (2, 2), {"strides": (3, 3), "ceil_mode": True, "pads": (1, 1, 1, 1)}),
    ((1, 2, 9, 11), (2, 3), {"dilations": (3, 2), "strides": (2, 1)}),
    ((1, 2, 9, 11), (3, 3), {"dilations": (2, 2), "strides": (2, 2), "pads": (2, 1, 1, 2), "ceil_mode": True}),
    ((1, 2, 7, 8), (3, 4), {"auto_pad": "SAME_UPPER", "strides": (2, 2)}),
    ((1, 2, 7, 8), (3, 4), {"auto_pad": "SAME_LOWER", "strides": (2, 3)}),
    ((1, 2, 7, 8), (3, 2), {"auto_pad": "VALID", "strides": (2, 2)}),
    ((2, 3, 10), (4,), {"strides": (3,), "pads": (1, 2)}),
    ((1, 2, 5, 6, 7), (2, 3, 2), {"strides": (2, 1, 2), "pads": (1, 1, 0, 0, 1, 1)}),
    ((1, 1, 1, 1), (1, 1), {}),
    ((0, 2, 5, 5), (3, 3), {}),
]

CASES = [
    *(pool(MaxPool, shape, kernel, **more, skip=ONNX_SAME_LOWER if "SAME_LOWER" in more.values() else None)
      for shape, kernel, more in GEOMETRIES),
    *(pool(AveragePool, shape, kernel, **more) for shape, kernel, more in GEOMETRIES),
    *(pool(AveragePool, shape, kernel, **more, count_include_pad=True) for shape, kernel, more in GEOMETRIES
      if "pads" in more or "auto_pad" in more),
    *(pool(LpPool, shape, kernel, **more, skip=ONNX_HANG_OVER if "ceil_mode" in more else None)
      for shape, kernel, more in GEOMETRIES),
    pool(LpPool, (1, 2, 6, 7), (2, 3), p=1),
    pool(LpPool, (1, 2, 6, 7), (2, 3), p=3),
    pool(MaxPool, (2, 3, 6, 7), (3, 2), outputs=2, skip=ONNX_PLACES),
    pool(MaxPool, (2, 3, 6, 7), (3, 2), outputs=2, storage_order=1, pads=(1, 1, 1, 1), skip=ONNX_PLACES),
    pool(MaxPool, (1, 2, 4, 5, 6), (2, 2, 3), outputs=2, strides=(2, 1, 2), ceil_mode=True, skip=ONNX_PLACES),
    pool(MaxPool, (1, 2, 4, 5, 6), (2, 2, 3), outputs=2, storage_order=1, skip=ONNX_PLACES),
    pool(MaxPool, (2, 2, 11), (2,), outputs=2, dilations=(3,), skip=ONNX_PLACES),
    Case(MaxPool((2, 2)), (np.arange(-60, 48, 3, dtype=np.int8).reshape(1, 1, 6, 6),), skip=ONNX_INTEGERS),
    Case(MaxPool((2, 2), pads=(1, 1, 1, 1)), (np.arange(36, dtype=np.uint8).reshape(1, 1, 6, 6),),
         skip=ONNX_INTEGERS),
    Case(MaxPool((2,), strides=(2,), pads=(1, 1)), (row(-np.inf, -np.inf, 1, 1),), outputs=2,
         note="the first of equals"),
    Case(AveragePool((2,), pads=(1, 1), dilations=(3,)), (row(1, 2),), note="padding only",
         skip={"onnx": "its reference divides by zero"}),
    Case(MaxPool((3,), strides=(2,), auto_pad="VALID", ceil_mode=True), (normal(1, 1, 8),),
         skip={"onnx": "its reference counts fewer windows than onnx's own shape inference"}),
    pool(MaxPool, (1, 1, 9, 8), (3, 3), dilations=(2, 2), auto_pad="SAME_UPPER", skip=ORT_DILATED_SAME),
    *(Case(GlobalAveragePool(), (normal(*shape),)) for shape in ((2, 3, 5, 4), (2, 3, 7), (1, 2, 3, 4, 5))),
    Case(GlobalMaxPool(), (normal(2, 3, 5, 4),)),
    *(Case(GlobalMaxPool(), (normal(*shape),), skip=ONNX_GLOBAL_MAX) for shape in ((2, 3, 7), (1, 2, 3, 4, 5))),
    *(Case(GlobalLpPool(p=p), (normal(2, 3, 5, 4),), skip=ONNX_NO_GLOBAL_LP) for p in (1, 2, 3)),
]


@pytest.mark.parametrize(("case", "judge", "dtype"), trials(CASES))
def test_against_judges(case: Case, judge: str, dtype: DType) -> None:
    check(case, judge, dtype)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_half(case: Case) -> None:
    check_half(case)


@pytest.mark.parametrize(("op", "x", "expected"), [
    # ceil(8 / 2) windows of extent 5; the 3 pads that they need are 1 before and 2 after.
    (AveragePool((3,), dilations=(2,), strides=(2,), auto_pad="SAME_UPPER"), row(1, 2, 3, 4, 5, 6, 7, 8),
     row(3, 4, 6, 7)),
    (AveragePool((3,), dilations=(2,), strides=(2,), auto_pad="SAME_LOWER"), row(1, 2, 3, 4, 5, 6, 7, 8),
     row(2, 3, 5, 6)),
    (MaxPool((3,), dilations=(2,), auto_pad="SAME_UPPER"), row(1, 2, 3, 4, 5), row(3, 4, 5, 4, 5)),
    (MaxPool((3,), dilations=(4,), pads=(4, 4)), row(1, 2, 3, 4, 5), row(5, 2, 3, 4, 5)),
    (MaxPool((3,), dilations=(4,), auto_pad="SAME_UPPER"), row(1, 2, 3, 4, 5), row(5, 2, 3, 4, 5)),
    (MaxPool((2,), strides=(2,)), row(1, np.nan, np.nan, 3, 4, 5), row(np.nan, np.nan, 5)),
    (MaxPool((2,), pads=(1, 1), dilations=(3,)), row(1, 2), row(-np.inf)),
    (GlobalMaxPool(), row(1, np.nan, 2), row(np.nan)),
    (GlobalLpPool(p=2), row(3, -4), row(5)),
    (GlobalLpPool(p=1), row(3, -4), row(7)),
])
def test_by_hand(op: Op, x: np.ndarray, expected: np.ndarray) -> None:
    assert_same(op.reference(x)[0], expected)


@st.composite
def geometries(draw: st.DrawFn) -> dict[str, Any]:
    """One spatial axis: its size and a pool's attributes, such that a window fits."""
    kernel = draw(st.integers(1, 4))
    dilation = draw(st.integers(1, 3))
    size = draw(st.integers(1, 12))
    pads = (draw(st.integers(0, kernel - 1)), draw(st.integers(0, kernel - 1)))
    return {"size": size, "kernel_shape": (kernel,), "dilations": (dilation,), "pads": pads,
            "strides": (draw(st.integers(1, 5)),), "ceil_mode": draw(st.booleans())}


@pytest.mark.parametrize("make", [
    MaxPool, AveragePool, lambda **attributes: AveragePool(count_include_pad=True, **attributes), LpPool,
], ids=["MaxPool", "AveragePool", "AveragePool-pads-counted", "LpPool"])
@settings(max_examples=60, deadline=None, derandomize=True)
@given(geometry=geometries())
def test_geometry_is_onnxruntimes(make: Callable[..., Op], geometry: dict[str, Any]) -> None:
    size = geometry.pop("size")
    op = make(**geometry)
    extent = (op.kernel_shape[0] - 1) * op.dilations[0] + 1  # type: ignore[attr-defined]
    assume(size + sum(op.pads) >= extent)  # type: ignore[attr-defined]
    case = Case(op, (normal(1, 2, size),))
    [expected] = run_onnxruntime(case, DType.F32)
    assert op.infer(*case.operands(DType.F32))[0].shape == expected.shape
    actual = op.reference(*case.arrays(DType.F32))[0]
    actual = np.where(np.isneginf(actual), np.finfo(np.float32).min, actual)  # what onnxruntime has for -inf
    assert_same(actual, expected)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(geometry=geometries())
def test_symbolic_sizes_are_the_fixed_ones(geometry: dict[str, Any]) -> None:
    size = geometry.pop("size")
    op = MaxPool(**geometry)
    assume(size + sum(op.pads) >= (op.kernel_shape[0] - 1) * op.dilations[0] + 1)
    fixed = op.windows((1, 1, size)).counts
    symbolic = inferred(op, "f32[N,C,L]").split(", ")[0]
    assert parse_type(symbolic).bind({"N": 1, "C": 1, "L": size}).shape == (1, 1, *fixed)


@pytest.mark.parametrize(("op", "x", "types"), [
    (MaxPool((3, 3), strides=(2, 2), pads=(1, 1, 1, 1)), "f32[N,64,H,W]",
     "f32[N,64,(H+1)//2,(W+1)//2], i64[N,64,(H+1)//2,(W+1)//2]"),
    (AveragePool((2, 2), strides=(2, 2)), "f16[N,C,2*H,W]", "f16[N,C,H,W//2]"),
    (AveragePool((3, 3), auto_pad="SAME_UPPER"), "f32[N,C,H,W]", "f32[N,C,H,W]"),
    (LpPool((3,), ceil_mode=True, strides=(2,)), "f64[1,2,L]", "f64[1,2,L//2]"),
    (GlobalAveragePool(), "f32[N,C,H,W]", "f32[N,C,1,1]"),
    (MaxPool((3, 3)), "f32[1,1,0,5]", "f32[1,1,0,3], i64[1,1,0,3]"),
])
def test_infer(op: Op, x: str, types: str) -> None:
    assert inferred(op, x) == types


@pytest.mark.parametrize(("make", "x", "message"), [
    (lambda: MaxPool((0,)), "f32[1,1,5]", "MaxPool: kernel_shape must be at least 1, not [0]"),
    (lambda: MaxPool((2,), strides=(0,)), "f32[1,1,5]", "MaxPool: strides must be at least 1, not [0]"),
    (lambda: MaxPool((2,), pads=(1,)), "f32[1,1,5]",
     "MaxPool: pads must hold a begin and an end for each axis, not [1]"),
    (lambda: MaxPool((2,), pads=(2, 0)), "f32[1,1,5]",
     "MaxPool: pads [2, 0] must be smaller than the window of [2]: pad the input by an operator of its own"),
    (lambda: MaxPool((2,), storage_order=2), "f32[1,1,5]", "MaxPool: storage_order must be 0 or 1, not 2"),
    (lambda: MaxPool((2,), auto_pad="SAME"), "f32[1,1,5]",
     "MaxPool: auto_pad must be one of NOTSET, SAME_UPPER, SAME_LOWER, VALID, not 'SAME'"),
    (lambda: AveragePool((2,)), "f32[1,1,5,5]",
     "AveragePool: kernel_shape [2] must have one number for each of the 2 spatial axes"),
    (lambda: AveragePool((2, 2), strides=(2,)), "f32[1,1,5,5]",
     "AveragePool: strides [2] must have one number for each of the 2 spatial axes"),
    (lambda: AveragePool((2, 2), pads=(1, 1)), "f32[1,1,5,5]",
     "AveragePool: pads has 2 numbers, but 2 spatial axes need 4"),
    (lambda: AveragePool((4,), pads=(1, 1)), "f32[1,1,1]",
     "AveragePool: a window of 4 does not fit the padded input of 3 (input 1, pads 1 and 1)"),
    (lambda: AveragePool((2,)), "i8[1,1,5]",
     "AveragePool: X is i8[1,1,5], but must be of type f16 or f32 or f64; insert a Cast"),
    (lambda: MaxPool((2,)), "i32[1,1,5]",
     "MaxPool: X is i32[1,1,5], but must be of type f16 or f32 or f64 or i8 or u8; insert a Cast"),
    (lambda: LpPool((2,), p=0), "f32[1,1,5]", "LpPool: p must be at least 1, not 0"),
    (lambda: LpPool((2,)), "f32[1,5]", "LpPool: X must be [N, C, *spatial], not f32[1,5]"),
    (lambda: LpPool((3,), auto_pad="SAME_LOWER", strides=(2,)), "f32[1,1,L]",
     "LpPool: auto_pad=SAME_LOWER with stride 2 needs a fixed size, but the axis is L: give the input a fixed size"),
    (GlobalMaxPool, "f32[1,5]", "GlobalMaxPool: X must be [N, C, *spatial], not f32[1,5]"),
    (lambda: GlobalLpPool(p=-1), "f32[1,1,5]", "GlobalLpPool: p must be at least 1, not -1"),
])
def test_wrong_input(make: Callable[[], Op], x: str, message: str) -> None:
    assert_refused(make, [x], message)
