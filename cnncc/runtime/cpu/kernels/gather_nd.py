"""GatherND and ScatterND: runs of bytes read from, or written to, places that indices name at run time.

The last axis of the indices, ``depth`` numbers, names a place along as many axes of the data: axis j has ``size_j``
places, ``step_j`` bytes apart. Negative indices count from the end; what is still outside an axis is clamped to it.
A scatter is one task, for of updates of one place the last one counts; its output may lie on the data.
"""

from collections.abc import Sequence

from cnncc.runtime.cpu.elements import SIZES
from cnncc.runtime.cpu.kernel import Kernel, Launch, ceil_div, make_params

MOST_DEPTH = 6
OPERANDS, SCATTER_OPERANDS = ("x", "indices", "y"), ("x", "indices", "updates", "y")
_AXES = (*(f"size_{j}" for j in range(MOST_DEPTH)), *(f"step_{j}" for j in range(MOST_DEPTH)))
DIMS = ("depth", "run", "rows", "batch_rows", "batch_bytes", "task_rows", *_AXES)
SCATTER_DIMS = ("depth", "run", "rows", "bytes", *_AXES)
TASK_BYTES = 64 << 10


def launch(batch: int, rows: int, sizes: Sequence[int], run: int, dtype: str, lanes: int) -> Launch:
    """The step for x [batch, *sizes, run bytes] and indices [batch, rows, depth] of type i32 or i64."""
    steps = _steps(sizes, run)
    task_rows = max(1, TASK_BYTES // max(1, run + 32))
    batch_bytes, all_rows = steps[0] * sizes[0], batch * rows
    dims = (len(sizes), run, all_rows, rows, batch_bytes, task_rows, *_padded(sizes), *_padded(steps))
    return Launch(
        GATHER, make_params(dtype=dtype, lanes=lanes), dims, ceil_div(all_rows, task_rows) if batch_bytes else 0,
        reads={"x": (0, batch * batch_bytes), "indices": (0, all_rows * len(sizes) * SIZES[dtype])},
        writes={"y": (0, all_rows * run)},
    )  # fmt: skip


def launch_scatter(rows: int, sizes: Sequence[int], run: int, dtype: str, lanes: int) -> Launch:
    """The step for x [*sizes, run bytes], indices [rows, depth] and updates [rows, run bytes]."""
    steps = _steps(sizes, run)
    size = steps[0] * sizes[0]
    return Launch(
        SCATTER, make_params(dtype=dtype, lanes=lanes), (len(sizes), run, rows, size, *_padded(sizes), *_padded(steps)),
        1 if size else 0, reads={"x": (0, size), "indices": (0, rows * len(sizes) * SIZES[dtype]),
                                 "updates": (0, rows * run)}, writes={"y": (0, size)},
    )  # fmt: skip


def _steps(sizes: Sequence[int], run: int) -> list[int]:
    """Bytes between neighbours along each axis."""
    steps = [run]
    for size in reversed(sizes[1:]):
        steps.insert(0, steps[0] * size)
    return steps


def _padded(values: Sequence[int]) -> tuple[int, ...]:
    return (*values, *(0,) * (MOST_DEPTH - len(values)))


def _place(dtype: str, first: int):
    """``place(args, indices, depth)``: how far from the data's start a run lies; ``first``: the word of size_0."""
    from numba.extending import register_jitable

    from cnncc.runtime.cpu.elements import access
    from cnncc.runtime.cpu.memory_access import load_i64

    load_index, item, sizes = access(dtype)[0], SIZES[dtype], 8 * first
    steps = sizes + 8 * MOST_DEPTH

    @register_jitable
    def place(args, indices, depth):
        at = 0
        for j in range(depth):
            size, index = load_i64(args + sizes + 8 * j), load_index(indices + item * j)
            if index < 0:
                index += size
            at += min(max(index, 0), size - 1) * load_i64(args + steps + 8 * j)
        return at

    return place


def build(dtype: str, lanes: int):
    from cnncc.runtime.cpu.emit import copy_bytes, emitted
    from cnncc.runtime.cpu.memory_access import load_words

    move = emitted("move", 3, lambda context, b, target, source, count: copy_bytes(b, target, source, count, lanes))
    words, item = len(OPERANDS) + 6, SIZES[dtype]
    place = _place(dtype, words)

    def gather_nd(args, begin, end):
        x, indices, y, depth, run, rows, batch_rows, batch_bytes, task_rows = load_words(args, words)
        for row in range(begin * task_rows, min(rows, end * task_rows)):
            source = x + row // batch_rows * batch_bytes
            move(y + row * run, source + place(args, indices + row * depth * item, depth), run)

    return gather_nd


def build_scatter(dtype: str, lanes: int):
    from cnncc.runtime.cpu.emit import copy_bytes, emitted
    from cnncc.runtime.cpu.memory_access import load_words

    move = emitted("move", 3, lambda context, b, target, source, count: copy_bytes(b, target, source, count, lanes))
    words, item = len(SCATTER_OPERANDS) + 4, SIZES[dtype]
    place = _place(dtype, words)

    def scatter_nd(args, begin, end):
        x, indices, updates, y, depth, run, rows, size = load_words(args, words)
        for _ in range(begin, end):
            if x != y:
                move(y, x, size)
            for row in range(rows):
                move(y + place(args, indices + row * depth * item, depth), updates + row * run, run)

    return scatter_nd


GATHER = Kernel("gather_nd", OPERANDS, DIMS, build)
SCATTER = Kernel("scatter_nd", SCATTER_OPERANDS, SCATTER_DIMS, build_scatter)
