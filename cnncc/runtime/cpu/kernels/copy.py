"""Copies between strided views: any order of up to eight axes, any steps, of elements of 1, 2, 4 or 8 bytes.

After neighbouring axes are merged there are five forms, by what the last axis of the target does in the source:

- runs: it is contiguous there too, and is copied by vectors;
- transpose: another axis is contiguous there; tiles of both are transposed, in registers for 4 bytes;
- weave, unweave: the same where the last axis, or the other, has two to four elements and both together are contiguous
  (colours of pixels, say): vectors of the longer axis are shuffled;
- strided: no axis is contiguous (a slice with steps), and elements are copied one by one.
"""

from collections.abc import Sequence

from cnncc.records import record
from cnncc.runtime.cpu.kernel import Kernel, Launch, ceil_div, make_params

OPERANDS = ("x", "y")
OUTER = 6
DIMS = (
    "rows", "chunk", "pieces", "task_rows", "inner", "x_step", "across", "y_across", "x_offset", "y_offset",
    *(f"size_{d}" for d in range(1, OUTER)), *(f"x_{d}" for d in range(OUTER)), *(f"y_{d}" for d in range(OUTER)),
)  # fmt: skip
TASK_BYTES = 64 << 10
WAYS = (2, 3, 4)
PAIRS = ("transpose", "weave", "unweave")  # forms over two axes at once


@record
class Axis:
    """``size`` elements, ``x`` apart in the source and ``y`` in the target."""

    size: int
    x: int
    y: int


def contiguous(shape: Sequence[int]) -> list[int]:
    """Elements from one index to the next along each axis of a plain tensor."""
    steps: list[int] = []
    step = 1
    for size in reversed(shape):
        steps.insert(0, step)
        step *= size
    return steps


def merge(axes: Sequence[Axis]) -> list[Axis]:
    """Axes without those of size 1; neighbours that both sides walk evenly over become one."""
    out: list[Axis] = []
    for axis in axes:
        if axis.size == 1:
            continue
        if out and out[-1].x == axis.x * axis.size and out[-1].y == axis.y * axis.size:
            out[-1] = Axis(out[-1].size * axis.size, axis.x, axis.y)
        else:
            out.append(axis)
    return out or [Axis(1, 1, 1)]


def supports(axes: Sequence[Axis]) -> bool:
    """Whether the axes, in the target's order, are few enough."""
    merged = merge(axes)
    return len(merged) - 1 - (_form(merged) in PAIRS) <= OUTER


def _form(axes: Sequence[Axis]) -> str:
    if axes[-1].x == 1:
        return "runs"
    across = next((a for a in axes if a.x == 1), None)
    if across is None:
        return "strided"
    if axes[-1].size in WAYS and across.y == axes[-1].size:
        return "weave"
    return "unweave" if across.size in WAYS and axes[-1].x == across.size else "transpose"


def launch(axes: Sequence[Axis], size: int, lanes: int, x_offset: int = 0, y_offset: int = 0) -> Launch:
    """The step that copies elements of ``size`` bytes; ``axes`` are in the target's order, the last one contiguous
    there. Offsets are the elements before the first one that is copied."""
    merged = merge(axes)
    form = _form(merged)
    inner = merged.pop()
    if inner.y != 1 and inner.size > 1:
        raise ValueError("the last axis of a copy must be contiguous in the target")
    across = merged.pop(next(i for i, a in enumerate(merged) if a.x == 1)) if form in PAIRS else Axis(1, 1, 1)
    if len(merged) > OUTER:
        raise ValueError(f"a copy of {len(merged) + 1} axes")
    rows = 1
    for axis in merged:
        rows *= axis.size
    # What a row is cut into: bytes of a run, elements of the inner axis, or of the one across.
    length, unit = {
        "runs": (inner.size * size, 1), "strided": (inner.size, size), "unweave": (inner.size, across.size * size),
    }.get(form, (across.size, inner.size * size))  # fmt: skip
    chunk = max(lanes, TASK_BYTES // max(1, unit) // lanes * lanes)
    pieces = ceil_div(length, chunk)
    task_rows = max(1, TASK_BYTES // max(1, length * unit)) if pieces == 1 else 1
    outer = [Axis(1, 0, 0)] * (OUTER - len(merged)) + merged
    dims = (
        rows, chunk, pieces, task_rows, inner.size * (size if form == "runs" else 1), inner.x * size, across.size,
        across.y * size, x_offset * size, y_offset * size, *(a.size for a in outer[1:]), *(a.x * size for a in outer),
        *(a.y * size for a in outer),
    )  # fmt: skip
    everything = [*merged, across, inner]
    empty = any(a.size == 0 for a in everything)
    ways = {"weave": inner.size, "unweave": across.size}.get(form, 0)
    params = make_params(form=form, size=1 if form == "runs" else size, lanes=lanes, ways=ways)
    return Launch(
        KERNEL, params, dims, 0 if empty else ceil_div(rows, task_rows) * pieces,
        reads={"x": _extent(everything, "x", x_offset, size, empty)},
        writes={"y": _extent(everything, "y", y_offset, size, empty)},
    )  # fmt: skip


def _extent(axes: Sequence[Axis], side: str, offset: int, size: int, empty: bool) -> tuple[int, int]:
    """The bytes from the first to the last element that a side touches."""
    reach = [(a.size - 1) * getattr(a, side) for a in axes]
    low, high = sum(min(r, 0) for r in reach), sum(max(r, 0) for r in reach)
    return (0, 0) if empty else ((offset + low) * size, (offset + high + 1) * size)


def _emit(form: str, size: int, lanes: int, ways: int):
    """The intrinsic (args, row, start, stop): a piece of a row, a run or a pair of axes."""
    from cnncc.runtime.cpu import emit
    from cnncc.runtime.cpu.simd import I64
    from cnncc.runtime.cpu.transpose import emit_transpose

    kind = {1: "u8", 2: "u16", 4: "u32", 8: "u64"}[size]

    def code(context, b, args, row, start, stop):
        words = emit.words(b, args, (*OPERANDS, *DIMS))

        def word(name):
            return words(name).v

        index = emit.unravel(b, row, [word(f"size_{d}") for d in range(1, OUTER)])
        ends = {}
        for side in OPERANDS:
            at = b.add(word(side), word(f"{side}_offset"))
            for d, i in enumerate(index):
                at = b.add(at, b.mul(i, word(f"{side}_{d}")))
            ends[side] = at
        x, y, x_step, y_across, inner = ends["x"], ends["y"], word("x_step"), word("y_across"), word("inner")

        def element(source, target):
            emit.store(b, target, emit.load(b, source, kind, 1), kind, 1)

        def line(source, target, first, last):
            def one(i, _):
                element(b.add(source, b.mul(i, x_step)), b.add(target, b.mul(i, I64(size))))
                return []

            emit.loop(b, first, last, 1, [], one)

        def least(i, end):
            left = b.sub(end, i)
            return b.select(b.icmp_signed("<", left, I64(lanes)), left, I64(lanes))

        def tiles(p, _):
            """The elements p .. of the axis across (contiguous in the source), against all of the inner axis."""
            source, target, width = b.add(x, b.mul(p, I64(size))), b.add(y, b.mul(p, y_across)), least(p, stop)

            def tile(q, _):
                from_, to, count = b.add(source, b.mul(q, x_step)), b.add(target, b.mul(q, I64(size))), least(q, inner)
                if size == 4:
                    emit_transpose(b, from_, x_step, count, width, to, y_across, count, lanes)
                    return []

                def column(i, _):
                    line(b.add(from_, b.mul(i, I64(size))), b.add(to, b.mul(i, y_across)), I64(0), count)
                    return []

                emit.loop(b, I64(0), width, 1, [], column)
                return []

            emit.loop(b, I64(0), inner, lanes, [], tile)
            return []

        def woven(n, _):
            """Elements n .. of the longer axis."""
            packed, rows, step = (y, x, x_step) if form == "weave" else (x, y, y_across)
            packed = b.add(packed, b.mul(n, I64(size * ways)))
            rows = [b.add(b.add(rows, b.mul(n, I64(size))), b.mul(step, I64(w))) for w in range(ways)]
            packed = [b.add(packed, I64(size * lanes * v)) for v in range(ways)]
            sources, targets = (rows, packed) if form == "weave" else (packed, rows)
            values = [emit.load(b, at, kind, lanes) for at in sources]
            for v, at in enumerate(targets):
                emit.store(b, at, _shuffled(b, values, v, form, lanes), kind, lanes)
            return []

        def singly(n, _):
            for w in range(ways):
                packed, row = b.mul(b.add(b.mul(n, I64(ways)), I64(w)), I64(size)), b.mul(n, I64(size))
                if form == "weave":
                    element(b.add(b.add(x, row), b.mul(x_step, I64(w))), b.add(y, packed))
                else:
                    element(b.add(x, packed), b.add(b.add(y, row), b.mul(y_across, I64(w))))
            return []

        if form in ("weave", "unweave"):
            whole = b.sub(stop, b.urem(b.sub(stop, start), I64(lanes)))
            emit.loop(b, start, whole, lanes, [], woven)
            emit.loop(b, whole, stop, 1, [], singly)
        elif form == "runs":
            emit.copy_bytes(b, b.add(y, start), b.add(x, start), b.sub(stop, start), lanes)
        elif form == "strided":
            line(x, y, start, stop)
        else:
            emit.loop(b, start, stop, lanes, [], tiles)

    return emit.emitted("piece", 4, code)


def _shuffled(b, values, number: int, form: str, lanes: int):
    """Vector ``number`` of the woven or unwoven vectors."""
    from llvmlite import ir

    from cnncc.runtime.cpu.simd import I32

    ways = len(values)
    if form == "weave":
        places = [divmod(number * lanes + i, ways)[::-1] for i in range(lanes)]  # (row, element)
    else:
        places = [divmod(i * ways + number, lanes) for i in range(lanes)]  # (vector, element)
    out = values[0]
    for source, value in enumerate(values):
        order = [
            lanes + element if row == source else (element if source == 0 else i)
            for i, (row, element) in enumerate(places)
        ]
        out = b.shuffle_vector(out, value, ir.Constant(ir.VectorType(I32, lanes), order))
    return out


def build(form: str, size: int, lanes: int, ways: int):
    from cnncc.runtime.cpu.emit import quotient, remainder, smaller
    from cnncc.runtime.cpu.memory_access import load_i64

    copy_piece = _emit(form, size, lanes, ways)
    first = 8 * len(OPERANDS)
    LENGTH = 8 * (len(OPERANDS) + DIMS.index("across" if form in ("transpose", "weave") else "inner"))

    def copy(args, begin, end):
        rows, chunk, pieces = load_i64(args + first), load_i64(args + first + 8), load_i64(args + first + 16)
        task_rows, length = load_i64(args + first + 24), load_i64(args + LENGTH)
        for task in range(begin, end):
            top = quotient(task, pieces) * task_rows
            start = remainder(task, pieces) * chunk
            stop = smaller(length, start + chunk)
            for row in range(top, smaller(rows, top + task_rows)):
                copy_piece(args, row, start, stop)

    return copy


KERNEL = Kernel("copy", OPERANDS, DIMS, build)
