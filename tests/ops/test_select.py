"""Compress and Unique against onnx and onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import cnncc
from cnncc.errors import OpError
from cnncc.ir import DType, parse_graph
from cnncc.ops import OPS
from cnncc.ops.select import Compress, Unique

from .cases import Case, assert_refused, inferred, normal, operand

SOME = np.array([[2, 1, 2], [3, 1, 2], [2, 1, 2]], np.float32)
CASES = [
    Case(Compress(), (normal(3, 4), np.array([False, True, True, False, True]))),
    Case(Compress(axis=0), (normal(3, 4), np.array([True, False, True]))),
    Case(Compress(axis=-1), (np.arange(6).reshape(2, 3), np.array([False, True]))),
    *(Case(Unique(axis=axis, sorted=ordered), (SOME,), outputs=4)
      for axis in (None, 0, 1, -1) for ordered in (False, True)),
    Case(Unique(sorted=False), (np.array([5, 3, 5, 9, 3]),), outputs=4),
    Case(Unique(), (normal(0),), outputs=4),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_against_onnxruntime(case: Case) -> None:
    """Its sizes are known when it has run, so that types are compared by rank."""
    from .cases import run_onnxruntime

    types = case.op.infer(*case.operands(DType.F32))
    for wanted, type_, got in zip(run_onnxruntime(case, DType.F32), types, case.op.reference(*case.arrays(DType.F32)),
                                  strict=False):
        assert type_.dtype == DType.of(wanted.dtype) and type_.rank == wanted.ndim
        np.testing.assert_array_equal(got, wanted, strict=True)


def test_infer() -> None:
    assert inferred(Compress(axis=0), "f32[N,4]", operand("bool[3]", [True, False, True])) == "f32[2,4]"
    assert_refused(Compress, ["f32[4]", "i64[4]"], "Compress: condition is i64[4], but must be of type bool")
    assert_refused(Compress, ["f32[4]", "bool[2,2]"], "Compress: condition must have one axis, not bool[2,2]")
    assert_refused(lambda: Unique(axis=1), ["f32[4]"], "Unique: axis 1 is outside [-1, 0]")
    with pytest.raises(OpError, match="true beyond the 4 places"):
        Compress().reference(normal(4), np.ones(5, np.bool_))


def test_in_a_session() -> None:
    """What follows is bound to the sizes that the data gave."""
    graph = parse_graph("graph @g(%x: f32[N], %c: bool[N]) {\n  %0 = Compress(%x, %c) : f32[u0]\n"
                        "  %1, %2, %3, %4 = Unique(%0) : f32[u1], i64[u1], i64[u0], i64[u1]\n"
                        "  %5 = Add(%1, %1) : f32[u1]\n  return %5, %3\n}", OPS)
    session: Any = cnncc.InferenceSession(cnncc.compile(graph))
    y, inverse = session.run(None, {"x": np.float32([3, 1, 3, 2]), "c": np.array([True, True, True, False])})
    assert y.tolist() == [2, 6] and inverse.tolist() == [1, 0, 1]
