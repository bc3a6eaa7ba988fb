"""Gathering runs of bytes by indices that are known at run time only: y[o, i] = x[o, indices[i]].

Negative indices count from the end; what is still outside the axis is clamped to it, so that nothing else is read.
"""

from cnncc.runtime.cpu.elements import SIZES
from cnncc.runtime.cpu.kernel import Kernel, Launch, ceil_div, make_params

OPERANDS = ("x", "indices", "y")
DIMS = ("axis", "count", "run", "rows", "task_rows")
TASK_BYTES = 64 << 10


def launch(outer: int, axis: int, count: int, run: int, dtype: str, lanes: int) -> Launch:
    """The step for x [outer, axis, run bytes] and ``count`` indices of type i32 or i64."""
    rows = outer * count
    task_rows = max(1, TASK_BYTES // max(1, run))
    tasks = ceil_div(rows, task_rows) if run and axis else 0
    return Launch(
        KERNEL, make_params(dtype=dtype, lanes=lanes), (axis, count, run, rows, task_rows), tasks,
        reads={"x": (0, outer * axis * run), "indices": (0, count * SIZES[dtype])}, writes={"y": (0, rows * run)},
    )  # fmt: skip


def build(dtype: str, lanes: int):
    from cnncc.runtime.cpu.elements import access
    from cnncc.runtime.cpu.emit import copy_bytes, emitted, larger, quotient, remainder, smaller
    from cnncc.runtime.cpu.memory_access import load_i64

    move = emitted("move", 3, lambda context, b, target, source, count: copy_bytes(b, target, source, count, lanes))
    load_index, _ = access(dtype)
    item = SIZES[dtype]

    def gather(args, begin, end):
        x, indices, y = load_i64(args), load_i64(args + 8), load_i64(args + 16)
        axis, count, run = load_i64(args + 24), load_i64(args + 32), load_i64(args + 40)
        rows, task_rows = load_i64(args + 48), load_i64(args + 56)
        for row in range(begin * task_rows, smaller(rows, end * task_rows)):
            index = load_index(indices + item * remainder(row, count))
            if index < 0:
                index += axis
            index = smaller(axis - 1, larger(0, index))
            move(y + row * run, x + (quotient(row, count) * axis + index) * run, run)

    return gather


KERNEL = Kernel("gather", OPERANDS, DIMS, build)
