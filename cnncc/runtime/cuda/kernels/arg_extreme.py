"""The place of the largest or smallest element along the axis of [outer, axis, inner].

With inner 1 a team of threads has a row, whose finds are compared by shuffles; otherwise a thread has a column.
"""

from __future__ import annotations

from cnncc.runtime.cpu.elements import SIZES
from cnncc.runtime.cuda.kernel import Kernel, Launch, Work, make_params, simple
from cnncc.runtime.cuda.team import BLOCK, WARP, arrange

__all__ = ["KERNEL", "launch"]


def launch(outer: int, axis: int, inner: int, kind: str, last: bool, dtype: str) -> Launch:
    """The step; ``kind`` is max or min, and of equal elements the first or the ``last`` counts."""
    item, rows, size = SIZES[dtype], outer * inner, outer * axis * inner
    team = WARP if inner == 1 else 1
    params = make_params(kind=kind, last=int(last), dtype=dtype, team=team)
    return simple(KERNEL, params, (rows, axis, inner), *arrange(rows, team), work=Work(size, item * size + 8 * rows),
                  reads={"x": (0, item * size)}, writes={"y": (0, 8 * rows)})


def build(kind: str, last: int, dtype: str, team: int):
    from cnncc.runtime.cuda.indexing import element, quotient, remainder, whole
    from cnncc.runtime.cuda.language import cuda, device
    from cnncc.runtime.cuda.reduction import ACCUMULATORS

    number, largest = ACCUMULATORS[dtype], kind == "max"

    @device
    def beyond(value, best):
        return value > best if largest else value < best

    @device
    def wins(value, place, best, at):
        """Whether the element `value` at `place` is taken rather than `best` at `at`; a NaN is beyond all else."""
        equal = value == best or (value != value and best != best)
        if equal:
            return place > at if last else place < at
        return beyond(value, best) or (value != value and best == best)

    @device
    def search(x, first, start, axis, step):
        """The best of every `team`-th element from `start` on, `step` apart, and its place."""
        best, place = number(x[first + start * step]), start
        for i in range(start + team, axis, team):
            value = number(x[first + i * step])
            if wins(value, i, best, place):
                best, place = value, i
        return best, place

    def columns(x, y, rows, axis, inner):
        at = element()
        if at < rows:
            first = whole(quotient(at, inner) * axis * inner + remainder(at, inner))
            _, place = search(x, first, 0, axis, inner)
            y[at] = place

    def together(x, y, rows, axis, inner):
        at = whole(cuda.blockIdx.x * cuda.blockDim.y + cuda.threadIdx.y)
        lane = min(cuda.threadIdx.x, axis - 1)  # lanes without elements of their own look at the last one
        best, place = search(x, whole(min(at, rows - 1) * axis), lane, axis, 1)
        for step in (16, 8, 4, 2, 1):
            other, there = cuda.shfl_xor_sync(0xFFFFFFFF, best, step), cuda.shfl_xor_sync(0xFFFFFFFF, place, step)
            if wins(other, there, best, place):
                best, place = other, there
        if at < rows and cuda.threadIdx.x == 0:
            y[at] = place

    return columns if team == 1 else together


KERNEL = Kernel("arg_extreme", ("x", "y"), ("rows", "axis", "inner"), build,
                elements=lambda kind, last, dtype, team: {"x": dtype, "y": "i64"}, threads=lambda **_: BLOCK)
