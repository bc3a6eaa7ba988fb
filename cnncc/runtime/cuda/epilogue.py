"""What a kernel does to an output number in registers before it is stored: residual, then activation.

The kinds and their two parameters are those of the CPU's epilogues.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ..cpu.epilogue import ACTIVATIONS

__all__ = ["ACTIVATIONS", "build_activation"]


def build_activation(kind: str) -> Callable[..., Any]:
    """The device function ``(x, a, b) -> number``, all float32. A NaN stays one."""
    from .language import device, float32

    zero, half, one, six = float32(0), float32(0.5), float32(1), float32(6)
    root_half, cubic, root = float32(math.sqrt(0.5)), float32(0.044715), float32(math.sqrt(2 / math.pi))

    @device
    def clip(x: Any, a: Any, b: Any) -> Any:
        low = a if x < a else x
        return b if low > b else low

    @device
    def sigmoid(x: Any, a: Any, b: Any) -> Any:
        return one / (one + float32(math.exp(-x)))

    @device
    def softplus(x: Any, a: Any, b: Any) -> Any:
        rest = float32(math.log1p(float32(math.exp(-abs(x)))))
        return rest if x < zero else x + rest

    @device
    def elu(x: Any, a: Any, b: Any) -> Any:
        return a * float32(math.expm1(x)) if x < zero else x

    table: dict[str, Callable[..., Any]] = {
        "clip": clip,
        "leaky": lambda x, a, b: a * x if x < zero else x,
        "sigmoid": sigmoid,
        "silu": lambda x, a, b: x * sigmoid(x, a, b),
        "tanh": lambda x, a, b: float32(math.tanh(x)),
        "hardsigmoid": lambda x, a, b: clip(a * x + b, zero, one),
        "hardswish": lambda x, a, b: x * clip(x / six + half, zero, one),
        "elu": elu,
        "selu": lambda x, a, b: b * elu(x, a, b),
        "gelu": lambda x, a, b: x * half * (one + float32(math.erf(x * root_half))),
        "gelu_tanh": lambda x, a, b: x * half * (one + float32(math.tanh(root * (x + cubic * x * x * x)))),
        "softplus": softplus,
        "mish": lambda x, a, b: x * float32(math.tanh(softplus(x, a, b))),
    }
    if set(table) != set(ACTIVATIONS):
        raise AssertionError("activation table and list differ")
    found = table[kind]
    return found if kind in ("clip", "sigmoid", "softplus", "elu") else device(found)
