"""Elementwise operations: each output element depends on one element of each operand.

The output is seen as on the CPU (runtime/cpu/kernels/elementwise.py): outer axes, of which only those that do not merge
are left, and an inner one along which an operand is a stream or one value. A thread computes elements a whole grid
apart. A stage has up to three operands; sums and the like of more are taken in several, the result being an operand.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from cnncc.runtime.cpu.elements import SIZES
from cnncc.runtime.cpu.kernels.elementwise import INPUTS, OUTER, STREAM, View, Walk
from cnncc.runtime.cuda.formulas import FOLDED
from cnncc.runtime.cuda.kernel import Kernel, Launch, Stage, Work, ceil_div, make_params

__all__ = ["INPUTS", "KERNEL", "MOST", "launch"]

MOST = 3  # operands of a stage
WORDS = INPUTS[:MOST]
DIMS = ("count", "inner", *(f"size_{d}" for d in range(1, OUTER)),
        *(f"step_{d}_{name}" for name in WORDS for d in range(OUTER + 1)))
BLOCK = 256
BLOCKS = 4096  # of a grid at most


def launch(formula: str, types: Sequence[str], result: str, view: View, p: float = 0.0, q: float = 0.0) -> Launch:
    """The step of a formula (see formulas.py) of operands of these types; ``p`` and ``q`` are its parameters."""
    count = math.prod(view.outer) * view.inner
    reads = {name: (0, walk.size * SIZES[t]) for name, walk, t in zip(INPUTS, view.operands, types, strict=False)}
    parts = list(zip(INPUTS, view.operands, types, strict=False))
    stages: list[Stage] = []
    if formula in FOLDED and len(parts) != 2:
        result_so_far = "y", Walk(STREAM, _contiguous(view), count), result
        stages.append(_stage("copy", parts[:1], result, view, p, q))
        stages += [_stage("add" if formula == "mean" else formula, [result_so_far, part], result, view, p, q)
                   for part in parts[1:]]
        if formula == "mean":
            stages.append(_stage("divided", [result_so_far], result, view, len(parts), q))
    else:
        stages.append(_stage(formula, parts, result, view, p, q))
    return Launch(KERNEL.name, tuple(stages) if count else (), reads, {"y": (0, count * SIZES[result])})


def _contiguous(view: View) -> tuple[int, ...]:
    steps = [view.inner]
    for size in reversed(view.outer[1:]):
        steps.append(steps[-1] * size)
    return tuple(reversed(steps)) if view.outer else ()


def _stage(formula: str, parts: Sequence[tuple[str, Walk, str]], result: str, view: View, p: float, q: float) -> Stage:
    missing, count = OUTER - len(view.outer), math.prod(view.outer) * view.inner
    sizes = ((1,) * missing + view.outer)[1:]
    walks = [(*(0,) * missing, *walk.steps, 1 if walk.mode == STREAM else 0) for _, walk, _ in parts]
    walks += [(0,) * (OUTER + 1)] * (MOST - len(walks))
    types = tuple(t for _, _, t in parts)
    params = make_params(formula=formula, types=",".join(types), result=result, flat=int(not view.outer))
    moved = sum(walk.size * SIZES[t] for _, walk, t in parts) + count * SIZES[result]
    words = (*(name for name, _, _ in parts), *WORDS[len(parts):], "y")
    return Stage(KERNEL, params, (count, view.inner, *sizes, *(n for walk in walks for n in walk)),
                 (max(1, min(BLOCKS, ceil_div(count, BLOCK))), 1, 1), (BLOCK, 1, 1), (p, q), work=Work(count, moved),
                 words=words)


def elements(formula: str, types: str, result: str, flat: int) -> dict[str, str]:
    return {**dict(zip(WORDS, types.split(","), strict=False)), "y": result}


def build(formula: str, types: str, result: str, flat: int):
    from cnncc.runtime.cuda.conversion import COMPUTED, build_conversion
    from cnncc.runtime.cuda.formulas import build_formula
    from cnncc.runtime.cuda.indexing import element, extent, quotient, remainder, whole
    from cnncc.runtime.cuda.language import device

    names = tuple(types.split(","))
    function, operands = build_formula(formula, names), len(names)
    of_a, of_b, of_c = (COMPUTED[names[min(i, operands - 1)]] for i in range(MOST))
    finish = build_conversion(_computed_as(formula, names), result)
    compute = {1: device(lambda a, b, c, i, j, k, p, q: finish(function(p, q, of_a(a[i])))),
               2: device(lambda a, b, c, i, j, k, p, q: finish(function(p, q, of_a(a[i]), of_b(b[j])))),
               3: device(lambda a, b, c, i, j, k, p, q: finish(function(p, q, of_a(a[i]), of_b(b[j]), of_c(c[k])))),
               }[operands]

    def elementwise(a, b, c, y, count, inner, size_1, size_2, size_3, size_4,
                    a0, a1, a2, a3, a4, a5, b0, b1, b2, b3, b4, b5, c0, c1, c2, c3, c4, c5, p, q):
        for at in range(element(), count, extent()):
            if flat:
                y[at] = compute(a, b, c, at * a5, at * b5, at * c5, p, q)
            else:
                row, i5 = quotient(at, inner), remainder(at, inner)
                row, i4 = quotient(row, size_4), remainder(row, size_4)
                row, i3 = quotient(row, size_3), remainder(row, size_3)
                row, i2 = quotient(row, size_2), remainder(row, size_2)
                i0, i1 = quotient(row, size_1), remainder(row, size_1)
                i = whole(i0 * a0 + i1 * a1 + i2 * a2 + i3 * a3 + i4 * a4 + i5 * a5)
                j = whole(i0 * b0 + i1 * b1 + i2 * b2 + i3 * b3 + i4 * b4 + i5 * b5)
                k = whole(i0 * c0 + i1 * c1 + i2 * c2 + i3 * c3 + i4 * c4 + i5 * c5)
                y[at] = compute(a, b, c, i, j, k, p, q)

    return elementwise


def _computed_as(formula: str, types: tuple[str, ...]) -> str:
    """The element type of what a formula gives."""
    if formula in ("equal", "greater", "greater_or_equal", "is_inf", "is_minus_inf", "is_nan", "is_plus_inf", "less",
                   "less_or_equal", "not"):
        return "bool"
    return types[1] if formula == "where" else types[0]


KERNEL = Kernel("elementwise", (*WORDS, "y"), DIMS, build, ("p", "q"), elements, threads=lambda **_: BLOCK)
