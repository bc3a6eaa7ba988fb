"""LRN: local response normalization."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import OpError
from ..ir import Op, Operand, TensorType
from ..records import record
from .dtypes import FLOATS, check_dtype

__all__ = ["LRN"]

Array = np.ndarray[Any, Any]


@record
class LRN(Op):
    """ONNX LRN-13: x / (bias + alpha / size * s)^beta, where s is the sum of the squares of `size` channels: from
    (size - 1) // 2 before x's own to size // 2 after it. X [N, C, *spatial]."""

    since = 13

    size: int
    alpha: float = 1e-4
    beta: float = 0.75
    bias: float = 1.0

    def check(self) -> None:
        if self.size < 1:
            raise OpError(f"LRN: size must be at least 1, not {self.size}")

    def infer(self, x: Operand) -> tuple[TensorType, ...]:
        check_dtype("LRN", "X", x, FLOATS)
        if x.type.rank < 2:
            raise OpError(f"LRN: X must be [N, C, *spatial], not {x.type}")
        return (x.type,)

    def reference(self, x: Array) -> tuple[Array, ...]:
        channels = x.shape[1]
        before = (self.size - 1) // 2
        squares = np.pad(x * x, [(0, 0), (before, self.size // 2), *[(0, 0)] * (x.ndim - 2)])
        total = np.zeros_like(x)
        for i in range(self.size):
            total += squares[:, i:i + channels]
        return (x / (self.bias + self.alpha / self.size * total) ** self.beta,)
