"""Resize of up to three spatial axes, a thread for each output.

Along each axis a table, made on the CPU for the sizes at hand, tells which elements an output reads and with what
weights; so all of Resize's ways to sample are one kernel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from cnncc.runtime.cpu.kernels.resize import Three
from cnncc.runtime.cuda.kernel import Kernel, Launch, Work, ceil_div, make_params, simple

__all__ = ["KERNEL", "launch"]

BLOCK = 256
DIMS = ("count", "in_size", "out_d", "out_h", "out_w", "taps_d", "taps_h", "taps_w", "first_h", "first_w")


def launch(planes: int, size: Three, out_size: Three, taps: Sequence[int]) -> Launch:
    """The step for planes = N * C. ``places`` and ``weights`` hold, for the three axes in turn, `taps` numbers for each
    output: by how many elements of x it lies behind the plane's first, and its weight."""
    count, inputs = planes * math.prod(out_size), planes * math.prod(size)
    lengths = [n * t for n, t in zip(out_size, taps, strict=True)]
    table = (0, 4 * sum(lengths))
    dims = (count, math.prod(size), *out_size, *taps, lengths[0], lengths[0] + lengths[1])
    return simple(KERNEL, make_params(single=int(math.prod(taps) == 1)), dims, (ceil_div(count, BLOCK), 1, 1),
                  (BLOCK, 1, 1), work=Work(2 * count * math.prod(taps), 4 * (inputs + count)),
                  reads={"x": (0, 4 * inputs), "places": table, "weights": table}, writes={"y": (0, 4 * count)})


def build(single: int):
    from cnncc.runtime.cuda.indexing import element, quotient, remainder, whole
    from cnncc.runtime.cuda.language import float32

    zero = float32(0)

    def resize(x, places, weights, y, count, in_size, out_d, out_h, out_w, taps_d, taps_h, taps_w, first_h, first_w):
        at = element()
        if at >= count:
            return
        w, rest = remainder(at, out_w), quotient(at, out_w)
        h, rest = remainder(rest, out_h), quotient(rest, out_h)
        d, plane = remainder(rest, out_d), whole(quotient(rest, out_d) * in_size)
        if single:
            y[at] = x[plane + places[d] + places[first_h + h] + places[first_w + w]]
            return
        d, h, w = whole(d * taps_d), whole(first_h + h * taps_h), whole(first_w + w * taps_w)
        total = zero
        for i in range(d, d + taps_d):
            for j in range(h, h + taps_h):
                row, outer = whole(plane + places[i] + places[j]), weights[i] * weights[j]
                for k in range(w, w + taps_w):
                    total += x[row + places[k]] * (outer * weights[k])
        y[at] = total

    return resize


KERNEL = Kernel("resize", ("x", "places", "weights", "y"), DIMS, build, elements=lambda single: {"places": "i32"},
                threads=lambda **_: BLOCK)
