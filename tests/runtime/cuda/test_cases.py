"""Every case of the operators' own tests on the CUDA kernels: equal to the reference, or refused for a reason.

Convolutions and matrix products, whose tiles take the simulator long, have tests of their own.
"""

from __future__ import annotations

import numpy as np
import pytest

from cnncc.ir import DType
from cnncc.runtime.cuda.lower.table import LOWERINGS
from cnncc.runtime.cuda.lowering import Refusal
from tests.ops.cases import Case, alike
from tests.ops.every import cases_of, constants_of, factor_of, trials_of
from tests.runtime.cuda.harness import ORDERS
from tests.runtime.cuda.lowered import run_lowered

ELSEWHERE = ("Conv", "ConvTranspose", "Gemm", "MatMul")
SLOW = ("Attention",)  # in one order of threads only


@pytest.mark.parametrize(("case", "dtype"), trials_of(cases_of(set(LOWERINGS) - set(ELSEWHERE))))
def test_case(case: Case, dtype: DType) -> None:
    with np.errstate(all="ignore"):
        wanted = [np.asarray(y) for y in case.op.reference(*case.arrays(dtype))[:case.outputs]]
    orders = ORDERS[:1] if case.op.op_type in SLOW else ORDERS
    found = run_lowered(case.op, case.arrays(dtype), constants_of(case), case.outputs, inplace=True, orders=orders)
    if isinstance(found, Refusal):
        assert found.reason
        pytest.skip(found.reason)
    for got, want in zip(found, wanted, strict=True):
        alike(got, want, factor_of(case))
