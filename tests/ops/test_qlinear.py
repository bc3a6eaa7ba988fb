"""ONNX Runtime's operators on quantised tensors against onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cnncc.ir import Activation, DType, Op
from cnncc.ops.qlinear import (
    QLinearActivation,
    QLinearAdd,
    QLinearAveragePool,
    QLinearConcat,
    QLinearGlobalAveragePool,
    QLinearLeakyRelu,
    QLinearMul,
    QLinearSigmoid,
    QLinearSoftmax,
)

from .cases import Case, assert_refused, assert_same, check, inferred, operand, trials
from .test_integer import I8, SINGLE, U8, scale, zero
from .test_quantize import integers

Array = np.ndarray[Any, Any]


def binary(op: Op, a: tuple[int, ...], b: tuple[int, ...], dtype: Any, c_scale: float) -> Case:
    return Case(op, (integers(dtype, *a), scale(0.021), zero(dtype, 7), integers(dtype, *b, seed=1), scale(0.013),
                     zero(dtype, 100), scale(c_scale), zero(dtype, 50)), dtypes=SINGLE)


def unary(op: Op, shape: tuple[int, ...], dtype: Any, x_scale: float, y_scale: float, y_zero: int) -> Case:
    return Case(op, (integers(dtype, *shape), scale(x_scale), zero(dtype, 10), scale(y_scale), zero(dtype, y_zero)),
                dtypes=SINGLE, constants=(1, 2, 3, 4))


def concat(axis: int, *shapes: tuple[int, ...]) -> Case:
    parts: list[Array] = []
    for i, shape in enumerate(shapes):
        parts += [integers(U8, *shape, seed=i), scale(0.02 if i % 2 else 0.03), zero(U8, 100 + 5 * (i % 2))]
    return Case(QLinearConcat(axis), (scale(0.02), zero(U8, 105), *parts), dtypes=SINGLE,
                constants=tuple(i for i in range(2 + len(parts)) if i < 2 or i % 3 != 2))


CASES = [
    binary(QLinearAdd(), (2, 3, 4, 5), (2, 3, 4, 5), U8, 0.0251),
    binary(QLinearAdd(), (2, 3, 4, 5), (1, 3, 1, 1), I8, 0.0251),
    binary(QLinearAdd(), (3, 4), (), U8, 0.0251),
    binary(QLinearMul(), (2, 3, 4, 5), (2, 3, 4, 5), U8, 0.03),
    binary(QLinearMul(), (2, 3, 4, 5), (5,), I8, 0.03),
    unary(QLinearSigmoid(), (2, 3, 40), U8, 0.05, 1 / 256, 0),
    unary(QLinearSigmoid(), (2, 3, 40), I8, 0.05, 1 / 256, -128),
    unary(QLinearLeakyRelu(alpha=0.1), (2, 3, 40), U8, 0.05, 0.04, 30),
    unary(QLinearLeakyRelu(), (2, 3, 40), I8, 0.05, 0.04, 3),
    unary(QLinearSoftmax(axis=-1, opset=13), (4, 3, 10), U8, 0.03, 1 / 256, 0),
    unary(QLinearSoftmax(axis=1, opset=13), (4, 3, 10), I8, 0.03, 1 / 256, -128),
    unary(QLinearSoftmax(axis=1, opset=12), (4, 3, 10), U8, 0.03, 1 / 256, 0),
    concat(1, (1, 2, 3), (1, 4, 3), (1, 1, 3)),
    concat(-1, (2, 3), (2, 5)),
    unary(QLinearAveragePool(kernel_shape=(3, 3), pads=(1, 1, 1, 1)), (1, 3, 7, 6), U8, 0.031, 0.029, 20),
    unary(QLinearAveragePool(kernel_shape=(3, 2), strides=(2, 2), count_include_pad=True, pads=(1, 0, 1, 1)),
          (1, 3, 7, 6), I8, 0.031, 0.029, -20),
    unary(QLinearGlobalAveragePool(), (2, 5, 7, 7), U8, 0.03, 0.01, 20),
    unary(QLinearGlobalAveragePool(), (2, 5, 7, 7), I8, 0.03, 0.01, 20),
    unary(QLinearActivation(activation=Activation("hard_swish")), (2, 3, 4, 5), I8, 0.051, 0.0431, 3),
    unary(QLinearActivation(), (2, 3, 4, 5), U8, 0.05, 0.07, 3),
]


MICROSOFTS = [case for case in CASES if case.op.domain != "cnncc"]


@pytest.mark.parametrize(("case", "judge", "dtype"), trials(MICROSOFTS, ["onnxruntime"]))
def test_against_judges(case: Case, judge: str, dtype: DType) -> None:
    check(case, judge, dtype)


def test_an_activation_of_ones_own() -> None:
    [case] = [c for c in CASES if c.op == QLinearActivation(activation=Activation("hard_swish"))]
    x, x_scale, x_zero, y_scale, y_zero = case.inputs
    assert x is not None and x_zero is not None
    real = (x.astype(np.float64) - x_zero) * x_scale
    exact = real * np.clip(real / 6 + 0.5, 0, 1) / y_scale + y_zero
    assert_same(case.op.reference(*case.inputs)[0], np.clip(np.rint(exact), -128, 127).astype(np.int8))


def test_types() -> None:
    assert inferred(QLinearAdd(), "u8[N,3,4]", "f32[]", "u8[]", "u8[3,1]", "f32[]", "u8[]", "f32[]", "i8[]") == \
        "i8[N,3,4]"
    assert inferred(QLinearSigmoid(), "u8[N,3]", "f32[]", None, "f32[1]") == "u8[N,3]"
    assert inferred(QLinearConcat(1), "f32[]", "u8[]", "u8[N,3]", "f32[]", "u8[]", "u8[N,C]", "f32[]", "u8[]") == \
        "u8[N,C+3]"


@pytest.mark.parametrize(("op", "operands", "message"), [
    (QLinearAdd(), ("u8[2]", "f32[]", "u8[]", "i8[2]", "f32[]", "i8[]", "f32[]"), "must have one element type"),
    (QLinearSigmoid(), ("f32[2]", "f32[]", None, "f32[]"), "X is f32[2], but must be of type i8 or u8"),
    (QLinearSigmoid(), ("u8[2]", "f32[2]", None, "f32[]"), "must hold one number, not f32[2]"),
    (QLinearConcat(0), ("f32[]", "u8[]", "u8[2]", "f32[]"), "but there are 2 operands behind Y_zero_point"),
    (QLinearConcat(0), ("f32[]", "u8[]", "u8[2,3]", "f32[]", "u8[]", "u8[2,4]", "f32[]", "u8[]"),
     "differ in size along axis 1"),
])
def test_refused(op: Op, operands: tuple[str | None, ...], message: str) -> None:
    assert_refused(lambda: op, [None if o is None else operand(o) for o in operands], message)


@pytest.mark.parametrize(("types", "said"), [
    (("u8[2]", "f32[]", "f32[]", "f32[]", "u8[]"), "the zero point of X"),
    (("u8[2]", "f32[]", "i8[]", "f32[]", "u8[]"), "the zero point of X"),
    (("u8[2]", "f32[]", "u8[]", "f32[]", "f32[]"), "a zero point"),
    (("u8[2]", "u8[]", "u8[]", "f32[]", "u8[]"), "a scale"),
    (("u8[2]", "f32[]", "u8[]", "i8[]", "u8[]"), "a scale"),
])
def test_scales_and_zero_points_of_other_types(types: tuple[str, ...], said: str) -> None:
    assert_refused(QLinearSigmoid, [operand(t) for t in types], said)
