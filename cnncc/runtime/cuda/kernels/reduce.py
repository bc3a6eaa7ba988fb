"""Reductions over axes, merged to [kept0, reduced0, kept1, reduced1] ("rows": a team of threads for each result) or
[kept0, reduced0, kept1, reduced1, inner] ("columns": a thread for each result, neighbours having neighbouring ones).
"""

from __future__ import annotations

from cnncc.runtime.cpu.elements import SIZES
from cnncc.runtime.cpu.kernels.reduce import ReduceShape
from cnncc.runtime.cuda.kernel import Kernel, Launch, Work, make_params, simple
from cnncc.runtime.cuda.team import BLOCK, arrange, team_for

__all__ = ["KERNEL", "launch"]

DIMS = ("results", "kept_1", "times_0", "times_1", "inner")


def launch(shape: ReduceShape, kind: str, dtype: str = "f32", p: int = 1) -> Launch:
    """The step; ``p`` is the order of the norm lp."""
    (k0, k1), (r0, r1) = shape.kept, shape.reduced
    inner, item = 1 if shape.inner is None else shape.inner, SIZES[dtype]
    results, size = k0 * k1 * inner, r0 * r1
    team = team_for(size) if shape.inner is None else 1
    params = make_params(kind=kind, dtype=dtype, p=p, team=team)
    return simple(KERNEL, params, (results, k1, r0, r1, inner), *arrange(results, team),
                  work=Work(results * size, item * results * (size + 1)),
                  reads={"x": (0, item * results * size)}, writes={"y": (0, item * results)})


def build(kind: str, dtype: str, p: int, team: int):
    from cnncc.runtime.cuda.indexing import element, quotient, remainder, whole
    from cnncc.runtime.cuda.language import cuda
    from cnncc.runtime.cuda.reduction import build_reduction
    from cnncc.runtime.cuda.team import build_combine

    reduction = build_reduction(kind, dtype, p)
    number, start, step, finish = reduction.number, reduction.start, reduction.step, reduction.finish

    def columns(x, y, results, kept_1, times_0, times_1, inner):
        at = element()
        if at >= results:
            return
        i, rest = remainder(at, inner), quotient(at, inner)
        k1, k0 = remainder(rest, kept_1), quotient(rest, kept_1)
        total = start
        for r0 in range(times_0):
            first = whole(((k0 * times_0 + r0) * kept_1 + k1) * times_1 * inner + i)
            for r1 in range(times_1):
                total = step(total, number(x[first + r1 * inner]))
        y[at] = finish(total, times_0 * times_1)

    if team == 1:
        return columns
    combine = build_combine(team, number, reduction.merge)

    def rows(x, y, results, kept_1, times_0, times_1, inner):
        at = whole(cuda.blockIdx.x * cuda.blockDim.y + cuda.threadIdx.y)
        row = min(at, results - 1)
        k1, k0 = remainder(row, kept_1), quotient(row, kept_1)
        total = start
        for r0 in range(times_0):
            first = whole(((k0 * times_0 + r0) * kept_1 + k1) * times_1)
            for r1 in range(cuda.threadIdx.x, times_1, team):
                total = step(total, number(x[first + r1]))
        total = combine(total)
        if at < results and cuda.threadIdx.x == 0:
            y[at] = finish(total, times_0 * times_1)

    return rows


KERNEL = Kernel("reduce", ("x", "y"), DIMS, build, elements=lambda kind, dtype, p, team: {"x": dtype, "y": dtype},
                threads=lambda **_: BLOCK)
