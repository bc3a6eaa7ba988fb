"""A 1x1 convolution and the depthwise one that reads it, in one pass, in NCHWc.

    m[p, o] = inner(bias[o] + sum over ic of x[ic, p] * w[o, ic])
    y[p, l] = act(bias2[l] + sum over taps of m[pixel(p, tap), l] * w2[l, tap])

m is never stored as a whole: a task makes a band of output rows of ``vectors`` blocks of channels and keeps the k_h
rows of m that the next output row reads, in a ring that stays in the nearest caches. A thread whose last task was the
band above finds in it the rows that both need. Columns of padding are zeros in the ring, rows of padding are skipped.
Tiles are ``rows`` pixels of m, and ``side`` pixels of y, of one row; the last of a row begins early enough to end with
it. Both sums are added in the order in which conv_direct and conv_depthwise add them.

Layouts (float32): x is [N, IC/c, H*W, c]; y [N, C/c, OH*OW, c]; w [tiles, IC, vectors * c] and bias
[tiles, vectors * c] as conv_direct has them; w2 [C/c, KH, KW, c] and bias2 [C/c * c] as conv_depthwise has them.
Scratch: m's ring as [vectors, KH, ring_w, c], row h of m in place h mod KH.
"""

import math

from cnncc.runtime.cpu.conv_shape import ConvShape
from cnncc.runtime.cpu.kernel import Kernel, Launch, ceil_div, float_word, make_params
from cnncc.runtime.cpu.kernels.conv_depthwise import SLIDING_STRIDES, SLIDING_TAPS
from cnncc.runtime.cpu.kernels.conv_depthwise import supports as is_depthwise

OPERANDS = ("x", "w", "bias", "w2", "bias2", "y", "scratch")
DIMS = (
    "in_h", "in_w", "out_h", "out_w", "k_h", "stride_h", "pad_h", "pad_w", "channels", "blocks", "tiles", "bands",
    "band_rows", "ring_w", "in_scratch", "a", "b", "a2", "b2",
)  # fmt: skip
SIDES = (8, 7)  # pixels of y in a tile
MIN_WIDTH = 7
BAND_ROWS = 7  # of a task; where threads part, KH - stride rows more are computed
MOST_RING_BYTES = 512 << 10
# (rows, vectors) by lanes, with measured merit
TILES = {
    16: {(8, 3): 1.0, (7, 3): 1.0, (14, 2): 0.97, (12, 2): 0.95},
    8: {(6, 2): 1.0, (4, 3): 1.0, (5, 2): 0.97},
    4: {(8, 3): 1.0, (7, 3): 1.0, (10, 2): 0.97},
}
Activated = tuple[str, float, float]
NONE: Activated = ("clip", -math.inf, math.inf)


def supports(first: ConvShape, second: ConvShape, lanes: int) -> bool:
    """A 1x1 convolution of pictures, then a depthwise one without dilation that slides along rows; these are at least
    MIN_WIDTH long, before and after, and no longer than a ring may be."""
    flat = first.size[0] == second.kernel[0] == second.out_size[0] == 1 and second.size == first.out_size
    chained = first.is_pointwise and first.groups == 1 and first.out_channels == second.channels
    slides = (second.dilation == (1, 1, 1) and second.kernel[2] in SLIDING_TAPS and second.stride[2] in SLIDING_STRIDES
              and min(second.size[2], second.out_size[2]) >= MIN_WIDTH and second.pixels > 0)
    return (flat and chained and slides and is_depthwise(second)
            and ring_bytes(second, lanes, max(v for _, v in TILES[lanes])) <= MOST_RING_BYTES)


def ring_width(second: ConvShape) -> int:
    """Columns of m with those of padding, and as many as the last tap of the last pixel needs."""
    return max(second.pad[2] + second.size[2], (second.out_size[2] - 1) * second.stride[2] + second.kernel[2])


def ring_bytes(second: ConvShape, lanes: int, vectors: int) -> int:
    return 4 * lanes * vectors * second.kernel[1] * ring_width(second)


def choose_tile(first: ConvShape, lanes: int) -> tuple[int, int]:
    """(rows, vectors) with the least padded work, of those that fit into a row."""
    blocks, wide = ceil_div(first.out_channels, lanes), first.size[2]

    def cost(tile: tuple[int, int]) -> float:
        rows, vectors = tile
        return ceil_div(wide, rows) * rows * ceil_div(blocks, vectors) * vectors / TILES[lanes][tile]

    return min((tile for tile in TILES[lanes] if tile[0] <= wide), key=cost)


def choose_side(second: ConvShape) -> int:
    """Pixels of a tile of y: the choice with the fewest beyond the end of a row."""
    wide = second.out_size[2]
    return min((side for side in SIDES if side <= wide), key=lambda side: ceil_div(wide, side) * side)


def launch(
    first: ConvShape, second: ConvShape, lanes: int, tile: tuple[int, int] | None = None, inner: Activated = NONE,
    outer: Activated = NONE,
) -> Launch:  # fmt: skip
    """The step of both convolutions; ``inner`` and ``outer`` are their activations (see epilogue.py)."""
    rows, vectors = tile or choose_tile(first, lanes)
    if not supports(first, second, lanes) or rows > first.size[2]:
        raise ValueError(f"{first} and {second} are no convolutions for conv_pointwise_depthwise")
    width = 4 * lanes
    blocks, in_blocks = ceil_div(second.channels, lanes), ceil_div(first.channels, lanes)
    tiles = ceil_div(blocks, vectors)
    (_, in_h, in_w), (_, out_h, out_w), (_, k_h, k_w) = second.size, second.out_size, second.kernel
    bands = ceil_div(out_h, BAND_ROWS)
    params = make_params(lanes=lanes, rows=rows, vectors=vectors, side=choose_side(second), inner=inner[0],
                         outer=outer[0], taps=k_w, stride=second.stride[2])
    dims = (
        in_h, in_w, out_h, out_w, k_h, second.stride[1], second.pad[1], second.pad[2], first.channels, blocks, tiles,
        bands, ceil_div(out_h, bands), ring_width(second), -1, *map(float_word, inner[1:]), *map(float_word, outer[1:]),
    )  # fmt: skip
    reads = {
        "x": (0, first.images * in_blocks * in_h * in_w * width),
        "w": (0, tiles * first.channels * vectors * width),
        "bias": (0, tiles * vectors * width),
        "w2": (0, blocks * k_h * k_w * width),
        "bias2": (0, blocks * width),
    }
    scratch = ceil_div(ring_bytes(second, lanes, vectors), 64) * 64
    writes = {"y": (0, first.images * blocks * out_h * out_w * width)}
    return Launch(KERNEL, params, dims, first.images * tiles * bands, 1, scratch, reads, writes)


def build(lanes: int, rows: int, vectors: int, side: int, inner: str, outer: str, taps: int, stride: int):
    """Compile-time constants are both tiles, both epilogues, and the taps and stride along a row."""
    from numba.extending import register_jitable

    from cnncc.runtime.cpu.epilogue import build_activation
    from cnncc.runtime.cpu.memory_access import (
        load_i64,
        load_words,
        outside,
        prefetch_to_write,
        select,
        store_i64,
        word_float,
    )
    from cnncc.runtime.cpu.simd import splat, store
    from cnncc.runtime.cpu.tile import tile_fma_even, tile_of_row
    from cnncc.runtime.cpu.tile_lanewise import tile_slide
    from cnncc.runtime.cpu.tile_memory import store_through

    finish_inner, finish_outer = store_through(build_activation(inner)), store_through(build_activation(outer))
    width, columns = 4 * lanes, 4 * lanes * vectors
    word = {name: i for i, name in enumerate(OPERANDS + DIMS)}
    word_count, (X, W, BIAS, W2, BIAS2, Y, SCRATCH) = len(word), range(7)
    (IN_H, IN_W, OUT_H, OUT_W, K_H, STRIDE_H, PAD_H, PAD_W, CHANNELS, BLOCKS, TILES_, BANDS, BAND_ROWS_, RING_W,
     IN_SCRATCH, A, B, A2, B2) = (word[name] for name in DIMS)  # fmt: skip

    @register_jitable
    def clear(ring, count):
        for i in range(count):
            store(ring + i * width, splat(0.0, lanes))

    @register_jitable
    def ask(y, y_plane, some, first, count):
        """For the vectors first .. first+count-1 of the rows of y that are written next."""
        for v in range(some):
            for i in range(first, first + count):
                prefetch_to_write(y + v * y_plane + i * width)

    @register_jitable
    def point(words, source, w, bias, target, ring_plane, y, y_plane, some, begun, each, a, b):
        """A row of m from the row of x at ``source``; each tile also asks for ``each`` vectors of the next row of y,
        of which ``begun`` are asked for already, as long as there are any."""
        in_w, channels = words[IN_W], words[CHANNELS]
        x_block = words[IN_H] * in_w * width
        for i in range(0, in_w, rows):
            p = min(i, in_w - rows)
            ask(y, y_plane, some, begun, min(each, words[OUT_W] - begun))
            begun += each
            acc = tile_of_row(bias, width, rows, vectors, lanes)
            for block in range((channels + (lanes - 1)) // lanes):
                n = min(lanes, channels - block * lanes)
                at = source + block * x_block + p * width
                acc = tile_fma_even(acc, at, width, 4, w + block * lanes * columns, columns, n, 4)
            finish_inner(acc, target, 0, p * width, width, ring_plane, rows, vectors, a, b)

    @register_jitable
    def filter_row(words, ring, w, bias, h, y, a, b):
        """A row of y of one block of channels; ``h`` is the row of m that tap row 0 is over."""
        out_w, k_h, in_h, row_bytes = words[OUT_W], words[K_H], words[IN_H], words[RING_W] * width
        highest = h % k_h
        for i in range(0, out_w, side):
            p = min(i, out_w - side)
            acc = tile_of_row(bias, width, side, 1, lanes)
            place = highest
            for j in range(k_h):
                if not outside(h + j, in_h):
                    at = ring + place * row_bytes + p * (stride * width)
                    acc = tile_slide(acc, at, w + j * (taps * width), taps, stride)
                place = select(place + 1 < k_h, place + 1, 0)
            finish_outer(acc, y, 0, p * width, width, 0, side, 1, a, b)

    def conv_pointwise_depthwise(args, begin, end):
        words = load_words(args, word_count)
        in_h, in_w, out_h, out_w, k_h = words[IN_H], words[IN_W], words[OUT_H], words[OUT_W], words[K_H]
        channels, blocks, tiles, bands = words[CHANNELS], words[BLOCKS], words[TILES_], words[BANDS]
        a, b, a2, b2 = word_float(words[A]), word_float(words[B]), word_float(words[A2]), word_float(words[B2])
        ring, row_bytes = words[SCRATCH], words[RING_W] * width
        ring_plane, y_plane = k_h * row_bytes, out_h * out_w * width
        across = (in_w + (rows - 1)) // rows
        x_image = (channels + (lanes - 1)) // lanes * in_h * in_w * width
        if load_i64(args + 8 * IN_SCRATCH) < 0:
            clear(ring, vectors * k_h * words[RING_W])
        for task in range(begin, end):
            band, panel = task % bands, task // bands
            image, tile = panel // tiles, panel % tiles
            x = words[X] + image * x_image
            w, bias = words[W] + tile * channels * columns, words[BIAS] + tile * columns
            block = tile * vectors
            some, start = min(vectors, blocks - block), band * words[BAND_ROWS_]
            follows = (band > 0) & (load_i64(args + 8 * IN_SCRATCH) == task - 1)
            # Rows of m before this one are in the ring, if the next row of y reads them.
            ready = select(follows, (start - 1) * words[STRIDE_H] - words[PAD_H] + k_h, 0)
            for row in range(start, min(start + words[BAND_ROWS_], out_h)):
                h = row * words[STRIDE_H] - words[PAD_H]
                first, after = max(ready, h, 0), min(h + k_h, in_h)
                y = words[Y] + (image * blocks + block) * y_plane + row * out_w * width
                each = out_w // (across * max(1, after - first)) + 1
                for i in range(first, after):
                    point(words, x + i * in_w * width, w, bias, ring + i % k_h * row_bytes + words[PAD_W] * width,
                          ring_plane, y, y_plane, some, (i - first) * across * each, each, a, b)
                ready = max(ready, after)
                for v in range(some):
                    filter_row(words, ring + v * ring_plane, words[W2] + (block + v) * k_h * taps * width,
                               words[BIAS2] + (block + v) * width, h, y + v * y_plane, a2, b2)
            store_i64(args + 8 * IN_SCRATCH, task)

    return conv_pointwise_depthwise


KERNEL = Kernel("conv_pointwise_depthwise", OPERANDS, DIMS, build)
