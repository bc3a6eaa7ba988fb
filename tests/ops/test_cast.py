"""Cast, CastLike and BitCast against onnx and onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cnncc.ir import DType, Operand
from cnncc.ops.cast import BitCast, Cast, CastLike

from .cases import Case, assert_refused, check, inferred, operand, trials
from .test_shape import given_sizes

Array = np.ndarray[Any, Any]

FLOATS = np.array([0.0, -0.0, 0.5, -0.5, 1.9, -1.9, 2.5, 100.7], np.float32)
INTS = np.array([-129, -128, -1, 0, 1, 127, 128, 255, 256, 70000])
SPECIAL = np.array([np.nan, np.inf, -np.inf, 1e-40, 1e30], np.float32)

SOURCES: list[tuple[Array, tuple[DType, ...], str]] = [
    (FLOATS, (DType.F16, DType.F32, DType.F64, DType.I8, DType.I32, DType.I64, DType.BOOL), ""),
    (np.abs(FLOATS), (DType.U8, DType.U16, DType.U32, DType.U64), "positive"),
    (SPECIAL, (DType.F16, DType.F32, DType.F64, DType.BOOL), "special"),
    (np.array([1.5, 70000.0, -1e5, 6e-8], np.float64), (DType.F16, DType.F32), "f64"),
    (np.array([1.5, -2.0, np.inf], np.float16), (DType.F32, DType.F64, DType.BOOL), "f16"),
    (INTS, tuple(DType), "i64"),
    (INTS.astype(np.int32), (DType.F32, DType.I64, DType.U8), "i32"),
    (INTS.astype(np.uint8), (DType.F32, DType.I8, DType.I64), "u8"),
    (np.array([True, False]), tuple(DType), "bool"),
]

CASES = [
    *(Case(Cast(to=to), (x,), dtypes=(DType.F32,), note=note) for x, targets, note in SOURCES for to in targets),
    Case(Cast(to=DType.I32), (np.float32([[1.0], [2.0]]),), dtypes=(DType.F32,)),
    *(Case(BitCast(to=to), (x,), dtypes=(DType.F32,)) for x, to in (
        (SPECIAL, DType.I32), (FLOATS, DType.U32), (INTS, DType.F64), (INTS.astype(np.int8), DType.U8))),
    Case(CastLike(), (FLOATS, np.zeros(1, np.int32)), dtypes=(DType.F32,)),
    Case(CastLike(), (INTS, np.zeros((2, 3), np.float32)), dtypes=(DType.F32,)),
]


@pytest.mark.parametrize(("case", "judge", "dtype"), trials(CASES))
def test_against_judges(case: Case, judge: str, dtype: DType) -> None:
    check(case, judge, dtype)


def test_bits_of_another_width() -> None:
    assert_refused(lambda: BitCast(to=DType.F16), ["f32[3]"], "BitCast: f32[3] cannot be taken for f16")


def test_infer() -> None:
    assert inferred(Cast(to=DType.I64), "f32[N,3]") == "i64[N,3]"
    assert inferred(CastLike(), "f32[N,3]", "bool[5]") == "bool[N,3]"


@pytest.mark.parametrize("to", [DType.I32, DType.I64])
def test_sizes_stay_known(to: DType) -> None:
    sizes = given_sizes("N", 3)
    for found in (Cast(to=to).known(sizes), CastLike().known(sizes, operand(f"{to.value}[]"))):
        assert found is not None and sizes.value is not None and found[0].tolist() == sizes.value.tolist()


@pytest.mark.parametrize("to", [DType.F32, DType.BOOL])
def test_symbolic_sizes_are_not_known_as_anything_else(to: DType) -> None:
    assert Cast(to=to).known(given_sizes("N", 3)) is None
    known = Cast(to=to).known(given_sizes(0, 3))
    assert known is not None and known[0].dtype == to.numpy


def test_unknown_stays_unknown() -> None:
    assert Cast(to=DType.I64).known(Operand(operand("i32[2]").type)) is None


def test_lacks_its_type() -> None:
    assert_refused(CastLike, ["f32[2]"], "CastLike lacks its input target_type")
