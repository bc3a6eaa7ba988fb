"""Range, CumSum, CumProd, Trilu, EyeLike and ReverseSequence against onnx and onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnncc.errors import OpError
from cnncc.ir import DType
from cnncc.ops.sequence import CumProd, CumSum, EyeLike, Range, ReverseSequence, Trilu

from .cases import Case, assert_refused, check, inferred, normal, operand, trials
from .test_shape import given_sizes

F32 = (DType.F32,)


def count(start: float, limit: float, delta: float, dtype: Any) -> Case:
    inputs = tuple(np.array(v, dtype) for v in (start, limit, delta))
    return Case(Range(), inputs, constants=(0, 1, 2), dtypes=F32, note=f"{start} {limit} {delta}")


CASES = [
    *(count(*numbers, dtype) for dtype in (np.int32, np.int64, np.float32)
      for numbers in ((0, 5, 1), (3, 9, 3), (10, 4, -2), (1, 10, 4), (5, 1, 1))),
    count(0.5, 2.0, 0.25, np.float32),
    count(1.0, -0.1, -0.3, np.float64),
    *(Case(CumSum(exclusive=exclusive, reverse=reverse), (normal(3, 4), np.array(axis)), dtypes=F32, tolerance=2.0,
           note=str(axis)) for exclusive in (False, True) for reverse in (False, True) for axis in (0, -1)),
    Case(CumSum(), (np.arange(5, dtype=np.int32), np.array([0], np.int32)), skip={"onnx": "it wants a scalar axis"}),
    Case(CumSum(exclusive=True), (normal(2, 0), np.array(1)), dtypes=F32),
    *(Case(Trilu(upper=upper), (normal(2, 4, 5), *k), dtypes=F32, note=str(*k))
      for upper in (False, True) for k in ((), (np.array(1),), (np.array(-2),), (np.array(9),))),
    Case(Trilu(), (np.ones((3, 3), np.bool_),)),
    *(Case(CumProd(exclusive=exclusive, reverse=reverse), (normal(3, 4), np.array(axis)), tolerance=2.0, note=str(axis))
      for exclusive, reverse, axis in ((False, False, 0), (True, True, -1))),
    Case(CumProd(), (np.arange(1, 5, dtype=np.int32), np.array(0))),
    *(Case(EyeLike(dtype=dtype, k=k), (normal(3, 5),), dtypes=F32)
      for dtype, k in ((None, 0), (DType.F64, 1), (DType.I32, -2), (DType.F32, 9))),
    Case(ReverseSequence(), (normal(4, 3, 2), np.array([4, 0, 3]))),
    Case(ReverseSequence(batch_axis=0, time_axis=1), (np.arange(6).reshape(2, 3), np.array([2, 1]))),
]


@pytest.mark.parametrize(("case", "judge", "dtype"), trials(CASES))
def test_against_judges(case: Case, judge: str, dtype: DType) -> None:
    check(case, judge, dtype)


def test_range_in_half_precision() -> None:
    """Between 2048 and 4096 halves are 2 apart, so the positions have to be added in a wider type."""
    (y,) = Range().reference(np.float16(2048), np.float16(2056), np.float16(1))
    assert y.dtype == np.float16 and y.tolist() == [2048, 2048, 2050, 2052, 2052, 2052, 2054, 2056]


@pytest.mark.parametrize(("start", "limit", "delta", "result"), [
    (0, "N", 1, "i64[N]"), (2, "N", 1, "i64[N-2]"), (0, "N", 3, "i64[(N+2)//3]"), ("N", "2*N", 1, "i64[N]"),
    ("N", 0, -1, "i64[N]"),
])
def test_range_of_sizes(start: int | str, limit: int | str, delta: int, result: str) -> None:
    operands = [given_sizes(v) for v in (start, limit, delta)]
    assert inferred(Range(), *operands) == result
    assert Range().known(*operands) is None


def test_infer_symbolic() -> None:
    assert inferred(CumSum(), "f32[N,C]", "i64[]") == "f32[N,C]"
    assert inferred(Trilu(), "f32[N,C]") == "f32[N,C]"


@pytest.mark.parametrize(("make", "operands", "message"), [
    (Range, [operand("i64[]", 0), operand("i64[]", 3), operand("i64[]", 0)], "Range: delta must not be 0"),
    (Range, [operand("i64[2]", [0, 1]), operand("i64[]", 3), operand("i64[]", 1)],
     "Range: start must be a scalar, not i64[2]"),
    (Range, [operand("i64[]", 0), operand("i32[]", 3), operand("i64[]", 1)], "Range: all inputs must have one element"),
    (Range, [given_sizes(0), given_sizes(5), given_sizes("N")], "Range: delta must be a fixed number, not N"),
    (lambda: Range(stash_type=7), [], "Range: stash_type must be 1 (f32) or 11 (f64), not 7"),
    (CumSum, ["f32[2,3]", operand("i64[]", 2)], "CumSum: axis 2 is outside [-2, 1]"),
    (CumSum, ["f32[]", "i64[]"], "CumSum: x must have an axis to go along, but is f32[]"),
    (CumSum, ["f32[2,3]", "i64[2]"], "CumSum: axis must be one number, not i64[2]"),
    (Trilu, ["f32[3]"], "Trilu: the input must have at least two axes, not f32[3]"),
    (Trilu, ["f32[3,3]", "i64[2]"], "Trilu: k must be one number, not i64[2]"),
    (EyeLike, ["f32[3]"], "EyeLike: the input must have two axes, not f32[3]"),
    (lambda: ReverseSequence(batch_axis=2), [], "batch_axis and time_axis must be 0 and 1 or 1 and 0, not 2 and 0"),
    (ReverseSequence, ["f32[4,3]", "i64[4]"], "sequence_lens i64[4] must hold one number for each place of axis 1"),
])
def test_wrong_input(make: Any, operands: list[Any], message: str) -> None:
    assert_refused(make, operands, message)


def test_lengths_within_the_time_axis() -> None:
    with pytest.raises(OpError, match="a length of 5 is not within the time axis of 4"):
        ReverseSequence().reference(normal(4, 1), np.array([5]))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.integers(-20, 20), st.integers(-20, 20), st.integers(-5, 5).filter(bool))
def test_range_as_python(start: int, limit: int, delta: int) -> None:
    (y,) = Range().reference(*(np.array(v) for v in (start, limit, delta)))
    assert y.tolist() == list(range(start, limit, delta))
