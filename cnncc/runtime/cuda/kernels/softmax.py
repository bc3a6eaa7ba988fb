"""Softmax and its kin along one axis of [outer, axis, inner]: e^(x - max), its sum, and what follows from both.

With inner 1 a team of threads has a row, and combines by shuffles; otherwise a thread has a column, and its neighbour
the next one. Kinds: softmax, log_softmax, and log_sum_exp, which gives one number for each row.
"""

from __future__ import annotations

import math

import numpy as np

from cnncc.runtime.cpu.elements import SIZES
from cnncc.runtime.cuda.kernel import Kernel, Launch, Work, make_params, simple
from cnncc.runtime.cuda.team import BLOCK, arrange, team_for

__all__ = ["KERNEL", "launch"]


def launch(outer: int, axis: int, inner: int, kind: str, dtype: str = "f32") -> Launch:
    """The step for a floating-point tensor [outer, axis, inner]; log_sum_exp gives [outer, inner]."""
    item, rows, size = SIZES[dtype], outer * inner, outer * axis * inner
    team = team_for(axis) if inner == 1 else 1
    written = rows if kind == "log_sum_exp" else size
    return simple(KERNEL, make_params(kind=kind, dtype=dtype, team=team), (rows, axis, inner),
                  *arrange(rows if written else 0, team), work=Work(6 * size, item * (size + written)),
                  reads={"x": (0, item * size)}, writes={"y": (0, item * written)})


def build(kind: str, dtype: str, team: int):
    from cnncc.runtime.cuda.indexing import element, quotient, remainder, whole
    from cnncc.runtime.cuda.language import cuda, device
    from cnncc.runtime.cuda.reduction import build_reduction
    from cnncc.runtime.cuda.team import build_combine

    most, total = build_reduction("max", dtype), build_reduction("sum", dtype)
    number, larger = most.number, most.step
    lowest, zero = number(-np.inf), number(0)
    exp, log = device(lambda x: number(math.exp(x))), device(lambda x: number(math.log(x)))
    if team == 1:
        of_team = sum_of_team = device(lambda x: x)
    else:
        of_team, sum_of_team = build_combine(team, number, most.merge), build_combine(team, number, total.merge)

    @device
    def one(x, y, there, place, row, axis, inner, first):
        """A row from `place` on, of which this thread has every `team`-th element from `first` on."""
        top, whole_sum = lowest, zero
        for i in range(first, axis, team):
            top = larger(top, x[place + i * inner])
        top = of_team(top)
        shift = zero if top == lowest or top == -lowest else top  # e^(inf - inf) would be NaN
        for i in range(first, axis, team):
            whole_sum += exp(x[place + i * inner] - top if kind != "log_sum_exp" else x[place + i * inner] - shift)
        whole_sum = sum_of_team(whole_sum)
        if kind == "log_sum_exp":
            if there and first == 0:
                y[row] = shift + log(whole_sum)
        elif there:
            scale, back = number(1) / whole_sum, log(whole_sum)
            for i in range(first, axis, team):
                at = place + i * inner
                y[at] = exp(x[at] - top) * scale if kind == "softmax" else x[at] - top - back

    def columns(x, y, rows, axis, inner):
        at = element()
        if at < rows:
            place = whole(quotient(at, inner) * axis * inner + remainder(at, inner))
            one(x, y, True, place, at, axis, inner, 0)

    def together(x, y, rows, axis, inner):
        at = whole(cuda.blockIdx.x * cuda.blockDim.y + cuda.threadIdx.y)
        one(x, y, at < rows, whole(min(at, rows - 1) * axis), at, axis, 1, cuda.threadIdx.x)

    return columns if team == 1 else together


KERNEL = Kernel("softmax", ("x", "y"), ("rows", "axis", "inner"), build,
                elements=lambda kind, dtype, team: {"x": dtype, "y": dtype}, threads=lambda **_: BLOCK)
