"""Activations against onnx and onnxruntime, and as what another operator carries fused."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cnncc.errors import OpError
from cnncc.ir import ACTIVATIONS, Activation, DType, Op, Operand, TensorType
from cnncc.ops import OPS
from cnncc.ops.activation import (
    ACTIVATION_OPS,
    ActivationOp,
    Celu,
    Clip,
    Elu,
    Gelu,
    HardSigmoid,
    LeakyRelu,
    PRelu,
    Relu,
    Selu,
    Swish,
    ThresholdedRelu,
)

from .cases import Case, assert_refused, assert_same, check, check_half, inferred, normal, operand, trials

X = np.concatenate([normal(2, 3, 4) * 4, np.array([[[0, -0.0, 1, -1]] * 3, [[60, -60, 3, -3]] * 3], np.float32)])
INTEGERS = np.arange(-6, 6, dtype=np.int32).reshape(3, 4)


def scalar(number: float, dtype: type = np.float32) -> np.ndarray:
    return np.array(number, dtype)


CASES = [
    *(Case(op(), (X,)) for op in ACTIVATION_OPS if op not in (PRelu, Celu)),
    Case(Relu(), (INTEGERS,)),
    Case(LeakyRelu(alpha=0.3), (X,)),
    Case(Elu(alpha=0.7), (X,)),
    Case(Selu(alpha=1.5, gamma=0.8), (X,)),
    Case(HardSigmoid(alpha=0.3, beta=0.4), (X,)),
    Case(ThresholdedRelu(alpha=0.5), (X,)),
    Case(Gelu(approximate="tanh"), (X,)),
    Case(Swish(alpha=1.7), (X,)),
    *(Case(Celu(alpha), (X,), skip={"onnxruntime": "it has no form newer than opset 12"}) for alpha in (1.0, 0.6, 2.5)),
    Case(Clip(), (X, scalar(0), scalar(6)), constants=(1, 2)),
    Case(Clip(), (X, scalar(-0.5), None)),
    Case(Clip(), (X, None, scalar(1))),
    Case(Clip(), (X, scalar(3), scalar(1)), note="min > max"),
    Case(Clip(), (INTEGERS, scalar(-3, np.int32), scalar(2, np.int32))),
    Case(Clip(), (np.array([2**60, 2**60 + 1, 5]), None, scalar(2**60, np.int64)), note="beyond double precision"),
    Case(Clip(), (np.array([0, 7, 200], np.uint8), scalar(5, np.uint8), scalar(100, np.uint8))),
    Case(PRelu(), (X, normal(1))),
    Case(PRelu(), (X, normal(3, 1))),
    Case(PRelu(), (X, normal(4, 3, 4, seed=3))),
    Case(PRelu(), (normal(0, 3), normal(3))),
]


@pytest.mark.parametrize(("case", "judge", "dtype"), trials(CASES))
def test_against_judges(case: Case, judge: str, dtype: DType) -> None:
    check(case, judge, dtype)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_half(case: Case) -> None:
    check_half(case)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_as_activation_is_the_operator(case: Case) -> None:
    assert isinstance(case.op, ActivationOp)
    arrays = case.arrays(DType.F32)
    operands = [None if x is None else Operand(TensorType(DType.of(x.dtype), x.shape), x) for x in arrays]
    activation = case.op.as_activation(*operands)
    if activation is not None:
        x: Any = arrays[0]
        assert_same(activation.apply(x), case.op.reference(x, *arrays[1:])[0])


@pytest.mark.parametrize(("op", "operands", "activation"), [
    (Relu(), ["f32[N,C]"], Activation("relu")),
    (LeakyRelu(0.2), ["f32[N,C]"], Activation("leaky_relu", (0.2,))),
    (HardSigmoid(0.3), ["f32[N,C]"], Activation("hard_sigmoid", (0.3, 0.5))),
    (Selu(), ["f32[N,C]"], Activation("selu")),
    (Gelu(), ["f32[N,C]"], Activation("gelu")),
    (Gelu("tanh"), ["f32[N,C]"], Activation("gelu_tanh")),
    (Swish(), ["f32[N,C]"], Activation("silu")),
    (Swish(2.0), ["f32[N,C]"], None),
    (Celu(), ["f32[N,C]"], Activation("elu")),
    (Celu(2.0), ["f32[N,C]"], None),
    (ThresholdedRelu(), ["f32[N,C]"], None),
    (Clip(), ["f32[N,C]"], Activation("clip", (-math.inf, math.inf))),
    (Clip(), ["f32[N,C]", operand("f32[]", 0), operand("f32[]", 6)], Activation("clip", (0.0, 6.0))),
    (Clip(), ["f32[N,C]", None, operand("f32[]", 1)], Activation("clip", (-math.inf, 1.0))),
    (Clip(), ["f32[N,C]", "f32[]", operand("f32[]", 1)], None),
    (Clip(), ["i32[N,C]", operand("i32[]", 0)], None),
    (PRelu(), ["f32[N,3,H]", operand("f32[3,1]", [[0.25]] * 3)], Activation("leaky_relu", (0.25,))),
    (PRelu(), ["f32[N,3,H]", operand("f32[3,1]", [[0.25], [0.25], [0.5]])], None),
    (PRelu(), ["f32[N,3,H]", "f32[3,1]"], None),
])
def test_as_activation(op: ActivationOp, operands: list[str | Operand | None], activation: Activation | None) -> None:
    assert op.as_activation(*(operand(o) if isinstance(o, str) else o for o in operands)) == activation


@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_not_a_number_stays(kind: str) -> None:
    for dtype in (np.float16, np.float32, np.float64):
        y = Activation(kind).apply(np.array([np.nan, 1, -1], dtype))
        assert y.dtype == dtype
        assert np.isnan(y).tolist() == [True, False, False]


def test_every_kind_has_its_operator() -> None:
    kinds = {a.kind for op in OPS.values() if issubclass(op, ActivationOp)
             for a in [op().as_activation(*(operand("f32[1]", [0.5]) for _ in op.operands))] if a is not None}
    assert kinds | {"gelu_tanh"} == set(ACTIVATIONS)


@pytest.mark.parametrize(("op", "operands", "types"), [
    (Relu(), ["f16[N,C,2*H]"], "f16[N,C,2*H]"),
    (Relu(), ["i8[N]"], "i8[N]"),
    (Clip(), ["u16[N]", None, "u16[1]"], "u16[N]"),
    (PRelu(), ["f32[N,C,H,W]", "f32[C,1,1]"], "f32[N,C,H,W]"),
])
def test_infer(op: Op, operands: list[str | None], types: str) -> None:
    assert inferred(op, *operands) == types


@pytest.mark.parametrize(("make", "operands", "message"), [
    (Elu, ["i32[5]"], "Elu: the input is i32[5], but must be of type f16 or f32 or f64; insert a Cast"),
    (Relu, ["u8[5]"], "Relu: the input is u8[5], but must be of type f16 or f32 or f64 or i8 or i16 or i32 or i64"),
    (Clip, ["bool[5]"], "Clip: the input is bool[5], but must be of type"),
    (Clip, ["f32[5]", "f64[]"], "Clip: min must be one number of type f32, not f64[]"),
    (Clip, ["f32[5]", None, "f32[2]"], "Clip: max must be one number of type f32, not f32[2]"),
    (PRelu, ["f32[2,3]", "f32[2]"], "PRelu: the shapes [2,3] and [2] do not broadcast"),
    (PRelu, ["f32[1,3]", "f32[2,3]"], "PRelu: the slope f32[2,3] cannot be broadcast to X f32[1,3]"),
    (PRelu, ["f32[3]", "f64[3]"], "PRelu: X and slope must have one type, not f32[3] and f64[3]"),
    (PRelu, ["f32[3]"], "PRelu lacks its input slope"),
    (lambda: Gelu("exact"), ["f32[3]"], "Gelu: approximate must be none or tanh, not 'exact'"),
    (lambda: Celu(0.0), ["f32[3]"], "Celu: alpha must not be 0"),
    (Relu, ["f32[3]", "f32[3]"], "Relu takes at most 1 inputs, but has 2"),
])
def test_wrong_input(make: Callable[[], Op], operands: list[str | None], message: str) -> None:
    assert_refused(make, operands, message)


def test_unknown_activation() -> None:
    with pytest.raises(OpError, match="'swosh' is not an activation; there are relu, clip,"):
        Activation("swosh")
    with pytest.raises(OpError, match="the activation relu takes 0 parameters, not 1"):
        Activation("relu", (1.0,))
