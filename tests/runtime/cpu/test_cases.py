"""Every case of the operators' own tests on the native kernels: equal to the reference, or refused for a reason."""

import numpy as np
import pytest

from cnncc.ir import DType
from cnncc.runtime.cpu import native
from cnncc.runtime.cpu.lower.table import LOWERINGS
from cnncc.runtime.cpu.lowering import Refusal
from tests.ops.cases import Case, alike
from tests.ops.every import cases_of, constants_of, factor_of, trials_of
from tests.runtime.cpu.lowered import all_runs, kernels_of

CASES = cases_of(LOWERINGS)
TRIALS = trials_of(CASES)


def asked(case: Case, dtype: DType) -> tuple:
    """The operator, its inputs, which of them are constants, and how many outputs are wanted."""
    return case.op, case.arrays(dtype), constants_of(case), case.outputs


@pytest.fixture(scope="module", autouse=True)
def compiled(request: pytest.FixtureRequest) -> None:
    """Compiles what this run's cases need, on all CPUs."""
    chosen = [i.callspec.params for i in request.session.items if i.module is request.module]
    native.warm([key for p in chosen for key in kernels_of(*asked(p["case"], p["dtype"]))])


@pytest.mark.parametrize(("case", "dtype"), TRIALS)
def test_case(case: Case, dtype: DType) -> None:
    with np.errstate(all="ignore"):
        wanted = [np.asarray(y) for y in case.op.reference(*case.arrays(dtype))[: case.outputs]]
    runs = all_runs(*asked(case, dtype))
    if isinstance(runs, Refusal):
        assert runs.reason
        pytest.skip(runs.reason)
    for outputs in runs:
        for got, want in zip(outputs, wanted, strict=False):
            alike(got, want, factor_of(case))
