"""Copies between strided views of up to eight axes, a thread for each element, and transpositions.

Threads go along the target. Where another axis is contiguous in the source, a block takes a square of both through
shared memory (form transpose), so that reads and writes are coalesced.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from cnncc.runtime.cpu.kernels.copy import Axis, merge
from cnncc.runtime.cuda.kernel import Kernel, Launch, Stage, Work, ceil_div, make_params

__all__ = ["AXES", "KERNEL", "TRANSPOSE", "launch", "stage_of", "supports"]

AXES = 8
BLOCK = 256
TILE, ROWS = 32, 8  # a square of elements, and how many of its rows the threads of a block take at a time
OUTER = AXES - 2
WORTH = 8  # elements along both axes of a square
LAST = AXES - 1
DIMS = ("count", "x_offset", "y_offset", *(f"size_{d}" for d in range(1, AXES)), *(f"x_{d}" for d in range(AXES)),
        *(f"y_{d}" for d in range(AXES)))
TRANSPOSE_DIMS = ("inner", "across", "x_inner", "y_across", "inner_tiles", "across_tiles", "x_offset",
                  *(f"size_{d}" for d in range(1, OUTER)), *(f"x_{d}" for d in range(OUTER)),
                  *(f"y_{d}" for d in range(OUTER)))


def supports(axes: Sequence[Axis]) -> bool:
    """Whether the axes, in the target's order, are few enough."""
    return len(merge(axes)) <= AXES


def launch(axes: Sequence[Axis], size: int, x_offset: int = 0) -> Launch:
    """The step for axes in the target's order, which is dense; elements have ``size`` bytes, and the source's first one
    lies ``x_offset`` elements behind its address."""
    count = math.prod(a.size for a in axes)
    steps = [(a.size - 1) * a.x for a in axes]
    low, high = (x_offset + sum(f(step, 0) for step in steps) for f in (min, max))
    stages = (stage_of(axes, size, x_offset),) if count else ()
    reads = {"x": (low * size, (high + 1) * size)} if count else {}
    return Launch(KERNEL.name, stages, reads, {"y": (0, count * size)})


def stage_of(axes: Sequence[Axis], size: int, x_offset: int = 0, y_offset: int = 0, words: tuple[str, ...] = (),
             in_place: tuple[str, str, int] | None = None) -> Stage:
    """The copy of at least one element; ``words`` are those of source and target."""
    merged = merge(axes)
    across = next((i for i, a in enumerate(merged[:-1]) if a.x == 1), None)
    if across is not None and not y_offset and len(merged) <= AXES \
            and min(merged[-1].size, merged[across].size) >= WORTH:
        return _transpose(merged, across, size, x_offset, words)
    if len(merged) > AXES:
        raise ValueError(f"a copy of {len(merged)} axes")
    count = math.prod(a.size for a in merged)
    used = next(n for n in (1, 2, 4, AXES) if n >= len(merged))
    full = [Axis(1, 0, 0)] * (AXES - len(merged)) + merged
    dense = all(a.y == math.prod(b.size for b in merged[i + 1:]) for i, a in enumerate(merged))
    dims = (count, x_offset, y_offset, *(a.size for a in full[1:]), *(a.x for a in full), *(a.y for a in full))
    return Stage(KERNEL, make_params(size=size, axes=used, dense=int(dense)), dims, (ceil_div(count, BLOCK), 1, 1),
                 (BLOCK, 1, 1), work=Work(0, 2 * size * count), words=words, in_place=in_place)


def _transpose(merged: Sequence[Axis], across: int, size: int, x_offset: int, words: tuple[str, ...]) -> Stage:
    inner, other = merged[-1], merged[across]
    outer = [a for i, a in enumerate(merged[:-1]) if i != across]
    full = [Axis(1, 0, 0)] * (OUTER - len(outer)) + outer
    tiles = ceil_div(inner.size, TILE), ceil_div(other.size, TILE)
    dims = (inner.size, other.size, inner.x, other.y, *tiles, x_offset, *(a.size for a in full[1:]),
            *(a.x for a in full), *(a.y for a in full))
    count = math.prod(a.size for a in merged)
    return Stage(TRANSPOSE, make_params(size=size), dims, (math.prod(tiles) * math.prod(a.size for a in outer), 1, 1),
                 (TILE, ROWS, 1), work=Work(0, 2 * size * count), words=words)


def build(size: int, axes: int, dense: int):
    from cnncc.runtime.cuda.indexing import element, quotient, remainder, whole
    from cnncc.runtime.cuda.language import device

    @device
    def step(rest, size, x, y, i, j):
        """The source's and the target's place after one more axis, and what is left of the element's number."""
        d = remainder(rest, size)
        return quotient(rest, size), whole(i + d * x), whole(j + d * y)

    def copy(x, y, count, x_offset, y_offset, size_1, size_2, size_3, size_4, size_5, size_6, size_7,
             x_0, x_1, x_2, x_3, x_4, x_5, x_6, x_7, y_0, y_1, y_2, y_3, y_4, y_5, y_6, y_7):
        at = element()
        if at >= count:
            return
        rest, i, j, x_first, y_first = at, x_offset, y_offset, x_7, y_7
        if axes > 1:
            rest, i, j = step(rest, size_7, x_7, y_7, i, j)
            x_first, y_first = x_6, y_6
        if axes > 2:
            rest, i, j = step(rest, size_6, x_6, y_6, i, j)
            rest, i, j = step(rest, size_5, x_5, y_5, i, j)
            x_first, y_first = x_4, y_4
        if axes > 4:
            rest, i, j = step(rest, size_4, x_4, y_4, i, j)
            rest, i, j = step(rest, size_3, x_3, y_3, i, j)
            rest, i, j = step(rest, size_2, x_2, y_2, i, j)
            rest, i, j = step(rest, size_1, x_1, y_1, i, j)
            x_first, y_first = x_0, y_0
        i += rest * x_first
        if dense:
            y[y_offset + at] = x[i]
        else:
            y[j + rest * y_first] = x[i]

    return copy


def build_transpose(size: int):
    from cnncc.runtime.cuda.conversion import STORED
    from cnncc.runtime.cuda.indexing import quotient, remainder, whole
    from cnncc.runtime.cuda.language import cuda

    number, shape = STORED[f"u{8 * size}"], (TILE, TILE + 1)  # a column more: no two rows begin in one bank

    def transpose(x, y, inner, across, x_inner, y_across, inner_tiles, across_tiles, x_offset,
                  size_1, size_2, size_3, size_4, size_5, x_0, x_1, x_2, x_3, x_4, x_5, y_0, y_1, y_2, y_3, y_4, y_5):
        square = cuda.shared.array(shape, number)
        rest = whole(cuda.blockIdx.x)
        first, rest = whole(remainder(rest, inner_tiles) * TILE), quotient(rest, inner_tiles)
        top, rest = whole(remainder(rest, across_tiles) * TILE), quotient(rest, across_tiles)
        d5, rest = remainder(rest, size_5), quotient(rest, size_5)
        d4, rest = remainder(rest, size_4), quotient(rest, size_4)
        d3, rest = remainder(rest, size_3), quotient(rest, size_3)
        d2, rest = remainder(rest, size_2), quotient(rest, size_2)
        d1, d0 = remainder(rest, size_1), quotient(rest, size_1)
        source = whole(x_offset + d0 * x_0 + d1 * x_1 + d2 * x_2 + d3 * x_3 + d4 * x_4 + d5 * x_5)
        target = whole(d0 * y_0 + d1 * y_1 + d2 * y_2 + d3 * y_3 + d4 * y_4 + d5 * y_5)
        column, row = whole(cuda.threadIdx.x), whole(cuda.threadIdx.y)
        for k in range(row, TILE, ROWS):
            if top + column < across and first + k < inner:
                square[k, column] = x[source + top + column + (first + k) * x_inner]
        cuda.syncthreads()
        for k in range(row, TILE, ROWS):
            if first + column < inner and top + k < across:
                y[target + first + column + (top + k) * y_across] = square[column, k]

    return transpose


def _elements(size: int, **_: int) -> dict[str, str]:
    return {"x": f"u{8 * size}", "y": f"u{8 * size}"}


KERNEL = Kernel("copy", ("x", "y"), DIMS, build, elements=_elements, threads=lambda **_: BLOCK)
TRANSPOSE = Kernel("transpose", ("x", "y"), TRANSPOSE_DIMS, build_transpose, elements=_elements,
                   threads=lambda **_: TILE * ROWS)
