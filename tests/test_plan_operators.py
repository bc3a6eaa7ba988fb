"""Whatever attributes, operands and constants a plan gives an operator, it is accepted or refused as PlanInvalid."""

from __future__ import annotations

import contextlib
import dataclasses
import random
import warnings

import numpy as np
import pytest

from cnncc import planfile
from cnncc.errors import GraphError, PlanInvalid
from cnncc.ir import DType, Op, TensorType, make_op, parse_attributes, parse_dim
from cnncc.ops import OPS
from cnncc.plan import Buffer, Plan, Port, Step

VALUES = ("0", "1", "-1", "2", "3", "[]", "[0]", "[1,1]", "[2,2]", "[-1]", "[1,1,1,1]", "[3]", "[1,2,3]", '"x"',
          '"SAME_UPPER"', '"reflect"', '"LEFT"', "1.5", "nan", "inf", "true", "relu", "f32", "i64",
          "9223372036854775807", "-9223372036854775808", "[9223372036854775807]", "[4611686018427387904,2]", "[[1]]",
          '["a"]', '["Mul(0,1)","Relu(2)"]', '["Exp(0)","Add(1,3)"]')
SIZES = ("0", "1", "2", "3", "4", "8", "N", "M", "N+1", "2*N", "N//2", "N*M", "4099")
TYPES = (DType.F32, DType.F32, DType.F32, DType.I64, DType.F64, DType.I32, DType.BOOL, DType.U8)
CONSTANTS = (-2**63, 2**63 - 1, -1, 0, 0, 1, 1, 2, 3)


def random_type(rng: random.Random) -> TensorType:
    rank = rng.choice((0, 1, 2, 4, 4, 5))
    return TensorType(rng.choice(TYPES), tuple(parse_dim(rng.choice(SIZES)) for _ in range(rank)))


def random_op(rng: random.Random, op_type: str) -> Op:
    """The operator with the first random attributes that it does not refuse by themselves."""
    while True:
        fields = [f for f in dataclasses.fields(OPS[op_type]) if f.name not in OPS[op_type].body_fields
                  and (f.default is dataclasses.MISSING or rng.random() < 0.3)]
        bodies = {name: random_plan(rng, random_op(rng, rng.choice(("Relu", "Add"))))
                  for name in OPS[op_type].body_fields}
        text = ", ".join(f"{f.name}={rng.choice(VALUES)}" for f in fields)
        with contextlib.suppress(GraphError):
            return make_op(OPS, op_type, parse_attributes(text) | bodies)


def random_plan(rng: random.Random, op: Op) -> Plan:
    """One step of this operator on random inputs, some of them small constants, one maybe a shape."""
    common = random_type(rng)
    types = [common if rng.random() < 0.4 else random_type(rng) for _ in range(rng.randint(1, len(op.operands) + 1))]
    weights = {}
    for i in range(1, len(types)):
        if rng.random() < 0.5:
            shape = rng.choice(((), (0,), (1,), (2,), (3,), (4,), (2, 2)))
            weights[i] = np.reshape([rng.choice(CONSTANTS) for _ in range(int(np.prod(shape)))], shape).astype(np.int64)
            types[i] = TensorType(DType.I64, shape)
    inputs: list[int | None] = [None if rng.random() < 0.1 else i for i in range(len(types))]
    ports = tuple(Port(f"x{i}", i) for i in range(len(types)) if i not in weights)
    buffers = [Buffer(f"x{i}", t) for i, t in enumerate(types)]
    steps = []
    if rng.random() < 0.4:
        steps.append(Step("shape", OPS["Shape"](), "known", (0,), (len(buffers),)))
        inputs[rng.randrange(len(inputs))] = len(buffers)
        buffers.append(Buffer("shape", TensorType(DType.I64, (types[0].rank,))))
    steps.append(Step("step", op, "body" if op.bodies else "reference", tuple(inputs), (len(buffers),)))
    buffers.append(Buffer("y", common))
    return Plan("p", "cpu", 16, tuple(buffers), tuple(steps), ports, (), weights)


@pytest.mark.parametrize("op_type", OPS)
def test_no_operator_raises_anything_else(op_type: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(op_type)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(60):
            plan = random_plan(rng, random_op(rng, op_type))
            with monkeypatch.context() as unchecked:
                unchecked.setattr(planfile, "check_plan", lambda plan: None)
                data = planfile.plan_bytes(plan)
            try:
                planfile.parse_plan(data)
            except PlanInvalid as error:
                assert str(error).startswith("step '")
