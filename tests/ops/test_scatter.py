"""ScatterElements, ScatterND and TensorScatter against onnx and onnxruntime."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cnncc.errors import OpError
from cnncc.ir import DType, Op
from cnncc.ops.scatter import ScatterElements, ScatterND, TensorScatter

from .cases import Case, assert_refused, check, inferred, normal, trials


def elements(data: Any, indices: Any, updates: Any, **attributes: Any) -> Case:
    return Case(ScatterElements(**attributes), (data, np.array(indices), updates))


def nd(data: Any, indices: Any, updates: Any, **attributes: Any) -> Case:
    return Case(ScatterND(**attributes), (data, np.array(indices), updates))


REDUCTIONS = ("none", "add", "mul", "max", "min")
CASES = [
    elements(normal(4, 3), [[0, 3, 1], [2, 0, -1]], normal(2, 3, seed=1)),
    elements(normal(3, 5), [[1, -5], [3, 0]], normal(2, 2, seed=1), axis=1),
    *(elements(normal(2, 5), [[1, 1, 4]], normal(1, 3, seed=1), axis=-1, reduction=r) for r in REDUCTIONS[1:]),
    elements(np.arange(6), [5, 0], np.array([7, 8])),
    nd(normal(4, 3), [[0], [2]], normal(2, 3, seed=1)),
    nd(normal(4, 3), [[[0, 1], [-1, 2]]], normal(1, 2, seed=1)),
    *(nd(normal(3, 4), [[1], [1]], normal(2, 4, seed=1), reduction=r) for r in REDUCTIONS[1:]),
    Case(TensorScatter(), (normal(2, 3, 5, 2), normal(2, 3, 2, 2, seed=1), np.array([0, 3]))),
    Case(TensorScatter(axis=1), (normal(2, 4), normal(2, 3, seed=1))),
    Case(TensorScatter(axis=1, mode="circular"), (normal(2, 4, 2), normal(2, 3, 2, seed=1), np.array([2, 5]))),
    nd(np.arange(6, dtype=np.int32).reshape(2, 3), [[1, 1]], np.array([9], np.int32)),
]


@pytest.mark.parametrize(("case", "judge", "dtype"), trials(CASES))
def test_against_judges(case: Case, judge: str, dtype: DType) -> None:
    check(case, judge, dtype)


def test_infer() -> None:
    assert inferred(ScatterElements(axis=1), "f32[N,8]", "i64[N,2]", "f32[N,2]") == "f32[N,8]"
    assert inferred(ScatterND(), "f16[N,8]", "i32[M,1]", "f16[M,8]") == "f16[N,8]"


@pytest.mark.parametrize(("make", "operands", "message"), [
    (lambda: ScatterND(reduction="mean"), [],
     "ScatterND: reduction must be one of none, add, mul, max, min, not 'mean'"),
    (ScatterND, ["f32[3]", "f32[1,1]", "f32[1]"], "ScatterND: indices is f32[1,1], but must be of type i32 or i64"),
    (ScatterND, ["f32[3]", "i64[1,1]", "f64[1]"], "ScatterND: updates f64[1] must be of data's type f32"),
    (ScatterND, ["f32[3]", "i64[1,2]", "f32[1]"], "must have a fixed size from 1 to 1, the rank of data"),
    (ScatterND, ["f32[3,4]", "i64[2,1]", "f32[2,5]"], "ScatterND: updates must be f32[2,4], not f32[2,5]"),
    (ScatterElements, ["f32[3,4]", "i64[2,1]", "f32[2,2]"], "must have one shape, of the rank of data f32[3,4]"),
    (lambda: ScatterElements(axis=2), ["f32[3,4]", "i64[2,1]", "f32[2,1]"], "axis 2 is outside [-2, 1]"),
    (lambda: TensorScatter(mode="ring"), [], "TensorScatter: mode must be linear or circular, not 'ring'"),
    (lambda: TensorScatter(axis=0), ["f32[2,4]", "f32[2,4]"], "TensorScatter: axis must not be 0, the batch"),
    (TensorScatter, ["f32[2,4,3]", "f32[2,2,4]"], "update f32[2,2,4] must be as past_cache f32[2,4,3] but for axis 1"),
    (TensorScatter, ["f32[2,4,3]", "f32[2,2,3]", "i64[3]"], "write_indices i64[3] must hold one number for each place"),
    (lambda: ScatterElements(reduction="add"), ["bool[3]", "i64[2]", "bool[2]"], "data is bool[3], but must be"),
])
def test_wrong_input(make: Callable[[], Op], operands: list[str | None], message: str) -> None:
    assert_refused(make, operands, message)


def test_index_outside() -> None:
    with pytest.raises(Exception, match="ScatterND: index 3 is outside an axis of size 3"):
        ScatterND().reference(np.zeros(3), np.array([[3]]), np.zeros(1))


def test_places_beyond_the_cache() -> None:
    with pytest.raises(OpError, match="places 3 to 4 are outside an axis of size 4"):
        TensorScatter(axis=1).reference(normal(1, 4), normal(1, 2), np.array([3]))
