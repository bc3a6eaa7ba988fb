"""GridSample of one to three spatial axes: a thread for some channels of a position of the grid.

Along each axis up to four elements are read around the position, with weights; where a position lies and what stands
beyond the borders is computed as on the CPU (runtime/cpu/kernels/grid_sample.py).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from cnncc.runtime.cpu.kernels.grid_sample import TAPS
from cnncc.runtime.cuda.kernel import Kernel, Launch, Work, ceil_div, make_params, simple

__all__ = ["KERNEL", "launch"]

BLOCK = 128
CHANNELS = 8  # of a thread
DIMS = ("count", "channels", "groups", "in_d", "in_h", "in_w", "points")


def launch(images: int, channels: int, size: Sequence[int], points: int, mode: str, padding: str,
           align: bool) -> Launch:
    """The step; ``size`` has an axis for each number of a position."""
    groups = ceil_div(channels, CHANNELS)
    count, inputs = images * groups * points, images * channels * math.prod(size)
    params = make_params(mode=mode, padding=padding, align=int(align), axes=len(size))
    work = Work(2 * images * channels * points * TAPS[mode] ** len(size), 4 * (inputs + images * channels * points))
    return simple(KERNEL, params, (count, channels, groups, *(1,) * (3 - len(size)), *size, points),
                  (ceil_div(count, BLOCK), 1, 1), (BLOCK, 1, 1), work=work,
                  reads={"x": (0, 4 * inputs), "grid": (0, 4 * images * points * len(size))},
                  writes={"y": (0, 4 * images * channels * points)})


def _build_position(mode: str, padding: str, align: int):
    """(g, size) -> where the position g from -1 to 1 lies on an axis, and (index, size) -> the element that an index,
    a whole float32, stands for, or -1 where that is zero."""
    from cnncc.runtime.cuda.conversion import build_rounding
    from cnncc.runtime.cuda.indexing import whole
    from cnncc.runtime.cuda.language import device, float32

    _, floor, round_even = build_rounding(float32)
    zero, half, one, two, far_off = float32(0), float32(0.5), float32(1), float32(2), float32(2.0**30)

    @device
    def clamped(x, low, high):
        return low if x < low else high if x > high else x

    @device
    def reflected(at, low, high):
        if low <= at <= high:
            return at
        reach = high - low
        if reach == zero:
            return low
        beyond = low - at if at < low else at - high
        turns = floor(beyond / reach)
        rest = beyond - turns * reach
        even = turns - two * floor(turns * half) == zero
        return low + rest if (at < low) == even else high - rest

    @device
    def ends(size):
        return (zero, size - one) if align else (-half, size - half)

    @device
    def position(g, count):
        size = float32(count)
        low, high = ends(size)
        at = -two  # where a NaN lies
        if g == g:
            g = clamped(g, -far_off, far_off)
            at = ((g + one) * (size - one) if align else (g + one) * size - one) / two
            at = clamped(at, -far_off, far_off)
        if mode == "nearest":
            at = round_even(at)
        if at < low or at > high:
            if padding == "border" and mode != "cubic":
                at = clamped(at, zero, size - one)
            elif padding == "reflection":
                at = reflected(at, low, high)
        return at

    @device
    def meant(index, count):
        size = float32(count)
        if index < zero or index >= size:
            if padding == "zeros":
                return -1
            if padding == "reflection":
                low, high = ends(size)
                index = reflected(index, low, high)
        return min(max(whole(index), 0), count - 1)

    return position, meant


def _build_weight(mode: str):
    """(part, t) -> the weight of tap t, `part` being how far the position is beyond the element at or below it."""
    from cnncc.runtime.cuda.language import device, float32

    one, two, three, four, five, eight = (float32(n) for n in (1, 2, 3, 4, 5, 8))
    a = float32(-0.75)

    @device
    def near(d):
        return ((a + two) * d - (a + three)) * d * d + one

    @device
    def far(d):
        return ((a * d - five * a) * d + eight * a) * d - four * a

    @device
    def weight(part, t):
        if mode == "nearest":
            return one
        if mode == "linear":
            return part if t == 1 else one - part
        return far(one + part) if t == 0 else near(part) if t == 1 else near(one - part) if t == 2 else far(two - part)

    return weight


def build(mode: str, padding: str, align: int, axes: int):
    from cnncc.runtime.cuda.conversion import build_rounding
    from cnncc.runtime.cuda.indexing import element, quotient, remainder, whole
    from cnncc.runtime.cuda.language import cuda, float32

    (position, meant), weight = _build_position(mode, padding, align), _build_weight(mode)
    _, floor, _ = build_rounding(float32)
    zero, one, taps, before = float32(0), float32(1), TAPS[mode], 1 if mode == "cubic" else 0
    deep, tall = taps if axes > 2 else 1, taps if axes > 1 else 1

    def grid_sample(x, grid, y, count, channels, groups, in_d, in_h, in_w, points):
        number = element()
        if number >= count:
            return
        point, rest = remainder(number, points), quotient(number, points)
        first, image = whole(remainder(rest, groups) * CHANNELS), quotient(rest, groups)
        place = whole((image * points + point) * axes)
        w = position(grid[place], in_w)
        h = position(grid[place + 1], in_h) if axes > 1 else zero
        d = position(grid[place + 2], in_d) if axes > 2 else zero
        base_w, base_h, base_d = floor(w), floor(h), floor(d)
        plane, source = in_d * in_h * in_w, (image * channels + first) * in_d * in_h * in_w
        sums = cuda.local.array(CHANNELS, float32)
        for c in range(CHANNELS):
            sums[c] = zero
        for i in range(deep):
            z = meant(base_d + float32(i - before), in_d) if axes > 2 else 0
            by_d = weight(d - base_d, i) if axes > 2 else one
            for j in range(tall):
                v = meant(base_h + float32(j - before), in_h) if axes > 1 else 0
                by_h = by_d * weight(h - base_h, j) if axes > 1 else one
                for k in range(taps):
                    u = meant(base_w + float32(k - before), in_w)
                    if z >= 0 and v >= 0 and u >= 0:
                        share, at = by_h * weight(w - base_w, k), whole(source + (z * in_h + v) * in_w + u)
                        for c in range(CHANNELS):
                            if first + c < channels:
                                sums[c] += x[at + c * plane] * share
        target = whole((image * channels + first) * points + point)
        for c in range(CHANNELS):
            if first + c < channels:
                y[target + c * points] = sums[c]

    return grid_sample


KERNEL = Kernel("grid_sample", ("x", "grid", "y"), DIMS, build, threads=lambda **_: BLOCK)
