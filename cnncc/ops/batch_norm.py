"""BatchNormalization at inference."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import OpError
from ..ir import Activation, DimLike, Op, Operand, TensorType
from ..records import record
from .dtypes import FLOATS, check_dtype

__all__ = ["BatchNormalization"]

Array = np.ndarray[Any, Any]


@record
class BatchNormalization(Op):
    """ONNX BatchNormalization-15: (X - input_mean) / sqrt(input_var + epsilon) * scale + B, per channel.

    X [N, C, ...] or [N] (one channel), all else [C]; `momentum` matters in training only. Beyond ONNX:
    `activation` is applied last; passes fuse it here.
    """

    since = 15
    operands = ("X", "scale", "B", "input_mean", "input_var")

    epsilon: float = 1e-5
    momentum: float = 0.9
    training_mode: bool = False
    activation: Activation | None = None

    def check(self) -> None:
        if self.training_mode:
            raise OpError("BatchNormalization: training_mode=1 is not supported: export the model for inference")

    def infer(self, x: Operand, *parameters: Operand) -> tuple[TensorType, ...]:
        if not x.type.rank:
            raise OpError(f"BatchNormalization: X must be [N, C, ...], not {x.type}")
        for name, operand in zip(self.operands, (x, *parameters), strict=True):
            check_dtype("BatchNormalization", name, operand, FLOATS)
        channels: DimLike = x.type.shape[1] if x.type.rank > 1 else 1
        for name, p in zip(self.operands[1:], parameters, strict=True):
            if p.type.shape != (channels,):
                raise OpError(f"BatchNormalization: {name} must be of shape [{channels}], one number for each channel "
                              f"of X {x.type}, not {p.type}")
        return (x.type,)

    def reference(self, x: Array, *parameters: Array) -> tuple[Array, ...]:
        scale, bias, mean, variance = (p.reshape(-1, *(1,) * (x.ndim - 2)) for p in parameters)
        y = ((x - mean) / np.sqrt(variance + self.epsilon) * scale + bias).astype(x.dtype)
        return (y if self.activation is None else self.activation.apply(y),)
