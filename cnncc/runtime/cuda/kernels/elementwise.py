"""Elementwise operations of up to three operands: each output element depends on one element of each operand.

The output is seen as on the CPU (runtime/cpu/kernels/elementwise.py): outer axes, of which only those that do not
merge are left, and an inner one along which an operand is a stream or one value. A thread computes elements a whole
grid apart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from cnncc.runtime.cpu.elements import SIZES
from cnncc.runtime.cpu.kernels.elementwise import OUTER, STREAM, View
from cnncc.runtime.cuda.kernel import Kernel, Launch, Work, ceil_div, make_params, simple

__all__ = ["INPUTS", "KERNEL", "launch"]

INPUTS = ("a", "b", "c")
DIMS = ("count", "inner", *(f"size_{d}" for d in range(1, OUTER)),
        *(f"step_{d}_{name}" for name in INPUTS for d in range(OUTER + 1)))
BLOCK = 256
BLOCKS = 4096  # of a grid at most


def launch(formula: str, types: Sequence[str], result: str, view: View, p: float = 0.0, q: float = 0.0) -> Launch:
    """The step of a formula (see formulas.py) of operands of these types; ``p`` and ``q`` are its parameters."""
    missing, count = OUTER - len(view.outer), math.prod(view.outer) * view.inner
    sizes = ((1,) * missing + view.outer)[1:]
    walks = [(*(0,) * missing, *walk.steps, 1 if walk.mode == STREAM else 0) for walk in view.operands]
    walks += [(0,) * (OUTER + 1)] * (len(INPUTS) - len(walks))
    reads = {name: (0, walk.size * SIZES[t]) for name, walk, t in zip(INPUTS, view.operands, types, strict=False)}
    params = make_params(formula=formula, types=",".join(types), result=result, flat=int(not view.outer))
    moved = sum(end for _, end in reads.values()) + count * SIZES[result]
    return simple(KERNEL, params, (count, view.inner, *sizes, *(n for walk in walks for n in walk)),
                  (min(BLOCKS, ceil_div(count, BLOCK)), 1, 1), (BLOCK, 1, 1), floats=(p, q), work=Work(count, moved),
                  reads=reads, writes={"y": (0, count * SIZES[result])})


def elements(formula: str, types: str, result: str, flat: int) -> dict[str, str]:
    return {**dict(zip(INPUTS, types.split(","), strict=False)), "y": result}


def build(formula: str, types: str, result: str, flat: int):
    from cnncc.runtime.cuda.formulas import build_formula
    from cnncc.runtime.cuda.language import cuda, device

    function, operands = build_formula(formula), len(types.split(","))
    compute = {1: device(lambda a, b, c, i, j, k, p, q: function(p, q, a[i])),
               2: device(lambda a, b, c, i, j, k, p, q: function(p, q, a[i], b[j])),
               3: device(lambda a, b, c, i, j, k, p, q: function(p, q, a[i], b[j], c[k]))}[operands]

    def elementwise(a, b, c, y, count, inner, size_1, size_2, size_3, size_4,
                    a0, a1, a2, a3, a4, a5, b0, b1, b2, b3, b4, b5, c0, c1, c2, c3, c4, c5, p, q):
        for at in range(cuda.grid(1), count, cuda.gridsize(1)):
            if flat:
                y[at] = compute(a, b, c, at * a5, at * b5, at * c5, p, q)
            else:
                row, i5 = at // inner, at % inner
                row, i4 = row // size_4, row % size_4
                row, i3 = row // size_3, row % size_3
                row, i2 = row // size_2, row % size_2
                i0, i1 = row // size_1, row % size_1
                i = i0 * a0 + i1 * a1 + i2 * a2 + i3 * a3 + i4 * a4 + i5 * a5
                j = i0 * b0 + i1 * b1 + i2 * b2 + i3 * b3 + i4 * b4 + i5 * b5
                k = i0 * c0 + i1 * c1 + i2 * c2 + i3 * c3 + i4 * c4 + i5 * c5
                y[at] = compute(a, b, c, i, j, k, p, q)

    return elementwise


KERNEL = Kernel("elementwise", (*INPUTS, "y"), DIMS, build, ("p", "q"), elements)
