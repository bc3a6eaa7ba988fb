"""Sizes that only the data decide: what `infer` says of them, and runs in which they turn out."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

import cnncc
from cnncc.ir import DType, Op
from cnncc.ops import OPS

from .cases import Case, assert_same, inferred, model_of, normal, operand
from .test_shape import given_sizes


def i64(*numbers: int) -> Any:
    return np.array(numbers, np.int64)


@pytest.mark.parametrize(("op", "operands", "result"), [
    ("Reshape", ["f32[N,4]", "i64[3]"], "f32[u0,u1,u2]"),
    ("Expand", ["f32[N,4]", "i64[3]"], "f32[u0,N,4]"),
    ("ConstantOfShape", ["i64[2]"], "f32[u0,u1]"),
    ("Squeeze", ["f32[1,N,1]", "i64[2]"], "f32[u0]"),
    ("Unsqueeze", ["f32[N]", "i64[1]"], "f32[u0,u1]"),
    ("Tile", ["f32[N,4]", "i64[2]"], "f32[u0,u1]"),
    ("Slice", ["f32[N,C,H]", "i64[1]", given_sizes(4), given_sizes(1)], "f32[N,u0,H]"),
    ("Slice", ["f32[N,C,H]", "i64[1]", given_sizes(4), "i64[1]"], "f32[u0,u1,u2]"),
    ("Pad", ["f32[N,4]", "i64[4]"], "f32[u0,u1]"),
    ("Pad", ["f32[N,4]", "i64[2]", None, given_sizes(1)], "f32[N,u0]"),
    ("TopK", ["f32[N,9]", "i64[1]"], "f32[N,u0], i64[N,u0]"),
    ("Split", ["f32[N,9]", "i64[2]"], "f32[u0,9], f32[u1,9]"),
    ("OneHot", ["i64[N]", "i64[]", "f32[2]"], "f32[N,u0]"),
    ("Range", ["i64[]", operand("i64[]", 3), operand("i64[]", 1)], "i64[u0]"),
    ("ReduceSum", ["f32[N,C,H]", "i64[1]"], "f32[u0,u1,u2]"),
    ("Resize", ["f32[N,C,H]", None, None, "i64[3]"], "f32[u0,u1,u2]"),
    ("Resize", ["f32[1,W]", None, operand("f32[2]", [1, 0.3])], "f32[1,u0]"),
    ("NonZero", ["f32[N,C,H]"], "i64[3,u0]"),
    ("NonZero", [operand("f32[4]", [1, 0, 0, 2])], "i64[1,2]"),
])
def test_infer(op: str, operands: list[Any], result: str) -> None:
    assert inferred(OPS[op](), *operands) == result


# An operator and its inputs, all of which but `constants` are given in the run.
RUNS = [
    Case(OPS["Reshape"](), (normal(6, 4), i64(3, -1, 2))),
    Case(OPS["Expand"](), (normal(3, 1), i64(2, 1, 4))),
    Case(OPS["ConstantOfShape"](), (i64(2, 3),)),
    Case(OPS["Squeeze"](), (normal(1, 5, 1), i64(0, -1))),
    Case(OPS["Unsqueeze"](), (normal(5), i64(0, 2))),
    Case(OPS["Tile"](), (normal(2, 3), i64(2, 3))),
    Case(OPS["Slice"](), (normal(6, 7), i64(1, -1), i64(99, 0), i64(0, 1), i64(2, -2))),
    Case(OPS["Pad"](), (normal(3, 4), i64(1, 0, 2, 3))),
    Case(OPS["TopK"](), (normal(3, 9), i64(4)), outputs=2),
    Case(OPS["Split"](), (normal(5, 3), i64(2, 3)), outputs=2),
    Case(OPS["OneHot"](), (i64(0, 2, 1), np.array(4, np.int64), np.array([0.5, 2], np.float32))),
    Case(OPS["Range"](), tuple(np.array(n, np.int64) for n in (2, 11, 3))),
    Case(OPS["ReduceSum"](), (normal(2, 3, 4), i64(1))),
    Case(OPS["ReduceMax"](keepdims=False), (normal(2, 3, 4), i64(-1, 0))),
    Case(OPS["Resize"](mode="linear"), (normal(1, 2, 5, 5), None, None, i64(1, 2, 8, 3))),
    Case(OPS["Resize"](), (normal(1, 2, 5, 5), None, np.array([1, 1, 2.5, 0.5], np.float32))),
    Case(OPS["NonZero"](), (np.float32([[0, 1, 2], [3, 0, 0]]),)),
    Case(OPS["NonZero"](), (np.zeros((2, 0), np.float32),)),
    Case(OPS["Compress"](axis=1), (normal(3, 4), np.array([True, False, True]))),
    Case(OPS["CenterCropPad"](), (normal(6, 7), i64(4, 9))),
    Case(OPS["AffineGrid"](), (normal(2, 2, 3), i64(2, 3, 4, 5))),
    Case(OPS["Col2Im"](), (normal(1, 8, 6), i64(3, 4), i64(2, 2)), constants=(2,)),
    Case(OPS["MaxUnpool"](kernel_shape=(2, 2), strides=(2, 2)),
         (normal(1, 1, 2, 2), i64(5, 7, 13, 15).reshape(1, 1, 2, 2), i64(1, 1, 4, 4))),
    Case(OPS["DFT"](), (normal(2, 8, 1), np.array(6))),
    Case(OPS["STFT"](), (normal(2, 20, 1), np.array(4), normal(8), np.array(8))),
    Case(OPS["MelWeightMatrix"](), (*(np.array(n) for n in (5, 32, 16000)), np.float32(100), np.float32(7000))),
]


@pytest.mark.parametrize("case", RUNS, ids=str)
def test_run(case: Case) -> None:
    arrays = case.arrays(DType.F32)
    given = Case(case.op, case.inputs, tuple(range(len(arrays))), case.outputs)  # for the types of the model
    model = model_of(given, DType.F32, onnx.defs.onnx_opset_version())
    fixed = {f"x{i}" for i in case.constants}
    moved = [t for t in model.graph.initializer if t.name not in fixed]
    model.graph.input.extend(helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in moved)
    for tensor in moved:
        model.graph.initializer.remove(tensor)
    session = cnncc.InferenceSession(cnncc.compile(model, warm=False))
    expected = case.op.reference(*arrays)
    feeds = {f"x{i}": x for i, x in enumerate(arrays) if x is not None and i not in case.constants}
    for _ in range(2):
        for got, wanted in zip(session.run(None, feeds), expected, strict=False):
            assert_same(got, np.asarray(wanted))


def test_every_operator_that_reads_sizes_runs() -> None:
    assert {op.op_type for op in OPS.values() if op.shaped_by} <= {c.op.op_type for c in RUNS} | {
        name for name in OPS if name.startswith("Reduce")}


def test_names_of_shaped_by() -> None:
    def names(op: type[Op]) -> set[str]:
        return {name.rstrip("?*") for name in op.operands}

    assert not [op.op_type for op in OPS.values() if not set(op.shaped_by) <= names(op)]
