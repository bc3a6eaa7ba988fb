"""MaxRoiPool, in NCHWc (a vector of channels a position) or plain (lanes 1). A task is a row of bins of one region.

The number of a region's picture is clamped to those that are there.
"""

import math

from cnncc.runtime.cpu.kernel import Kernel, Launch, float_word, make_params

OPERANDS = ("x", "rois", "y")
DIMS = ("images", "blocks", "in_h", "in_w", "out_h", "out_w", "scale")
FARTHEST = 1 << 30  # places beyond are as good as this one


def launch(images: int, blocks: int, size: tuple[int, int], regions: int, out_size: tuple[int, int], scale: float,
           lanes: int) -> Launch:  # fmt: skip
    """The step; ``blocks`` are those of an image, or its channels where plain (lanes 1)."""
    item = 4 * lanes * blocks
    return Launch(
        KERNEL, make_params(lanes=lanes), (images, blocks, *size, *out_size, float_word(scale)),
        regions * out_size[0] if images and blocks else 0,
        reads={"x": (0, item * images * math.prod(size)), "rois": (0, 20 * regions)},
        writes={"y": (0, item * regions * math.prod(out_size))},
    )  # fmt: skip


def build(lanes: int):
    import numpy as np
    from numba.extending import register_jitable

    from cnncc.runtime.cpu.memory_access import load_f32, load_words, word_float
    from cnncc.runtime.cpu.simd import load, maximum, splat, store

    words, item, half, zero = len(OPERANDS) + len(DIMS), 4 * lanes, np.float32(0.5), np.float32(0)
    low, high = np.float32(-FARTHEST), np.float32(FARTHEST)

    @register_jitable
    def whole(value):
        """The nearest integer, halves away from zero."""
        if value != value:
            return 0
        value = min(max(value, low), high)
        return np.int64(np.floor(value + half) if value >= zero else np.ceil(value - half))

    @register_jitable
    def bin_of(first, last, number, count, size):
        """The pixels [from, to) of a bin along an axis, clipped to it."""
        width = np.float32(max(last - first + 1, 1)) / np.float32(count)
        start = np.int64(np.floor(np.float32(number) * width)) + first
        stop = np.int64(np.ceil(np.float32(number + 1) * width)) + first
        return min(max(start, 0), size), min(max(stop, 0), size)

    @register_jitable
    def largest(source, top, bottom, left, right, in_w):
        if top >= bottom or left >= right:
            return splat(zero, lanes)
        value = load(source + (top * in_w + left) * item, lanes)
        for row in range(top, bottom):
            for column in range(left, right):
                value = maximum(value, load(source + (row * in_w + column) * item, lanes))
        return value

    def roi_pool(args, begin, end):
        x, rois, y, images, blocks, in_h, in_w, out_h, out_w, scale_word = load_words(args, words)
        scale = word_float(scale_word)
        for task in range(begin, end):
            region, row = task // out_h, task % out_h
            roi = rois + 20 * region
            number = load_f32(roi)
            picture = np.int64(min(max(number, zero), np.float32(images - 1))) if number == number else 0
            left, right = whole(load_f32(roi + 4) * scale), whole(load_f32(roi + 12) * scale)
            top, bottom = bin_of(whole(load_f32(roi + 8) * scale), whole(load_f32(roi + 16) * scale), row, out_h, in_h)
            for column in range(out_w):
                first, last = bin_of(left, right, column, out_w, in_w)
                for block in range(blocks):
                    source = x + (picture * blocks + block) * in_h * in_w * item
                    to = y + (((region * blocks + block) * out_h + row) * out_w + column) * item
                    store(to, largest(source, top, bottom, first, last, in_w))

    return roi_pool


KERNEL = Kernel("roi_pool", OPERANDS, DIMS, build)
