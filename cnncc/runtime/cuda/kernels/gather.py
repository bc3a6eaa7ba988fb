"""Gathering by indices that are known at run time only: y[o, i, r] = x[o, indices[i], r], a thread for each element.

Negative indices count from the end; what is still outside the axis is clamped to it, so that nothing else is read.
"""

from __future__ import annotations

from cnncc.runtime.cpu.elements import SIZES
from cnncc.runtime.cuda.kernel import Kernel, Launch, Work, ceil_div, make_params, simple

__all__ = ["KERNEL", "launch"]

BLOCK = 256


def launch(outer: int, axis: int, indices: int, run: int, size: int, dtype: str) -> Launch:
    """The step for x [outer, axis, run] of elements of ``size`` bytes, and indices of type i32 or i64."""
    count = outer * indices * run
    return simple(KERNEL, make_params(size=size, dtype=dtype), (count, axis, indices, run),
                  (ceil_div(count, BLOCK) if axis else 0, 1, 1), (BLOCK, 1, 1), work=Work(0, 2 * size * count),
                  reads={"x": (0, outer * axis * run * size), "indices": (0, indices * SIZES[dtype])},
                  writes={"y": (0, count * size)})


def build(size: int, dtype: str):
    from cnncc.runtime.cuda.indexing import element, quotient, remainder, whole

    def gather(x, indices, y, count, axis, number, run):
        at = element()
        if at >= count:
            return
        r, rest = remainder(at, run), quotient(at, run)
        index = indices[remainder(rest, number)]
        if index < 0:
            index += axis
        index = min(max(index, 0), axis - 1)
        y[at] = x[whole((quotient(rest, number) * axis + index) * run) + r]

    return gather


KERNEL = Kernel("gather", ("x", "indices", "y"), ("count", "axis", "number", "run"), build,
                elements=lambda size, dtype: {"x": f"u{8 * size}", "indices": dtype, "y": f"u{8 * size}"},
                threads=lambda **_: BLOCK)
