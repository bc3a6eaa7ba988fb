"""NonMaxSuppression against onnx and onnxruntime; SuppressBoxes and ListBoxes, which together are the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cnncc.ir import DType, Op, Operand
from cnncc.ops.suppression import ListBoxes, NonMaxSuppression, SuppressBoxes

from .cases import JUDGES, Case, assert_refused, inferred, operand, trials


def suppressed(images: int, classes: int, count: int, *, most: int | None = 5, overlap: float | None = 0.4,
               least: float | None = None, note: str = "", **attributes: Any) -> Case:
    """Boxes in the manner of a detector: clusters of nearly the same ones, corners in any order, some equal scores."""
    random = np.random.default_rng([images, classes, count])
    centre = random.integers(0, 5, (images, count, 2)) + random.normal(0, 0.15, (images, count, 2))
    half = random.uniform(0.3, 0.8, (images, count, 2))
    corners = np.concatenate([centre - half, centre + half], -1)
    swapped = np.where(random.random((images, count, 1)) < 0.3, corners[..., [2, 1, 0, 3]], corners)
    boxes = np.concatenate([centre, 2 * half], -1) if attributes.get("center_point_box") else swapped
    scores = np.round(random.random((images, classes, count)), 2)
    inputs = (boxes.astype(np.float32), scores.astype(np.float32), None if most is None else np.array([most]),
              None if overlap is None else np.array([overlap], np.float32),
              None if least is None else np.array([least], np.float32))
    last = max(i for i, v in enumerate(inputs) if v is not None)
    return Case(NonMaxSuppression(**attributes), inputs[:last + 1], constants=(2, 3, 4), dtypes=(DType.F32,), note=note)


ONNX_CASES = [
    suppressed(1, 1, 40),
    suppressed(2, 3, 30, least=0.3),
    suppressed(1, 2, 30, most=1000, least=0.7, center_point_box=True),
    suppressed(1, 2, 12, overlap=0.0, note="no two may touch"),
    suppressed(1, 1, 20, overlap=1.0, note="all"),
    suppressed(1, 2, 9, most=0, note="none"),
    suppressed(1, 2, 9, least=2.0, note="none is good enough"),
    suppressed(1, 2, 0, note="there is none"),
]

# The steps in which it runs, for the kernels' tests; more boxes than are inserted one by one, or a vector holds.
STEPS = [
    *(replace(case, op=SuppressBoxes(**case.op.attributes), outputs=2) for case in (
        *ONNX_CASES, suppressed(1, 2, 150, most=40), suppressed(1, 1, 90, overlap=-1.0, note="all touch"))),
    Case(ListBoxes(), (np.arange(24).reshape(2, 3, 4), np.array([[0, 4, 1], [2, 0, 3]])), outputs=2),
]
CASES = [*ONNX_CASES, *STEPS]


@pytest.mark.parametrize(("case", "judge", "dtype"), trials(ONNX_CASES))
def test_against_judges(case: Case, judge: str, dtype: DType) -> None:
    [expected] = JUDGES[judge](case, dtype)
    [got] = case.op.reference(*case.arrays(dtype))
    assert got.dtype == np.int64
    np.testing.assert_array_equal(got, np.reshape(expected, (-1, 3)))


def test_without_a_limit_none_is_kept() -> None:
    [got] = NonMaxSuppression().reference(*suppressed(1, 1, 9).inputs[:2])
    assert got.shape == (0, 3)


def test_the_steps_are_the_same_as_one() -> None:
    for case in ONNX_CASES:
        kept, counts = SuppressBoxes(**case.op.attributes).reference(*case.inputs)
        selected, total = ListBoxes().reference(kept, counts)
        [want] = case.op.reference(*case.inputs)
        np.testing.assert_array_equal(selected[:total[0]], want)
        assert not selected[total[0]:].any()


def test_infer() -> None:
    assert inferred(NonMaxSuppression(), "f32[N,S,4]", "f32[N,C,S]", "i64[]") == "i64[u0,3]"
    assert inferred(SuppressBoxes(), "f32[N,S,4]", "f32[N,C,S]", "i64[]") == "i64[N,C,S], i64[N,C]"
    assert inferred(SuppressBoxes(), "f32[N,90,4]", "f32[N,C,90]", operand("i64[1]", [7])) == "i64[N,C,7], i64[N,C]"
    assert inferred(SuppressBoxes(), "f32[N,S,4]", "f32[N,C,S]", operand("i64[1]", [7])) == "i64[N,C,u0], i64[N,C]"
    assert inferred(ListBoxes(), "i64[N,3,7]", "i64[N,3]") == "i64[21*N,3], i64[1]"


@pytest.mark.parametrize(("make", "operands", "message"), [
    (NonMaxSuppression, ["f32[1,5,3]", "f32[1,2,5]"],
     "NonMaxSuppression: boxes must be [N, S, 4] and scores [N, C, S], not f32[1,5,3] and f32[1,2,5]"),
    (NonMaxSuppression, ["f32[1,5,4]", "f32[1,2,6]"], "NonMaxSuppression: boxes must be [N, S, 4]"),
    (NonMaxSuppression, ["f32[1,5,4]", "f32[1,2,5]", "i64[2]"],
     "NonMaxSuppression: max_output_boxes_per_class must be one i64, not i64[2]"),
    (ListBoxes, ["i64[1,2,5]", "i64[1,3]"],
     "ListBoxes: kept must be [N, C, M] and counts [N, C], not i64[1,2,5] and i64[1,3]"),
    (NonMaxSuppression, ["f64[1,5,4]", "f32[1,2,5]"],
     "NonMaxSuppression: boxes is f64[1,5,4], but must be of type f32; insert a Cast"),
])
def test_wrong_input(make: Callable[[], Op], operands: list[str | Operand | None], message: str) -> None:
    assert_refused(make, operands, message)
