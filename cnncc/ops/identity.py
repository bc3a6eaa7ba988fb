"""Operators that pass their input on."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import OpError
from ..ir import DType, Op, Operand, TensorType
from ..records import record
from .dtypes import FLOATS, check_dtype

__all__ = ["Dropout", "Identity"]

Array = np.ndarray[Any, Any]


@record
class Identity(Op):
    """ONNX Identity-25, of tensors of any type."""

    since = 25
    operands = ("input",)
    shape_arithmetic = True
    alias = True

    def infer(self, x: Operand) -> tuple[TensorType, ...]:
        return (x.type,)

    def reference(self, x: Array) -> tuple[Array, ...]:
        return (x,)


@record
class Dropout(Op):
    """ONNX Dropout-22 at inference: the output is the data, and the mask of what is kept is true throughout.

    `ratio` and `seed` have no effect then; `training_mode`, where given, must be known to be false.
    """

    since = 22
    operands = ("data", "ratio?", "training_mode?")
    results = ("output", "mask")
    alias = True

    seed: int | None = None

    def infer(self, data: Operand, ratio: Operand | None = None,
              training_mode: Operand | None = None) -> tuple[TensorType, ...]:
        if training_mode is not None and (training_mode.value is None or np.any(training_mode.value)):
            raise OpError("Dropout: training_mode must be a constant false: export the model for inference")
        check_dtype("Dropout", "data", data, FLOATS)
        return data.type, TensorType(DType.BOOL, data.type.shape)

    def reference(self, data: Array, ratio: Array | None = None,
                  training_mode: Array | None = None) -> tuple[Array, ...]:
        return data, np.ones(data.shape, np.bool_)
