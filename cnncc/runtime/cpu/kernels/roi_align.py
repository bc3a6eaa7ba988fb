"""RoiAlign, in NCHWc (a vector of channels a position) or plain (lanes 1).

A task is a row of bins of one region. The samples of a bin are taken in batches: where they lie and their weights are
found once and put into a table on the stack, then all blocks of channels are added up or compared. The number of a
region's picture is clamped to those that are there.
"""

import math

from cnncc.runtime.cpu.kernel import Kernel, Launch, float_word, make_params

OPERANDS = ("x", "rois", "pictures", "y")
DIMS = ("images", "blocks", "in_h", "in_w", "out_h", "out_w", "sampling", "scale")
BATCH = 16  # samples in a table, of four pixels each
MOST_SAMPLES = 1 << 14  # a bin's along an axis, as in the operator


def launch(images: int, blocks: int, size: tuple[int, int], regions: int, out_size: tuple[int, int], sampling: int,
           scale: float, lanes: int, mode: str, aligned: bool) -> Launch:  # fmt: skip
    """The step; ``blocks`` are those of an image, or its channels where plain (lanes 1); ``sampling`` 0 is adaptive."""
    dims = (images, blocks, *size, *out_size, sampling, float_word(scale))
    item = 4 * lanes * blocks
    return Launch(
        KERNEL, make_params(lanes=lanes, mode=mode, aligned=int(aligned)), dims,
        regions * out_size[0] if images and blocks else 0,
        reads={"x": (0, item * images * math.prod(size)), "rois": (0, 16 * regions), "pictures": (0, 8 * regions)},
        writes={"y": (0, item * regions * math.prod(out_size))},
    )  # fmt: skip


def build(lanes: int, mode: str, aligned: int):
    import numpy as np
    from numba.extending import register_jitable

    from cnncc.runtime.cpu.memory_access import load_f32, load_i64, stack, store_f32, store_i64, word_float
    from cnncc.runtime.cpu.simd import fma, load, maximum, splat, store

    entry, item = 16, 4 * lanes  # an entry: an offset in bytes, a weight
    table_bytes = 4 * BATCH * entry
    zero, half, one, most = np.float32(0), np.float32(0.5), np.float32(1), np.float32(MOST_SAMPLES)
    word = {name: 8 * (len(OPERANDS) + i) for i, name in enumerate(DIMS)}
    IMAGES, BLOCKS, IN_H, IN_W, OUT_H, OUT_W, SAMPLING, SCALE = (word[name] for name in DIMS)

    @register_jitable
    def side(roi, axis, scale, bins):
        """Where a region begins along an axis, and how long a bin is."""
        shift = half if aligned else zero
        start = load_f32(roi + 4 * axis) * scale - shift
        length = load_f32(roi + 4 * axis + 8) * scale - shift - start
        if not aligned:
            length = max(length, one)
        return start, length / np.float32(bins)

    @register_jitable
    def samples(width, sampling):
        if sampling:
            return sampling
        return np.int64(min(np.ceil(width), most)) if width > zero else 0

    @register_jitable
    def between(at, size):
        """The two pixels at a position and the weight of the second; a weight of -1 marks one that is outside."""
        if not (-one <= at <= np.float32(size)):
            return 0, 0, -one
        at = min(max(at, zero), np.float32(size - 1))
        low = np.int64(at)
        return low, min(low + 1, size - 1), at - np.float32(low)

    @register_jitable
    def put(table, n, offset, weight):
        store_i64(table + n * entry, offset * item)
        store_f32(table + n * entry + 8, weight)

    @register_jitable
    def put_sample(table, n, y, x, in_h, in_w, share):
        top, bottom, lower = between(y, in_h)
        left, right, later = between(x, in_w)
        upper, sooner = one - lower, one - later
        if lower < zero or later < zero:
            top, bottom, left, right, upper, lower, sooner, later = 0, 0, 0, 0, zero, zero, zero, zero
        put(table, n, top * in_w + left, upper * sooner * share)
        put(table, n + 1, top * in_w + right, upper * later * share)
        put(table, n + 2, bottom * in_w + left, lower * sooner * share)
        put(table, n + 3, bottom * in_w + right, lower * later * share)

    @register_jitable
    def gathered(source, table, count, value, fresh):
        """``value`` with the weighted pixels of a table; of the first table alone where ``fresh``."""
        for t in range(count):
            pixel, weight = load(source + load_i64(table + t * entry), lanes), load_f32(table + t * entry + 8)
            if mode == "avg":
                value = fma(pixel, weight, value)
            else:
                value = pixel * weight if fresh and t == 0 else maximum(value, pixel * weight)
        return value

    @register_jitable
    def bin_of(args, source, to, start_y, start_x, height, width, across, down, table):
        """All channels of one bin, whose samples lie from (start_y, start_x) on."""
        blocks, in_h, in_w = load_i64(args + BLOCKS), load_i64(args + IN_H), load_i64(args + IN_W)
        plane, out = in_h * in_w * item, load_i64(args + OUT_H) * load_i64(args + OUT_W) * item
        count = down * across
        share = one / np.float32(count) if mode == "avg" and count else one
        for block in range(blocks):
            store(to + block * out, splat(zero, lanes))
        for first in range(0, count, BATCH):
            batch = min(BATCH, count - first)
            for s in range(batch):
                iy, ix = (first + s) // across, (first + s) % across
                y = start_y + (np.float32(iy) + half) * height / np.float32(down)
                x = start_x + (np.float32(ix) + half) * width / np.float32(across)
                put_sample(table, 4 * s, y, x, in_h, in_w, share)
            for block in range(blocks):
                place = to + block * out
                store(place, gathered(source + block * plane, table, 4 * batch, load(place, lanes), first == 0))

    def roi_align(args, begin, end):
        x, rois, pictures, y = load_i64(args), load_i64(args + 8), load_i64(args + 16), load_i64(args + 24)
        images, blocks, in_h, in_w = (
            load_i64(args + IMAGES), load_i64(args + BLOCKS), load_i64(args + IN_H), load_i64(args + IN_W))
        out_h, out_w, sampling = load_i64(args + OUT_H), load_i64(args + OUT_W), load_i64(args + SAMPLING)
        scale, table = word_float(load_i64(args + SCALE)), stack(table_bytes)
        for task in range(begin, end):
            region, row = task // out_h, task % out_h
            picture = min(max(load_i64(pictures + 8 * region), 0), images - 1)
            left, width = side(rois + 16 * region, 0, scale, out_w)
            top, height = side(rois + 16 * region, 1, scale, out_h)
            across, down = samples(width, sampling), samples(height, sampling)
            for column in range(out_w):
                bin_of(
                    args, x + picture * blocks * in_h * in_w * item,
                    y + ((region * blocks * out_h + row) * out_w + column) * item,
                    top + np.float32(row) * height, left + np.float32(column) * width, height, width, across, down,
                    table)

    return roi_align


KERNEL = Kernel("roi_align", OPERANDS, DIMS, build)
