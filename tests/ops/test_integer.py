"""Integer convolutions and matrix products against onnx and onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cnncc.ir import Activation, DType, Op
from cnncc.ops.integer_conv import ConvInteger, QLinearConv
from cnncc.ops.integer_matmul import (
    DynamicQuantizeMatMul,
    MatMulInteger,
    MatMulIntegerToFloat,
    QGemm,
    QLinearMatMul,
)
from cnncc.ops.quantize import DequantizeLinear, QuantizeLinear

from .cases import Case, assert_refused, assert_same, check, normal, operand, trials
from .test_quantize import integers, scales

Array = np.ndarray[Any, Any]
U8, I8, I32 = np.uint8, np.int8, np.int32
SINGLE = (DType.F32,)
# ONNX's reference adds the zero point before it rounds, and multiplies in double precision.
AS_RUNTIME = {"onnx": "it rounds ties otherwise"}


def scale(value: float) -> Array:
    return np.asarray(value, np.float32)


def zero(dtype: Any, value: int) -> Array:
    return np.asarray(value, dtype)


def integer_conv(x: tuple[int, ...], w: tuple[int, ...], x_type: Any = U8, w_type: Any = U8, **attributes: Any) -> Case:
    return Case(ConvInteger(**attributes), (integers(x_type, *x), integers(w_type, *w, seed=1), zero(x_type, 13),
                                            zero(w_type, 9)), dtypes=SINGLE)


def qlinear_conv(x: tuple[int, ...], w: tuple[int, ...], x_type: Any = U8, w_type: Any = I8, channels: bool = False,
                 bias: bool = False, y_type: Any = None, **attributes: Any) -> Case:
    """The multiplier is chosen such that results spread over all the range, and some saturate."""
    count, taps = w[0] if channels else 1, int(np.prod(w[1:]))
    shape = (count,) if channels else ()
    w_scale = np.asarray(0.02 * (1 + np.arange(count).reshape(shape) / 5), np.float32)
    w_zero = np.zeros(shape, w_type) if w_type is I8 else np.full(shape, 130, w_type)
    y_type = y_type or x_type
    inputs = [integers(x_type, *x), scale(0.05), zero(x_type, 17), integers(w_type, *w, seed=1), w_scale, w_zero,
              scale(0.05 * 0.02 * 60 * taps**0.5), zero(y_type, 100 if y_type is U8 else 5)]
    if bias:
        inputs.append(np.asarray(300 * np.arange(w[0]) - 600, I32))
    return Case(QLinearConv(**attributes), tuple(inputs), dtypes=SINGLE, skip=AS_RUNTIME,
                constants=tuple(range(1, len(inputs))))


def matmul(a: tuple[int, ...], b: tuple[int, ...], a_type: Any = U8, b_type: Any = I8, *, zeros: int = 2,
           columns: bool = False) -> Case:
    n = b[-1] if columns else 1
    zero_points = (zero(a_type, 11), integers(b_type, n, seed=5) if columns else zero(b_type, 3))[:zeros]
    return Case(MatMulInteger(), (integers(a_type, *a), integers(b_type, *b, seed=1), *zero_points), dtypes=SINGLE)


def qgemm(a: tuple[int, ...], b: tuple[int, ...], c: tuple[int, ...] | None = None, *, real: bool = False,
          columns: bool = False, **attributes: Any) -> Case:
    n = b[0] if attributes.get("transB") else b[1]
    inputs: list[Array | None] = [
        integers(U8, *a), scale(0.02), zero(U8, 120), integers(I8, *b, seed=1),
        scales(n) if columns else scale(0.01), np.zeros(n if columns else (), I8),
        None if c is None else integers(I32, *c) // 256]
    if not real:
        inputs += [scale(0.4), zero(U8, 128)]
    return Case(QGemm(**attributes), tuple(inputs), dtypes=SINGLE)


CASES = [
    integer_conv((1, 3, 5, 6), (4, 3, 3, 3), pads=(1, 0, 1, 2)),
    integer_conv((2, 4, 7, 6), (6, 2, 3, 2), group=2, strides=(2, 1), dilations=(1, 2)),
    integer_conv((1, 4, 6, 6), (4, 1, 3, 3), group=4, auto_pad="SAME_UPPER"),
    Case(ConvInteger(), (integers(I8, 1, 2, 9), integers(I8, 3, 2, 3, seed=1)), dtypes=SINGLE,
         skip={"onnx": "it wraps within 8 bits"}),
    qlinear_conv((1, 3, 7, 6), (5, 3, 3, 3), pads=(1, 1, 1, 1), bias=True),
    qlinear_conv((2, 8, 4, 5), (6, 8, 1, 1), channels=True, bias=True),
    qlinear_conv((1, 8, 6, 5), (8, 1, 3, 3), group=8, pads=(1, 1, 1, 1), strides=(2, 2), channels=True),
    qlinear_conv((1, 4, 6, 5), (6, 2, 3, 3), w_type=U8, group=2),
    qlinear_conv((1, 5, 6, 5), (4, 5, 3, 3), x_type=I8, bias=True, auto_pad="SAME_LOWER"),
    qlinear_conv((1, 5, 6, 5), (4, 5, 3, 3), x_type=I8, channels=True),
    matmul((3, 20), (20, 7)),
    matmul((3, 20), (20, 7), U8, U8, columns=True),
    matmul((3, 20), (20, 7), I8, I8),
    matmul((2, 1, 3, 5), (4, 5, 6), zeros=0),
    Case(QLinearMatMul(), (integers(U8, 3, 20), scale(0.02), zero(U8, 120), integers(I8, 20, 7, seed=1), scale(0.01),
                           zero(I8, 0), scale(0.4), zero(U8, 128)), dtypes=SINGLE, skip=AS_RUNTIME),
    Case(QLinearMatMul(), (integers(I8, 2, 3, 20), scale(0.02), zero(I8, 2), integers(I8, 20, 7, seed=1), scales(7),
                           np.zeros(7, I8), scale(2.5), zero(I8, -3)), dtypes=SINGLE, skip=AS_RUNTIME),
    Case(MatMulIntegerToFloat(), (integers(U8, 3, 20), integers(I8, 20, 7, seed=1), scale(0.02), scales(7),
                                  zero(U8, 120), np.zeros(7, I8), normal(7)), dtypes=SINGLE),
    Case(MatMulIntegerToFloat(), (integers(I8, 2, 3, 20), integers(I8, 20, 7, seed=1), scale(0.02), scale(0.1)),
         dtypes=SINGLE),
    Case(DynamicQuantizeMatMul(), (normal(3, 20), integers(I8, 20, 7), scale(0.1), zero(I8, 2), normal(7)),
         dtypes=SINGLE),
    Case(DynamicQuantizeMatMul(), (normal(3, 20), integers(U8, 20, 7), scales(7)), dtypes=SINGLE),
    qgemm((3, 20), (20, 7)),
    qgemm((3, 20), (7, 20), (7,), transB=True, alpha=0.5, columns=True),
    qgemm((20, 3), (20, 7), (7,), transA=True, real=True),
    Case(ConvInteger(activation=Activation("relu")),
         (integers(U8, 1, 3, 5, 6), integers(I8, 4, 3, 3, 3, seed=1), zero(U8, 100), None, scales(4), normal(4))),
    Case(QLinearConv(activation=Activation("clip", (0.0, 6.0))), qlinear_conv((1, 3, 7, 6), (5, 3, 3, 3)).inputs),
]


def judged() -> list[Any]:
    """com.microsoft's operators have one judge."""
    return [*trials([c for c in CASES if not c.op.domain]), *trials([c for c in CASES if c.op.domain], ["onnxruntime"])]


@pytest.mark.parametrize(("case", "judge", "dtype"), judged())
def test_against_judges(case: Case, judge: str, dtype: DType) -> None:
    check(case, judge, dtype)


@pytest.mark.parametrize("activation", [Activation("relu"), Activation("clip", (-0.3, 2.0))])
@pytest.mark.parametrize("case", [qlinear_conv((1, 3, 7, 6), (5, 3, 3, 3)),
                                  qlinear_conv((1, 3, 7, 6), (5, 3, 3, 3), x_type=I8)], ids=str)
def test_an_activation_acts_on_real_numbers(case: Case, activation: Activation) -> None:
    """Rounding is monotone, so clipping the integers is the same as clipping the numbers that are rounded."""
    y_scale, y_zero = case.inputs[6], case.inputs[7]
    [plain] = case.op.reference(*case.inputs)
    [fused] = QLinearConv(activation=activation).reference(*case.inputs)
    [real] = DequantizeLinear().reference(plain, y_scale, y_zero)
    assert_same(fused, QuantizeLinear().reference(activation.apply(real), y_scale, y_zero)[0])
    assert (fused != plain).any()


@pytest.mark.parametrize(("op", "operands", "message"), [
    (ConvInteger(), ("f32[1,3,5]", "u8[4,3,2]"), "x is f32[1,3,5], but must be of type i8 or u8"),
    (ConvInteger(), ("u8[1,3,5]", "u8[4,3,2]", "i8[]"), "must have the type of u8[1,3,5]"),
    (ConvInteger(), ("u8[1,3,5]", "u8[4,3,2]", None, "u8[3]"), "w_zero_point must hold one number or 4, not u8[3]"),
    (ConvInteger(), ("u8[1,3,5]", "u8[4,3,2]", None, None, None, "f32[4]"), "B and activation need a scale"),
    (QLinearConv(), ("u8[1,3,5]", "f32[]", "u8[]", "i8[4,2,2]", "f32[]", "i8[]", "f32[]", "u8[]"),
     "do not fit with group 1"),
    (QLinearConv(), ("u8[1,3,5]", "f32[]", "u8[]", "i8[4,3,2]", "f32[]", "i8[]", "f32[]", "u8[]", "i32[3]"),
     "B must be i32[4], not i32[3]"),
    (MatMulInteger(), ("u8[2,3]", "u8[4,5]"), "has 3 columns, but B u8[4,5] has 4 rows"),
    (MatMulInteger(), ("u8[2,3]", "u8[3,5]", None, "u8[4]"), "one for each column of u8[3,5]"),
    (QGemm(), ("u8[2,3]", "f32[]", "u8[]", "u8[3,5]", "f32[]", "u8[]", None, "f32[]"), "go together"),
])
def test_refused(op: Op, operands: tuple[str | None, ...], message: str) -> None:
    assert_refused(lambda: op, [None if o is None else operand(o) for o in operands], message)


def test_unknown_activation() -> None:
    assert_refused(lambda: QLinearConv(activation=Activation("tanh")), [], "must be relu or clip, not tanh")
