"""The formula of every elementwise operation, as a device function of one number of each operand.

The names are those of the CPU's formulas. A formula takes the parameters ``p`` and ``q``, then the operands.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ..cpu.epilogue import ACTIVATIONS

__all__ = ["FORMULAS", "build_formula", "is_native"]

SINGLE = ("f32",)

# name -> element types of the first operand for which it is right
FORMULAS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(ACTIVATIONS, SINGLE),
    **dict.fromkeys(("abs", "add", "affine", "div", "exp", "max", "min", "mul", "neg", "prelu", "relu", "sqrt", "sub"),
                    SINGLE),
}


def is_native(name: str, types: tuple[str, ...]) -> bool:
    return name in FORMULAS and all(t in FORMULAS[name] for t in types)


def build_formula(name: str) -> Callable[..., Any]:
    """The device function ``(p, q, *operands) -> number``."""
    from .epilogue import build_activation
    from .language import device, float32

    if name in ACTIVATIONS:
        activate = build_activation(name)
        return device(lambda p, q, x: activate(x, p, q))
    zero = float32(0)
    table: dict[str, Callable[..., Any]] = {
        "abs": lambda p, q, x: abs(x),
        "add": lambda p, q, x, y: x + y,
        "affine": lambda p, q, x, scale, shift: x * scale + shift,
        "div": lambda p, q, x, y: x / y,
        "exp": lambda p, q, x: float32(math.exp(x)),
        "max": lambda p, q, x, y: x if x > y or x != x else y,
        "min": lambda p, q, x, y: x if x < y or x != x else y,
        "mul": lambda p, q, x, y: x * y,
        "neg": lambda p, q, x: -x,
        "prelu": lambda p, q, x, slope: x * slope if x < zero else x,
        "relu": lambda p, q, x: zero if x < zero else x,
        "sqrt": lambda p, q, x: float32(math.sqrt(x)),
        "sub": lambda p, q, x, y: x - y,
    }
    return device(table[name])
