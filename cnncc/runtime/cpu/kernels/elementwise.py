"""Elementwise operations of up to eight operands: each output element depends on one element of each operand.

The output is seen as rows: up to five outer axes, and a contiguous inner one that is cut into vectors. Along it an
operand is a STREAM of elements like the output's, or one value for the whole row: a SPLAT of one element, or, in NCHWc,
a VECTOR of the numbers of one block of channels. Either of these is put into a small buffer that is read again and
again, so that one inner loop serves all combinations.
"""

import math
from collections.abc import Sequence

from cnncc.records import record
from cnncc.runtime.cpu.elements import SIZES
from cnncc.runtime.cpu.kernel import Kernel, Launch, ceil_div, float_word, make_params

STREAM, SPLAT, VECTOR = range(3)
INPUTS = ("a", "b", "c", "d", "e", "f", "g", "h")
OPERANDS = (*INPUTS, "y")
OUTER = 5
OPERAND_WORDS = ("mode", "limit", *(f"step_{d}" for d in range(OUTER)))
DIMS = (
    "rows", "inner", "chunk", "pieces", "task_rows", *(f"size_{d}" for d in range(1, OUTER)), "p", "q",
    *(f"{word}_{name}" for name in INPUTS for word in OPERAND_WORDS),
)  # fmt: skip
TASK_ELEMENTS = 16 << 10


@record
class Walk:
    """How an operand is read: its mode, its steps along the outer axes and all it has, in elements of its own.

    ``limit`` (of a VECTOR) is how many numbers the last outer axis runs over, ``lanes`` in each step but the last.
    """

    mode: int
    steps: tuple[int, ...]
    size: int
    limit: int = 0


@record
class View:
    """The output's outer axes and its inner one, and the operands' walks."""

    outer: tuple[int, ...]
    inner: int
    operands: tuple[Walk, ...]


def plain_view(shapes: Sequence[tuple[int, ...]], shape: tuple[int, ...]) -> View | None:
    """Plain operands broadcast to ``shape``; None where more than six axes remain after merging neighbours."""
    axes: list[tuple[int, tuple[int, ...]]] = []
    steps = [_broadcast_steps(s, shape) for s in shapes]
    for size, *at in zip(shape, *steps, strict=True):
        if size == 1:
            continue
        if axes and all(before == size * here for before, here in zip(axes[-1][1], at, strict=True)):
            axes[-1] = (axes[-1][0] * size, tuple(at))
        else:
            axes.append((size, tuple(at)))
    if len(axes) > OUTER + 1:
        return None
    inner, inner_steps = axes.pop() if axes else (1, (1,) * len(shapes))
    walks = (
        Walk(STREAM if last else SPLAT, tuple(at[k] for _, at in axes), math.prod(s))
        for k, (s, last) in enumerate(zip(shapes, inner_steps, strict=True))
    )
    return View(tuple(size for size, _ in axes), inner, tuple(walks))


def _broadcast_steps(shape: tuple[int, ...], target: tuple[int, ...]) -> list[int]:
    """Elements from one index to the next along each axis of ``target``, 0 where the operand is broadcast."""
    padded = (1,) * (len(target) - len(shape)) + shape
    pairs = zip(padded, target, strict=True)
    return [0 if n == 1 and t != 1 else math.prod(padded[i + 1 :]) for i, (n, t) in enumerate(pairs)]


def blocked_view(operands: Sequence[tuple[tuple[int, ...], bool]], shape: tuple[int, ...], lanes: int) -> View:
    """Operands (shape, stored blocked?) of a blocked output [N, C, *spatial].

    Each is blocked and of the output's shape (N may be 1), or is [N or 1, C or 1] with spatial axes of size 1 or none.
    """
    images, channels, pixels = shape[0], shape[1], math.prod(shape[2:])
    blocks = ceil_div(channels, lanes)
    if all(s == shape and is_blocked for s, is_blocked in operands):
        total = images * blocks * pixels * lanes
        return View((), total, (Walk(STREAM, (), total),) * len(operands))
    walks = []
    for own, is_blocked in operands:
        padded = (1,) * (len(shape) - len(own)) + own
        if padded[1:] == shape[1:] and is_blocked:
            image_size = blocks * pixels * lanes
            image_step = image_size if padded[0] > 1 else 0
            walks.append(Walk(STREAM, (image_step, pixels * lanes), padded[0] * image_size))
            continue
        stored = ceil_div(padded[1], lanes) * lanes if is_blocked else padded[1]
        image_step = stored if padded[0] > 1 else 0
        if padded[1] == channels:
            walks.append(Walk(VECTOR, (image_step, lanes), padded[0] * stored, padded[1]))
        else:
            walks.append(Walk(SPLAT, (image_step, 0), padded[0] * stored))
    return View((images, blocks), pixels * lanes, tuple(walks))


def launch(
    formula: str, types: Sequence[str], result: str, lanes: int, view: View, p: float = 0.0, q: float = 0.0
) -> Launch:
    """The step of a formula (see formulas.py) of operands of these types; ``p`` and ``q`` are its parameters."""
    rows = math.prod(view.outer)
    if view.inner > TASK_ELEMENTS:
        chunk, task_rows = TASK_ELEMENTS, 1
    else:
        chunk, task_rows = max(1, view.inner), max(1, TASK_ELEMENTS // max(1, view.inner))
    pieces = ceil_div(view.inner, chunk)
    missing = OUTER - len(view.outer)
    sizes = (1,) * missing + view.outer
    dims = [rows, view.inner, chunk, pieces, task_rows, *sizes[1:], float_word(p), float_word(q)]
    reads = {}
    for name, dtype, walk in zip(INPUTS, types, view.operands, strict=False):
        steps = (0,) * missing + walk.steps
        dims += [walk.mode, walk.limit, *(step * SIZES[dtype] for step in steps)]
        reads[name] = (0, walk.size * SIZES[dtype])
    dims += [0] * (len(DIMS) - len(dims))
    params = make_params(formula=formula, types=",".join(types), result=result, lanes=lanes)
    tasks = ceil_div(rows, task_rows) * pieces
    return Launch(
        KERNEL, params, tuple(dims), tasks, reads=reads, writes={"y": (0, rows * view.inner * SIZES[result])}
    )  # fmt: skip


def _emit_row(formula: str, types: tuple[str, ...], result: str, lanes: int):
    """The intrinsic (args, row, start, count): elements start .. start+count-1 of one row."""
    from llvmlite import ir

    from cnncc.runtime.cpu import emit
    from cnncc.runtime.cpu.formulas import FORMULAS, Code
    from cnncc.runtime.cpu.simd import F32, I32, I64

    def code(context, b, args, row, start, count):
        words = emit.words(b, args, (*OPERANDS, *DIMS))

        def word(name):
            return words(name).v

        def operand(name, dtype, index):
            """Where the operand begins, and the bytes from one vector to the next."""
            item, mode, at = SIZES[dtype], word(f"mode_{name}"), word(name)
            for d, i in enumerate(index):
                at = b.add(at, b.mul(i, word(f"step_{d}_{name}")))
            with b.goto_entry_block():
                buffer = b.alloca(ir.ArrayType(ir.IntType(8), lanes * item))
                buffer.align = 64
            buffer = b.ptrtoint(buffer, I64)
            with b.if_then(b.icmp_signed("==", mode, I64(SPLAT))):
                one = emit.load(b, at, dtype, 1)
                emit.store(b, buffer, emit.spread(b, one, lanes), dtype, lanes)
            with b.if_then(b.icmp_signed("==", mode, I64(VECTOR))):
                left = b.sub(word(f"limit_{name}"), b.mul(index[-1], I64(lanes)))
                some = emit.load(b, at, dtype, lanes, emit.first_lanes(b, left, lanes))
                emit.store(b, buffer, some, dtype, lanes)
            flows = b.icmp_signed("==", mode, I64(STREAM))
            at = b.select(flows, b.add(at, b.mul(start, I64(item))), buffer)
            return at, b.select(flows, I64(lanes * item), I64(0))

        def compute(places, mask=None):
            values = [emit.load(b, at, t, lanes, mask) for at, t in zip(places, types, strict=False)]
            emit.store(b, places[-1], FORMULAS[formula](where, *values), result, lanes, mask)

        def body(_, places):
            compute(places)
            return [b.add(at, step) for at, step in zip(places, steps, strict=True)]

        p, q = (b.bitcast(b.trunc(word(name), I32), F32) for name in ("p", "q"))
        where = Code(context, b, types, result, lanes, p, q)
        index = emit.unravel(b, row, [word(f"size_{d}") for d in range(1, OUTER)])
        walks = [operand(name, dtype, index) for name, dtype in zip(INPUTS, types, strict=False)]
        to = b.add(word("y"), b.mul(b.add(b.mul(row, word("inner")), start), I64(SIZES[result])))
        steps = [*(step for _, step in walks), I64(lanes * SIZES[result])]
        rest = b.urem(count, I64(lanes))
        places = emit.loop(b, rest, count, lanes, [*(at for at, _ in walks), to], body)
        with b.if_then(b.icmp_signed(">", rest, I64(0))):
            compute(places, emit.first_lanes(b, rest, lanes))

    return emit.emitted("row", 4, code)


def build(formula: str, types: str, result: str, lanes: int):
    from cnncc.runtime.cpu.emit import quotient, remainder, smaller
    from cnncc.runtime.cpu.memory_access import load_i64

    compute = _emit_row(formula, tuple(types.split(",")), result, lanes)
    first = 8 * len(OPERANDS)

    def elementwise(args, begin, end):
        rows, inner, chunk = load_i64(args + first), load_i64(args + first + 8), load_i64(args + first + 16)
        pieces, task_rows = load_i64(args + first + 24), load_i64(args + first + 32)
        for task in range(begin, end):
            top = quotient(task, pieces) * task_rows
            start = remainder(task, pieces) * chunk
            count = smaller(chunk, inner - start)
            for row in range(top, smaller(rows, top + task_rows)):
                compute(args, row, start, count)

    return elementwise


KERNEL = Kernel("elementwise", OPERANDS, DIMS, build)
