"""The place of the largest or smallest element along the axis of [outer, axis, inner].

With inner 1 ("rows") the lanes lie along the axis, and their finds are compared at the end; otherwise ("columns") they
are places of inner.
"""

from cnncc.runtime.cpu.elements import SIZES, is_float
from cnncc.runtime.cpu.kernel import Kernel, Launch, ceil_div, make_params

OPERANDS = ("x", "y")
DIMS = ("axis", "inner", "vectors", "units", "task_units")
TASK_ELEMENTS = 16 << 10


def launch(outer: int, axis: int, inner: int, kind: str, last: bool, lanes: int, dtype: str) -> Launch:
    """The step for a plain tensor; ``kind`` is max or min, and of equal elements the first or the ``last`` counts."""
    form = "rows" if inner == 1 else "columns"
    vectors = ceil_div(inner, lanes)
    units = outer * vectors
    task_units = max(1, TASK_ELEMENTS // (axis * (lanes if inner > 1 else 1)))
    return Launch(
        KERNEL, make_params(kind=kind, last=int(last), form=form, lanes=lanes, dtype=dtype),
        (axis, inner, vectors, units, task_units), ceil_div(units, task_units),
        reads={"x": (0, outer * axis * inner * SIZES[dtype])}, writes={"y": (0, outer * inner * 8)},
    )  # fmt: skip


class _Emitter:
    """Writes the search of one row or one vector of columns."""

    def __init__(self, kind: str, last: int, lanes: int, dtype: str) -> None:
        self.last, self.lanes, self.dtype = bool(last), lanes, dtype
        self.symbol = ">" if kind == "max" else "<"

    def better(self, b, value, best):
        """Whether ``value``, which comes later, is to be taken: of NaNs, too, the first or the last one."""
        from cnncc.runtime.cpu.emit import compare

        found = compare(b, self.symbol + "=" * self.last, self.dtype, value, best)
        if not is_float(self.dtype):
            return found
        lost = b.fcmp_unordered("uno", value, value)
        return b.or_(found, lost if self.last else b.and_(lost, b.fcmp_ordered("ord", best, best)))

    def search(self, b, x, step, start, stop, found, mask, numbers):
        """(best, place) after elements start .. stop-1, ``step`` bytes apart; ``numbers(i)`` are their places."""
        from cnncc.runtime.cpu.emit import load, loop

        def one(i, found):
            value = load(b, b.add(x, b.mul(i, step)), self.dtype, self.lanes, mask)
            wins = self.better(b, value, found[0])
            if mask is not None:
                wins = b.and_(wins, mask)
            return [b.select(wins, value, found[0]), b.select(wins, numbers(i), found[1])]

        return loop(b, start, stop, 1, found, one)

    def columns(self):
        """(x, y, axis, step, valid)."""
        from cnncc.runtime.cpu import emit
        from cnncc.runtime.cpu.simd import I64

        def code(context, b, x, y, axis, step, valid):
            mask = emit.first_lanes(b, valid, self.lanes)
            first = [emit.load(b, x, self.dtype, self.lanes, mask), emit.number("i64", self.lanes, 0)]
            _, place = self.search(
                b, x, step, I64(1), axis, first, mask, lambda i: emit.spread(b, i, self.lanes))  # fmt: skip
            emit.store(b, y, place, "i64", self.lanes, mask)

        return emit.emitted("columns", 5, code)

    def rows(self):
        """(x, y, axis)."""
        from llvmlite import ir

        from cnncc.runtime.cpu import emit
        from cnncc.runtime.cpu.simd import I32, I64

        lanes = self.lanes
        order = ir.Constant(ir.VectorType(I64, lanes), list(range(lanes)))

        def code(context, b, x, y, axis):
            width, whole, rest = I64(lanes * SIZES[self.dtype]), b.udiv(axis, I64(lanes)), b.urem(axis, I64(lanes))

            def numbers(i):
                return b.add(emit.spread(b, b.mul(i, I64(lanes)), lanes), order)

            # Every lane begins with the first element: one that is taken instead comes later.
            first = emit.spread(b, emit.load(b, x, self.dtype, 1), lanes)
            found = [first, emit.number("i64", lanes, 0)]
            found = self.search(b, x, width, I64(0), whole, found, None, numbers)
            tail = emit.first_lanes(b, rest, lanes)
            some = b.select(b.icmp_signed(">", rest, I64(0)), b.add(whole, I64(1)), whole)
            best, place = self.search(b, x, width, whole, some, found, tail, numbers)
            picked, at = b.extract_element(best, I32(0)), b.extract_element(place, I32(0))
            for lane in range(1, lanes):
                value, number = b.extract_element(best, I32(lane)), b.extract_element(place, I32(lane))
                later = b.icmp_signed(">", number, at)
                ahead, behind = self.better(b, value, picked), b.not_(self.better(b, picked, value))
                wins = b.select(later, ahead, behind)
                picked, at = b.select(wins, value, picked), b.select(wins, number, at)
            emit.store(b, y, at, "i64", 1)

        return emit.emitted("rows", 3, code)


def build(kind: str, last: int, form: str, lanes: int, dtype: str):
    from cnncc.runtime.cpu.emit import quotient, remainder, smaller
    from cnncc.runtime.cpu.memory_access import load_i64

    emitter, item = _Emitter(kind, last, lanes, dtype), SIZES[dtype]

    if form == "rows":
        find_row = emitter.rows()

        def arg_rows(args, begin, end):
            x, y, axis = load_i64(args), load_i64(args + 8), load_i64(args + 16)
            units, task_units = load_i64(args + 40), load_i64(args + 48)
            for row in range(begin * task_units, smaller(units, end * task_units)):
                find_row(x + row * axis * item, y + row * 8, axis)

        return arg_rows

    find = emitter.columns()

    def arg_columns(args, begin, end):
        x, y, axis, inner = load_i64(args), load_i64(args + 8), load_i64(args + 16), load_i64(args + 24)
        vectors, units, task_units = load_i64(args + 32), load_i64(args + 40), load_i64(args + 48)
        for unit in range(begin * task_units, smaller(units, end * task_units)):
            row, first = quotient(unit, vectors), remainder(unit, vectors) * lanes
            at, to = x + (row * axis * inner + first) * item, y + (row * inner + first) * 8
            find(at, to, axis, inner * item, smaller(lanes, inner - first))

    return arg_columns


KERNEL = Kernel("arg_extreme", OPERANDS, DIMS, build)
