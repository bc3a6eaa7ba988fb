"""Normalizations against onnx and onnxruntime."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cnncc.ir import DType, Op
from cnncc.ops.normalization import (
    GroupNormalization,
    InstanceNormalization,
    LayerNormalization,
    LpNormalization,
    MeanVarianceNormalization,
    RMSNormalization,
)

from .cases import Case, assert_refused, assert_same, check, check_half, inferred, normal, trials


def by_channel(op: Op, *shape: int) -> Case:
    return Case(op, (normal(*shape), normal(shape[1], seed=1), normal(shape[1], seed=2)), tolerance=4.0)


def trailing(op: Op, shape: tuple[int, ...], scale: tuple[int, ...], bias: bool = True, **more: Any) -> Case:
    inputs = [normal(*shape), normal(*scale, seed=1)] + ([normal(*scale, seed=2)] if bias else [])
    return Case(op, tuple(inputs), tolerance=4.0, **more)


# The judges expand MeanVarianceNormalization by its definition in ONNX, which is for f32 only.
CASES = [
    by_channel(InstanceNormalization(), 2, 3, 4, 5),
    by_channel(InstanceNormalization(epsilon=0.1), 1, 4, 7),
    by_channel(InstanceNormalization(), 1, 2, 3, 4, 2),
    by_channel(GroupNormalization(num_groups=2), 2, 4, 3, 5),
    by_channel(GroupNormalization(num_groups=1, epsilon=0.01), 1, 6, 4),
    by_channel(GroupNormalization(num_groups=6), 2, 6, 2, 2),
    by_channel(GroupNormalization(num_groups=3), 1, 6, 2, 2, 3),
    trailing(LayerNormalization(), (2, 3, 8), (8,), bias=False),
    trailing(LayerNormalization(axis=1, epsilon=0.1), (2, 3, 4, 5), (3, 4, 5)),
    trailing(LayerNormalization(axis=0), (4, 5), (4, 5)),
    trailing(LayerNormalization(axis=-2), (2, 3, 4, 5), (4, 5)),
    trailing(RMSNormalization(), (2, 3, 8), (8,), bias=False),
    trailing(RMSNormalization(axis=1, epsilon=0.1), (2, 3, 4), (3, 4), bias=False),
    Case(MeanVarianceNormalization(), (normal(2, 3, 4, 5),), tolerance=4.0, dtypes=(DType.F32,)),
    Case(MeanVarianceNormalization(axes=(2, 3)), (normal(2, 3, 4, 5),), tolerance=4.0, dtypes=(DType.F32,)),
    Case(LpNormalization(), (normal(2, 3, 5),)),
    Case(LpNormalization(axis=1, p=1), (normal(2, 3, 5),), skip={"onnx": "its reference sums numbers, not sizes"}),
]

STATISTICS = [trailing(LayerNormalization(axis=1), (2, 3, 8), (3, 8), outputs=3, dtypes=(DType.F32,))]


@pytest.mark.parametrize(("case", "judge", "dtype"), trials(CASES + STATISTICS))
def test_against_judges(case: Case, judge: str, dtype: DType) -> None:
    check(case, judge, dtype)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_half(case: Case) -> None:
    check_half(case)


def test_a_constant_is_its_bias() -> None:
    x, scale, bias = np.full((1, 2, 3, 3), 7, np.float32), normal(2), normal(2, seed=1)
    [y] = InstanceNormalization().reference(x, scale, bias)
    assert_same(y, np.broadcast_to(bias.reshape(2, 1, 1), x.shape))
    [y] = LpNormalization(axis=1).reference(np.zeros((2, 3), np.float32))
    assert_same(y, np.zeros((2, 3), np.float32))


@pytest.mark.parametrize(("op", "operands", "types"), [
    (InstanceNormalization(), ["f32[N,C,H,W]", "f32[C]", "f32[C]"], "f32[N,C,H,W]"),
    (GroupNormalization(num_groups=4), ["f32[N,8,H]", "f32[8]", "f32[8]"], "f32[N,8,H]"),
    (LayerNormalization(axis=1), ["f16[N,T,8]", "f16[T,8]"], "f16[N,T,8], f32[N,1,1], f32[N,1,1]"),
    (RMSNormalization(), ["f32[N,T,8]", "f32[8]"], "f32[N,T,8]"),
    (MeanVarianceNormalization(axes=(-1,)), ["f32[N,T]"], "f32[N,T]"),
    (LpNormalization(), ["f64[N]"], "f64[N]"),
])
def test_infer(op: Op, operands: list[str | None], types: str) -> None:
    assert inferred(op, *operands) == types


@pytest.mark.parametrize(("make", "operands", "message"), [
    (InstanceNormalization, ["f32[3]", "f32[3]", "f32[3]"],
     "InstanceNormalization: input must be [N, C, ...], not f32[3]"),
    (InstanceNormalization, ["f32[1,3,4]", "f32[3]", "f32[4]"],
     "InstanceNormalization: B must be of shape [3], one number for each channel, not f32[4]"),
    (InstanceNormalization, ["i32[1,3,4]", "f32[3]", "f32[3]"], "input is i32[1,3,4], but must be of type"),
    (lambda: GroupNormalization(num_groups=0), [], "GroupNormalization: num_groups must be at least 1, not 0"),
    (lambda: GroupNormalization(num_groups=2), ["f32[1,3,4]", "f32[3]", "f32[3]"],
     "GroupNormalization: the 3 channels of X f32[1,3,4] do not divide into 2 groups"),
    (lambda: LayerNormalization(axis=2), ["f32[1,3]", "f32[3]"], "axis 2 is outside [-2, 1]"),
    (lambda: LayerNormalization(stash_type=7), [],
     "LayerNormalization: stash_type must be 1 (f32), 10 (f16) or 11 (f64), not 7"),
    (LayerNormalization, ["f32[1,3]", "f32[4]"], "LayerNormalization: Scale [4] does not broadcast to X f32[1,3]"),
    (RMSNormalization, ["f32[3]", "f32[1,3]"], "RMSNormalization: scale [1,3] does not broadcast to X f32[3]"),
    (MeanVarianceNormalization, ["f32[1,3]"], "MeanVarianceNormalization: the axis 2 is outside [-2, 1]"),
    (lambda: LpNormalization(p=3), [], "LpNormalization: p must be 1 or 2, not 3"),
])
def test_wrong_input(make: Callable[[], Op], operands: list[str | None], message: str) -> None:
    assert_refused(make, operands, message)
