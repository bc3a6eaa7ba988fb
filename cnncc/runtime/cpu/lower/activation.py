"""The IR's activations as the kernels' epilogues know them."""

from __future__ import annotations

import math

from ....ir import Activation

__all__ = ["epilogue"]

# Kinds that the epilogues spell otherwise (runtime/cpu/epilogue.py).
_NAMES = {"leaky_relu": "leaky", "hard_sigmoid": "hardsigmoid", "hard_swish": "hardswish"}


def epilogue(activation: Activation | None) -> tuple[str, float, float]:
    """The kind of an activation and its two float words."""
    if activation is None:
        return "clip", -math.inf, math.inf
    if activation.kind == "relu":
        return "clip", 0.0, math.inf
    a, b = (*activation.parameters, 0.0, 0.0)[:2]
    return _NAMES.get(activation.kind, activation.kind), a, b
