"""GridSample and AffineGrid against onnx and onnxruntime."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from cnncc.ir import DType, Op, Operand
from cnncc.ops.grid_sample import AffineGrid, GridSample
from cnncc.ops.sampling import PADDINGS, SAMPLE_MODES

from .cases import Case, assert_refused, check, check_half, inferred, normal, operand, trials

# Both judges compute positions in single precision, whatever the type.
SINGLE = (DType.F32,)
ONNX_CUBIC = {"onnx": "its reference moves positions to the border before it reads around them"}
ORT_RANK = {"onnxruntime": "it reads one axis not at all and three not cubically"}
ONNX_EMPTY = {"onnx": "its reference gives an empty result no shape"}


def grid(*shape: int) -> np.ndarray:
    """Positions a good deal beyond the ends, none near the middle between two elements."""
    return (1.7 * np.random.default_rng(3).uniform(-1, 1, shape)).astype(np.float32)


def sampled(x: tuple[int, ...], out: tuple[int, ...], skip: Any = None, **attributes: Any) -> Case:
    return Case(GridSample(**attributes), (normal(*x), grid(x[0], *out, len(x) - 2)), dtypes=SINGLE, tolerance=8,
                skip=skip or {})


CASES = [
    *(sampled((2, 3, 5, 6), (3, 4), mode=mode, padding_mode=padding, align_corners=align,
              skip=ONNX_CUBIC if (mode, padding) == ("cubic", "border") else None)
      for mode in SAMPLE_MODES for padding in PADDINGS for align in (False, True)),
    *(sampled((1, 2, 3, 4, 5), (2, 3, 3), mode=mode, padding_mode=padding, align_corners=align)
      for mode in ("linear", "nearest") for padding in PADDINGS for align in (False, True)),
    sampled((1, 1, 3, 3, 3), (2, 2, 2), mode="cubic", padding_mode="reflection", skip=ORT_RANK),
    sampled((1, 20, 4, 7), (1, 9)),
    sampled((2, 3, 5), (4,), skip=ORT_RANK),
    sampled((0, 3, 5, 5), (2, 2), skip=ONNX_EMPTY),
    Case(AffineGrid(), (normal(2, 2, 3), np.array((2, 5, 4, 3))), constants=(1,), tolerance=4),
    Case(AffineGrid(align_corners=True), (normal(1, 2, 3), np.array((1, 5, 3, 4))), constants=(1,), tolerance=4),
    Case(AffineGrid(), (normal(2, 3, 4), np.array((2, 1, 2, 3, 4))), constants=(1,), tolerance=4),
    Case(AffineGrid(align_corners=True), (normal(1, 3, 4), np.array((1, 1, 2, 3, 4))), constants=(1,), tolerance=4),
]
CASES = [Case(c.op, c.inputs, c.constants, dtypes=SINGLE, tolerance=c.tolerance, skip=c.skip) for c in CASES]


@pytest.mark.parametrize(("case", "judge", "dtype"), trials(CASES))
def test_against_judges(case: Case, judge: str, dtype: DType) -> None:
    check(case, judge, dtype)


def test_half() -> None:
    check_half(sampled((1, 2, 4, 4), (3, 3)))
    check_half(CASES[-1])


def row(*numbers: float) -> np.ndarray:
    return np.array(numbers, np.float32).reshape(1, 1, -1)


@pytest.mark.parametrize(("op", "positions", "expected"), [
    (GridSample(padding_mode="border"), (np.inf, -np.inf, np.nan), (4, 1, 1)),
    (GridSample(), (np.inf, np.nan, 3e38), (0, 0, 0)),
    (GridSample(padding_mode="reflection", align_corners=True), (-5 / 3, 5 / 3, 3), (2, 3, 1)),
    (GridSample(mode="nearest"), (-0.75, -0.99, 1.25), (1, 1, 0)),
])
def test_positions_outside(op: Op, positions: Sequence[float], expected: Sequence[float]) -> None:
    [got] = op.reference(row(1, 2, 3, 4), np.array(positions, np.float32).reshape(1, -1, 1))
    np.testing.assert_allclose(got, row(*expected), atol=1e-5)


def test_integers_are_truncated() -> None:
    x = np.array([[[10, 20]]], np.uint8)
    [got] = GridSample(padding_mode="border").reference(x, np.array([[[0.39], [-0.01]]], np.float32))
    assert got.dtype == np.uint8
    assert got.ravel().tolist() == [18, 14]


def test_an_axis_of_one_element() -> None:
    [got] = AffineGrid(align_corners=True).reference(np.eye(2, 3)[None].astype(np.float32), np.array((1, 1, 1, 2)))
    np.testing.assert_array_equal(got, np.array([[[[-1, 0], [1, 0]]]], np.float32))


@pytest.mark.parametrize(("op", "operands", "types"), [
    (GridSample(), ["f32[N,C,H,W]", "f32[N,A,B,2]"], "f32[N,C,A,B]"),
    (GridSample(mode="nearest"), ["u8[N,C,D,H,W]", "f32[N,2,3,4,3]"], "u8[N,C,2,3,4]"),
    (AffineGrid(), ["f16[N,2,3]", operand("i64[4]", (2, 3, 4, 5))], "f16[N,4,5,2]"),
])
def test_infer(op: Op, operands: list[str | Operand | None], types: str) -> None:
    assert inferred(op, *operands) == types


@pytest.mark.parametrize(("make", "operands", "message"), [
    (lambda: GridSample(mode="bilinear"), [], "GridSample: mode must be one of linear, nearest, cubic, not 'bilinear'"),
    (lambda: GridSample(padding_mode="wrap"), [], "GridSample: padding_mode must be one of zeros, border, reflection"),
    (GridSample, ["f32[1,3]", "f32[1,3]"], "GridSample: X must be [N, C, *spatial], not f32[1,3]"),
    (GridSample, ["f32[1,3,4,4]", "f32[1,2,2,3]"],
     "GridSample: grid must be [N, *out, 2] with one output axis for each spatial axis of X f32[1,3,4,4], not "
     "f32[1,2,2,3]"),
    (GridSample, ["f32[1,3,0,4]", "f32[1,2,2,2]"], "GridSample: X f32[1,3,0,4] has no elements to read"),
    (AffineGrid, ["f32[1,2,3]", operand("i64[5]", (1, 2, 3, 4, 5))],
     "AffineGrid: size must be [N, C, H, W] with theta [N, 2, 3], or [N, C, D, H, W] with [N, 3, 4], not 5 numbers"),
])
def test_wrong_input(make: Callable[[], Op], operands: list[str | Operand | None], message: str) -> None:
    assert_refused(make, operands, message)
