"""Padding, and repeating: each output element is an element of the input, found axis by axis, or a constant.

Along an axis, output index o stands for i = o - begin of ``kept`` input elements. Where i is none of them it means: the
constant (mode constant), the nearest element (edge), the mirror image (reflect), or i modulo ``kept`` (wrap).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from cnncc.runtime.cpu.kernels.pad import PadAxis, merge
from cnncc.runtime.cuda.kernel import Kernel, Launch, Work, ceil_div, make_params, simple

__all__ = ["AXES", "KERNEL", "launch"]

AXES = 6
BLOCK = 256
DIMS = ("count", "x_offset", *(f"size_{d}" for d in range(AXES)), *(f"kept_{d}" for d in range(AXES)),
        *(f"begin_{d}" for d in range(AXES)), *(f"step_{d}" for d in range(AXES)))


def launch(axes: Sequence[PadAxis], mode: str, size: int, x_offset: int = 0, has_value: bool = False) -> Launch:
    """The step for elements of ``size`` bytes; ``x_offset`` elements of the input come before the first one that is
    kept. The constant is zero unless there is a ``value``."""
    merged = merge(axes, mode)
    if len(merged) > AXES:
        raise ValueError(f"padding of {len(merged)} axes")
    count = math.prod(a.size for a in merged)
    full = [PadAxis(1, 1, 0, 0)] * (AXES - len(merged)) + merged
    dims = (count, x_offset, *(a.size for a in full), *(a.kept for a in full), *(a.begin for a in full),
            *(a.step for a in full))
    last = x_offset + sum((a.kept - 1) * a.step for a in merged)
    reads = {} if any(a.kept == 0 for a in merged) else {"x": (x_offset * size, (last + 1) * size)}
    if has_value:
        reads["value"] = (0, size)
    used = next(n for n in (2, 4, AXES) if n >= len(merged))
    params = make_params(mode=mode, size=size, axes=used, has_value=int(has_value))
    return simple(KERNEL, params, dims, (ceil_div(count, BLOCK), 1, 1), (BLOCK, 1, 1),
                  work=Work(0, 2 * size * count), reads=reads, writes={"y": (0, count * size)})


def build(mode: str, size: int, axes: int, has_value: int):
    from cnncc.runtime.cuda.conversion import STORED
    from cnncc.runtime.cuda.indexing import element, quotient, remainder, whole
    from cnncc.runtime.cuda.language import device

    zero = STORED[f"u{8 * size}"](0)

    @device
    def meant(o, begin, kept):
        """The input's index that output index o stands for; -1 where it is the constant."""
        i = o - begin
        if mode == "constant":
            return i if 0 <= i < kept else -1
        if mode == "edge":
            return min(max(i, 0), kept - 1)
        if mode == "reflect":
            i = -i if i < 0 else i
            return 2 * (kept - 1) - i if i >= kept else i
        return i % kept  # of kept's sign

    @device
    def step(rest, size, begin, kept, stride, place):
        """The place after one more axis, or -1; and what is left of the element's number."""
        i = meant(remainder(rest, size), begin, kept)
        return quotient(rest, size), whole(place + i * stride if i >= 0 and place >= 0 else -1)

    def pad(x, value, y, count, x_offset, size_0, size_1, size_2, size_3, size_4, size_5,
            kept_0, kept_1, kept_2, kept_3, kept_4, kept_5, begin_0, begin_1, begin_2, begin_3, begin_4, begin_5,
            step_0, step_1, step_2, step_3, step_4, step_5):
        at = element()
        if at >= count:
            return
        rest, place = step(at, size_5, begin_5, kept_5, step_5, x_offset)
        rest, place = step(rest, size_4, begin_4, kept_4, step_4, place)
        if axes > 2:
            rest, place = step(rest, size_3, begin_3, kept_3, step_3, place)
            rest, place = step(rest, size_2, begin_2, kept_2, step_2, place)
        if axes > 4:
            rest, place = step(rest, size_1, begin_1, kept_1, step_1, place)
            rest, place = step(rest, size_0, begin_0, kept_0, step_0, place)
        if place >= 0:
            y[at] = x[place]
        elif has_value:
            y[at] = value[0]
        else:
            y[at] = zero

    return pad


def _elements(mode: str, size: int, axes: int, has_value: int) -> dict[str, str]:
    return dict.fromkeys(("x", "value", "y"), f"u{8 * size}")


KERNEL = Kernel("pad", ("x", "value", "y"), DIMS, build, elements=_elements, threads=lambda **_: BLOCK)
