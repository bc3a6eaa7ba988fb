"""Whatever sizes and attributes a plan gives an operator, its CUDA lowering launches it or raises one of our errors.

Nothing is run.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from cnncc.errors import CnnccError, PlanInvalid
from cnncc.ir import DType, Op, Operand, TensorType
from cnncc.ops import OPS
from cnncc.runtime.cuda.kernel import MAX_ELEMENTS, Launch
from cnncc.runtime.cuda.lower.table import LOWERINGS
from cnncc.runtime.cuda.lowering import LANES, PLAIN, Refusal, Tensor
from tests.ops.cases import Case
from tests.ops.every import cases_of, constants_of

SIZES = (0, 1, 2, 3, 5, 64, 4099, 70000, 2**31 - 1, 2**31, 2**40)
NUMBERS = (0, 1, 2, 3, -1, 7, 4099, 2**31, 2**63 - 1, -2**63)
TIMES = 6
CASES = cases_of(LOWERINGS)

def changed(rng: random.Random, op: Op) -> Op:
    """The operator, half of the time with another number in an attribute."""
    fields = [f.name for f in dataclasses.fields(op) if type(getattr(op, f.name)) in (int, float, tuple)]
    if not fields or rng.random() < 0.5:
        return op
    name = rng.choice(fields)
    value: Any = getattr(op, name)
    if isinstance(value, tuple) and value and all(type(v) is int for v in value):
        at = rng.randrange(len(value))
        value = (*value[:at], rng.choice(NUMBERS), *value[at + 1:])
    elif not isinstance(value, tuple):
        value = rng.choice(NUMBERS) if isinstance(value, int) else rng.choice((0.0, -1.0, np.nan, np.inf, 1e300))
    return dataclasses.replace(op, **{name: value})

def tensors(rng: random.Random, case: Case) -> list[Tensor | None]:
    """The case's operands with other sizes, equal ones staying equal most of the time, and other known numbers."""
    constants = constants_of(case)
    sizes: dict[int, int] = {}

    def size(d: int) -> int:
        sizes.setdefault(d, d if rng.random() < 0.7 else rng.choice(SIZES))
        return sizes[d] if rng.random() < 0.97 else rng.choice(SIZES)

    found: list[Tensor | None] = []
    for i, array in enumerate(case.arrays(DType.F32)):
        if array is None:
            found.append(None)
        elif i in constants:
            value = np.array(array)
            if value.dtype == np.int64 and value.size and rng.random() < 0.4:
                value.reshape(-1)[rng.randrange(value.size)] = rng.choice(NUMBERS)
            found.append(Tensor(TensorType(DType.of(value.dtype), value.shape), PLAIN, value, True))
        else:
            found.append(Tensor(TensorType(DType.of(array.dtype), tuple(map(size, array.shape))), PLAIN))
    return found

def launched(op: Op, inputs: Sequence[Tensor | None], outputs: int) -> Launch | None:
    op.check_arity([t is not None for t in inputs])
    types = op.infer(*(None if t is None else Operand(t.type, t.value) for t in inputs))[:outputs]
    if not all(t.is_static for t in types):
        return None
    lowering = LOWERINGS[op.op_type]
    choice = lowering.choose(op, inputs, types, LANES)
    if isinstance(choice, Refusal):
        return None
    return lowering.launch(op, choice, inputs, [Tensor(t, PLAIN) for t in types], LANES)

@pytest.mark.parametrize("op_type", sorted({case.op.op_type for case in CASES}))
def test_any_sizes(op_type: str) -> None:
    rng = random.Random(op_type)
    with np.errstate(all="ignore"):
        for case in [case for case in CASES if case.op.op_type == op_type] * TIMES:
            try:
                launched(changed(rng, case.op), tensors(rng, case), case.outputs)
            except CnnccError:
                continue

@pytest.mark.parametrize(("op", "shape"), [
    (OPS["Softmax"](), (2**16, 2**15 + 1)), (OPS["Relu"](), (MAX_ELEMENTS + 1,)),
    (OPS["Transpose"](perm=(1, 0)), (2**20, 2**12)), (OPS["GlobalAveragePool"](), (1, 2**16, 2**16))])
def test_more_elements_than_32_bits_number_are_refused(op: Op, shape: tuple[int, ...]) -> None:
    with pytest.raises(PlanInvalid, match=r"use smaller sizes"):
        launched(op, [Tensor(TensorType(DType.F32, shape), PLAIN)], 1)
