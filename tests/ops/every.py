"""The cases of every operator's tests, for the runtimes: their kernels must give what the references do."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Container
from typing import Any

import pytest

import tests.ops

from .cases import Case

__all__ = ["cases_of", "constants_of", "factor_of", "trials_of"]

_CASES = [
    case for module in pkgutil.iter_modules(tests.ops.__path__) if module.name.startswith("test_")
    for case in getattr(importlib.import_module(f"tests.ops.{module.name}"), "CASES", [])]
# Inputs that are constants in every model, beside those of which the case says so.
_CONSTANTS = {
    "BatchNormalization": (1, 2, 3, 4), "Conv": (1, 2), "ConvTranspose": (1, 2), "CumProd": (1,), "CumSum": (1,),
    "GroupNormalization": (1, 2), "InstanceNormalization": (1, 2), "LayerNormalization": (1, 2),
    "RMSNormalization": (1,), "ConvInteger": (1, 3, 4, 5), "QLinearConv": (1, 3, 4, 5, 6, 7, 8),
    "MatMulInteger": (1, 3), "MatMulIntegerToFloat": (1, 3, 5, 6), "QLinearMatMul": (1, 3, 4, 5, 6, 7),
    "QGemm": (1, 3, 4, 5, 6, 7, 8), "QLinearSigmoid": (1, 2, 3, 4), "QLinearLeakyRelu": (1, 2, 3, 4),
    "QLinearActivation": (1, 2, 3, 4), "QLinearGlobalAveragePool": (1, 2, 3, 4),
}  # fmt: skip
# Largest error over largest output where a kernel rounds otherwise than the reference.
_FACTOR = {"LRN": 4.0, "Gemm": 4.0, "MatMul": 4.0, "Conv": 4.0, "ConvTranspose": 4.0}


def cases_of(op_types: Container[str]) -> list[Case]:
    return [case for case in _CASES if case.op.op_type in op_types]


def constants_of(case: Case) -> tuple[int, ...]:
    return _CONSTANTS.get(case.op.op_type, case.constants)


def factor_of(case: Case) -> float:
    """What `alike` is given."""
    return max(case.tolerance, _FACTOR.get(case.op.op_type, 1.0))


def trials_of(cases: list[Case]) -> list[Any]:
    """A parameter set (case, dtype) for every case in single precision, for an operator's first in the others too."""
    found, seen = [], set()
    for case in cases:
        floating = any(x is not None and x.dtype.name == "float32" for x in case.inputs)
        for dtype in case.dtypes if floating and case.op.op_type not in seen else case.dtypes[:1]:
            found.append(pytest.param(case, dtype, id=f"{case}-{dtype.value}"))
        seen.add(case.op.op_type)
    return found
