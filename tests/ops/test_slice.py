"""Slice against onnx and onnxruntime and NumPy, and along symbolic axes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnncc.ir import DType, evaluate_dim, is_unknown, parse_dim
from cnncc.ops.slice import Slice

from .cases import Case, assert_refused, check, inferred, normal, operand, trials
from .test_shape import given_sizes, i64

MAX, MIN = 2**63 - 1, -(2**63)


def cut(shape: tuple[int, ...], starts: tuple[int, ...], ends: tuple[int, ...], axes: tuple[int, ...] | None = None,
        steps: tuple[int, ...] | None = None) -> Case:
    inputs = (normal(*shape), i64(*starts), i64(*ends), None if axes is None else i64(*axes),
              None if steps is None else i64(*steps))
    note = f"{starts} {ends} {axes} {steps}".replace(str(MAX), "MAX").replace(str(MIN), "MIN")
    return Case(Slice(), inputs, constants=(1, 2, 3, 4), dtypes=(DType.F32,), note=note)


CASES = [
    cut((5, 6), (1, 2), (3, 5)),
    cut((5, 6), (1,), (4,)),
    cut((5, 6, 7), (1, 0), (-1, MAX), (2, 0)),
    cut((5, 6, 7), (-3,), (MAX,), (-1,)),
    cut((5, 6), (0, 1), (5, 6), (0, 1), (2, 3)),
    cut((5, 6), (-1,), (MIN,), (1,), (-1,)),
    cut((5, 6), (MAX, 4), (0, 0), (0, 1), (-1, -2)),
    cut((5,), (3,), (3,)),
    cut((5,), (4,), (1,)),
    cut((5,), (100,), (200,)),
    cut((5,), (-100,), (-1,)),
    cut((5,), (2,), (-100,), (0,), (-1,)),
    cut((0, 3), (0,), (MAX,), (0,)),
    cut((2, 3, 4, 5), (1, 1), (3, 5), (2, 3), (1, 2)),
    Case(Slice(), (np.arange(7), np.array([1], np.int32), np.array([6], np.int32), np.array([0], np.int32),
                   np.array([2], np.int32)), constants=(1, 2, 3, 4), note="i32 indices"),
]


@pytest.mark.parametrize(("case", "judge", "dtype"), trials(CASES))
def test_against_judges(case: Case, judge: str, dtype: DType) -> None:
    check(case, judge, dtype)


SYMBOLIC = [
    # start, end, step -> size along an axis of size N
    (0, MAX, 1, "N"),
    (0, 2**31 - 1, 1, "N"),
    (1, MAX, 1, "N - 1"),
    (0, -1, 1, "N - 1"),
    (2, -3, 1, "N - 5"),
    (0, MAX, 2, "(N + 1)//2"),
    (1, MAX, 2, "N//2"),
    (1, -1, 3, "N//3"),
    (-1, MIN, -1, "N"),
    (MAX, MIN, -2, "(N + 1)//2"),
    (0, "N", 1, "N"),
    (0, "N//2", 1, "N//2"),
    ("N//2", MAX, 1, "N - N//2"),
    ("N//2", "N", 1, "N - N//2"),
    (0, "N + 3", 1, "N"),
    (0, 0, 1, "0"),
    ("M", MAX, 1, "N - M"),
]


@pytest.mark.parametrize(("start", "end", "step", "size"), SYMBOLIC)
def test_symbolic_axis(start: int | str, end: int | str, step: int, size: str) -> None:
    operands = [operand("f32[3,N]"), given_sizes(start), given_sizes(end), given_sizes(1), given_sizes(step)]
    (type_,) = Slice().infer(*operands)
    assert type_.shape == (3, parse_dim(size))
    for n in (5, 8, 13):
        sizes = {"N": n, "M": 2}
        bound = [np.array([evaluate_dim(v, sizes) for v in o.value.tolist()], np.int64)
                 for o in operands[1:] if o.value is not None]
        (y,) = Slice().reference(np.zeros((3, n)), *bound)
        assert y.shape == type_.bind(sizes).shape


@pytest.mark.parametrize(("start", "end", "step"), [
    (0, 5, 1), (-2, MAX, 1), (0, "M", 1), ("N - 2", MAX, 1), (3, MIN, -1), (-2, MIN, -1), (0, MIN, -1),
    (MIN, MIN, -1),
])
def test_sizes_that_need_a_minimum(start: int | str, end: int | str, step: int) -> None:
    operands = [given_sizes(start), given_sizes(end), given_sizes(0), given_sizes(step)]
    assert inferred(Slice(), "f32[N]", *operands) == "f32[u0]"


@pytest.mark.parametrize(("operands", "message"), [
    (["f32[5]", given_sizes(0, 1), given_sizes(2)],
     "Slice: starts [0,1], ends [2], axes [0,1] and steps [1,1] must have one number each for every axis"),
    (["f32[5]", given_sizes(0), given_sizes(2), given_sizes(1)], "Slice: the axis 1 is outside [-1, 0]"),
    (["f32[5]", given_sizes(0), given_sizes(2), given_sizes(0), given_sizes(0)],
     "Slice: the steps [0] must not be 0"),
    (["f32[5,5]", given_sizes(0, 0), given_sizes(2, 2), given_sizes(1, -1)], "name one axis twice"),
])
def test_wrong_input(operands: list[Any], message: str) -> None:
    assert_refused(Slice, operands, message)


POSITIONS = st.one_of(st.integers(-9, 9), st.sampled_from([MAX, MIN, 2**31 - 1, -(2**31)]))


def meaning(size: int, start: int, end: int, step: int) -> list[int]:
    """The positions that ONNX Slice-13 says are taken, by walking."""
    low, high = (0, size) if step > 0 else (0, size - 1)
    at = min(max(start + size if start < 0 else start, low), high)
    stop = min(max(end + size if end < 0 else end, 0 if step > 0 else -1), size if step > 0 else size - 1)
    taken = []
    while (at < stop) if step > 0 else (at > stop):
        taken.append(at)
        at += step
    return taken


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.integers(0, 6), POSITIONS, POSITIONS, st.sampled_from([1, 2, 3, -1, -2, -5]))
def test_as_specified(size: int, start: int, end: int, step: int) -> None:
    (y,) = Slice().reference(np.arange(size), i64(start), i64(end), i64(0), i64(step))
    assert y.tolist() == meaning(size, start, end, step)
    assert inferred(Slice(), f"i64[{size}]", *map(given_sizes, (start, end, 0, step))) == f"i64[{y.size}]"


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.integers(0, 12), POSITIONS, POSITIONS, st.sampled_from([1, 2, 3, -1, -2]))
def test_symbolic_size_is_right_unless_negative(size: int, start: int, end: int, step: int) -> None:
    (type_,) = Slice().infer(operand("f32[N]"), *map(given_sizes, (start, end, 0, step)))
    if is_unknown(type_.shape[0]):
        return
    (count,) = type_.bind({"N": size}).static_shape
    assert count < 0 or count == len(meaning(size, start, end, step))
