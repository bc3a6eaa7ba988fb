"""Resize against onnx and onnxruntime."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from cnncc.ir import DType, Op, Operand, TensorType, symbol
from cnncc.ops.interpolation import COORDINATES, NEAREST_MODES
from cnncc.ops.resize import Resize

from .cases import Case, assert_refused, check, inferred, normal, operand, trials

X = (1, 2, 5, 6)


def resize(x: tuple[int, ...] = X, *, scales: Sequence[float] | None = None, sizes: Sequence[int] | None = None,
           roi: Sequence[float] | None = None, skip: Any = None, note: str = "", **attributes: Any) -> Case:
    inputs = (normal(*x), None if roi is None else np.array(roi, np.float32),
              None if scales is None else np.array(scales, np.float32), None if sizes is None else np.array(sizes))
    last = max(i for i, v in enumerate(inputs) if v is not None)
    return Case(Resize(**attributes), inputs[:last + 1], constants=(1, 2, 3), dtypes=(DType.F32,), tolerance=4.0,
                skip=skip or {}, note=note or str(scales or sizes))


# No position lies halfway between two elements, where the judges disagree.
UP, DOWN, MIXED = (1, 1, 2, 3), (1, 1, 0.61, 0.53), (1, 1, 0.83, 1.37)
CORNERS = {"onnx": "its reference takes the fraction of an element that the scale makes more as length"}
CASES = [
    *(resize(scales=scales, nearest_mode=nearest, coordinate_transformation_mode=coordinates,
             skip=CORNERS if coordinates == "align_corners" and scales != UP else None)
      for scales in (UP, DOWN, MIXED) for nearest in NEAREST_MODES for coordinates in COORDINATES[1:5]),
    *(resize(scales=scales, mode=mode, coordinate_transformation_mode=coordinates,
             skip=CORNERS if coordinates == "align_corners" and scales != UP else None)
      for scales in (UP, DOWN, MIXED) for mode in ("linear", "cubic") for coordinates in COORDINATES[:5]),
    *(resize(sizes=sizes, mode=mode) for sizes in ((1, 2, 7, 9), (1, 2, 3, 1))
      for mode in ("nearest", "linear", "cubic")),
    resize(scales=DOWN, mode="cubic", cubic_coeff_a=-0.5, exclude_outside=True),
    resize(scales=UP, mode="cubic", exclude_outside=True),
    resize(sizes=(9, 4), axes=(2, 3), mode="linear"),
    resize(scales=(2, 0.5), axes=(3, 2)),
    resize(sizes=(9, 9), axes=(2, 3), keep_aspect_ratio_policy="not_larger", mode="linear"),
    resize(sizes=(9, 9), axes=(2, 3), keep_aspect_ratio_policy="not_smaller"),
    resize((1, 2, 5), scales=(1, 1, 2.5), mode="linear"),
    resize((1, 1, 3, 4, 5), scales=(1, 1, 2, 1.5, 0.5), mode="linear"),
    resize((1, 1, 3, 4, 5), scales=(1, 1, 2, 1.5, 0.5)),
    resize((3, 4), scales=(2, 3), mode="linear", coordinate_transformation_mode="asymmetric"),
    *(resize(sizes=(1, 2, 4, 7), mode=mode, roi=(0, 0, 0.21, -0.31, 1, 1, 0.93, 1.2), extrapolation_value=9.0,
             coordinate_transformation_mode="tf_crop_and_resize") for mode in ("nearest", "linear")),
    *(resize(sizes=(1, 2, 2, 3), mode=mode, antialias=True, skip={"onnxruntime": "it leaves out what is outside"})
      for mode in ("linear", "cubic")),
    Case(Resize(), (np.arange(12, dtype=np.int8).reshape(1, 1, 3, 4), None, np.array((1, 1, 2, 2), np.float32)),
         constants=(2,), dtypes=(DType.F32,), note="of integers"),
]


@pytest.mark.parametrize(("case", "judge", "dtype"), trials(CASES))
def test_against_judges(case: Case, judge: str, dtype: DType) -> None:
    check(case, judge, dtype)


def test_half() -> None:
    x, scales = normal(1, 2, 4, 4), np.array(UP, np.float32)
    for mode in ("nearest", "linear", "cubic"):
        [half] = Resize(mode=mode).reference(x.astype(np.float16), None, scales)
        [single] = Resize(mode=mode).reference(x.astype(np.float16).astype(np.float32), None, scales)
        np.testing.assert_array_equal(half, single.astype(np.float16))


def test_antialias_leaves_out_what_is_outside() -> None:
    """As ONNX Runtime does in any case."""
    from .cases import run_onnxruntime

    case = resize(sizes=(1, 2, 2, 3), mode="linear", antialias=True, exclude_outside=True)
    [expected] = run_onnxruntime(case, DType.F32)
    np.testing.assert_allclose(case.op.reference(*case.arrays(DType.F32))[0], expected, rtol=1e-5, atol=1e-6)
    check(case, "onnx", DType.F32)


def scales_of(*numbers: float) -> Operand:
    return operand(f"f32[{len(numbers)}]", numbers)


def sizes_of(*sizes: Any) -> Operand:
    return Operand(TensorType(DType.I64, (len(sizes),)), np.array(sizes, object))


@pytest.mark.parametrize(("op", "operands", "types"), [
    (Resize(), ["f32[N,C,H,W]", None, scales_of(1, 1, 2, 2)], "f32[N,C,2*H,2*W]"),
    (Resize(), ["f32[N,C,H,W]", None, scales_of(1, 1, 0.5, 1.5)], "f32[N,C,H//2,3*W//2]"),
    (Resize(), ["f32[1,3,10,5]", None, scales_of(1, 1, 0.7, 0.8)], "f32[1,3,7,4]"),
    (Resize(), ["u8[N,C,H,W]", None, None, sizes_of(symbol("N"), symbol("C"), symbol("A"), 7)], "u8[N,C,A,7]"),
    (Resize(axes=(-1,)), ["f32[N,W]", None, scales_of(3)], "f32[N,3*W]"),
])
def test_infer(op: Op, operands: list[str | Operand | None], types: str) -> None:
    assert inferred(op, *operands).replace("(", "").replace(")", "") == types


@pytest.mark.parametrize(("make", "operands", "message"), [
    (lambda: Resize(mode="area"), [], "Resize: mode must be one of nearest, linear, cubic, not 'area'"),
    (Resize, ["f32[1,4]"], "Resize: give either scales or sizes"),
    (Resize, ["f32[1,4]", None, scales_of(1, 2), sizes_of(1, 2)], "Resize: give either scales or sizes"),
    (Resize, ["f32[1,4]", None, scales_of(1, 2, 3)], "Resize: scales has 3 numbers, but there are 2 axes to resize"),
    (Resize, ["f32[1,4]", None, scales_of(1, -2)], "Resize: scales must be greater than 0, not -2.0"),
    (Resize, ["f32[1,0]", None, None, sizes_of(1, 2)], "Resize: axis 1 of f32[1,0] has no elements to make 2 of"),
    (lambda: Resize(coordinate_transformation_mode="tf_crop_and_resize"), ["f32[1,4]", None, scales_of(1, 2)],
     "Resize: tf_crop_and_resize needs a roi of 4 numbers, a start and an end for each axis, not none"),
])
def test_wrong_input(make: Callable[[], Op], operands: list[str | Operand | None], message: str) -> None:
    assert_refused(make, operands, message)
