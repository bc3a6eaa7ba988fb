"""Elementwise operators against onnx and onnxruntime: arithmetic, functions of one input, comparisons, logic, Where."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnncc.errors import OpError
from cnncc.ir import DType, Op
from cnncc.ops import OPS
from cnncc.ops.binary import BitShift, Mod
from cnncc.ops.compare import Where
from cnncc.ops.elementwise import broadcast_shapes
from cnncc.ops.unary import IsInf, Shrink

from .cases import Case, assert_refused, check, check_half, inferred, normal, trials

Array = np.ndarray[Any, Any]


def op(name: str) -> Op:
    return OPS[name]()


def ints(*shape: int, low: int = -9, high: int = 10, dtype: Any = np.int64, seed: int = 0) -> Array:
    return np.random.default_rng([seed, *shape]).integers(low, high, shape).astype(dtype)


def bools(*shape: int, seed: int = 0) -> Array:
    return ints(*shape, low=0, high=2, seed=seed).astype(np.bool_)


SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -2.5], np.float32)
SHAPES = (((2, 3, 4), (2, 3, 4)), ((2, 3, 1), (4,)), ((), (2, 2)), ((1, 3, 1, 1), (2, 1, 4, 5)), ((0, 3), (1, 3)))
FLOORED = {"onnx": "its quotient of integers is not the specification's for negative numbers"}

ARITHMETIC = [
    *(Case(op(name), (normal(*a), normal(*b, seed=1))) for name in ("Add", "Sub", "Mul", "Div") for a, b in SHAPES),
    *(Case(op(name), (ints(3, 4, dtype=dtype), ints(3, 4, low=1, dtype=dtype, seed=1)), note=np.dtype(dtype).name)
      for name in ("Add", "Sub", "Mul") for dtype in (np.int32, np.int64)),
    *(Case(op("Div"), (ints(4, 5, dtype=dtype, low=low), ints(4, 5, low=1, dtype=dtype, seed=1)), skip=skip,
           note=np.dtype(dtype).name)
      for dtype, low, skip in ((np.int32, -9, FLOORED), (np.int64, -9, FLOORED), (np.uint8, 0, {}))),
    Case(op("Div"), (ints(5), np.full(5, -2)), skip=FLOORED, note="negative divisor"),
    Case(op("Add"), (SPECIAL, SPECIAL[::-1].copy()), note="special"),
    Case(op("Pow"), (np.abs(normal(3, 4)), normal(4, seed=1)), tolerance=4.0),
    Case(op("Pow"), (normal(3, 4), np.array(2, np.int64))),
    Case(op("Pow"), (normal(3, 4), np.array(3.0, np.float32)), tolerance=2.0),
    Case(op("Pow"), (ints(3, 4), np.array([0, 1, 2, 3])), note="integers"),
    Case(op("Pow"), (ints(4, low=2), np.array([2.0, 0.5, 1.0, 0.0], np.float32)), dtypes=(DType.F32,), note="mixed"),
    Case(Mod(), (ints(4, 5), ints(4, 5, low=1, seed=1))),
    Case(Mod(), (ints(4, 5), ints(4, 5, low=-5, high=0, seed=1)), note="negative divisor"),
    Case(Mod(fmod=True), (ints(4, 5), ints(4, 5, low=1, seed=1))),
    Case(Mod(fmod=True), (normal(4, 5) * 5, normal(5, seed=1)), tolerance=4.0),
    *(Case(op(name), tuple(normal(*s, seed=i) for i, s in enumerate(shapes)), tolerance=2.0,
           skip={"onnx": "its Mean adds in place"} if name == "Mean" else {})
      for name in ("Max", "Min", "Sum", "Mean") for shapes in (((2, 3),), ((2, 3), (3,)), ((4, 1), (3,), (2, 1, 1)))),
    *(Case(op(name), (SPECIAL, np.float32([0, 0, 0, -1, 1, np.nan, np.inf])), note="special")
      for name in ("Max", "Min")),
    *(Case(op(name), (ints(3, 2), ints(2, seed=1))) for name in ("Max", "Min")),
]

BITS = [
    *(Case(op(name), (ints(3, 4, dtype=dtype), ints(4, dtype=dtype, seed=1)), note=np.dtype(dtype).name)
      for name in ("BitwiseAnd", "BitwiseOr", "BitwiseXor") for dtype in (np.int32, np.uint8)),
    Case(op("BitwiseNot"), (ints(3, 4, dtype=np.int32),)),
    *(Case(BitShift(direction=d), (ints(3, 8, low=0, high=200, dtype=np.uint8), np.arange(8, dtype=np.uint8)))
      for d in ("LEFT", "RIGHT")),
]

# operator -> its inputs
DOMAINS: dict[str, Array] = {
    **dict.fromkeys(("Abs", "Ceil", "Floor", "Neg", "Sign", "Erf", "Exp", "Sin", "Cos", "Atan", "Sinh", "Cosh",
                     "Asinh"), normal(3, 4, 5) * 2),
    **dict.fromkeys(("Log", "Sqrt"), np.abs(normal(3, 4, 5))),
    **dict.fromkeys(("Acos", "Asin", "Atanh"), np.tanh(normal(3, 4, 5))),
    "Acosh": 1 + np.abs(normal(3, 4, 5)),
    "Reciprocal": np.sign(normal(3, 4)) + normal(3, 4) / 4,
    "Round": np.array([0.5, 1.5, 2.5, -0.5, -1.5, 0.4999, 2.3, -3.7], np.float32),
    "Tan": normal(3, 4) / 2,
}
FUNCTIONS = [
    *(Case(op(name), (x,), tolerance=4.0) for name, x in DOMAINS.items()),
    *(Case(op(name), (x[:0],)) for name, x in DOMAINS.items() if name in ("Abs", "Erf", "Exp")),
    *(Case(op(name), (np.array(0.25, np.float32),), tolerance=2.0) for name in ("Erf", "Exp", "Sqrt", "Neg")),
    *(Case(op(name), (SPECIAL,), note="special") for name in ("Abs", "Neg", "Exp", "Sqrt", "Log", "Floor", "Erf",
                                                             "Reciprocal", "IsNaN", "IsInf")),
    *(Case(op(name), (ints(3, 4, dtype=np.int32),)) for name in ("Abs", "Neg", "Sign")),
    Case(IsInf(detect_negative=False), (SPECIAL,)),
    Case(IsInf(detect_positive=False), (SPECIAL,)),
    Case(Shrink(), (normal(4, 5),)),
    Case(Shrink(bias=0.25, lambd=1.0), (normal(4, 5),)),
    Case(Shrink(bias=1.0, lambd=2.0), (np.arange(-4, 5, dtype=np.int32),)),
    Case(op("Not"), (bools(3, 4),)),
]

COMPARISONS = ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")
CONDITIONS = [
    *(Case(op(name), (normal(3, 4), normal(4, seed=1))) for name in COMPARISONS),
    *(Case(op(name), (SPECIAL, SPECIAL[:, None].copy()), note="special") for name in COMPARISONS),
    *(Case(op(name), (ints(3, 4), ints(3, 1, seed=1))) for name in COMPARISONS),
    Case(op("Equal"), (bools(3, 4), bools(4, seed=1))),
    *(Case(op(name), (bools(3, 4), bools(4, seed=1))) for name in ("And", "Or", "Xor")),
    Case(Where(), (bools(2, 1, 4), normal(3, 1), normal(2, 3, 4, seed=1))),
    Case(Where(), (bools(3), ints(3), ints(3, seed=1))),
    Case(Where(), (bools(3), np.full(3, np.nan, np.float32), normal(3))),
]

CASES = [*ARITHMETIC, *BITS, *FUNCTIONS, *CONDITIONS]


@pytest.mark.parametrize(("case", "judge", "dtype"), trials(CASES))
def test_against_judges(case: Case, judge: str, dtype: DType) -> None:
    check(case, judge, dtype)


@pytest.mark.parametrize("case", [c for c in ARITHMETIC + FUNCTIONS if c.inputs[0].dtype == np.float32
                                  and not c.note and c.op.op_type not in ("Mod", "Pow", "IsInf")], ids=str)
def test_half(case: Case) -> None:
    check_half(case)


def test_half_overflow() -> None:
    (y,) = op("Mul").reference(np.float16([300, -300]), np.float16([300, 300]))
    assert y.dtype == np.float16 and y.tolist() == [np.inf, -np.inf]


def test_integer_division_truncates() -> None:
    for dtype in (np.int8, np.int32, np.int64):
        a, b = np.meshgrid(np.arange(-7, 8, dtype=dtype), np.array([-3, -2, -1, 1, 2, 3], dtype))
        (y,) = op("Div").reference(a, b)
        assert y.dtype == dtype and y.tolist() == np.trunc(a / b).astype(dtype).tolist()
    (y,) = op("Div").reference(np.array([np.iinfo(np.int64).min]), np.array([2]))
    assert y.tolist() == [-(2**62)]


def test_signed_shifts() -> None:
    x, y = np.array([-8, 8, -1, 5, 5], np.int8), np.array([1, 1, 8, 9, -1], np.int8)
    assert BitShift(direction="RIGHT").reference(x, y)[0].tolist() == [-4, 4, -1, 0, 0]
    assert BitShift(direction="LEFT").reference(x, y)[0].tolist() == [-16, 16, 0, 0, 0]


def test_remainder_of_infinities() -> None:
    a, b = np.float32([5, -5, 5, np.inf, 0]), np.float32([np.inf, np.inf, 0, 2, 3])
    np.testing.assert_array_equal(Mod().reference(a, b)[0], np.float32([5, np.inf, np.nan, np.nan, 0]))
    np.testing.assert_array_equal(Mod(fmod=True).reference(a, b)[0], np.float32([5, -5, np.nan, np.nan, 0]))


def test_negative_integer_powers() -> None:
    (y,) = op("Pow").reference(np.array([1, -1, 2, -1]), np.array([-1, -3, -1, -2]))
    assert y.dtype == np.int64 and y.tolist() == [1, -1, 0, 1]
    (y,) = op("Pow").reference(np.array([3, -1], np.int32), np.array([2, 2**40 + 1]))
    assert y.dtype == np.int32 and y.tolist() == [9, -1]


@pytest.mark.parametrize(("name", "operands", "result"), [
    ("Add", ("f32[N,3,H,1]", "f32[3,1,W]"), "f32[N,3,H,W]"),
    ("Add", ("f32[N,C]", "f32[4,C]"), "f32[4,C]"),
    ("Mul", ("f32[N,2*H]", "f32[1,2*H]"), "f32[N,2*H]"),
    ("Max", ("f32[N,1]", "f32[1,M]", "f32[]"), "f32[N,M]"),
    ("Pow", ("f32[N]", "i64[]"), "f32[N]"),
    ("Equal", ("i64[N]", "i64[1]"), "bool[N]"),
    ("And", ("bool[N,1]", "bool[4]"), "bool[N,4]"),
    ("Where", ("bool[N,1]", "f32[1,M]", "f32[]"), "f32[N,M]"),
    ("IsNaN", ("f16[N]",), "bool[N]"),
    ("Erf", ("f64[N,H//2]",), "f64[N,H//2]"),
])
def test_infer(name: str, operands: tuple[str, ...], result: str) -> None:
    assert inferred(op(name), *operands) == result


@pytest.mark.parametrize(("make", "operands", "message"), [
    (lambda: op("Add"), ["f32[2]", "f64[2]"],
     "Add: all inputs must have one element type, not f32[2] and f64[2]; insert a Cast"),
    (lambda: op("Add"), ["f32[2,3]", "f32[4,1]", ],
     "Add: the shapes [2,3] and [4,1] do not broadcast; sizes of one axis must be equal or 1"),
    (lambda: op("Sum"), [], "Sum needs at least one input"),
    (lambda: op("And"), ["f32[2]", "f32[2]"], "And: the input is f32[2], but must be of type bool; insert a Cast"),
    (lambda: op("Exp"), ["i32[2]"], "Exp: the input is i32[2], but must be of type f16 or f32 or f64; insert a Cast"),
    (lambda: op("Pow"), ["f32[2]", "bool[2]"], "Pow: Y is bool[2], but must be of type"),
    (lambda: Where(), ["f32[2]", "f32[2]", "f32[2]"],
     "Where: the condition is f32[2], but must be of type bool; insert a Cast"),
    (lambda: BitShift(direction="UP"), ["u8[2]", "u8[2]"], "BitShift: direction must be LEFT or RIGHT, not 'UP'"),
])
def test_wrong_input(make: Any, operands: list[str], message: str) -> None:
    assert_refused(make, operands, message)


SIZES = st.lists(st.lists(st.sampled_from([0, 1, 1, 2, 3]), max_size=4).map(tuple), min_size=1, max_size=3)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(SIZES)
def test_broadcast_as_numpy(shapes: list[tuple[int, ...]]) -> None:
    try:
        expected = np.broadcast_shapes(*shapes)
    except ValueError:
        with pytest.raises(OpError, match="do not broadcast"):
            broadcast_shapes("Add", shapes)
        return
    assert broadcast_shapes("Add", shapes) == expected
