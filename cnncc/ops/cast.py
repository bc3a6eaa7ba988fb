"""Conversions between element types."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import OpError
from ..ir import DType, Op, Operand, TensorType
from ..records import record

__all__ = ["BitCast", "Cast", "CastLike"]

Array = np.ndarray[Any, Any]


def _convert(x: Array, dtype: np.dtype[Any]) -> Array:
    """Floats lose their fraction in integers (out of range: undefined, as in ONNX), integers keep their low bits, and
    what is not 0 is true. Sizes, plain or symbolic, stay as they are in integers."""
    if x.dtype == object and dtype.kind in "iu":
        return x
    with np.errstate(all="ignore"):
        return x.astype(dtype)


def _stays_known(x: Operand | None, to: DType) -> bool:
    symbolic = x is not None and x.value is not None and x.value.dtype == object
    return to.is_integer or not symbolic


@record
class Cast(Op):
    """ONNX Cast-28. `round_mode` and `saturate` bear on 8-bit floats only, which cnncc does not have."""

    since = 28
    operands = ("input",)
    shape_arithmetic = True

    to: DType
    round_mode: str = "up"
    saturate: bool = True

    def infer(self, x: Operand) -> tuple[TensorType, ...]:
        return (TensorType(self.to, x.type.shape),)

    def reference(self, x: Array) -> tuple[Array, ...]:
        return (_convert(x, self.to.numpy),)

    def known(self, *operands: Operand | None) -> tuple[Array, ...] | None:
        return super().known(*operands) if _stays_known(operands[0], self.to) else None


@record
class CastLike(Op):
    """ONNX CastLike-25: the first input in the second's element type; for the rest see Cast."""

    since = 25
    operands = ("input", "target_type")
    shape_arithmetic = True

    round_mode: str = "up"
    saturate: bool = True

    def infer(self, x: Operand, target: Operand) -> tuple[TensorType, ...]:
        return (TensorType(target.type.dtype, x.type.shape),)

    def reference(self, x: Array, target: Array) -> tuple[Array, ...]:
        return (_convert(x, target.dtype),)

    def known(self, *operands: Operand | None) -> tuple[Array, ...] | None:
        target = operands[1]
        assert target is not None
        return Cast(target.type.dtype).known(operands[0])


@record
class BitCast(Op):
    """ONNX BitCast-26: the same bits as another element type of the same width."""

    since = 26
    operands = ("input",)
    results = ("output",)

    to: DType

    def infer(self, x: Operand) -> tuple[TensorType, ...]:
        if x.type.dtype.itemsize != self.to.itemsize:
            raise OpError(f"BitCast: {x.type} cannot be taken for {self.to.value}: both must be of one width")
        return (TensorType(self.to, x.type.shape),)

    def reference(self, x: Array) -> tuple[Array, ...]:
        return (np.array(x).view(self.to.numpy),)
