"""Softmax and its kin along one axis of [outer, axis, inner]: e^(x - max), its sum, and what follows from both.

With inner 1 ("rows") a vector goes along the axis and is folded; otherwise ("columns") each lane is a place of its own.
Kinds: softmax, log_softmax, and log_sum_exp, which gives one number for each row.
"""

import math

from cnncc.runtime.cpu.elements import SIZES
from cnncc.runtime.cpu.kernel import Kernel, Launch, ceil_div, make_params

OPERANDS = ("x", "y")
DIMS = ("axis", "inner", "groups", "units", "task_units")
TASK_ELEMENTS = 4096
WIDE = 4  # vectors of columns side by side


def launch(outer: int, axis: int, inner: int, kind: str, lanes: int, dtype: str = "f32") -> Launch:
    """The step for a plain floating-point tensor [outer, axis, inner]; log_sum_exp gives [outer, inner]."""
    item, size = SIZES[dtype], outer * axis * inner
    groups = 1 if inner == 1 else ceil_div(inner, WIDE * lanes)
    units = outer * groups
    task_units = max(1, TASK_ELEMENTS * units // max(1, size))
    form = "rows" if inner == 1 else "columns"
    written = outer * inner if kind == "log_sum_exp" else size
    return Launch(
        KERNEL, make_params(kind=kind, form=form, lanes=lanes, dtype=dtype), (axis, inner, groups, units, task_units),
        ceil_div(units, task_units) if written else 0, reads={"x": (0, size * item)}, writes={"y": (0, written * item)},
    )  # fmt: skip


class _Emitter:
    """Writes the three walks over the axis."""

    def __init__(self, kind: str, form: str, lanes: int, dtype: str) -> None:
        from cnncc.runtime.cpu.emit import number

        self.kind, self.along, self.lanes, self.dtype = kind, form == "rows", lanes, dtype
        self.item = SIZES[dtype]
        self.least, self.zero = number(dtype, lanes, -math.inf), number(dtype, lanes, 0)

    def function(self, context, b, name, x):
        from cnncc.runtime.cpu import emit, vmath

        if self.dtype == "f64":
            return emit.call(b, name, x)
        return emit.compiled(context, b, getattr(vmath, name), x)

    def read(self, b, place, mask):
        from cnncc.runtime.cpu import emit

        return emit.load(b, place, self.dtype, self.lanes, mask)

    def write(self, b, place, value, mask):
        from cnncc.runtime.cpu import emit

        emit.store(b, place, value, self.dtype, self.lanes, mask)

    def rows(self):
        """(x, y, axis): one row, vectors going along it."""
        from cnncc.runtime.cpu import emit
        from cnncc.runtime.cpu.simd import I32, I64

        width = I64(self.lanes * self.item)

        def code(context, b, x, y, axis):
            def over(start, totals, merge, each):
                """``totals = each(x's place, y's place, mask, totals)``; whole vectors take no mask."""
                whole, rest = b.udiv(axis, I64(self.lanes)), b.urem(axis, I64(self.lanes))

                def one(i, found):
                    at = b.mul(i, width)
                    return each(b.add(x, at), b.add(y, at), None, found)

                totals = emit.loop_in_blocks(b, whole, start, totals, merge, one)
                at, last = b.mul(whole, width), emit.first_lanes(b, rest, self.lanes)
                return each(b.add(x, at), b.add(y, at), last, totals)

            def folded(values, merge):
                return [emit.spread(b, emit.fold_lanes(b, values[0], merge), self.lanes)]

            found = self._walk(context, b, over, folded, 1)
            if found is not None:
                emit.store(b, y, b.extract_element(found[0], I32(0)), self.dtype, 1)

        return emit.emitted("rows", 3, code)

    def columns(self, wide: int):
        """(x, y, axis, step, valid): ``wide`` vectors of columns, of which the first ``valid`` lanes; ``step`` bytes
        along the axis."""
        from cnncc.runtime.cpu import emit
        from cnncc.runtime.cpu.simd import I64

        def code(context, b, x, y, axis, step, valid):
            mask = emit.first_lanes(b, valid, self.lanes) if wide == 1 else None
            shifts = [I64(v * self.lanes * self.item) for v in range(wide)]

            def over(start, totals, merge, each):
                def one(i, found):
                    at = b.mul(i, step)
                    results = []
                    for v, shift in enumerate(shifts):
                        xs, ys = (b.add(b.add(base, at), shift) for base in (x, y))
                        results += each(xs, ys, mask, found[v : v + 1], v)
                    return results

                return emit.loop_in_blocks(b, axis, start, totals, merge, one)

            found = self._walk(context, b, over, lambda values, merge: values, wide)
            for value, shift in zip(found or [], shifts, strict=False):
                self.write(b, b.add(y, shift), value, mask)

        return emit.emitted("columns", 5, code)

    def _walk(self, context, b, over, folded, wide):
        """The results of log_sum_exp; for the other kinds they are written on the way."""
        from cnncc.runtime.cpu import emit

        def largest(b, p, q):
            return emit.extreme(b, "max", self.dtype, p, q)

        def add(b, p, q):
            return b.fadd(p, q)

        def top(xs, _, mask, totals, v=0):
            value = self.read(b, xs, mask)
            return [largest(b, totals[0], value if mask is None else b.select(mask, value, self.least))]

        def powers(xs, ys, mask, totals, v=0):
            value = self.function(context, b, "exp", b.fsub(self.read(b, xs, mask), peaks[v]))
            if self.kind == "softmax":
                self.write(b, ys, value, mask)
            return [add(b, totals[0], value if mask is None else b.select(mask, value, self.zero))]

        def results(xs, ys, mask, _, v=0):
            if self.kind == "softmax":
                value = b.fmul(self.read(b, ys, mask), factors[v])
            else:
                value = b.fsub(b.fsub(self.read(b, xs, mask), peaks[v]), logarithms[v])
            self.write(b, ys, value, mask)
            return []

        peaks = folded(over(self.least, [self.least] * wide, largest, top), largest)
        if self.kind == "log_sum_exp":
            peaks = [self._finite(b, peak) for peak in peaks]
        sums = folded(over(self.zero, [self.zero] * wide, add, powers), add)
        if self.kind == "softmax":
            one = emit.number(self.dtype, self.lanes, 1)
            factors = [b.fdiv(one, total) for total in sums]
        else:
            logarithms = [self.function(context, b, "log", total) for total in sums]
        if self.kind == "log_sum_exp":
            return [b.fadd(p, q) for p, q in zip(logarithms, peaks, strict=True)]
        over(self.zero, [], add, results)
        return None

    def _finite(self, b, peak):
        """The peak, or 0 where it is no number to subtract."""
        from cnncc.runtime.cpu import emit

        infinite = emit.number(self.dtype, self.lanes, math.inf)
        finite = b.fcmp_ordered("<", emit.absolute(b, self.dtype, peak), infinite)
        return b.select(finite, peak, self.zero)


def build(kind: str, form: str, lanes: int, dtype: str):
    from cnncc.runtime.cpu.emit import quotient, remainder, smaller
    from cnncc.runtime.cpu.memory_access import load_i64

    emitter, item, single = _Emitter(kind, form, lanes, dtype), SIZES[dtype], kind == "log_sum_exp"

    if form == "rows":
        row_code = emitter.rows()

        def softmax_rows(args, begin, end):
            x, y, axis = load_i64(args), load_i64(args + 8), load_i64(args + 16)
            units, task_units = load_i64(args + 40), load_i64(args + 48)
            for row in range(begin * task_units, smaller(units, end * task_units)):
                row_code(x + row * axis * item, y + row * (1 if single else axis) * item, axis)

        return softmax_rows

    one, many = emitter.columns(1), emitter.columns(WIDE)

    def softmax_columns(args, begin, end):
        x, y, axis, inner = load_i64(args), load_i64(args + 8), load_i64(args + 16), load_i64(args + 24)
        groups, units, task_units = load_i64(args + 32), load_i64(args + 40), load_i64(args + 48)
        for unit in range(begin * task_units, smaller(units, end * task_units)):
            row, first = quotient(unit, groups), remainder(unit, groups) * WIDE * lanes
            at, to = row * axis * inner, row * (1 if single else axis) * inner
            stop = smaller(inner, first + WIDE * lanes)
            if stop - first == WIDE * lanes:
                many(x + (at + first) * item, y + (to + first) * item, axis, inner * item, lanes)
            else:
                for c in range(first, stop, lanes):
                    one(x + (at + c) * item, y + (to + c) * item, axis, inner * item, smaller(lanes, stop - c))

    return softmax_columns


KERNEL = Kernel("softmax", OPERANDS, DIMS, build)
