"""Determinants."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import OpError
from ..ir import Op, Operand, TensorType
from ..records import record
from .dtypes import FLOATS, check_dtype
from .sizes import may_be_equal

__all__ = ["Det"]

Array = np.ndarray[Any, Any]


@record
class Det(Op):
    """ONNX Det-22: the determinants of the matrices in the last two axes; half precision is computed in single."""

    since = 22

    def infer(self, x: Operand) -> tuple[TensorType, ...]:
        check_dtype("Det", "X", x, FLOATS)
        if x.type.rank < 2 or not may_be_equal(*x.type.shape[-2:]):
            raise OpError(f"Det: X {x.type} must hold square matrices in its last two axes")
        return (TensorType(x.type.dtype, x.type.shape[:-2]),)

    def reference(self, x: Array) -> tuple[Array, ...]:
        wide = x.astype(np.float32) if x.dtype == np.float16 else x
        return (np.asarray(np.linalg.det(wide)).astype(x.dtype),)
