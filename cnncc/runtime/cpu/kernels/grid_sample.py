"""GridSample, in NCHWc (a vector of channels a position) or plain (lanes 1), of one to three spatial axes.

A task is POINTS positions of the grid of one image, for all blocks of channels: which elements are read around each
position, and with what weights, is found once for all of them, and put into a table on the stack.
"""

import math
from collections.abc import Sequence

from cnncc.runtime.cpu.kernel import Kernel, Launch, ceil_div, make_params

OPERANDS = ("x", "grid", "y")
DIMS = ("blocks", "in_d", "in_h", "in_w", "points", "pieces", "axes", "padding", "align")
POINTS = 16
TAPS = {"nearest": 1, "linear": 2, "cubic": 4}
ZEROS, BORDER, REFLECTION = range(3)
PADDINGS = {"zeros": ZEROS, "border": BORDER, "reflection": REFLECTION}


def launch(images: int, blocks: int, size: Sequence[int], points: int, lanes: int, mode: str, padding: str,
           align: bool) -> Launch:  # fmt: skip
    """The step; ``blocks`` are those of an image, or its channels where plain (lanes 1); ``size`` has an axis for each
    number of a position."""
    pieces = ceil_div(points, POINTS)
    item = 4 * lanes * images * blocks
    dims = (blocks, *(1,) * (3 - len(size)), *size, points, pieces, len(size), PADDINGS[padding], int(align))
    return Launch(
        KERNEL, make_params(lanes=lanes, mode=mode), dims, images * pieces if blocks else 0,
        reads={"x": (0, item * math.prod(size)), "grid": (0, 4 * images * points * len(size))},
        writes={"y": (0, item * points)},
    )  # fmt: skip


def build(lanes: int, mode: str):
    import numpy as np
    from numba.extending import register_jitable

    from cnncc.runtime.cpu.memory_access import load_f32, load_i64, stack, store_f32, store_i64
    from cnncc.runtime.cpu.simd import fma, load, splat, store

    zero, half, one, two = np.float32(0), np.float32(0.5), np.float32(1), np.float32(2)
    far_off, a = np.float32(2.0**30), np.float32(-0.75)
    taps, entry, item = TAPS[mode], 16, 4 * lanes  # an entry: an offset in bytes, a weight
    row, axis_bytes = taps**3 * entry, 4 * entry
    table_bytes, counts_bytes = POINTS * row, 8 * POINTS
    first = 8 * len(OPERANDS)
    SIZES, POINT_COUNT, PIECES, AXES, PADDING, ALIGN = (first + 8 * i for i in (1, 4, 5, 6, 7, 8))

    @register_jitable
    def reflected(at, low, high):
        if low <= at <= high:
            return at
        reach = high - low
        if reach == zero:
            return low
        beyond = low - at if at < low else at - high
        turns = np.floor(beyond / reach)
        rest = beyond - turns * reach
        even = turns - two * np.floor(turns * half) == zero
        return low + rest if (at < low) == even else high - rest

    @register_jitable
    def put(table, count, index, size, step, weight, padding, low, high):
        """Adds the element ``index``, a whole float32, unless it counts as zero; the new number of entries."""
        if index < zero or index >= size:
            if padding == ZEROS:
                return count
            if padding == REFLECTION:
                index = np.trunc(reflected(index, low, high))
        place = min(max(np.int64(index), 0), np.int64(size) - 1)
        store_i64(table + count * entry, place * step)
        store_f32(table + count * entry + 8, weight)
        return count + 1

    @register_jitable
    def near(d):
        return ((a + two) * d - (a + np.float32(3))) * d * d + one

    @register_jitable
    def far(d):
        return ((a * d - np.float32(5) * a) * d + np.float32(8) * a) * d - np.float32(4) * a

    @register_jitable
    def along(g, count, step, table, padding, align):
        """Writes the elements read along an axis of ``count`` at the position g from -1 to 1; gives their number."""
        size = np.float32(count)
        low, high = (zero, size - one) if align else (-half, size - half)
        at = -two  # where a NaN lies
        if g == g:
            g = min(max(g, -far_off), far_off)
            at = ((g + one) * (size - one) if align else (g + one) * size - one) / two
            at = min(max(at, -far_off), far_off)
        if mode == "nearest":
            at = np.float32(np.rint(at))
        if at < low or at > high:
            if padding == BORDER and mode != "cubic":
                at = min(max(at, zero), size - one)
            elif padding == REFLECTION:
                at = reflected(at, low, high)
        base = np.floor(at)
        part = at - base
        if mode == "nearest":
            return put(table, 0, base, size, step, one, padding, low, high)
        if mode == "linear":
            n = put(table, 0, base, size, step, one - part, padding, low, high)
            return put(table, n, base + one, size, step, part, padding, low, high)
        n = put(table, 0, base - one, size, step, far(one + part), padding, low, high)
        n = put(table, n, base, size, step, near(part), padding, low, high)
        n = put(table, n, base + one, size, step, near(one - part), padding, low, high)
        return put(table, n, base + two, size, step, far(two - part), padding, low, high)

    @register_jitable
    def around(args, position, deep, tall, wide, table):
        """Writes all elements that are read around a position; gives their number."""
        in_h, in_w = load_i64(args + SIZES + 8), load_i64(args + SIZES + 16)
        store_i64(deep, 0)
        store_f32(deep + 8, one)
        store_i64(tall, 0)
        store_f32(tall + 8, one)
        axes, padding, align = load_i64(args + AXES), load_i64(args + PADDING), load_i64(args + ALIGN)
        d, h = 1, 1
        w = along(load_f32(position), in_w, item, wide, padding, align)
        if axes > 1:
            h = along(load_f32(position + 4), in_h, item * in_w, tall, padding, align)
        if axes > 2:
            d = along(load_f32(position + 8), load_i64(args + SIZES), item * in_w * in_h, deep, padding, align)
        for t in range(d * h * w):
            i, j, k = t // (w * h), t // w % h, t % w
            at = load_i64(deep + i * entry) + load_i64(tall + j * entry) + load_i64(wide + k * entry)
            outer = load_f32(deep + i * entry + 8) * load_f32(tall + j * entry + 8)
            store_i64(table + t * entry, at)
            store_f32(table + t * entry + 8, outer * load_f32(wide + k * entry + 8))
        return d * h * w

    @register_jitable
    def weighted(source, table, count):
        if count == 0:
            return splat(zero, lanes)
        total = load(source + load_i64(table), lanes)
        if taps > 1:
            total = total * load_f32(table + 8)
            for t in range(1, count):
                total = fma(load(source + load_i64(table + t * entry), lanes), load_f32(table + t * entry + 8), total)
        return total

    def grid_sample(args, begin, end):
        x, grid, y, blocks = load_i64(args), load_i64(args + 8), load_i64(args + 16), load_i64(args + first)
        points, pieces = load_i64(args + POINT_COUNT), load_i64(args + PIECES)
        plane = load_i64(args + SIZES) * load_i64(args + SIZES + 8) * load_i64(args + SIZES + 16) * item
        deep, tall, wide = stack(axis_bytes), stack(axis_bytes), stack(axis_bytes)
        table, counts = stack(table_bytes), stack(counts_bytes)
        for task in range(begin, end):
            image, start = task // pieces, task % pieces * POINTS
            count = min(POINTS, points - start)
            for i in range(count):
                position = grid + 4 * load_i64(args + AXES) * (image * points + start + i)
                store_i64(counts + 8 * i, around(args, position, deep, tall, wide, table + i * row))
            for block in range(image * blocks, (image + 1) * blocks):
                to = y + (block * points + start) * item
                for i in range(count):
                    value = weighted(x + block * plane, table + i * row, load_i64(counts + 8 * i))
                    store(to + i * item, value)

    return grid_sample


KERNEL = Kernel("grid_sample", OPERANDS, DIMS, build)
