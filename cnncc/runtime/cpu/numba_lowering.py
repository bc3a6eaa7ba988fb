"""What int64 division and counted loops become for our target (see numba_target.py): Numba's results, in a tenth of its
instructions. Numba keeps everything in memory and leaves it to LLVM to find out what is constant; half of a kernel's
instructions would be of this kind.
"""

import operator
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.imputils import Registry

from cnncc.runtime.cpu.simd import I64

registry = Registry("cnncc integers and loops")
RANGE, ITERATOR = types.range_state64_type, types.range_iter64_type
INT = types.int64


# --- division, rounding down ----------------------------------------------------------------------------------------


@registry.lower(operator.floordiv, INT, INT)
@registry.lower(operator.ifloordiv, INT, INT)
def _floordiv(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
    x, y = args
    if _power_of_two(y):
        return builder.ashr(x, I64(y.constant.bit_length() - 1))
    defined, divisor = _divisor(builder, x, y)
    rest = builder.srem(x, divisor)
    result = builder.add(builder.sdiv(x, divisor), builder.sext(_is_below(builder, rest, divisor), I64))
    return result if defined is None else builder.select(defined, result, I64(0))


@registry.lower(operator.mod, INT, INT)
@registry.lower(operator.imod, INT, INT)
def _mod(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
    x, y = args
    if _power_of_two(y):
        return builder.and_(x, I64(y.constant - 1))
    _, divisor = _divisor(builder, x, y)
    rest = builder.srem(x, divisor)
    return builder.add(rest, builder.select(_is_below(builder, rest, divisor), divisor, I64(0)))


def _power_of_two(y: ir.Value) -> bool:
    return isinstance(y, ir.Constant) and y.constant > 0 and y.constant & (y.constant - 1) == 0


def _divisor(builder: ir.IRBuilder, x: ir.Value, y: ir.Value) -> tuple[ir.Value | None, ir.Value]:
    """Whether a quotient of int64 exists, None if that is certain, and what to divide by: y or else 1. As in Numba, the
    quotient is then 0, and so is the rest."""
    if isinstance(y, ir.Constant) and y.constant > 0:
        return None, y
    too_large = builder.and_(builder.icmp_signed("==", x, I64(-(1 << 63))), builder.icmp_signed("==", y, I64(-1)))
    defined = builder.not_(builder.or_(too_large, builder.icmp_signed("==", y, I64(0))))
    return defined, builder.select(defined, y, I64(1))


def _is_below(builder: ir.IRBuilder, rest: ir.Value, divisor: ir.Value) -> ir.Value:
    """Whether LLVM's quotient, which is rounded to zero, is one more than the floor."""
    if isinstance(divisor, ir.Constant):
        return builder.icmp_signed("<", rest, I64(0))
    other_sign = builder.icmp_signed("<", builder.xor(rest, divisor), I64(0))
    return builder.and_(builder.icmp_signed("!=", rest, I64(0)), other_sign)


# --- for ... in range(...): a step of zero is undefined ---------------------------------------------------------------


@registry.lower(range, INT)
@registry.lower(range, INT, INT)
@registry.lower(range, INT, INT, INT)
def _range(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
    start, stop = (I64(0), args[0]) if len(args) == 1 else args[:2]
    return _pack(context, builder, RANGE, {0: start, 1: stop, 2: args[2] if len(args) == 3 else I64(1)})


@registry.lower("getiter", RANGE)
def _getiter(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
    """The next value and how many there are yet are in memory; a number below zero is as good as zero."""
    start, stop, step = (_field(builder, args[0], at) for at in range(3))
    count = builder.sub(stop, start)
    if not isinstance(step, ir.Constant):
        back = builder.icmp_signed("<", step, I64(0))
        count = builder.sdiv(builder.add(count, builder.add(step, builder.select(back, I64(1), I64(-1)))), step)
    elif step.constant != 1:
        count = builder.sdiv(builder.add(count, I64(step.constant - (1 if step.constant > 0 else -1))), step)
    places = {0: cgutils.alloca_once_value(builder, start), 2: step, 3: cgutils.alloca_once_value(builder, count)}
    return _pack(context, builder, ITERATOR, places)


@registry.lower("iternext", ITERATOR)
def _iternext(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
    """The value, and whether there is one."""
    next_at, step, count_at = (_field(builder, args[0], at) for at in (0, 2, 3))
    value, count = builder.load(next_at), builder.load(count_at)
    builder.store(builder.add(value, step), next_at)
    builder.store(builder.sub(count, I64(1), flags=["nsw"]), count_at)
    return _pack(context, builder, sig.return_type, {0: value, 1: builder.icmp_signed(">", count, I64(0))})


def _pack(context: Any, builder: ir.IRBuilder, kind: types.Type, fields: dict[int, ir.Value]) -> ir.Value:
    packed = ir.Constant(context.get_value_type(kind), ir.Undefined)
    for at, value in fields.items():
        packed = builder.insert_value(packed, value, at)
    return packed


def _field(builder: ir.IRBuilder, packed: ir.Value, at: int) -> ir.Value:
    """A field, as it was packed if that is in sight."""
    value = packed
    while isinstance(value, ir.instructions.InsertValue):
        if list(value.indices) == [at]:
            return value.value
        value = value.aggregate
    return builder.extract_value(packed, at)
