"""Softmax and its kin: normalised along one axis."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ir import Op, Operand, TensorType
from ..records import record
from .dtypes import FLOATS, check_dtype
from .sizes import resolve_axis

__all__ = ["Hardmax", "LogSoftmax", "Softmax"]

Array = np.ndarray[Any, Any]


@record
class Softmax(Op):
    """ONNX Softmax-13: e^x / sum(e^x) along `axis`, computed of x - max(x)."""

    since = 13
    operands = ("input",)
    results = ("output",)

    axis: int = -1

    def infer(self, x: Operand) -> tuple[TensorType, ...]:
        check_dtype(self.op_type, "the input", x, FLOATS)
        resolve_axis(self.op_type, self.axis, x.type.rank)
        return (x.type,)

    def reference(self, x: Array) -> tuple[Array, ...]:
        powers = np.exp(self._shifted(x))
        return (powers / powers.sum(self.axis, keepdims=True),)

    def _shifted(self, x: Array) -> Array:
        """x less its largest along the axis, so that no exponential overflows."""
        return np.asarray(x - x.max(self.axis, keepdims=True, initial=-np.inf))


@record
class LogSoftmax(Softmax):
    """ONNX LogSoftmax-13: log(Softmax(x)), computed as x - log(sum(e^x))."""

    def reference(self, x: Array) -> tuple[Array, ...]:
        x = self._shifted(x)
        return (x - np.log(np.exp(x).sum(self.axis, keepdims=True)),)


@record
class Hardmax(Softmax):
    """ONNX Hardmax-13: 1 at the first largest element along `axis`, else 0."""

    def reference(self, x: Array) -> tuple[Array, ...]:
        y = np.zeros_like(x)
        if x.size:
            np.put_along_axis(y, np.expand_dims(x.argmax(self.axis), self.axis), 1, self.axis)
        return (y,)
