"""DFT, STFT and MelWeightMatrix against onnx and onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cnncc.ir import DType, Operand
from cnncc.ops.spectral import DFT, STFT, MelWeightMatrix

from .cases import Case, assert_refused, check, inferred, normal, operand, trials
from .test_shape import given_sizes


def dft(shape: tuple[int, ...], length: int | None = None, axis: int | None = None, **attributes: bool) -> Case:
    others = tuple(None if v is None else np.array(v) for v in ((length,) if axis is None else (length, axis)))
    return Case(DFT(**attributes), (normal(*shape), *others), constants=tuple(i for i, v in enumerate(others, 1)
                                                                              if v is not None),
                tolerance=5.0, note=f"{length} {axis}")


def stft(signal: tuple[int, ...], step: int, window: int | None, length: int | None, **attributes: bool) -> Case:
    inputs = (normal(*signal), np.array(step), None if window is None else normal(window),
              None if length is None else np.array(length))
    return Case(STFT(**attributes), inputs, constants=(1, *([] if length is None else [3])), tolerance=10.0,
                note=f"{step} {length}")


def mel(bands: int, length: int, rate: int, low: float, high: float, to: DType = DType.F32) -> Case:
    return Case(MelWeightMatrix(output_datatype=to),
                (np.array(bands), np.array(length), np.array(rate), np.float32(low), np.float32(high)),
                constants=(0, 1), dtypes=(DType.F32,), note=f"{bands} {length}")


CASES = [
    dft((2, 5, 1)), dft((2, 6, 3, 2)), dft((2, 5, 1), 8), dft((2, 5, 2), 3), dft((2, 6, 3, 2), None, 1),
    dft((2, 5, 1), None, -2, onesided=True), dft((2, 6, 1), 5, 1, onesided=True),
    dft((2, 5, 2), None, 1, inverse=True), dft((3, 4, 2), 6, 0, inverse=True),
    dft((2, 4, 2), None, 1, inverse=True, onesided=True), dft((2, 4, 2), 7, 1, inverse=True, onesided=True),
    stft((2, 20, 1), 4, 8, 8), stft((2, 20, 1), 3, 7, None), stft((1, 19, 1), 5, None, 6),
    stft((2, 20, 1), 4, 8, 8, onesided=False),
    mel(8, 16, 8192, 0, 4096), mel(5, 32, 16000, 100, 7000, DType.F64),
]


@pytest.mark.parametrize(("case", "judge", "dtype"), trials(CASES, ["onnx"]))
def test_against_onnx(case: Case, judge: str, dtype: DType) -> None:
    check(case, judge, dtype)


def test_infer_symbolic() -> None:
    assert inferred(DFT(onesided=True), "f32[N,T,1]") == "f32[N,T//2+1,2]"
    assert inferred(DFT(inverse=True, onesided=True), "f32[N,T,2]") == "f32[N,2*T-2,1]"
    assert inferred(DFT(), "f32[N,T,1]", given_sizes("K"), operand("i64[]", 1)) == "f32[N,K,2]"
    assert inferred(STFT(), "f32[N,T,1]", operand("i64[]", 4), "f32[8]") == "f32[N,T//4-1,5,2]"


def test_half_precision_is_computed_in_single() -> None:
    x = normal(1, 64, 1)
    (half,), (single,) = DFT().reference(x.astype(np.float16)), DFT().reference(x)
    assert half.dtype == np.float16
    np.testing.assert_allclose(half, single, atol=0.02)


@pytest.mark.parametrize(("make", "operands", "message"), [
    (DFT, ["f32[2,5,3]"], "DFT: the input f32[2,5,3] must have a last axis of size 1 (real) or 2 (complex)"),
    (DFT, ["f32[2]"], "must have a last axis of size 1 (real) or 2 (complex)"),
    (lambda: DFT(onesided=True), ["f32[2,5,2]"], "DFT: onesided takes a real input, not f32[2,5,2]"),
    (lambda: DFT(onesided=True, inverse=True), ["f32[2,5,1]"], "DFT: onesided takes a complex input"),
    (DFT, ["f32[2,5,2]", None, operand("i64[]", 2)], "DFT: axis is the last one"),
    (DFT, ["f32[2,5,2]", operand("i64[]", 0)], "DFT: dft_length must be at least 1, not 0"),
    (STFT, ["f32[2,5,1]", operand("i64[]", 1), "f32[8]"], "STFT: a frame of 8 is longer than the signal f32[2,5,1]"),
    (STFT, ["f32[2,9,1]", operand("i64[]", 0), "f32[8]"], "STFT: frame_step must be at least 1, not 0"),
    (STFT, ["f32[2,9,2]", operand("i64[]", 1)], "STFT: onesided takes a real signal"),
    (STFT, ["f32[2,9,1]", operand("i64[]", 1), "f32[8]", operand("i64[]", 7)], "8 elements are not the frame_length 7"),
    (STFT, ["f32[2,9,1]", operand("i64[]", 1), "f64[8]"], "STFT: window must have one axis and the signal's type"),
])
def test_wrong_input(make: Any, operands: list[Operand | str | None], message: str) -> None:
    assert_refused(make, operands, message)
