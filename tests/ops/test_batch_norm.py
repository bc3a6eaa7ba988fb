"""BatchNormalization against onnx and onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cnncc.ir import Activation, DType
from cnncc.ops.batch_norm import BatchNormalization

from .cases import Case, assert_refused, assert_same, check, check_half, inferred, normal, trials


def batch_norm(*shape: int, op: BatchNormalization | None = None) -> Case:
    c = shape[1] if len(shape) > 1 else 1
    parameters = [normal(c, seed=i) for i in range(3)]
    return Case(op or BatchNormalization(), (normal(*shape), *parameters, normal(c, seed=3) ** 2 + 0.1), tolerance=2.0)


CASES = [
    batch_norm(2, 3, 4, 5),
    batch_norm(2, 5, 1, 1),
    batch_norm(2, 3, 4, 5, op=BatchNormalization(epsilon=0.1, momentum=0.5)),
    batch_norm(2, 3),
    batch_norm(2, 3, 7),
    batch_norm(1, 4, 2, 3, 2),
    batch_norm(0, 3, 2, 2),
    *(batch_norm(2, 5, 4, 3, op=BatchNormalization(activation=Activation(kind)))
      for kind in ("relu", "clip", "silu", "leaky_relu")),
]


@pytest.mark.parametrize(("case", "judge", "dtype"), trials(CASES))
def test_against_judges(case: Case, judge: str, dtype: DType) -> None:
    check(case, judge, dtype)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_half(case: Case) -> None:
    check_half(case)


def test_fused_activation() -> None:
    arrays: list[Any] = batch_norm(2, 3, 4).arrays(DType.F32)
    [plain] = BatchNormalization().reference(*arrays)
    [fused] = BatchNormalization(activation=Activation("gelu")).reference(*arrays)
    assert_same(fused, Activation("gelu").apply(plain))


def test_vector_is_one_channel() -> None:
    arrays: list[Any] = batch_norm(5).arrays(DType.F64)
    [y] = BatchNormalization().reference(*arrays)
    x, (scale, bias, mean, variance) = arrays[0], (float(p[0]) for p in arrays[1:])
    assert_same(y, (x - mean) / np.sqrt(variance + 1e-5) * scale + bias)


def test_half_with_single_statistics_stays_half() -> None:
    case = batch_norm(2, 3, 4)
    arrays: list[Any] = [*case.arrays(DType.F16)[:1], *case.arrays(DType.F32)[1:]]
    [y] = BatchNormalization().reference(*arrays)
    assert y.dtype == np.float16
    assert inferred(BatchNormalization(), "f16[N,3]", *["f32[3]"] * 4) == "f16[N,3]"


def test_infer() -> None:
    assert inferred(BatchNormalization(), "f32[N,C,H,W]", *["f32[C]"] * 4) == "f32[N,C,H,W]"


def test_wrong_input() -> None:
    assert_refused(lambda: BatchNormalization(training_mode=True), [],
                   "BatchNormalization: training_mode=1 is not supported: export the model for inference")
    assert_refused(BatchNormalization, ["i32[1,3]", *["f32[3]"] * 4],
                   "BatchNormalization: X is i32[1,3], but must be of type f16 or f32 or f64")
    assert_refused(BatchNormalization, ["f32[1,3]", "f32[3]", "f32[3]", "f32[4]", "f32[3]"],
                   "BatchNormalization: input_mean must be of shape [3], one number for each channel of X f32[1,3], "
                   "not f32[4]")
    assert_refused(BatchNormalization, ["f32[1,3]", "f32[3]", "f32[3]", "f32[3]"],
                   "BatchNormalization lacks its input input_var")
