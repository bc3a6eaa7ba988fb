"""Padding, and repeating: each output element is an element of the input, found axis by axis, or a constant.

Along an axis, output index o stands for i = o - begin of ``kept`` input elements. Where i is none of them it means: the
constant (mode constant), the nearest element (edge), the mirror image (reflect), or i modulo ``kept`` (wrap).
"""

from collections.abc import Sequence

from cnncc.records import record
from cnncc.runtime.cpu.kernel import Kernel, Launch, ceil_div, make_params

OPERANDS = ("x", "value", "y")
OUTER = 5
DIMS = (
    "rows", "task_rows", "length", "kept", "begin", "x_offset", "zero", *(f"size_{d}" for d in range(1, OUTER)),
    *(f"kept_{d}" for d in range(OUTER)), *(f"begin_{d}" for d in range(OUTER)), *(f"step_{d}" for d in range(OUTER)),
)  # fmt: skip
TASK_BYTES = 64 << 10


@record
class PadAxis:
    """``size`` output elements, ``begin`` of them before the first of ``kept`` input elements, ``step`` apart."""

    size: int
    kept: int
    begin: int
    step: int

    @property
    def is_whole(self) -> bool:
        return self.size == self.kept


def merge(axes: Sequence[PadAxis], mode: str) -> list[PadAxis]:
    """Axes without those of size 1 that change nothing; an unpadded axis joins the one before it if the input walks
    evenly over both, and for constants that one may be padded."""
    out: list[PadAxis] = []
    for axis in axes:
        if axis.is_whole and axis.size == 1:
            continue
        if out and axis.is_whole and out[-1].step == axis.step * axis.kept:
            above = out[-1]
            if above.is_whole or mode == "constant":
                out[-1] = PadAxis(above.size * axis.size, above.kept * axis.kept, above.begin * axis.size, axis.step)
                continue
        out.append(axis)
    return out or [PadAxis(1, 1, 0, 1)]


def supports(axes: Sequence[PadAxis], mode: str) -> bool:
    """Whether the axes are few enough."""
    return len(merge(axes, mode)) <= OUTER + 1


def launch(
    axes: Sequence[PadAxis], mode: str, size: int, lanes: int, x_offset: int = 0, has_value: bool = False, unit: int = 1
) -> Launch:
    """The step for elements of ``unit`` numbers of ``size`` bytes each, the last axis being contiguous; ``x_offset``
    elements of the input come before the first one that is kept. The constant is zero unless there is a ``value``.
    """
    merged = merge(axes, mode)
    if len(merged) > OUTER + 1:
        raise ValueError(f"padding of {len(merged)} axes")
    inner = merged.pop()
    outer = [PadAxis(1, 1, 0, 0)] * (OUTER - len(merged)) + merged
    rows = 1
    for axis in merged:
        rows *= axis.size
    item = size * unit
    task_rows = max(1, TASK_BYTES // max(1, inner.size * item))
    dims = (
        rows, task_rows, inner.size, inner.kept, inner.begin, x_offset * item, 0, *(a.size for a in outer[1:]),
        *(a.kept for a in outer), *(a.begin for a in outer), *(a.step * item for a in outer),
    )  # fmt: skip
    kept = [*merged, inner]
    last = x_offset + sum((a.kept - 1) * a.step for a in kept)
    reads = {} if any(a.kept == 0 for a in kept) else {"x": (x_offset * item, (last + 1) * item)}
    if has_value:
        reads["value"] = (0, size)
    return Launch(
        KERNEL, make_params(mode=mode, size=size, unit=unit, lanes=lanes), dims,
        ceil_div(rows, task_rows) if inner.size else 0, reads=reads, writes={"y": (0, rows * inner.size * item)},
    )  # fmt: skip


def _emit_row(mode: str, size: int, unit: int, lanes: int):
    """The intrinsic (args, row)."""
    from llvmlite import ir

    from cnncc.runtime.cpu import emit
    from cnncc.runtime.cpu.simd import I64

    zero_word = 8 * (len(OPERANDS) + DIMS.index("zero"))
    kind, item = {1: "u8", 2: "u16", 4: "u32", 8: "u64"}[size], size * unit

    def mapped(b, i, kept):
        """The input element that output element i (counted from the first kept one) stands for."""
        zero, last = I64(0), b.sub(kept, I64(1))
        if mode == "edge":
            i = b.select(b.icmp_signed("<", i, zero), zero, i)
            return b.select(b.icmp_signed(">", i, last), last, i)
        if mode == "reflect":
            i = b.select(b.icmp_signed("<", i, zero), b.neg(i), i)
            return b.select(b.icmp_signed(">", i, last), b.sub(b.mul(last, I64(2)), i), i)
        rest = b.srem(i, kept)
        return b.select(b.icmp_signed("<", rest, zero), b.add(rest, kept), rest)

    def code(context, b, args, row):
        words = emit.words(b, args, (*OPERANDS, *DIMS))

        def word(name):
            return words(name).v

        def fill(first, last):
            """Output elements first .. last-1 are the constant."""
            at = word("value")
            at = b.select(b.icmp_signed("==", at, I64(0)), b.add(args, I64(zero_word)), at)
            value = emit.spread(b, emit.load(b, at, kind, 1), lanes)

            def some(i, _):
                mask = emit.first_lanes(b, b.sub(last, i), lanes)
                emit.store(b, b.add(y, b.mul(i, I64(item))), value, kind, lanes, mask)
                return []

            emit.loop(b, first, last, lanes, [], some)

        def border(first, last):
            """Output elements first .. last-1 stand for others."""

            def one(o, _):
                i = mapped(b, b.sub(o, begin), kept)
                value = emit.load(b, b.add(x, b.mul(i, I64(item))), kind, unit)
                emit.store(b, b.add(y, b.mul(o, I64(item))), value, kind, unit)
                return []

            emit.loop(b, first, last, 1, [], one)

        length, kept, begin = word("length"), word("kept"), word("begin")
        y = b.add(word("y"), b.mul(b.mul(row, length), I64(item)))
        first = b.add(y, b.mul(begin, I64(item)))
        x, outside = b.add(word("x"), word("x_offset")), None
        index = emit.unravel(b, row, [word(f"size_{d}") for d in range(1, OUTER)])
        for d, o in enumerate(index):
            i = b.sub(o, word(f"begin_{d}"))
            if mode == "constant":
                beyond = b.icmp_unsigned(">=", i, word(f"kept_{d}"))
                outside = beyond if outside is None else b.or_(outside, beyond)
            else:
                i = mapped(b, i, word(f"kept_{d}"))
            x = b.add(x, b.mul(i, word(f"step_{d}")))

        def repeat():
            """What is there from ``begin`` on is doubled until the row is full."""

            def double(_, found):
                done = found[0]
                left = b.sub(b.sub(length, begin), done)
                count = b.select(b.icmp_signed("<", done, left), done, left)
                target = b.add(first, b.mul(done, I64(item)))
                emit.copy_bytes(b, target, first, b.mul(count, I64(item)), lanes)
                return [b.add(done, count)]

            # The number of steps is that of the bits in which length and kept differ, at most.
            ratio = b.udiv(b.sub(b.sub(length, begin), I64(1)), kept)
            steps = b.sub(I64(64), emit.call(b, "ctlz", ratio, ir.Constant(ir.IntType(1), 0)))
            emit.loop(b, I64(0), steps, 1, [kept], double)

        def inside():
            edge, behind = fill if mode == "constant" else border, b.add(begin, kept)
            edge(I64(0), begin)
            emit.copy_bytes(b, first, x, b.mul(kept, I64(item)), lanes)
            if mode == "wrap":
                repeat()
            else:
                edge(behind, length)

        if outside is None:
            inside()
        else:
            with b.if_else(outside) as (beyond, within):
                with beyond:
                    fill(I64(0), length)
                with within:
                    inside()

    return emit.emitted("padded_row", 2, code)


def build(mode: str, size: int, unit: int, lanes: int):
    from cnncc.runtime.cpu.emit import smaller
    from cnncc.runtime.cpu.memory_access import load_i64

    padded_row = _emit_row(mode, size, unit, lanes)
    first = 8 * len(OPERANDS)

    def pad(args, begin, end):
        rows, task_rows = load_i64(args + first), load_i64(args + first + 8)
        for row in range(begin * task_rows, smaller(rows, end * task_rows)):
            padded_row(args, row)

    return pad


KERNEL = Kernel("pad", OPERANDS, DIMS, build)
