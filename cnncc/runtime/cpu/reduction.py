"""Reductions: how many numbers become one, as LLVM code for vectors or scalars of any element type."""

from collections.abc import Callable
from typing import Any

from llvmlite import ir

from cnncc.records import record
from cnncc.runtime.cpu import emit, vmath
from cnncc.runtime.cpu.elements import is_float, limits
from cnncc.runtime.cpu.simd import F32


@record
class Reduction:
    """``start`` is what no numbers give; ``step(builder, total, x)`` and ``merge(builder, total, total)`` give totals,
    and ``finish(context, builder, total, count)`` the result, ``count`` being an LLVM int64."""

    start: float | int
    step: Callable[..., Any]
    merge: Callable[..., Any]
    finish: Callable[..., Any]


def build_reduction(kind: str, dtype: str, p: int = 1) -> Reduction:
    """The reduction called sum, mean, max, min, prod, l1, l2, sum_square, log_sum or lp (whose order is ``p``). Maxima
    and minima propagate NaN."""
    real = is_float(dtype)
    add = (lambda b, x, y: b.fadd(x, y)) if real else (lambda b, x, y: b.add(x, y))
    multiply = (lambda b, x, y: b.fmul(x, y)) if real else (lambda b, x, y: b.mul(x, y))
    least, greatest = limits(dtype)

    def same(context, b, a, count):
        return a

    def square(b, a, x):
        return add(b, a, multiply(b, x, x))

    def norm(b, a, x):
        return add(b, a, _power(b, emit.absolute(b, dtype, x), p))

    if kind in ("max", "min"):
        pick = _extreme(kind, dtype)
        return Reduction(least if kind == "max" else greatest, pick, pick, same)
    return {
        "sum": Reduction(0, add, add, same),
        "mean": Reduction(0, add, add, lambda context, b, a, count: b.fdiv(a, _count_like(b, a, count))),
        "prod": Reduction(1, multiply, multiply, same),
        "l1": Reduction(0, lambda b, a, x: add(b, a, emit.absolute(b, dtype, x)), add, same),
        "l2": Reduction(0, square, add, lambda context, b, a, count: emit.call(b, "sqrt", a)),
        "sum_square": Reduction(0, square, add, same),
        "log_sum": Reduction(0, add, add, lambda context, b, a, count: _log(context, b, a)),
        "lp": Reduction(0, norm, add, lambda context, b, a, count: _root(context, b, a, p)),
    }[kind]


def _extreme(kind: str, dtype: str):
    return lambda b, a, x: emit.extreme(b, kind, dtype, a, x)


def _power(b, x, p: int):
    out = x
    for _ in range(p - 1):
        out = b.fmul(out, x)
    return out


def _count_like(b, a, count):
    kind, lanes = emit.element_of(a.type)
    return emit.spread(b, b.sitofp(count, kind), lanes)


def _log(context, b, a):
    kind, lanes = emit.element_of(a.type)
    return emit.compiled(context, b, vmath.log, a) if lanes > 1 and kind == F32 else emit.call(b, "log", a)


def _root(context, b, a, p: int):
    if p == 1:
        return a
    if p == 2:
        return emit.call(b, "sqrt", a)
    kind, lanes = emit.element_of(a.type)
    return emit.call(b, "pow", a, emit.spread(b, ir.Constant(kind, 1.0 / p), lanes))
