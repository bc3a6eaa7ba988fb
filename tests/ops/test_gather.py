"""Gather and its kin, and OneHot, against onnx and onnxruntime, and with symbolic sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnncc.errors import OpError
from cnncc.ir import DType
from cnncc.ops.gather import Gather, GatherElements, GatherND, OneHot

from .cases import Case, assert_refused, check, inferred, normal, operand, trials
from .test_shape import given_sizes, i64, normalised

F32 = (DType.F32,)
ON_OFF = np.array([-1.0, 3.0], np.float32)

CASES = [
    Case(Gather(), (normal(4, 3), i64(0, 2, -1)), dtypes=F32),
    Case(Gather(axis=1), (normal(4, 3, 2), np.array([[0, 1], [2, -3]])), dtypes=F32),
    Case(Gather(axis=-1), (normal(4, 3), np.array(1)), dtypes=F32, note="scalar index"),
    Case(Gather(), (normal(4), np.array([3, 0], np.int32)), dtypes=F32, note="i32"),
    Case(Gather(axis=1), (normal(2, 3), np.zeros((0,), np.int64)), dtypes=F32),
    Case(Gather(), (np.arange(4), np.array(-1))),
    Case(GatherElements(), (normal(3, 3), np.array([[1, 2, 0], [2, 0, -3]])), dtypes=F32),
    Case(GatherElements(axis=1), (normal(2, 3), np.array([[0, 0, 2, -1], [1, 2, 0, 0]])), dtypes=F32),
    Case(GatherElements(axis=-1), (normal(2, 3, 4), np.array([[[3]], [[0]]])), dtypes=F32,
         skip={"onnx": "it wants indices as large as data in the other axes"}),
    Case(GatherND(), (normal(2, 2), np.array([[0, 0], [1, -1]])), dtypes=F32),
    Case(GatherND(), (normal(2, 3, 4), np.array([[1], [0], [1]])), dtypes=F32),
    Case(GatherND(), (normal(2, 3, 4), np.array([[[0, 1]], [[1, 2]]])), dtypes=F32),
    Case(GatherND(batch_dims=1), (normal(2, 3, 4), np.array([[1], [2]])), dtypes=F32),
    Case(GatherND(batch_dims=1), (normal(2, 3, 4), np.array([[[1, 0], [2, 3]], [[0, 0], [1, 1]]])), dtypes=F32),
    Case(OneHot(), (i64(0, 2, -1, 5, -9), np.array(3), ON_OFF), constants=(1,), dtypes=F32),
    Case(OneHot(axis=0), (np.array([[0, 1], [2, 1]]), i64(3), ON_OFF), constants=(1,), dtypes=F32,
         skip={"onnx": "it gives another shape for a depth of one dimension"}),
    Case(OneHot(axis=1), (np.array([[0, 1], [2, 1]]), np.array(4), np.array([0, 1])), constants=(1,)),
    Case(OneHot(axis=-2), (np.array([[0, 1], [2, 1]], np.int32), np.array(3, np.int32), ON_OFF), constants=(1,),
         dtypes=F32),
    Case(OneHot(), (np.array([1.0, 0.0], np.float32), np.array(2.0, np.float32), ON_OFF), constants=(1,), dtypes=F32,
         note="float indices"),
]


@pytest.mark.parametrize(("case", "judge", "dtype"), trials(CASES))
def test_against_judges(case: Case, judge: str, dtype: DType) -> None:
    check(case, judge, dtype)


@pytest.mark.parametrize(("op", "operands", "result"), [
    (Gather(axis=1), ("f32[N,C,H]", "i64[M,2]"), "f32[N,M,2,H]"),
    (Gather(), ("f32[N,C]", "i64[]"), "f32[C]"),
    (GatherElements(axis=1), ("f32[N,C]", "i64[N,5]"), "f32[N,5]"),
    (GatherND(), ("f32[N,C,H]", "i64[M,2]"), "f32[M,H]"),
    (GatherND(batch_dims=1), ("f32[N,C,H]", "i64[N,M,1]"), "f32[N,M,H]"),
    (OneHot(axis=1), ("i64[N,H]", operand("i64[]", 7), "f32[2]"), "f32[N,7,H]"),
    (OneHot(), ("i64[N]", given_sizes("C"), "f32[2]"), "f32[N,C]"),
])
def test_infer_symbolic(op: Any, operands: tuple[Any, ...], result: str) -> None:
    assert inferred(op, *operands) == normalised(result)


@pytest.mark.parametrize(("op", "operands", "message"), [
    (Gather(axis=2), ["f32[3,4]", "i64[2]"], "Gather: axis 2 is outside [-2, 1], the axes of a tensor of rank 2"),
    (Gather(), ["f32[3]", "f32[2]"], "Gather: indices is f32[2], but must be of type i32 or i64; insert a Cast"),
    (Gather(), ["f32[3]", given_sizes(0, 3)], "Gather: index 3 is outside [-3, 2], an axis of size 3"),
    (Gather(), ["f32[3]", given_sizes(-4)], "Gather: index -4 is outside [-3, 2], an axis of size 3"),
    (GatherElements(), ["f32[3]", "i64[2,1]"], "GatherElements: data f32[3] and indices i64[2,1] must be of one rank"),
    (GatherElements(), ["f32[3,2]", "i64[5,3]"],
     "GatherElements: indices i64[5,3] is larger than data f32[3,2] along axis 1"),
    (GatherND(), ["f32[3]", "i64[2,2]"],
     "GatherND: the last axis of indices i64[2,2] must have a fixed size from 1 to 1 for data f32[3]"),
    (GatherND(batch_dims=1), ["f32[3]", "i64[3,1]"],
     "GatherND: batch_dims 1 must be less than the ranks of f32[3] and i64[3,1]"),
    (GatherND(batch_dims=1), ["f32[3,4]", "i64[2,1]"],
     "GatherND: data f32[3,4] and indices i64[2,1] must agree in the first 1 axes"),
    (GatherND(), ["f32[3,4]", operand("i64[1,2]", [[0, 4]])],
     "GatherND: index 4 is outside [-4, 3], an axis of size 4"),
    (OneHot(), ["i64[3]", operand("i64[]", 0), "f32[2]"], "OneHot: depth must be one number of at least 1, not [0]"),
    (OneHot(), ["i64[3]", operand("i64[]", 3), "f32[1,2]"], "OneHot: values must be the two numbers [off, on]"),
    (Gather(axis=1), ["f32[2,0]", "i64[3]"], "Gather: the axis 1 of data f32[2,0] has no elements, but indices i64[3] "
     "ask for some"),
    (OneHot(), ["i64[3]", operand("i64[]", 3), "f32[3]"], "OneHot: values must be the two numbers [off, on]"),
])
def test_wrong_input(op: Any, operands: list[Any], message: str) -> None:
    assert_refused(lambda: op, operands, message)


@pytest.mark.parametrize("op", [Gather(), GatherElements(), GatherND()])
def test_index_outside_at_run_time(op: Any) -> None:
    with pytest.raises(OpError, match=rf"{op.op_type}: index 3 is outside \[-3, 2\], an axis of size 3"):
        op.reference(normal(3), i64(0, 3).reshape((2, 1) if isinstance(op, GatherND) else (2,)))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=3), st.lists(st.integers(0, 3), max_size=2), st.data())
def test_gather_as_specified(sizes: list[int], places: list[int], data: Any) -> None:
    axis = data.draw(st.integers(-len(sizes), len(sizes) - 1))
    size = sizes[axis]
    count = int(np.prod(places))
    indices = np.array(data.draw(st.lists(st.integers(-size, size - 1), min_size=count, max_size=count)),
                       np.int64).reshape(places)
    x = normal(*sizes)
    (y,) = Gather(axis=axis).reference(x, indices)
    before = axis % len(sizes)
    assert y.shape == (*sizes[:before], *places, *sizes[before + 1:])
    for at in np.ndindex(*y.shape):
        inner = at[before:before + len(places)]
        source = (*at[:before], indices[inner], *at[before + len(places):])
        assert y[at] == x[source]
