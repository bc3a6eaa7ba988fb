"""Every case of the operators' own tests on the CUDA kernels: equal to the reference, or refused for a reason.

Convolutions and matrix products, whose tiles take the simulator long, have tests of their own.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

import numpy as np
import pytest

import tests.ops
from cnncc.ir import DType
from cnncc.runtime.cuda.lower.table import LOWERINGS
from cnncc.runtime.cuda.lowering import Refusal
from tests.ops.cases import Case, alike
from tests.runtime.cuda.harness import ORDERS
from tests.runtime.cuda.lowered import run_lowered

# Largest error over largest output where a kernel rounds otherwise than the reference.
FACTOR = {"LRN": 4.0}
# Inputs that are constants in every model, beside those of which the case says so.
CONSTANTS = {"BatchNormalization": (1, 2, 3, 4), "GroupNormalization": (1, 2), "InstanceNormalization": (1, 2),
             "LayerNormalization": (1, 2), "RMSNormalization": (1,)}
ELSEWHERE = ("Conv", "ConvTranspose", "Gemm", "MatMul")
SLOW = ("Attention",)  # in one order of threads only
MODULES = [importlib.import_module(f"tests.ops.{m.name}")
           for m in pkgutil.iter_modules(tests.ops.__path__) if m.name.startswith("test_")]
CASES = [case for module in MODULES for case in getattr(module, "CASES", [])
         if case.op.op_type in LOWERINGS and case.op.op_type not in ELSEWHERE]


def trials() -> list[Any]:
    """Every case in single precision, and an operator's first one in the others as well."""
    found, seen = [], set()
    for case in CASES:
        floating = any(x is not None and x.dtype == np.float32 for x in case.inputs)
        for dtype in case.dtypes if floating and case.op.op_type not in seen else case.dtypes[:1]:
            found.append(pytest.param(case, dtype, id=f"{case}-{dtype.value}"))
        seen.add(case.op.op_type)
    return found


@pytest.mark.parametrize(("case", "dtype"), trials())
def test_case(case: Case, dtype: DType) -> None:
    arrays, constants = case.arrays(dtype), CONSTANTS.get(case.op.op_type, case.constants)
    with np.errstate(all="ignore"):
        wanted = [np.asarray(y) for y in case.op.reference(*case.arrays(dtype))[:case.outputs]]
    orders = ORDERS[:1] if case.op.op_type in SLOW else ORDERS
    found = run_lowered(case.op, arrays, constants, case.outputs, inplace=True, orders=orders)
    if isinstance(found, Refusal):
        assert found.reason
        pytest.skip(found.reason)
    factor = max(case.tolerance, FACTOR.get(case.op.op_type, 1.0))
    for got, want in zip(found, wanted, strict=True):
        alike(got, want, factor)
