"""ReverseSequence: the first ``lengths[b]`` of the times of a sequence in reverse, the others as they are.

A task is some of the places [time, batch] (or [batch, time] with ``batch_first``), each of ``run`` bytes. Lengths are
clamped to the times there are.
"""

from cnncc.runtime.cpu.kernel import Kernel, Launch, ceil_div, make_params

OPERANDS = ("x", "lengths", "y")
DIMS = ("times", "batch", "batch_first", "run", "task_rows")
TASK_BYTES = 64 << 10


def launch(times: int, batch: int, batch_first: bool, run: int, lanes: int) -> Launch:
    rows, task_rows = times * batch, max(1, TASK_BYTES // max(1, run))
    return Launch(
        KERNEL, make_params(lanes=lanes), (times, batch, int(batch_first), run, task_rows), ceil_div(rows, task_rows),
        reads={"x": (0, rows * run), "lengths": (0, 8 * batch)}, writes={"y": (0, rows * run)},
    )  # fmt: skip


def build(lanes: int):
    from cnncc.runtime.cpu.emit import copy_bytes, emitted
    from cnncc.runtime.cpu.memory_access import load_i64, load_words

    move = emitted("move", 3, lambda context, b, target, source, count: copy_bytes(b, target, source, count, lanes))
    words = len(OPERANDS) + len(DIMS)

    def reverse_sequence(args, begin, end):
        x, lengths, y, times, batch, batch_first, run, task_rows = load_words(args, words)
        step, across = (1, times) if batch_first != 0 else (batch, 1)  # rows between times, and between sequences
        for row in range(begin * task_rows, min(times * batch, end * task_rows)):
            time, member = (row % times, row // times) if batch_first != 0 else (row // batch, row % batch)
            length = min(load_i64(lengths + 8 * member), times)
            if time < length:
                time = length - 1 - time
            move(y + row * run, x + (time * step + member * across) * run, run)

    return reverse_sequence


KERNEL = Kernel("reverse_sequence", OPERANDS, DIMS, build)
