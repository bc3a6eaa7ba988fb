"""The formula of every elementwise operation, as a device function of one number of each operand.

The names and what they mean are those of the CPU's formulas, which emit vector code and so cannot serve here. Numbers
come in the type that is computed in (conversion.py); float16 is computed in float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..cpu.elements import SIZES, is_float
from ..cpu.epilogue import ACTIVATIONS
from .conversion import COMPUTED, build_rounding

__all__ = ["FOLDED", "FORMULAS", "build_formula", "is_native"]

FLOATS, SINGLE = ("f16", "f32", "f64"), ("f16", "f32")
SIGNED, UNSIGNED = ("i8", "i16", "i32", "i64"), ("u8", "u16", "u32", "u64")
INTEGERS = (*SIGNED, *UNSIGNED)
NUMBERS = (*FLOATS, *INTEGERS)
ALL = (*NUMBERS, "bool")

# Of any number of operands, from the left.
FOLDED = ("add", "max", "mean", "min", "mul")

# name -> element types of the first operand for which it is right
FORMULAS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(ACTIVATIONS, SINGLE),
    **dict.fromkeys((f"affine_{kind}" for kind in ACTIVATIONS), SINGLE),
    **dict.fromkeys(("celu", "erf", "softsign", "swish", "thresholded"), SINGLE),
    **dict.fromkeys(("affine", "ceil", "cos", "divided", "exp", "floor", "is_inf", "is_minus_inf", "is_nan",
                     "is_plus_inf", "log", "mean", "pow", "reciprocal", "round", "sin", "sqrt"), FLOATS),
    **dict.fromkeys(("above", "abs", "add", "below", "between", "cube", "div", "max", "min", "modulo", "mul", "neg",
                     "prelu", "relu", "remainder", "sign", "square", "sub"), NUMBERS),
    **dict.fromkeys(("not_bits",), INTEGERS),
    **dict.fromkeys(("shift_left", "shift_right"), UNSIGNED),
    **dict.fromkeys(("not",), ("bool",)),
    **dict.fromkeys(("and", "or", "xor"), (*INTEGERS, "bool")),
    **dict.fromkeys(("cast", "copy", "equal", "greater", "greater_or_equal", "less", "less_or_equal", "where"), ALL),
}


def is_native(name: str, types: tuple[str, ...]) -> bool:
    return name in FORMULAS and types[0] in FORMULAS[name]


def build_formula(name: str, types: tuple[str, ...]) -> Callable[..., Any]:
    """The device function ``(p, q, *operands) -> number`` for operands of these types, p and q being float32."""
    from .epilogue import build_activation
    from .language import device

    if name in ACTIVATIONS:
        activate = build_activation(name)
        return device(lambda p, q, x: activate(x, p, q))
    if name.startswith("affine_"):
        activate = build_activation(name.removeprefix("affine_"))
        return device(lambda p, q, x, scale, shift: activate(x * scale + shift, p, q))
    real = is_float(types[0])
    for table in (_conditions, _numeric, *((_real, _single) if real else (_integral,))):
        found = table(types).get(name)
        if found is not None:
            return device(found)
    raise AssertionError(f"the formula {name} is not built")


def _numeric(types: tuple[str, ...]) -> dict[str, Callable[..., Any]]:
    """Of any numbers; `number` keeps integers as narrow as they are."""
    from .language import device

    number = COMPUTED[types[0]]
    real, signed = is_float(types[0]), types[0] in SIGNED
    zero, one, minus = number(0), number(1), number(-1 if signed or real else 0)
    modulo, remainder, divide = _modulo(number, real), _remainder(number, real), _divide(number, real, signed)
    larger = device(lambda x, y: x if x > y or x != x else y)
    smaller = device(lambda x, y: x if x < y or x != x else y)
    above = device(lambda x, low: low if x < low else x)
    below = device(lambda x, high: high if x > high else x)
    return {
        "abs": lambda p, q, x: abs(x) if real else x if x >= zero else number(zero - x),
        "above": lambda p, q, x, low: above(x, low),
        "add": lambda p, q, x, y: number(x + y),
        "below": lambda p, q, x, high: below(x, high),
        "between": lambda p, q, x, low, high: below(above(x, low), high),
        "copy": lambda p, q, x: x,
        "cast": lambda p, q, x: x,
        "cube": lambda p, q, x: number(number(x * x) * x),
        "div": lambda p, q, x, y: divide(x, y),
        "max": lambda p, q, x, y: larger(x, y),
        "min": lambda p, q, x, y: smaller(x, y),
        "modulo": lambda p, q, x, y: modulo(x, y),
        "mul": lambda p, q, x, y: number(x * y),
        "neg": lambda p, q, x: number(-x),
        "prelu": lambda p, q, x, slope: number(x * slope) if x < zero else x,
        "relu": lambda p, q, x: zero if x < zero else x,
        "remainder": lambda p, q, x, y: remainder(x, y),
        "sign": lambda p, q, x: one if x > zero else minus if x < zero else x,
        "square": lambda p, q, x: number(x * x),
        "sub": lambda p, q, x, y: number(x - y),
    }


def _divide(number: Any, real: bool, signed: bool) -> Callable[..., Any]:
    """Integers are truncated; x / 0 is x."""
    from .language import device

    if real:
        return device(lambda x, y: x / y)
    zero, one, minus = number(0), number(1), number(-1 if signed else 0)

    @device
    def divide(x: Any, y: Any) -> Any:
        if y == zero:
            return x
        if signed and y == minus:
            return number(-x)
        found = number(x // y)
        if signed and (x < zero) != (y < zero) and number(found * y) != x:
            found = number(found + one)
        return found

    return divide


def _remainder(number: Any, real: bool) -> Callable[..., Any]:
    """Of the truncated quotient: x's sign; integers modulo 0 give 0."""
    from .language import device

    if real:
        return device(lambda x, y: number(math.fmod(x, y)))
    zero = number(0)

    @device
    def remainder(x: Any, y: Any) -> Any:
        if y == zero:
            return zero
        rest = number(x % y)  # of y's sign
        return number(rest - y) if rest != zero and (rest < zero) != (x < zero) else rest

    return remainder


def _modulo(number: Any, real: bool) -> Callable[..., Any]:
    """Of the quotient rounded down: y's sign."""
    from .language import device

    zero = number(0)

    @device
    def modulo(x: Any, y: Any) -> Any:
        if not real:
            return zero if y == zero else number(x % y)
        rest = number(math.fmod(x, y))
        return number(rest + y) if rest != zero and (rest < zero) != (y < zero) else rest

    return modulo


def _real(types: tuple[str, ...]) -> dict[str, Callable[..., Any]]:
    number = COMPUTED[types[0]]
    ceil, floor, round_even = build_rounding(number)
    one, plus, minus = number(1), number(np.inf), number(-np.inf)
    return {
        "affine": lambda p, q, x, scale, shift: x * scale + shift,
        "ceil": lambda p, q, x: ceil(x),
        "cos": lambda p, q, x: number(math.cos(x)),
        "divided": lambda p, q, x: x / number(p),
        "exp": lambda p, q, x: number(math.exp(x)),
        "floor": lambda p, q, x: floor(x),
        "is_inf": lambda p, q, x: x in (plus, minus),
        "is_minus_inf": lambda p, q, x: x == minus,
        "is_nan": lambda p, q, x: x != x,
        "is_plus_inf": lambda p, q, x: x == plus,
        "log": lambda p, q, x: number(math.log(x)),
        "pow": lambda p, q, x, y: number(math.pow(x, number(y))),
        "reciprocal": lambda p, q, x: one / x,
        "round": lambda p, q, x: round_even(x),
        "sin": lambda p, q, x: number(math.sin(x)),
        "sqrt": lambda p, q, x: number(math.sqrt(x)),
    }  # fmt: skip


def _single(types: tuple[str, ...]) -> dict[str, Callable[..., Any]]:
    """In single precision, with the parameter p."""
    from .epilogue import build_activation
    from .language import float32

    zero, one = float32(0), float32(1)
    sigmoid, elu = build_activation("sigmoid"), build_activation("elu")
    return {
        "celu": lambda p, q, x: (elu(x / p, p, q) if x / p < zero else x / p) if x < zero else x,
        "erf": lambda p, q, x: float32(math.erf(x)),
        "softsign": lambda p, q, x: x / (one + abs(x)),
        "swish": lambda p, q, x: x * sigmoid(x * p, p, q),
        "thresholded": lambda p, q, x: zero if x <= p else x,
    }


def _integral(types: tuple[str, ...]) -> dict[str, Callable[..., Any]]:
    """Of integers and booleans, bit by bit."""
    number = COMPUTED[types[0]]
    zero, bits = number(0), number(8 * SIZES[types[0]])
    return {
        "and": lambda p, q, x, y: number(x & y),
        "not": lambda p, q, x: x == zero,
        "not_bits": lambda p, q, x: number(~x),
        "or": lambda p, q, x, y: number(x | y),
        "shift_left": lambda p, q, x, y: zero if y >= bits else number(x << y),
        "shift_right": lambda p, q, x, y: zero if y >= bits else number(x >> y),
        "xor": lambda p, q, x, y: number(x ^ y),
    }


def _conditions(types: tuple[str, ...]) -> dict[str, Callable[..., Any]]:
    return {
        "equal": lambda p, q, x, y: x == y,
        "greater": lambda p, q, x, y: x > y,
        "greater_or_equal": lambda p, q, x, y: x >= y,
        "less": lambda p, q, x, y: x < y,
        "less_or_equal": lambda p, q, x, y: x <= y,
        "where": lambda p, q, condition, x, y: x if condition != 0 else y,
    }
