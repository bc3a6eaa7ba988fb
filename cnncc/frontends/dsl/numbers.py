"""Arithmetic of the language on numbers and symbolic sizes: what parameters, repeats and conditions are made of."""

from __future__ import annotations

import operator
import reprlib
from collections.abc import Callable, Sequence
from typing import Any

from ...errors import OpError
from ...ir import MAX_RANK, Dim, Value

__all__ = ["FUNCTIONS", "MAX_INTEGER", "MAX_ITEMS", "brief", "check_integer", "check_list", "compute", "is_number",
           "negate", "truth"]

MAX_INTEGER = 2**53
MAX_ITEMS = 100_000  # of a list, its lists' included

_BRIEF = reprlib.Repr()
_BRIEF.maxlist = _BRIEF.maxtuple = 12
_BRIEF.maxstring = _BRIEF.maxlong = _BRIEF.maxother = 80
_BRIEF.maxlevel = 4

_BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "//": operator.floordiv, "%": operator.mod,
    "/": operator.truediv, "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le,
    ">": operator.gt, ">=": operator.ge}


def is_number(value: object) -> bool:
    return isinstance(value, (int, float, Dim)) and not isinstance(value, bool)


def check_integer(value: Any) -> Any:
    if isinstance(value, int) and abs(value) > MAX_INTEGER:
        raise OpError(f"the number is beyond 2^53 = {MAX_INTEGER}")
    return value


def compute(sign: str, left: Any, right: Any) -> Any:
    """`left sign right`. Raises OpError where they do not go together."""
    if sign in ("==", "!=") and type(left) is type(right):
        return bool(_BINARY[sign](left, right))
    for side in (left, right):
        if not is_number(side):
            raise OpError(f"'{sign}' is for numbers and tensors, not for {describe(side)}")
    if isinstance(left, Dim) or isinstance(right, Dim):
        return _of_dims(sign, left, right)
    if sign in ("/", "//", "%") and right == 0:
        raise OpError(f"{left} {sign} 0: a division by zero")
    if sign == "/" and isinstance(left, int) and isinstance(right, int):
        raise OpError(f"'/' of the whole numbers {left} and {right}; write // to round down, or {left}.0 / {right}")
    return check_integer(_BINARY[sign](left, right))


def _of_dims(sign: str, left: Any, right: Any) -> Any:
    if sign in ("==", "!="):
        return bool(_BINARY[sign](left, right))
    if sign not in ("+", "-", "*", "//", "%") or isinstance(left, float) or isinstance(right, float):
        raise OpError(f"'{left} {sign} {right}' is not decided while a size is symbolic")
    return _BINARY[sign](left, right)


def negate(value: Any) -> Any:
    if not is_number(value):
        raise OpError(f"'-' is for numbers and tensors, not for {describe(value)}")
    return -value


def truth(value: Any) -> bool:
    """A condition. Raises OpError where it is none."""
    if not isinstance(value, bool):
        raise OpError(f"a condition must be true or false, not {describe(value)}")
    return value


def describe(value: object) -> str:
    """A value for a message."""
    if isinstance(value, Value):
        return f"the tensor {value.type}"
    if isinstance(value, (list, tuple)):
        return f"the list {brief(list(value))}"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"the word {brief(value)}"
    return f"the {'size' if isinstance(value, Dim) else 'number'} {value}"


def brief(value: Any) -> str:
    """`repr` of a value that may be of any size."""
    return _BRIEF.repr(value)


def check_list(items: Sequence[Any]) -> int:
    """How many numbers a list holds. Raises OpError where they are more than any network's: a list may hold another one
    many times."""
    numbers, depth = _extent(items)
    if numbers > MAX_ITEMS or depth > MAX_RANK:
        raise OpError(f"a list of more than {MAX_ITEMS:,} numbers, or of lists within lists more than {MAX_RANK} deep")
    return numbers


def _extent(items: Sequence[Any]) -> tuple[int, int]:
    """How many numbers a list holds and how deep its lists go, both counted to a little beyond their limits."""
    numbers, depth = 0, 1
    for item in items:
        inside, levels = _extent(item) if isinstance(item, (list, tuple)) else (1, 0)
        numbers, depth = numbers + inside + 1, max(depth, levels + 1)
        if numbers > MAX_ITEMS:
            break
    return numbers, depth


def _tensor(name: str, value: Any) -> Value:
    if not isinstance(value, Value):
        raise OpError(f"{name} is asked of a tensor, not of {describe(value)}")
    return value


def _size(value: Any, axis: Any = None) -> Any:
    if axis is None:
        raise OpError("size takes a tensor and an axis: size(x, 2)")
    shape = _tensor("size", value).type.shape
    if not isinstance(axis, int) or not -len(shape) <= axis < len(shape):
        raise OpError(f"size: {value.type} has no axis {axis}")
    return shape[axis]


def _channels(value: Any) -> Any:
    return _size(_tensor("channels", value), 1)


def _extreme(name: str, choose: Callable[[Sequence[Any]], Any]) -> Callable[..., Any]:
    def function(*numbers: Any) -> Any:
        if not numbers or not all(isinstance(n, (int, float)) for n in numbers):
            raise OpError(f"{name} takes numbers, not {', '.join(map(describe, numbers)) or 'nothing'}")
        return choose(numbers)

    return function


# What may be called in an expression and gives a number: name -> (function, least and most arguments)
FUNCTIONS: dict[str, tuple[Callable[..., Any], int, int]] = {
    "channels": (_channels, 1, 1),
    "size": (_size, 2, 2),
    "rank": (lambda x: _tensor("rank", x).type.rank, 1, 1),
    "min": (_extreme("min", min), 1, 16),
    "max": (_extreme("max", max), 1, 16),
}
