"""Reductions: how many numbers become one, as device functions. The kinds are those of runtime/cpu/reduction.py."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ...records import record

__all__ = ["ACCUMULATORS", "Reduction", "build_reduction"]

# element type -> type to reduce in
ACCUMULATORS: dict[str, Any] = {"f32": np.float32, "f64": np.float64, "i32": np.int32, "i64": np.int64,
                                "i8": np.int32, "u8": np.int32}


@record
class Reduction:
    """`start` is what no numbers give; `step(total, x)` and `merge(total, total)` give totals, and
    `finish(total, count)` the result; `number` is the type of all these."""

    number: Any
    start: Any
    step: Callable[..., Any]
    merge: Callable[..., Any]
    finish: Callable[..., Any]


def build_reduction(kind: str, dtype: str, p: int = 1) -> Reduction:
    """The reduction called sum, mean, max, min, prod, l1, l2, sum_square, log_sum or lp (whose order is `p`). Maxima
    and minima propagate NaN."""
    from cnncc.runtime.cuda.language import device

    number = ACCUMULATORS[dtype]
    add = device(lambda a, x: number(a + x))
    same = device(lambda a, count: a)
    if kind in ("max", "min"):
        lowest = kind == "max"
        larger = device(lambda a, x: x if x > a or x != x else a)
        smaller = device(lambda a, x: x if x < a or x != x else a)
        pick = larger if lowest else smaller
        return Reduction(number, _limit(number, lowest), pick, pick, same)
    if kind == "prod":
        multiply = device(lambda a, x: number(a * x))
        return Reduction(number, number(1), multiply, multiply, same)
    magnitude = device(lambda x: x if x >= number(0) else -x)

    @device
    def power(a: Any, x: Any) -> Any:
        base = magnitude(x)
        out = base
        for _ in range(p - 1):
            out = number(out * base)
        return number(a + out)

    steps = {"l1": device(lambda a, x: number(a + magnitude(x))), "l2": device(lambda a, x: number(a + number(x * x))),
             "sum_square": device(lambda a, x: number(a + number(x * x))), "lp": power}
    ends = {"mean": device(lambda a, count: number(a / number(count))),
            "l2": device(lambda a, count: number(math.sqrt(a))),
            "log_sum": device(lambda a, count: number(math.log(a))),
            "lp": _root(device, number, p)}
    return Reduction(number, number(0), steps.get(kind, add), add, ends.get(kind, same))


def _limit(number: Any, lowest: bool) -> Any:
    if np.issubdtype(number, np.floating):
        return number(-np.inf if lowest else np.inf)
    ends = np.iinfo(number)
    return number(ends.min if lowest else ends.max)


def _root(device: Callable[..., Any], number: Any, p: int) -> Callable[..., Any]:
    if p == 1:
        return device(lambda a, count: a)
    if p == 2:
        return device(lambda a, count: number(math.sqrt(a)))
    inverse = number(1 / p)
    return device(lambda a, count: number(math.pow(a, inverse)))
