"""Operators of shapes against onnx and onnxruntime, and with symbolic sizes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnncc.ir import DType, Operand, TensorType, parse_dim, parse_type
from cnncc.ops.shape import (
    ConstantOfShape,
    Expand,
    Flatten,
    Reshape,
    Shape,
    Size,
    Squeeze,
    Transpose,
    Unsqueeze,
)

from .cases import Case, assert_refused, check, inferred, normal, operand, trials

Array = np.ndarray[Any, Any]
F32 = (DType.F32,)


def i64(*numbers: int) -> Array:
    return np.array(numbers, np.int64)


def given_sizes(*sizes: int | str) -> Operand:
    """An i64 operand with these contents, symbolic ones as text."""
    values = [parse_dim(s) if isinstance(s, str) else s for s in sizes]
    return Operand(TensorType(DType.I64, (len(sizes),)),
                   np.array(values, object if any(isinstance(s, str) for s in sizes) else np.int64))


def normalised(types: str) -> str:
    """The text of types with sizes in their normal form."""
    return ", ".join(str(parse_type(t)) for t in types.split(", "))


def reshape(shape: tuple[int, ...], *target: int, allowzero: bool = False, **more: Any) -> Case:
    return Case(Reshape(allowzero=allowzero), (normal(*shape), i64(*target)), constants=(1,), dtypes=F32,
                note="to " + ",".join(map(str, target)), **more)


CASES = [
    *(Case(Shape(**attributes), (normal(2, 3, 4),), dtypes=F32)
      for attributes in ({}, {"start": 1}, {"end": -1}, {"start": -2, "end": 2}, {"start": 2, "end": 1},
                         {"start": -9, "end": 9})),
    Case(Shape(), (np.array(1.5, np.float32),), dtypes=F32),
    *(Case(Size(), (x,), dtypes=F32) for x in (normal(2, 3), normal(0, 3), np.array(2.5, np.float32))),
    reshape((2, 3, 4), 6, 4),
    reshape((2, 3, 4), 0, -1),
    reshape((2, 3, 4), -1, 0, 2, 2),
    reshape((2, 3, 4), 0, 0, 2, 2),
    reshape((2, 3, 4), -1),
    reshape((0, 3), 3, 0, allowzero=True),
    reshape((0, 3, 4), 0, 12),
    reshape((1,)),
    Case(Reshape(), (np.arange(6), i64(3, -1)), constants=(1,)),
    *(Case(Flatten(axis=axis), (normal(2, 3, 4),), dtypes=F32) for axis in (0, 1, 2, 3, -1, -3)),
    Case(Flatten(), (normal(5),), dtypes=F32),
    Case(Squeeze(), (normal(1, 3, 1),), dtypes=F32),
    *(Case(Squeeze(), (normal(1, 3, 1), i64(*axes)), constants=(1,), dtypes=F32) for axes in ((0,), (-1,), (2, 0))),
    Case(Squeeze(), (normal(1, 1), i64(0, 1)), constants=(1,), dtypes=F32),
    *(Case(Unsqueeze(), (normal(3, 4), i64(*axes)), constants=(1,), dtypes=F32)
      for axes in ((0,), (-1,), (1, 3), (3, 0), (0, 1, -1))),
    Case(Unsqueeze(), (np.array(2.0, np.float32), i64(0)), constants=(1,), dtypes=F32),
    *(Case(Expand(), (normal(3, 1), i64(*shape)), constants=(1,), dtypes=F32, note=str(shape))
      for shape in ((3, 4), (2, 1, 4), (1,), (1, 1, 1), (0, 3, 1))),
    Case(Expand(), (np.array([[True], [False]]), i64(2, 2)), constants=(1,)),
    Case(ConstantOfShape(), (i64(2, 3),), constants=(0,)),
    Case(ConstantOfShape(value=2.5), (i64(2, 0, 3),), constants=(0,)),
    Case(ConstantOfShape(value=-3, dtype=DType.I64), (i64(4),), constants=(0,)),
    Case(ConstantOfShape(value=1, dtype=DType.BOOL), (i64(2, 2),), constants=(0,)),
    Case(ConstantOfShape(value=7, dtype=DType.I32), (np.zeros(0, np.int64),), constants=(0,)),
    *(Case(Transpose(perm=perm), (normal(2, 3, 4),), dtypes=F32) for perm in ((), (0, 2, 1), (2, 0, 1), (1, 2, 0))),
    Case(Transpose(perm=(0, 3, 1, 2)), (normal(2, 3, 0, 5),), dtypes=F32),
    Case(Transpose(perm=(1, 0)), (np.arange(6).reshape(2, 3),)),
    Case(Transpose(), (np.array(1.5, np.float32),), dtypes=F32),
]


@pytest.mark.parametrize(("case", "judge", "dtype"), trials(CASES))
def test_against_judges(case: Case, judge: str, dtype: DType) -> None:
    check(case, judge, dtype)


@pytest.mark.parametrize("case", [c for c in CASES if c.op.alias], ids=str)
def test_aliases_keep_the_bytes(case: Case) -> None:
    (y,) = case.op.reference(*case.inputs)
    assert y.tobytes() == case.inputs[0].tobytes()  # type: ignore[union-attr]  # the data is always given


@pytest.mark.parametrize(("source", "target", "result"), [
    ("f32[N,3,H,W]", (0, -1), "f32[N,3*H*W]"),
    ("f32[N,3,H,W]", ("N", 3, "H*W"), "f32[N,3,H*W]"),
    ("f32[N,3,H,W]", ("N", 3, -1), "f32[N,3,H*W]"),
    ("f32[N,3,H,W]", (-1, "3*H*W"), "f32[N,3*H*W]"),
    ("f32[N,3,H,W]", (0, 0, -1), "f32[N,3,H*W]"),
    ("f32[N,8,(H+1)//4-2,W]", (0, 8, "(H+1)//4-2", -1), "f32[N,8,(H+1)//4-2,W]"),
    ("f32[N,8,(H+1)//4-2,W]", (0, 2, 4, -1, "W"), "f32[N,2,4,(H+1)//4-2,W]"),
    ("f32[N,6]", (-1, 3), "f32[2*N,3]"),
    ("f32[N]", (-1, 3), "f32[N//3,3]"),
    ("f32[N,6]", (4, 6), "f32[4,6]"),
    ("f32[0,N]", (0, -1), "f32[0,N]"),
])
def test_reshape_symbolic(source: str, target: tuple[int | str, ...], result: str) -> None:
    assert inferred(Reshape(), source, given_sizes(*target)) == normalised(result)


@pytest.mark.parametrize(("op", "operands", "result"), [
    (Flatten(), ("f32[N,3,H,W]",), "f32[N,3*H*W]"),
    (Flatten(axis=0), ("f32[N,3]",), "f32[1,3*N]"),
    (Flatten(axis=-2), ("f32[N,3,H,W]",), "f32[3*N,H*W]"),
    (Squeeze(), ("f32[N,3,1,1]", given_sizes(2, 3)), "f32[N,3]"),
    (Squeeze(), ("f32[N,3]", given_sizes(0)), "f32[3]"),
    (Unsqueeze(), ("f32[N,H]", given_sizes(0, -1)), "f32[1,N,H,1]"),
    (Expand(), ("f32[1,3,1]", given_sizes("N", 1, "H")), "f32[N,3,H]"),
    (Expand(), ("f32[N,3]", given_sizes(1)), "f32[N,3]"),
    (ConstantOfShape(dtype=DType.I32, value=1), (given_sizes("N", 2),), "i32[N,2]"),
    (Transpose(perm=(0, 2, 3, 1)), ("f32[N,3,H,W]",), "f32[N,H,W,3]"),
    (Shape(start=1), ("f32[N,3,H,W]",), "i64[3]"),
    (Size(), ("f32[N,3]",), "i64[]"),
])
def test_infer_symbolic(op: Any, operands: tuple[Any, ...], result: str) -> None:
    assert inferred(op, *operands) == normalised(result)


def test_shape_and_size_need_no_contents() -> None:
    x = operand("f32[N,3,H]")
    assert [str(d) for d in Shape().known(x)[0]] == ["N", "3", "H"]  # type: ignore[index]  # always known
    assert Size().known(x)[0].item() == parse_dim("3*N*H")  # type: ignore[index]  # always known
    (fixed,) = Shape().known(operand("f32[2,3]"))  # type: ignore[misc]  # always known
    assert fixed.dtype == np.int64 and fixed.tolist() == [2, 3]


@pytest.mark.parametrize(("op", "operands", "message"), [
    (Reshape(), ["f32[2]", "i64[K]"], "Reshape: the rank of the output depends on data: shape is i64[K]"),
    (Squeeze(), ["f32[2]", "i64[2]"], "Squeeze: there are more axes than the input has"),
    (Reshape(), ["f32[2]", "f32[2]"], "Reshape: shape is f32[2], but must be of type i32 or i64; insert a Cast"),
    (Reshape(), ["f32[2]", "i64[1,2]"], "Reshape: shape must have one dimension, not i64[1,2]"),
    (Reshape(), ["f32[2,3]", given_sizes(4, 2)],
     "Reshape: the input [2,3] does not have the number of elements of the shape [4,2]"),
    (Reshape(), ["f32[2,3]", given_sizes(4, -1)], "does not have the number of elements of the shape [4,-1]"),
    (Reshape(), ["f32[N,3]", given_sizes("N", 4)], "does not have the number of elements of the shape [N,4]"),
    (Reshape(), ["f32[2,3]", given_sizes(-1, -1)],
     "Reshape: [-1,-1] is not a shape: sizes are at least 0, and one may be -1"),
    (Reshape(), ["f32[2,3]", given_sizes(-2, 3)], "Reshape: [-2,3] is not a shape"),
    (Reshape(), ["f32[6]", given_sizes(6, 0)],
     "Reshape: axis 1 of the shape [6,0] is 0, which copies the input's size, but the input [6] has no such axis"),
    (Reshape(allowzero=True), ["f32[0]", given_sizes(0, -1)],
     "Reshape: the shape [0,-1] has both 0 and -1, which allowzero forbids"),
    (Flatten(axis=3), ["f32[2,3]"], "Flatten: axis 3 is outside [-2, 2] for the input [2,3]"),
    (Squeeze(), ["f32[1,N]"], "Squeeze: which axes of [1,N] have size 1 depends on the symbolic dimensions"),
    (Squeeze(), ["f32[2,1]", given_sizes(0)], "Squeeze: axis 0 of [2,1] has size 2, not 1"),
    (Squeeze(), ["f32[2*N,1]", given_sizes(0)], "Squeeze: axis 0 of [2*N,1] has size 2*N, not 1"),
    (Squeeze(), ["f32[2,1]", given_sizes(2)], "Squeeze: the axis 2 is outside [-2, 1], the axes of a tensor of rank 2"),
    (Squeeze(), ["f32[2,1]", given_sizes("N")], "Squeeze: axes must be fixed numbers, not [N]"),
    (Unsqueeze(), ["f32[2]", given_sizes(0, -3)], "Unsqueeze: the axes [0, -3] name one axis twice; name each once"),
    (Expand(), ["f32[2]", given_sizes(3)], "Expand: the shapes [2] and [3] do not broadcast"),
    (Expand(), ["f32[1]", given_sizes(-1)], "Expand: [-1] is not a shape: sizes are at least 0"),
    (ConstantOfShape(), [given_sizes(2**40, 2**40)],
     "ConstantOfShape: [1099511627776,1099511627776] is too large to be the shape of a tensor"),
    (Squeeze(), ["f32[]", given_sizes(0)], "Squeeze: the axis is 0, but the tensor is a scalar, which has no axes"),
    (ConstantOfShape(), [given_sizes(2, -1)], "ConstantOfShape: [2,-1] is not a shape: sizes are at least 0"),
    (Transpose(perm=(0, 2)), ["f32[2,3]"], "Transpose: perm [0, 2] does not name each of the input's 2 axes once"),
])
def test_wrong_input(op: Any, operands: list[Any], message: str) -> None:
    assert_refused(lambda: op, operands, message)


@pytest.mark.parametrize(("value", "dtype"), [(300, DType.U8), (-1, DType.U8), (2, DType.BOOL), (1.5, DType.I32)])
def test_constant_that_does_not_fit(value: float, dtype: DType) -> None:
    assert_refused(lambda: ConstantOfShape(value=value, dtype=dtype), [],
                   f"ConstantOfShape: {value} is no value of type {dtype.value}")


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(st.integers(1, 4), max_size=4), st.randoms(use_true_random=False), st.booleans(), st.booleans())
def test_reshape_as_numpy(sizes: list[int], random: Any, unknown: bool, copied: bool) -> None:
    """Any regrouping of the prime factors, with one size unknown and one copied."""
    target = [p for d in sizes for p in {1: [], 2: [2], 3: [3], 4: [2, 2]}[d]]
    random.shuffle(target)
    while len(target) > 1 and random.random() < 0.5:
        target[:2] = [math.prod(target[:2])]
    wanted = list(target)
    if unknown and wanted:
        wanted[random.randrange(len(wanted))] = -1
    if copied:
        wanted = [0 if d != -1 and i < len(sizes) and d == sizes[i] else d for i, d in enumerate(wanted)]
    x = np.arange(math.prod(sizes)).reshape(sizes)
    (y,) = Reshape().reference(x, np.array(wanted, np.int64))
    assert y.shape == tuple(target) and (y.ravel() == x.ravel()).all()
    type_ = ",".join(map(str, sizes))
    assert inferred(Reshape(), f"i64[{type_}]", given_sizes(*wanted)) == f"i64[{','.join(map(str, target))}]"
