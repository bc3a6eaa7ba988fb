"""Concat, Split and Tile against onnx and onnxruntime, and with symbolic sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cnncc.ir import DType
from cnncc.ops.concat import Concat, Split, Tile

from .cases import Case, assert_refused, check, inferred, normal, trials
from .test_shape import given_sizes, i64, normalised

F32 = (DType.F32,)


def concat(axis: int, *shapes: tuple[int, ...]) -> Case:
    return Case(Concat(axis=axis), tuple(normal(*s, seed=i) for i, s in enumerate(shapes)), dtypes=F32)


CASES = [
    concat(1, (2, 3, 4), (2, 1, 4), (2, 5, 4)),
    concat(0, (2, 3), (1, 3)),
    concat(-1, (2, 3, 4), (2, 3, 1)),
    concat(-3, (2, 3, 4), (1, 3, 4)),
    concat(0, (3,)),
    concat(1, (2, 0), (2, 3)),
    Case(Concat(axis=0), (np.arange(3), np.arange(2))),
    Case(Split(num_outputs=3), (normal(6, 2),), outputs=3, dtypes=F32),
    Case(Split(axis=1, num_outputs=3), (normal(2, 7),), outputs=3, dtypes=F32),
    Case(Split(axis=-1, num_outputs=1), (normal(2, 3),), dtypes=F32),
    *(Case(Split(axis=axis), (normal(2, 7, 3), i64(*parts)), constants=(1,), outputs=len(parts), dtypes=F32,
           note=str(parts)) for axis, parts in ((1, (3, 4)), (1, (7,)), (1, (0, 5, 2)), (-3, (1, 1)), (2, (1, 1, 1)))),
    Case(Split(num_outputs=2), (np.arange(4),), outputs=2),
    *(Case(Tile(), (normal(2, 3), i64(*times)), constants=(1,), dtypes=F32, note=str(times))
      for times in ((1, 1), (2, 1), (3, 2), (0, 2))),
    Case(Tile(), (np.arange(3), i64(2)), constants=(1,)),
]


@pytest.mark.parametrize(("case", "judge", "dtype"), trials(CASES))
def test_against_judges(case: Case, judge: str, dtype: DType) -> None:
    check(case, judge, dtype)


@pytest.mark.parametrize(("op", "operands", "result"), [
    (Concat(axis=1), ("f32[N,3,H]", "f32[N,C,H]"), "f32[N,C+3,H]"),
    (Concat(axis=0), ("f32[N,3]", "f32[N,3]", "f32[M,3]"), "f32[M+2*N,3]"),
    (Concat(axis=1), ("f32[N,3]", "f32[4,C]"), "f32[4,C+3]"),
    (Split(axis=1, num_outputs=2), ("f32[N,4*C]",), "f32[N,2*C], f32[N,2*C]"),
    (Split(num_outputs=2), ("f32[N]",), "f32[(N+1)//2], f32[N-(N+1)//2]"),
    (Split(), ("f32[N]", given_sizes("N-2", 2)), "f32[N-2], f32[2]"),
    (Split(), ("f32[N]", given_sizes(1, 2)), "f32[1], f32[2]"),
    (Tile(), ("f32[N,3]", given_sizes(2, "H")), "f32[2*N,3*H]"),
])
def test_infer_symbolic(op: Any, operands: tuple[Any, ...], result: str) -> None:
    assert inferred(op, *operands) == normalised(result)


@pytest.mark.parametrize(("op", "operands", "message"), [
    (Concat(axis=0), [], "Concat needs at least one input"),
    (Concat(axis=0), ["f32[2]", "i32[2]"], "Concat: all inputs must have one element type, not f32[2] and i32[2]"),
    (Concat(axis=0), ["f32[2]", "f32[2,1]"], "Concat: all inputs must be of one rank, not [2] and [2,1]"),
    (Concat(axis=2), ["f32[2,3]"], "Concat: axis 2 is outside [-2, 1], the axes of a tensor of rank 2"),
    (Concat(axis=0), ["f32[2,3]", "f32[2,4]"],
     "Concat: the inputs [2,3] and [2,4] differ in size along axis 1, but may along axis 0 only"),
    (Concat(axis=0), ["f32[2,N]", "f32[2,N+1]"], "Concat: the inputs [2,N] and [2,N+1] differ in size along axis 1"),
    (Split(), ["f32[4]"], "Split: how many outputs there are must be given, by the input split or by num_outputs"),
    (Split(), ["f32[4]", given_sizes(1, 2)], "Split: the sizes [1,2] do not add up to the axis' 4"),
    (Split(), ["f32[4]", given_sizes(5, -1)], "Split: [5,-1] is not a shape: sizes are at least 0"),
    (Split(num_outputs=3), ["f32[4]", given_sizes(2, 2)],
     "Split: num_outputs 3 contradicts the 2 sizes in split"),
    (Split(num_outputs=4), ["f32[5]"], "Split: 5 elements do not fill 4 parts; give their sizes in split"),
    (Tile(), ["f32[4]", given_sizes(1, 2)], "Tile: repeats [1,2] must have a number for each axis of f32[4]"),
    (Tile(), ["f32[4]", given_sizes(-1)], "Tile: [-1] is not a shape: sizes are at least 0"),
])
def test_wrong_input(op: Any, operands: list[Any], message: str) -> None:
    assert_refused(lambda: op, operands, message)
