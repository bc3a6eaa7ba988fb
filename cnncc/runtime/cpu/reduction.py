"""Reductions: how many numbers become one, as LLVM code for vectors or scalars of any element type."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cnncc.runtime.cpu.elements import is_float, limits

KINDS = ("sum", "mean", "max", "min", "prod", "l1", "l2", "sum_square", "log_sum", "lp")
BLOCK = 64  # numbers that are summed one by one; their sums are summed again, so that errors stay small


@dataclass(frozen=True)
class Reduction:
    """``start`` is what no numbers give; ``step(builder, total, x)`` and ``merge(builder, total, total)`` give totals,
    and ``finish(context, builder, total, count)`` the result, ``count`` being an LLVM int64."""

    start: float | int
    step: Callable[..., Any]
    merge: Callable[..., Any]
    finish: Callable[..., Any]


def build_reduction(kind: str, dtype: str, p: int = 1) -> Reduction:
    """Maxima and minima propagate NaN. ``p`` is the order of the norm ``lp``."""
    real = is_float(dtype)
    add = (lambda b, x, y: b.fadd(x, y)) if real else (lambda b, x, y: b.add(x, y))
    multiply = (lambda b, x, y: b.fmul(x, y)) if real else (lambda b, x, y: b.mul(x, y))
    least, greatest = limits(dtype)

    def same(context, b, a, count):
        return a

    def square(b, a, x):
        return add(b, a, multiply(b, x, x))

    def norm(b, a, x):
        return add(b, a, _power(b, _absolute(b, x, dtype), p))

    if kind in ("max", "min"):
        pick = _extreme(kind, dtype)
        return Reduction(least if kind == "max" else greatest, pick, pick, same)
    return {
        "sum": Reduction(0, add, add, same),
        "mean": Reduction(0, add, add, lambda context, b, a, count: b.fdiv(a, _count_like(b, a, count))),
        "prod": Reduction(1, multiply, multiply, same),
        "l1": Reduction(0, lambda b, a, x: add(b, a, _absolute(b, x, dtype)), add, same),
        "l2": Reduction(0, square, add, lambda context, b, a, count: _call(b, "sqrt", a)),
        "sum_square": Reduction(0, square, add, same),
        "log_sum": Reduction(0, add, add, lambda context, b, a, count: _log(context, b, a)),
        "lp": Reduction(0, norm, add, lambda context, b, a, count: _root(context, b, a, p)),
    }[kind]


def _call(builder, name, *values):
    from cnncc.runtime.cpu.emit import call

    return call(builder, name, *values)


def _extreme(kind: str, dtype: str):
    """The larger or smaller of two; NaN if one is NaN."""
    symbol = ">" if kind == "max" else "<"

    def pick(b, a, x):
        if is_float(dtype):
            return _propagating(b, kind, symbol, a, x)
        compare = b.icmp_unsigned if dtype.startswith(("u", "b")) else b.icmp_signed
        return b.select(compare(symbol, a, x), a, x)

    return pick


def _propagating(b, kind: str, symbol: str, a, x):
    from llvmlite import binding

    from cnncc.runtime.cpu.emit import call

    if binding.llvm_version_info >= (18, 0, 0):
        return call(b, f"{kind}imum", a, x, fastmath=("nsz",))
    # Older ones lack it on some machines. The comparison is false where x is NaN, which then wins.
    found = b.select(b.fcmp_ordered(symbol, a, x), a, x)
    return b.select(b.fcmp_unordered("uno", a, a), a, found)


def _absolute(b, x, dtype: str):
    if is_float(dtype):
        return _call(b, "fabs", x)
    if dtype.startswith("u"):
        return x
    negative = b.neg(x)
    return b.select(b.icmp_signed(">", negative, x), negative, x)


def _power(b, x, p: int):
    out = x
    for _ in range(p - 1):
        out = b.fmul(out, x)
    return out


def _count_like(b, a, count):
    from cnncc.runtime.cpu.emit import element_of, spread

    kind, lanes = element_of(a.type)
    return spread(b, b.sitofp(count, kind), lanes)


def _log(context, b, a):
    from cnncc.runtime.cpu.emit import element_of
    from cnncc.runtime.cpu.vmath import log

    return _vector_math(context, b, log, a) if element_of(a.type)[1] > 1 else _call(b, "log", a)


def _root(context, b, a, p: int):
    from llvmlite import ir

    from cnncc.runtime.cpu.emit import element_of, spread

    if p == 1:
        return a
    if p == 2:
        return _call(b, "sqrt", a)
    kind, lanes = element_of(a.type)
    return _call(b, "pow", a, spread(b, ir.Constant(kind, 1.0 / p), lanes))


def _vector_math(context, b, function, *values):
    """A function of vmath on float32 vectors."""
    from numba.core.typing.templates import signature

    from cnncc.runtime.cpu.simd import Vec

    kind = Vec(values[0].type.count)
    return context.compile_internal(b, lambda x: function(x), signature(kind, *[kind] * len(values)), list(values))
