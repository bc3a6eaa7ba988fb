"""CumSum and CumProd along the axis of [outer, axis, inner]; a task is some vectors of inner, or one row if inner is 1.

Floats are added in their own precision, one after the other, as in the reference.
"""

from cnncc.runtime.cpu.elements import SIZES
from cnncc.runtime.cpu.kernel import Kernel, Launch, ceil_div, make_params

OPERANDS = ("x", "y")
DIMS = ("axis", "inner", "piece", "pieces", "exclusive", "reverse")
PIECE = 256  # places of inner that a task takes


def launch(outer: int, axis: int, inner: int, kind: str, exclusive: bool, reverse: bool, dtype: str) -> Launch:
    """The step for a plain tensor; ``kind`` is sum or prod."""
    pieces, count = ceil_div(inner, PIECE), outer * axis * inner
    return Launch(
        KERNEL, make_params(dtype=dtype, kind=kind), (axis, inner, PIECE, pieces, int(exclusive), int(reverse)),
        outer * pieces if count else 0, reads={"x": (0, count * SIZES[dtype])}, writes={"y": (0, count * SIZES[dtype])},
    )  # fmt: skip


def build(dtype: str, kind: str):
    from numba.extending import register_jitable

    from cnncc.runtime.cpu.elements import access, is_float
    from cnncc.runtime.cpu.memory_access import load_words

    load_element, store_element = access(dtype)
    words, item, summed = len(OPERANDS) + len(DIMS), SIZES[dtype], kind == "sum"
    neutral = (0.0 if summed else 1.0) if is_float(dtype) else (0 if summed else 1)

    @register_jitable
    def joined(a, b):
        return a + b if summed else a * b

    def cumulate(args, begin, end):
        x, y, axis, inner, piece, pieces, exclusive, reverse = load_words(args, words)
        step = -inner * item if reverse != 0 else inner * item
        for task in range(begin, end):
            first = task % pieces * piece
            start = (task // pieces * axis * inner + first + ((axis - 1) * inner if reverse != 0 else 0)) * item
            for i in range(min(piece, inner - first)):
                at = start + i * item
                if exclusive != 0:
                    store_element(y + at, neutral)
                else:
                    store_element(y + at, load_element(x + at))
            for row in range(1, axis):
                at = start + row * step
                source = x + at - step if exclusive != 0 else x + at
                for i in range(min(piece, inner - first)):
                    here = at + i * item
                    store_element(y + here, joined(load_element(y + here - step), load_element(source + i * item)))

    return cumulate


KERNEL = Kernel("cumulate", OPERANDS, DIMS, build)
