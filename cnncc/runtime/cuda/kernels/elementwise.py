"""Elementwise operations: each output element depends on one element of each operand.

The output is seen as on the CPU (runtime/cpu/kernels/elementwise.py): outer axes, of which only those that do not merge
are left, and an inner one along which an operand is a stream or one value. A thread computes elements a whole grid
apart. A stage has up to four operands; sums and the like of more are taken in several, the result being an operand.

A chain of formulas is one kernel, too: its parameter `formula` is `mul(0,1) add(3,2) relu(4)`, where 0, 1, ... are the
operands, and those behind them what the formulas give, in order. Each has two numbers p and q of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from cnncc.records import record
from cnncc.runtime.cpu.elements import SIZES
from cnncc.runtime.cpu.kernels.elementwise import INPUTS, OUTER, STREAM, View, Walk
from cnncc.runtime.cuda.formulas import FOLDED
from cnncc.runtime.cuda.kernel import Kernel, Launch, Stage, Work, ceil_div, make_params

__all__ = ["INPUTS", "KERNEL", "MOST", "PARTS", "Part", "launch", "launch_chain"]

MOST = 4  # operands of a stage
PARTS = 6  # formulas of a chain
WORDS = INPUTS[:MOST]
DIMS = ("count", "inner", *(f"size_{d}" for d in range(1, OUTER)),
        *(f"step_{d}_{name}" for name in WORDS for d in range(OUTER + 1)))
BLOCK = 256
BLOCKS = 4096  # of a grid at most
Operand = tuple[str, Walk, str]  # its word, how it is read, its element type
FLAGS = ("equal", "greater", "greater_or_equal", "is_inf", "is_minus_inf", "is_nan", "is_plus_inf", "less",
         "less_or_equal", "not")  # formulas that give booleans


@record
class Part:
    """A formula of a chain, the numbers of its operands, and its parameters."""

    formula: str
    operands: tuple[int, ...]
    p: float = 0.0
    q: float = 0.0


def launch(formula: str, types: Sequence[str], result: str, view: View, p: float = 0.0, q: float = 0.0) -> Launch:
    """The step of a formula (see formulas.py) of operands of these types; ``p`` and ``q`` are its parameters."""
    operands = list(zip(INPUTS, view.operands, types, strict=False))
    if formula in FOLDED:
        return _launch(_folded(formula, operands, result, view), operands, result, view)
    part = Part(formula, tuple(range(len(operands))), p, q)
    return _launch([_stage([part], operands, result, view)], operands, result, view)


def launch_chain(parts: Sequence[Part], view: View) -> Launch:
    """The step of a chain of formulas of f32."""
    operands = [(name, walk, "f32") for name, walk in zip(INPUTS, view.operands, strict=False)]
    return _launch([_stage(parts, operands, "f32", view)], operands, "f32", view)


def _launch(stages: Sequence[Stage], operands: Sequence[Operand], result: str, view: View) -> Launch:
    count = math.prod(view.outer) * view.inner
    reads = {name: (0, walk.size * SIZES[t]) for name, walk, t in operands}
    return Launch(KERNEL.name, tuple(stages) if count else (), reads, {"y": (0, count * SIZES[result])})


def _folded(formula: str, operands: Sequence[Operand], result: str, view: View) -> list[Stage]:
    """From the left; what is left over from one stage is taken together with its result in the next."""
    stages, taken = [], list(operands[:MOST])
    step, rest = "add" if formula == "mean" else formula, list(operands[MOST:])
    while True:
        n = len(taken)
        parts = [Part(step, (0 if i == 1 else n + i - 2, i)) for i in range(1, n)] or [Part("copy", (0,))]
        if formula == "mean" and not rest:
            parts.append(Part("divided", (n + len(parts) - 1,), len(operands)))
        stages.append(_stage(parts, taken, result, view))
        if not rest:
            return stages
        whole = "y", Walk(STREAM, _contiguous(view), math.prod(view.outer) * view.inner), result
        taken, rest = [whole, *rest[:MOST - 1]], rest[MOST - 1:]


def _contiguous(view: View) -> tuple[int, ...]:
    steps = [view.inner]
    for size in reversed(view.outer[1:]):
        steps.append(steps[-1] * size)
    return tuple(reversed(steps)) if view.outer else ()


def _stage(parts: Sequence[Part], operands: Sequence[Operand], result: str, view: View) -> Stage:
    missing, count = OUTER - len(view.outer), math.prod(view.outer) * view.inner
    sizes = ((1,) * missing + view.outer)[1:]
    walks = [(*(0,) * missing, *walk.steps, 1 if walk.mode == STREAM else 0) for _, walk, _ in operands]
    walks += [(0,) * (OUTER + 1)] * (MOST - len(walks))
    types = tuple(t for _, _, t in operands)
    formula = parts[0].formula if len(parts) == 1 else " ".join(
        f"{part.formula}({','.join(map(str, part.operands))})" for part in parts)
    numbers = [n for part in parts for n in (part.p, part.q)]
    params = make_params(formula=formula, types=",".join(types), result=result, flat=int(not view.outer))
    moved = sum(walk.size * SIZES[t] for _, walk, t in operands) + count * SIZES[result]
    words = (*(name for name, _, _ in operands), *WORDS[len(operands):], "y")
    return Stage(KERNEL, params, (count, view.inner, *sizes, *(n for walk in walks for n in walk)),
                 (max(1, min(BLOCKS, ceil_div(count, BLOCK))), 1, 1), (BLOCK, 1, 1),
                 (*numbers, *(0.0,) * (2 * PARTS - len(numbers))), work=Work(count, moved), words=words)


def elements(formula: str, types: str, result: str, flat: int) -> dict[str, str]:
    return {**dict(zip(WORDS, types.split(","), strict=False)), "y": result}


def build(formula: str, types: str, result: str, flat: int):
    from cnncc.runtime.cuda.conversion import COMPUTED, build_conversion
    from cnncc.runtime.cuda.indexing import element, extent, quotient, remainder, whole
    from cnncc.runtime.cuda.language import device

    names = tuple(types.split(","))
    operands = len(names)
    of_a, of_b, of_c, of_d = (COMPUTED[names[min(i, operands - 1)]] for i in range(MOST))
    program = _parsed(formula, operands)
    given = "bool" if formula in FLAGS else names[1] if formula == "where" else names[0]
    finish, value = build_conversion(given, result), _build_value(program, names, operands + len(program) - 1)
    compute = {
        1: device(lambda a, b, c, d, i, j, k, m, s: finish(value((of_a(a[i]),), s))),
        2: device(lambda a, b, c, d, i, j, k, m, s: finish(value((of_a(a[i]), of_b(b[j])), s))),
        3: device(lambda a, b, c, d, i, j, k, m, s: finish(value((of_a(a[i]), of_b(b[j]), of_c(c[k])), s))),
        4: device(lambda a, b, c, d, i, j, k, m, s: finish(value((of_a(a[i]), of_b(b[j]), of_c(c[k]), of_d(d[m])), s))),
    }[operands]

    def elementwise(a, b, c, d, y, count, inner, size_1, size_2, size_3, size_4,
                    a0, a1, a2, a3, a4, a5, b0, b1, b2, b3, b4, b5, c0, c1, c2, c3, c4, c5, d0, d1, d2, d3, d4, d5,
                    p0, q0, p1, q1, p2, q2, p3, q3, p4, q4, p5, q5):
        s = (p0, q0, p1, q1, p2, q2, p3, q3, p4, q4, p5, q5)
        for at in range(element(), count, extent()):
            if flat:
                y[at] = compute(a, b, c, d, at * a5, at * b5, at * c5, at * d5, s)
            else:
                row, i5 = quotient(at, inner), remainder(at, inner)
                row, i4 = quotient(row, size_4), remainder(row, size_4)
                row, i3 = quotient(row, size_3), remainder(row, size_3)
                row, i2 = quotient(row, size_2), remainder(row, size_2)
                i0, i1 = quotient(row, size_1), remainder(row, size_1)
                i = whole(i0 * a0 + i1 * a1 + i2 * a2 + i3 * a3 + i4 * a4 + i5 * a5)
                j = whole(i0 * b0 + i1 * b1 + i2 * b2 + i3 * b3 + i4 * b4 + i5 * b5)
                k = whole(i0 * c0 + i1 * c1 + i2 * c2 + i3 * c3 + i4 * c4 + i5 * c5)
                m = whole(i0 * d0 + i1 * d1 + i2 * d2 + i3 * d3 + i4 * d4 + i5 * d5)
                y[at] = compute(a, b, c, d, i, j, k, m, s)

    return elementwise


def _parsed(formula: str, operands: int) -> list[tuple[str, tuple[int, ...]]]:
    """The formulas with the numbers of their operands; one alone has all of these."""
    if "(" not in formula:
        return [(formula, tuple(range(operands)))]
    found = [part.rstrip(")").split("(") for part in formula.split()]
    return [(name, tuple(map(int, numbers.split(",")))) for name, numbers in found]


def _build_value(program: Sequence[tuple[str, tuple[int, ...]]], types: tuple[str, ...], n: int):
    """The device function (operands, numbers p and q) -> operand n or what a formula gives."""
    from cnncc.runtime.cuda.formulas import build_formula
    from cnncc.runtime.cuda.language import device

    if n < len(types):
        return device(lambda v, s: v[n])
    name, numbers = program[n - len(types)]
    given = tuple(types[i] if i < len(types) else types[0] for i in numbers)  # a chain has one type
    function, p, q = build_formula(name, given), 2 * (n - len(types)), 2 * (n - len(types)) + 1
    first, second, third = ([_build_value(program, types, i) for i in numbers] + [None, None])[:3]
    return {1: device(lambda v, s: function(s[p], s[q], first(v, s))),
            2: device(lambda v, s: function(s[p], s[q], first(v, s), second(v, s))),
            3: device(lambda v, s: function(s[p], s[q], first(v, s), second(v, s), third(v, s)))}[len(numbers)]


FLOATS = tuple(f"{letter}_{i}" for i in range(PARTS) for letter in "pq")
KERNEL = Kernel("elementwise", (*WORDS, "y"), DIMS, build, FLOATS, elements, threads=lambda **_: BLOCK)
