"""Reductions, ArgMax and ArgMin against onnx and onnxruntime, and with symbolic sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cnncc.ir import DType
from cnncc.ops.reduce import REDUCTIONS, ArgMax, ArgMin, Reduce

from .cases import Case, assert_refused, check, check_half, inferred, normal, trials
from .test_shape import given_sizes, i64

BY_NAME: dict[str, type[Reduce]] = {op.op_type: op for op in REDUCTIONS}
POSITIVE = np.abs(normal(2, 3, 4)) + 0.1  # the domain of ReduceLogSum, and of products without cancellation
EXTREMA = ("ReduceMax", "ReduceMin")
INTEGERS = ("ReduceSum", "ReduceProd", "ReduceL1", "ReduceSumSquare", *EXTREMA)


WIDENED = {"onnx": "it gives i64 for i32"}
SCALAR = {"onnx": "it fails for a scalar"}


def reduce(name: str, x: Any, *axes: int, skip: dict[str, str] | None = None, **attributes: bool) -> Case:
    inputs = (x, i64(*axes)) if axes else (x,)
    note = f"{axes or ''}{x.dtype.name if x.dtype != np.float32 else ''}"
    return Case(BY_NAME[name](**attributes), inputs, constants=(1,), tolerance=4.0, skip=skip or {}, note=note)


CASES = [
    *(reduce(name, POSITIVE, *axes, keepdims=keepdims)
      for name in BY_NAME for axes, keepdims in (((), True), ((), False), ((1,), True), ((0, -1), False))),
    *(reduce(name, POSITIVE, noop_with_empty_axes=True) for name in BY_NAME),
    *(reduce(name, POSITIVE, 1, noop_with_empty_axes=True) for name in ("ReduceSum", "ReduceMax")),
    *(reduce(name, normal(3, 4), 1) for name in BY_NAME if name not in ("ReduceLogSum", "ReduceProd")),
    *(reduce(name, normal(2, 3) * 200, 1) for name in ("ReduceLogSumExp",)),
    *(reduce(name, np.arange(-3, 9, dtype=dtype).reshape(3, 4), 0, skip=WIDENED if name == "ReduceSumSquare" else {})
      for name in INTEGERS for dtype in (np.int32, np.int64)),
    *(reduce(name, np.arange(12, dtype=dtype).reshape(3, 4), 0) for name in EXTREMA for dtype in (np.uint8, np.int8)),
    *(reduce(name, np.array([[True, False], [True, True]]), 0) for name in EXTREMA),
    *(reduce(name, np.array(2.5, np.float32), skip=SCALAR if name == "ReduceLogSumExp" else {}) for name in BY_NAME),
    *(reduce(name, np.zeros((2, 0, 3), np.float32), 1) for name in ("ReduceSum", "ReduceProd", *EXTREMA)),
    *(Case(op(axis=axis, keepdims=keepdims), (normal(3, 4, 5),))
      for op in (ArgMax, ArgMin) for axis, keepdims in ((0, True), (1, False), (-1, True))),
    *(Case(op(axis=1, select_last_index=last), (np.array([[2, 2, 1, 1], [0, 0, 0, 0]], np.float32),), note="ties")
      for op in (ArgMax, ArgMin) for last in (False, True)),
    Case(ArgMax(), (np.array([3, 9, 9], np.int32),)),
]


@pytest.mark.parametrize(("case", "judge", "dtype"), trials(CASES))
def test_against_judges(case: Case, judge: str, dtype: DType) -> None:
    check(case, judge, dtype)


@pytest.mark.parametrize("case", [c for c in CASES if c.inputs[0] is POSITIVE], ids=str)
def test_half(case: Case) -> None:
    check_half(case)


@pytest.mark.parametrize("name", list(BY_NAME))
def test_nothing_to_reduce(name: str) -> None:
    """ONNX gives each reduction's value over an empty set; for the mean it is undefined."""
    empty = {"ReduceMax": -np.inf, "ReduceMin": np.inf, "ReduceProd": 1.0, "ReduceLogSum": -np.inf,
             "ReduceLogSumExp": -np.inf, "ReduceMean": np.nan}.get(name, 0.0)
    (y,) = BY_NAME[name]().reference(np.zeros((2, 0), np.float32), i64(1))
    np.testing.assert_array_equal(y, np.full((2, 1), empty, np.float32))


def test_infinities_and_nan() -> None:
    x = np.float32([[np.inf, 0], [-np.inf, -np.inf], [np.nan, 1]])
    (y,) = BY_NAME["ReduceLogSumExp"](keepdims=False).reference(x, i64(1))
    np.testing.assert_array_equal(y, np.float32([np.inf, -np.inf, np.nan]))
    (y,) = BY_NAME["ReduceMax"](keepdims=False).reference(x, i64(1))
    np.testing.assert_array_equal(y, np.float32([np.inf, -np.inf, np.nan]))


@pytest.mark.parametrize(("op", "operands", "result"), [
    (BY_NAME["ReduceMean"](), ("f32[N,C,H,W]", given_sizes(2, 3)), "f32[N,C,1,1]"),
    (BY_NAME["ReduceMean"](keepdims=False), ("f32[N,C,H,W]", given_sizes(-1, -2)), "f32[N,C]"),
    (BY_NAME["ReduceSum"](keepdims=False), ("f32[N,C]",), "f32[]"),
    (BY_NAME["ReduceSum"](noop_with_empty_axes=True), ("f32[N,C]",), "f32[N,C]"),
    (BY_NAME["ReduceSum"](noop_with_empty_axes=True), ("f32[N,C]", given_sizes()), "f32[N,C]"),
    (ArgMax(axis=1, keepdims=False), ("f32[N,C,H]",), "i64[N,H]"),
    (ArgMin(axis=-1), ("f32[N,C]",), "i64[N,1]"),
])
def test_infer_symbolic(op: Any, operands: tuple[Any, ...], result: str) -> None:
    assert inferred(op, *operands) == result


@pytest.mark.parametrize(("op", "operands", "message"), [
    (BY_NAME["ReduceSum"](), ["f32[2,3]", given_sizes(2)], "ReduceSum: the axis 2 is outside [-2, 1]"),
    (BY_NAME["ReduceSum"](), ["f32[2,3]", given_sizes(1, -1)], "ReduceSum: the axes [1, -1] name one axis twice"),
    (BY_NAME["ReduceSum"](), ["bool[2]"], "ReduceSum: data is bool[2], but must be of type"),
    (BY_NAME["ReduceLogSum"](), ["i32[2]"], "ReduceLogSum: data is i32[2], but must be of type f16 or f32 or f64"),
    (ArgMax(axis=2), ["f32[2,3]"], "ArgMax: axis 2 is outside [-2, 1], the axes of a tensor of rank 2"),
    (ArgMin(), ["f32[0,3]"], "ArgMin: axis 0 of f32[0,3] has no elements to choose from"),
])
def test_wrong_input(op: Any, operands: list[Any], message: str) -> None:
    assert_refused(lambda: op, operands, message)
