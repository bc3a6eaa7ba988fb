"""QuantizeLinear, DequantizeLinear, DynamicQuantizeLinear against onnx and onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cnncc.ir import DType, Op
from cnncc.ops.quantize import DequantizeLinear, DynamicQuantizeLinear, QuantizeLinear

from .cases import Case, assert_refused, check, inferred, normal, operand, trials

Array = np.ndarray[Any, Any]


def scales(*shape: int) -> Array:
    return np.asarray(0.01 + 0.05 * np.abs(normal(*shape, seed=3)), np.float32)


def integers(dtype: Any, *shape: int, seed: int = 0) -> Array:
    limits = np.iinfo(dtype)
    rng = np.random.default_rng([seed, *shape])
    return rng.integers(max(limits.min, -2**20), min(limits.max, 2**20), shape, endpoint=True).astype(dtype)


ONE = np.asarray(0.25, np.float32)  # so that half of the quotients below are ties
TIES = np.arange(-40, 40, dtype=np.float32).reshape(1, 4, 4, 5) / 8
WIDE = np.asarray([-np.inf, -1e9, -100, 0, 100, 1e9, np.inf], np.float32)
WRAPS = {"onnx": "it rounds to 32 bits before it saturates"}
SINGLE = (DType.F32,)

CASES = [
    *(Case(QuantizeLinear(), (TIES, ONE, np.asarray(zero, dtype)), dtypes=SINGLE)
      for dtype, zero in ((np.uint8, 3), (np.int8, -3), (np.uint16, 1000), (np.int16, 7))),
    Case(QuantizeLinear(), (WIDE, ONE, np.asarray(10, np.int8)), dtypes=SINGLE, skip=WRAPS),
    Case(QuantizeLinear(), (WIDE, ONE), dtypes=SINGLE, skip=WRAPS),
    Case(QuantizeLinear(output_dtype=DType.I16), (normal(3, 4), ONE), dtypes=SINGLE),
    Case(QuantizeLinear(), (normal(2, 3, 4, 5), scales(3), integers(np.int8, 3)), dtypes=SINGLE),
    Case(QuantizeLinear(axis=-1), (normal(2, 3, 5), scales(5), integers(np.uint8, 5)), dtypes=SINGLE),
    Case(QuantizeLinear(axis=0), (normal(2, 3), scales(2)), dtypes=SINGLE),
    Case(QuantizeLinear(axis=1, block_size=2), (normal(2, 5, 3), scales(2, 3, 3), integers(np.int8, 2, 3, 3)),
         dtypes=SINGLE, skip={"onnxruntime": "it wants whole blocks", "onnx": "it wants whole blocks"}),
    Case(QuantizeLinear(axis=1, block_size=2), (normal(2, 4, 3), scales(2, 2, 3), integers(np.int8, 2, 2, 3)),
         dtypes=SINGLE),
    *(Case(DequantizeLinear(), (integers(dtype, 2, 3, 4), ONE, np.asarray(zero, dtype)), dtypes=SINGLE)
      for dtype, zero in ((np.uint8, 3), (np.int8, -3), (np.uint16, 1000), (np.int16, 7))),
    Case(DequantizeLinear(), (integers(np.int32, 7), ONE), dtypes=SINGLE),
    Case(DequantizeLinear(axis=0), (integers(np.int8, 3, 2, 2, 2), scales(3), integers(np.int8, 3, seed=1)),
         dtypes=SINGLE),
    Case(DequantizeLinear(axis=1, block_size=2), (integers(np.uint8, 2, 4, 3), scales(2, 2, 3)), dtypes=SINGLE),
    Case(DynamicQuantizeLinear(), (normal(3, 4, 5),), outputs=3, dtypes=SINGLE),
    Case(DynamicQuantizeLinear(), (np.abs(normal(7)),), outputs=3, dtypes=SINGLE, note="from 0 on"),
    Case(DynamicQuantizeLinear(), (-np.abs(normal(7)),), outputs=3, dtypes=SINGLE, note="up to 0"),
    Case(DynamicQuantizeLinear(), (np.zeros((2, 3), np.float32),), outputs=3, dtypes=SINGLE,
         skip={"onnxruntime": "it gives the scale 1 where all is 0"}),
]


@pytest.mark.parametrize(("case", "judge", "dtype"), trials(CASES))
def test_against_judges(case: Case, judge: str, dtype: DType) -> None:
    check(case, judge, dtype)


def test_a_nan_gives_the_zero_point() -> None:
    [y] = QuantizeLinear().reference(np.asarray([np.nan, 1.0], np.float32), ONE, np.asarray(7, np.uint8))
    assert y.tolist() == [7, 11]


def test_symbolic_sizes() -> None:
    assert inferred(QuantizeLinear(), "f32[N,3,H]", "f32[3]", "u8[3]") == "u8[N,3,H]"
    assert inferred(DequantizeLinear(axis=0), "i8[N,3]", "f32[N]", "i8[N]") == "f32[N,3]"
    assert inferred(DequantizeLinear(block_size=4), "i8[N,8]", "f32[N,2]") == "f32[N,8]"


@pytest.mark.parametrize(("op", "operands", "message"), [
    (QuantizeLinear(), ("u8[3]", "f32[]"), "x is u8[3], but must be of type"),
    (QuantizeLinear(), ("f32[3]", "f32[]", "i32[]"), "must be of one type of i8, i16, u8 and u16, not i32"),
    (QuantizeLinear(output_dtype=DType.I8), ("f32[3]", "f32[]", "u8[]"), "not u8 and i8"),
    (QuantizeLinear(), ("f32[2,3]", "f32[4]"), "the scale must hold one number or 3, not f32[4]"),
    (QuantizeLinear(), ("f32[2,3]", "f32[3]", "u8[2]"), "must have the shape of the scale"),
    (DequantizeLinear(), ("i8[2,3]", "f32[]", "u8[]"), "must have the type of x"),
    (DequantizeLinear(block_size=2), ("i8[2,4]", "f32[2]"), "the scale must be [2,2], not f32[2]"),
])
def test_refused(op: Op, operands: tuple[str, ...], message: str) -> None:
    assert_refused(lambda: op, [operand(o) for o in operands], message)
