"""Pad against onnx and onnxruntime, and with symbolic sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cnncc.ir import DType
from cnncc.ops.pad import PAD_MODES, Pad

from .cases import Case, assert_refused, check, inferred, normal, trials
from .test_shape import given_sizes, i64, normalised

F32 = (DType.F32,)
NEGATIVE = {"onnx": "it takes no negative pads"}


def pad(shape: tuple[int, ...], *pads: int, mode: str = "constant", value: float | None = None,
        axes: tuple[int, ...] | None = None, **more: Any) -> Case:
    inputs = (normal(*shape), i64(*pads), None if value is None else np.array(value, np.float32),
              None if axes is None else i64(*axes))
    return Case(Pad(mode=mode), inputs, constants=(1, 2, 3), dtypes=F32, note=f"{pads} {axes}", **more)


CASES = [
    *(pad((2, 3, 4, 5), 0, 0, 1, 2, 0, 0, 3, 1, mode=mode) for mode in PAD_MODES),
    pad((2, 3), 1, 0, 0, 2, value=1.5),
    pad((2, 3), 0, 0, 0, 0),
    pad((2, 3, 4), 1, 2, axes=(1,)),
    pad((2, 3, 4), 1, 0, 2, 3, axes=(-1, 0), value=-2.0),
    pad((2, 3, 4), 2, 1, mode="edge", axes=(2,)),
    pad((5,), 4, 4, mode="reflect"),
    pad((4,), 4, 4, mode="wrap"),
    pad((5, 6), -1, 2, 1, -3, skip=NEGATIVE),
    pad((5, 6), -2, -1, 0, -3, skip=NEGATIVE, value=4.0),
    pad((6,), -2, 3, mode="edge", skip=NEGATIVE),
    pad((0, 3), 1, 0, 1, 0),
    Case(Pad(), (np.arange(4), i64(1, 2), np.array(9)), constants=(1, 2)),
    Case(Pad(), (np.array([True, True]), i64(1, 1)), constants=(1,), skip={"onnxruntime": "it has no Pad of bool"}),
]


@pytest.mark.parametrize(("case", "judge", "dtype"), trials(CASES))
def test_against_judges(case: Case, judge: str, dtype: DType) -> None:
    check(case, judge, dtype)


def test_cuts_before_it_pads() -> None:
    (y,) = Pad(mode="reflect").reference(np.arange(6), i64(2, -2))
    assert y.tolist() == [2, 1, 0, 1, 2, 3]
    (y,) = Pad(mode="wrap").reference(np.arange(6), i64(-1, 2))
    assert y.tolist() == [1, 2, 3, 4, 5, 1, 2]


@pytest.mark.parametrize(("operands", "result"), [
    (("f32[N,3,H,W]", given_sizes(0, 0, 1, 2, 0, 0, 1, 2)), "f32[N,3,H+2,W+4]"),
    (("f32[N,H]", given_sizes(0, -1, 0, -2)), "f32[N,H-3]"),
    (("f32[N,5]", given_sizes("H", 1), None, given_sizes(1)), "f32[N,H+6]"),
])
def test_infer_symbolic(operands: tuple[Any, ...], result: str) -> None:
    assert inferred(Pad(), *operands) == normalised(result)


@pytest.mark.parametrize(("mode", "operands", "message"), [
    ("mirror", [], "Pad: mode must be one of constant, reflect, edge, wrap, not 'mirror'"),
    ("constant", ["f32[]", given_sizes()], "Pad: data must have an axis to pad along, but is f32[]"),
    ("constant", ["f32[4]", given_sizes(1)], "Pad: pads [1] must hold a begin for each of the 1 axes"),
    ("constant", ["f32[4]", given_sizes(-3, -2)], "Pad: -3 and -2 take more than the 4 elements away that an axis has"),
    ("constant", ["f32[4]", given_sizes(1, 1), "f64[]"], "Pad: constant_value must be one f32, not f64[]"),
    ("constant", ["f32[4]", given_sizes(1, 1), None, given_sizes(1)], "Pad: the axis 1 is outside [-1, 0]"),
    ("reflect", ["f32[3]", given_sizes(3, 0)], "Pad: reflecting 3 elements needs an axis of more than 3; pad less"),
    ("edge", ["f32[0]", given_sizes(1, 0)], "Pad: an axis without elements has nothing to pad it with in mode edge"),
])
def test_wrong_input(mode: str, operands: list[Any], message: str) -> None:
    assert_refused(lambda: Pad(mode=mode), operands, message)
