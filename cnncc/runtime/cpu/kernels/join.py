"""Putting up to 64 parts together along an axis (concat), or taking a whole apart (split).

Whole and parts are plain, or blocked with parts of whole blocks: either way row r of the whole is row r of each part in
turn, a row being everything from the axis on. A part that already lies in its place within the whole is not copied.
"""

from collections.abc import Sequence

from cnncc.runtime.cpu.kernel import Kernel, Launch, ceil_div, make_params

MAX_PARTS = 64
PARTS = tuple(f"part_{i}" for i in range(MAX_PARTS))
OPERANDS = ("whole", *PARTS)
DIMS = (
    "row", *(f"run_{i}" for i in range(MAX_PARTS)), *(f"offset_{i}" for i in range(MAX_PARTS)),
    *(f"bytes_{i}" for i in range(MAX_PARTS)), *(f"task_{i}" for i in range(MAX_PARTS + 1)),
)  # fmt: skip
TASK_BYTES = 64 << 10


def launch(direction: str, rows: int, runs: Sequence[int], lanes: int) -> Launch:
    """The step for ``rows`` rows, of which each part has ``runs`` bytes; ``direction`` is concat or split."""
    missing = MAX_PARTS - len(runs)
    offsets, tasks = [0], [0]
    for run in runs:
        offsets.append(offsets[-1] + run)
        tasks.append(tasks[-1] + ceil_div(rows * run, TASK_BYTES))
    padding = (0,) * missing
    dims = (
        offsets[-1], *runs, *padding, *offsets[:-1], *padding, *(rows * run for run in runs), *padding,
        *tasks, *(tasks[-1],) * missing,
    )  # fmt: skip
    parts = {name: (0, rows * run) for name, run in zip(PARTS, runs, strict=False)}
    whole = {"whole": (0, rows * offsets[-1])}
    reads, writes = (parts, whole) if direction == "concat" else (whole, parts)
    return Launch(
        KERNEL, make_params(direction=direction, lanes=lanes), dims, tasks[-1], reads=reads, writes=writes
    )  # fmt: skip


def build(direction: str, lanes: int):
    from cnncc.runtime.cpu.emit import copy_bytes, emitted, quotient, remainder, smaller
    from cnncc.runtime.cpu.memory_access import load_i64

    move = emitted("move", 3, lambda context, b, target, source, count: copy_bytes(b, target, source, count, lanes))
    word = {name: 8 * i for i, name in enumerate((*OPERANDS, *DIMS))}
    PART, RUN, OFFSET, BYTES, TASK = (word[f"{n}_0"] for n in ("part", "run", "offset", "bytes", "task"))
    ROW, joins = word["row"], direction == "concat"

    def join(args, begin, end):
        whole, row, k = load_i64(args), load_i64(args + ROW), 0
        for task in range(begin, end):
            while task >= load_i64(args + TASK + 8 * k + 8):
                k += 1
            part, run = load_i64(args + PART + 8 * k), load_i64(args + RUN + 8 * k)
            place = whole + load_i64(args + OFFSET + 8 * k)
            if part != place:
                at = (task - load_i64(args + TASK + 8 * k)) * TASK_BYTES
                stop = smaller(load_i64(args + BYTES + 8 * k), at + TASK_BYTES)
                while at < stop:
                    within = remainder(at, run)
                    there = place + quotient(at, run) * row + within
                    count = smaller(run - within, stop - at)
                    if joins:
                        move(there, part + at, count)
                    else:
                        move(part + at, there, count)
                    at += count

    return join


KERNEL = Kernel("join", OPERANDS, DIMS, build)
