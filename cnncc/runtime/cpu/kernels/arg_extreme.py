"""The place of the largest or smallest element along the axis of [outer, axis, inner]; lanes are places of inner."""

from cnncc.runtime.cpu.elements import SIZES, is_float
from cnncc.runtime.cpu.kernel import Kernel, Launch, ceil_div, make_params

OPERANDS = ("x", "y")
DIMS = ("axis", "inner", "vectors", "units", "task_units")
TASK_ELEMENTS = 16 << 10


def launch(outer: int, axis: int, inner: int, kind: str, last: bool, lanes: int, dtype: str) -> Launch:
    """The step for a plain tensor; ``kind`` is max or min, and of equal elements the first or the ``last`` counts."""
    lanes = 1 if inner == 1 else lanes
    vectors = ceil_div(inner, lanes)
    units = outer * vectors
    task_units = max(1, TASK_ELEMENTS // (axis * lanes))
    return Launch(
        KERNEL, make_params(kind=kind, last=int(last), lanes=lanes, dtype=dtype),
        (axis, inner, vectors, units, task_units), ceil_div(units, task_units),
        reads={"x": (0, outer * axis * inner * SIZES[dtype])}, writes={"y": (0, outer * inner * 8)},
    )  # fmt: skip


def build(kind: str, last: int, lanes: int, dtype: str):
    from cnncc.runtime.cpu import emit
    from cnncc.runtime.cpu.memory_access import load_i64
    from cnncc.runtime.cpu.simd import I64

    item, symbol = SIZES[dtype], (">" if kind == "max" else "<") + ("=" if last else "")

    def code(context, b, x, y, axis, step, valid):
        mask = emit.first_lanes(b, valid, lanes) if lanes > 1 else None

        def better(value, best):
            found = emit.compare(b, symbol, dtype, value, best)
            if is_float(dtype):  # the first NaN, or the last one, is taken
                lost = b.fcmp_unordered("uno", value, value)
                lost = lost if last else b.and_(lost, b.fcmp_ordered("ord", best, best))
                found = b.or_(found, lost)
            return found

        def one(i, found):
            best, place = found
            value = emit.load(b, b.add(x, b.mul(i, step)), dtype, lanes, mask)
            wins = better(value, best)
            return [b.select(wins, value, best), b.select(wins, emit.spread(b, i, lanes), place)]

        first = emit.load(b, x, dtype, lanes, mask)
        _, place = emit.loop(b, I64(1), axis, 1, [first, emit.number("i64", lanes, 0)], one)
        emit.store(b, y, place, "i64", lanes, mask)

    find = emit.emitted("find", 5, code)
    quotient, remainder, smaller = emit.quotient, emit.remainder, emit.smaller

    def arg_extreme(args, begin, end):
        x, y, axis, inner = load_i64(args), load_i64(args + 8), load_i64(args + 16), load_i64(args + 24)
        vectors, units, task_units = load_i64(args + 32), load_i64(args + 40), load_i64(args + 48)
        for unit in range(begin * task_units, smaller(units, end * task_units)):
            row, first = quotient(unit, vectors), remainder(unit, vectors) * lanes
            at, to = x + (row * axis * inner + first) * item, y + (row * inner + first) * 8
            find(at, to, axis, inner * item, smaller(lanes, inner - first))

    return arg_extreme


KERNEL = Kernel("arg_extreme", OPERANDS, DIMS, build)
