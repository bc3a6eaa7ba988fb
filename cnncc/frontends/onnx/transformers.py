"""Operators of transformers in forms of their own, rewritten into ONNX's."""

from __future__ import annotations

import math

import numpy as np

from ...ir import DType, Value
from .calls import Call

__all__ = ["add_mask"]


def add_mask(call: Call) -> None:
    """Attention's mask of booleans as numbers that are added: 0 where a key is allowed, else minus infinity."""
    mask = call.inputs[3] if len(call.inputs) > 3 else None
    if mask is not None and mask.type.dtype is DType.BOOL:
        choices = [_number(call, 0.0, "allowed"), _number(call, -math.inf, "never")]
        call.inputs[3] = call.emit("Where", [mask, *choices], {}, "mask")


def _number(call: Call, number: float, suffix: str) -> Value:
    """A scalar of the first input's type."""
    return call.constant(np.asarray(number, call.operand(0).type.dtype.numpy), suffix)
