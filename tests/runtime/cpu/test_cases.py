"""Every case of the operators' own tests on the native kernels: equal to the reference, or refused for a reason."""

import importlib
import pkgutil

import numpy as np
import pytest

import tests.ops
from cnncc.ir import DType
from cnncc.runtime.cpu import native
from cnncc.runtime.cpu.lower.table import LOWERINGS
from cnncc.runtime.cpu.lowering import Refusal
from tests.ops.cases import Case, alike
from tests.runtime.cpu.lowered import all_runs, kernels_of

# Largest error over largest output where a kernel rounds otherwise than the reference.
FACTOR = {"LRN": 4.0, "Gemm": 4.0, "MatMul": 4.0, "Conv": 4.0, "ConvTranspose": 4.0}
MODULES = [
    importlib.import_module(f"tests.ops.{m.name}")
    for m in pkgutil.iter_modules(tests.ops.__path__) if m.name.startswith("test_")
]
CASES = [case for module in MODULES for case in getattr(module, "CASES", []) if case.op.op_type in LOWERINGS]


# Inputs that are constants in every model, beside those of which the case says so.
CONSTANTS = {"BatchNormalization": (1, 2, 3, 4), "Conv": (1, 2), "ConvTranspose": (1, 2), "CumProd": (1,),
             "CumSum": (1,),
             "GroupNormalization": (1, 2), "InstanceNormalization": (1, 2), "LayerNormalization": (1, 2),
             "RMSNormalization": (1,), "ConvInteger": (1, 3, 4, 5), "QLinearConv": (1, 3, 4, 5, 6, 7, 8),
             "MatMulInteger": (1, 3), "MatMulIntegerToFloat": (1, 3, 5, 6), "QLinearMatMul": (1, 3, 4, 5, 6, 7),
             "QGemm": (1, 3, 4, 5, 6, 7, 8), "QLinearSigmoid": (1, 2, 3, 4), "QLinearLeakyRelu": (1, 2, 3, 4),
             "QLinearActivation": (1, 2, 3, 4), "QLinearGlobalAveragePool": (1, 2, 3, 4)}


def trials() -> list:
    """Every case in single precision, and an operator's first one in the others as well."""
    found, seen = [], set()
    for case in CASES:
        floating = any(x is not None and x.dtype == np.float32 for x in case.inputs)
        for dtype in case.dtypes if floating and case.op.op_type not in seen else case.dtypes[:1]:
            found.append(pytest.param(case, dtype, id=f"{case}-{dtype.value}"))
        seen.add(case.op.op_type)
    return found


def asked(case: Case, dtype: DType) -> tuple:
    """The operator, its inputs, which of them are constants, and how many outputs are wanted."""
    return case.op, case.arrays(dtype), CONSTANTS.get(case.op.op_type, case.constants), case.outputs


@pytest.fixture(scope="module", autouse=True)
def compiled(request: pytest.FixtureRequest) -> None:
    """Compiles what this run's cases need, on all CPUs."""
    chosen = [i.callspec.params for i in request.session.items if i.module is request.module]
    native.warm([key for p in chosen for key in kernels_of(*asked(p["case"], p["dtype"]))])


@pytest.mark.parametrize(("case", "dtype"), trials())
def test_case(case: Case, dtype: DType) -> None:
    with np.errstate(all="ignore"):
        wanted = [np.asarray(y) for y in case.op.reference(*case.arrays(dtype))[: case.outputs]]
    runs = all_runs(*asked(case, dtype))
    if isinstance(runs, Refusal):
        assert runs.reason
        pytest.skip(runs.reason)
    for outputs in runs:
        for got, want in zip(outputs, wanted, strict=False):
            alike(got, want, max(case.tolerance, FACTOR.get(case.op.op_type, 1.0)))
