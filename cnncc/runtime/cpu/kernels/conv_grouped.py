"""Convolutions in groups of few channels, in NCHWc, from a ring of padded input rows in scratch memory.

    y[p, o] = act(bias[o] + add[p, o] + sum over i in the group of o, kd, kh, kw of x[i, pixel(p, kd, kh, kw)] * w)

A tile is ``rows`` output pixels of one row times ``vectors`` blocks of ``lanes`` output channels. A task is a segment
of some output rows. The part of the input rows that a row of it needs is copied with its padding to a ring that stays
in the first-level cache; there the pixels of a tile lie at even distances, whatever the tap. There are two forms.
*Wide* groups are whole blocks: a unit of work is a group, and its channels are broadcast one by one. *Narrow* groups
divide a block: a unit is a block and each lane is an output channel. The copy repeats each pair of a group's channels
over the lanes of the group, so that reading with doubled even or odd lanes brings a channel to all lanes that need it;
what is read serves all the taps along the row.

Layouts (float32): x is [N, C/c, D*H*W, c]; y and add are [N, OC/c, OD*OH*OW, c]. Wide: weights and bias are as
conv_direct's. Narrow: weights are [C/c, 2 (even, odd), KD, KH, strips, c * taps] and bias is [C/c * c], a strip being
what one update of the tile reads: the taps of a row (or one of them) in a pair. Scratch: the ring of a unit,
[IC/c, KD, ring, pairs, ring_w, c], then the addresses of its kernel rows, [ring, IC/c, KD, KH] int64, for each place in
the ring that the first of them may have.
"""

import math

import numpy as np

from cnncc.runtime.cpu.conv_shape import ConvShape
from cnncc.runtime.cpu.kernel import Kernel, Launch, ask_every, ceil_div, float_word, make_params

OPERANDS = ("x", "w", "bias", "add", "y", "scratch")
DIMS = (
    "in_d", "in_h", "in_w", "out_d", "out_h", "out_w", "k_d", "k_h", "k_w", "stride_d", "stride_h",
    "dilation_d", "dilation_h", "dilation_w", "pad_d", "pad_h", "pad_w",
    "units", "in_blocks", "out_blocks", "tiles", "group_rows", "row_groups", "segment", "segments",
    "ring", "ring_w", "table", "a", "b",
)  # fmt: skip
TASK_FMAS, TASKS, RING_BYTES = (1 << 16, 1 << 15), 16, 24 << 10
SLIDING_TAPS = (2, 3, 4, 5, 7)
# (rows, vectors) by lanes, with the share of the FMA limit that they reach
WIDE_TILES = {
    16: {
        (14, 2): 1.0, (12, 2): 0.98, (10, 2): 0.97, (8, 2): 0.95, (7, 2): 0.95, (7, 3): 1.0, (14, 1): 0.9, (8, 1): 0.85,
    },
    8: {(6, 2): 1.0, (5, 2): 0.97, (7, 1): 0.85, (12, 1): 0.9},
    4: {(14, 2): 1.0, (12, 2): 0.98, (10, 2): 0.97, (8, 2): 0.95, (7, 2): 0.95, (14, 1): 0.9, (8, 1): 0.85},
}
NARROW_TILES = {
    16: {(14, 1): 1.0, (8, 1): 0.9, (7, 1): 0.9},
    8: {(8, 1): 1.0, (7, 1): 0.98},
    4: {(14, 1): 1.0, (8, 1): 0.9},
}


def is_narrow(shape: ConvShape, lanes: int) -> bool:
    """Groups divide a block, with as many output as input channels (an even number)."""
    group = shape.channels // shape.groups
    return shape.channels == shape.out_channels and group in (2, 4, 8) and group < lanes


def supports(shape: ConvShape, lanes: int) -> bool:
    """Groups that divide a block or are blocks, and rows of a sensible length (the ring has to fit a cache)."""
    per_group = (shape.channels // shape.groups, shape.out_channels // shape.groups)
    wide = shape.groups > 1 and all(n % lanes == 0 for n in per_group)
    return (wide or is_narrow(shape, lanes)) and 4 * lanes * _ring(shape, lanes, 16)[2] <= 1 << 20


def tiles_for(shape: ConvShape, lanes: int) -> dict[tuple[int, int], float]:
    """The register tiles that the form of `shape` may have."""
    return (NARROW_TILES if is_narrow(shape, lanes) else WIDE_TILES)[lanes]


def count_tiles(shape: ConvShape, lanes: int, tile: tuple[int, int]) -> int:
    """Register tiles of a unit, of one image."""
    rows, vectors = tile
    blocks = max(1, shape.out_channels // shape.groups // lanes)
    return shape.out_size[0] * shape.out_size[1] * ceil_div(shape.out_size[2], rows) * ceil_div(blocks, vectors)


def choose_tile(shape: ConvShape, lanes: int) -> tuple[int, int]:
    """(rows, vectors) with the least padded work."""
    tiles = tiles_for(shape, lanes)
    return min(tiles, key=lambda tile: count_tiles(shape, lanes, tile) * tile[0] * tile[1] / tiles[tile])


def _ring(shape: ConvShape, lanes: int, columns: int) -> tuple[int, int, int]:
    """(rows, pixels of a row, vectors of all) of the ring: the input that ``columns`` pixels of an output row need."""
    rows = (shape.kernel[1] - 1) * shape.dilation[1] + 1
    width = (columns - 1) * shape.stride[2] + (shape.kernel[2] - 1) * shape.dilation[2] + 1
    group = shape.channels // shape.groups
    repeats = group // 2 if group < lanes else group // lanes
    return rows, width, repeats * shape.kernel[0] * rows * width


def _segment(shape: ConvShape, lanes: int, rows: int) -> int:
    """Output pixels of a row that a task computes: whole tiles, as many as leave the ring in its cache, evenly."""
    tiles = count = ceil_div(shape.out_size[2], rows)
    while count > 1 and 4 * lanes * _ring(shape, lanes, count * rows)[2] > RING_BYTES:
        count -= 1
    return ceil_div(tiles, ceil_div(tiles, count)) * rows


def _group_rows(shape: ConvShape, lanes: int, segments: int) -> int:
    """Output rows of a task: few rows that two tasks copy, but tasks enough for some threads as far as each is worth
    claiming."""
    group, out_group, out_h = shape.channels // shape.groups, shape.out_channels // shape.groups, shape.out_size[1]
    row_fmas = shape.out_size[2] * ceil_div(out_group, lanes) * group * shape.taps
    units = shape.images * shape.out_size[0] * segments * ceil_div(shape.groups, max(1, lanes // group))
    for fmas in TASK_FMAS:
        rows = min(out_h, max(ceil_div(fmas, row_fmas), 4 * (shape.kernel[1] - 1) * shape.dilation[1]))
        row_groups = ceil_div(out_h, rows)
        if units * row_groups >= TASKS:
            break
    return ceil_div(out_h, row_groups)


def launch(
    shape: ConvShape, lanes: int, tile: tuple[int, int] | None = None, residual: bool = False,
    activation: str = "clip", a: float = -math.inf, b: float = math.inf,
) -> Launch:  # fmt: skip
    """The step of a convolution; ``a`` and ``b`` belong to the activation (see epilogue.py)."""
    if not supports(shape, lanes):
        raise ValueError(f"the groups of {shape} neither divide nor are blocks of {lanes} channels")
    rows, vectors = tile or choose_tile(shape, lanes)
    width, group, narrow = lanes * 4, shape.channels // shape.groups, is_narrow(shape, lanes)
    units = ceil_div(shape.channels, lanes) if narrow else shape.groups
    in_blocks, out_blocks = ceil_div(group, lanes), ceil_div(shape.out_channels // shape.groups, lanes)
    tiles, taps = ceil_div(out_blocks, vectors), sliding_taps(shape, lanes)
    segment = _segment(shape, lanes, rows)
    segments = ceil_div(shape.out_size[2], segment)
    group_rows = _group_rows(shape, lanes, segments)
    row_groups = ceil_div(shape.out_size[1], group_rows)
    ring, ring_w, kept = _ring(shape, lanes, segment)
    table = kept * width
    dims = (
        *shape.size, *shape.out_size, *shape.kernel, *shape.stride[:2], *shape.dilation, *shape.pad,
        units, in_blocks, out_blocks, tiles, group_rows, row_groups, segment, segments, ring, ring_w, table,
        float_word(a), float_word(b),
    )  # fmt: skip
    y_bytes = shape.images * units * out_blocks * shape.pixels * width
    reads = {
        "x": (0, shape.images * units * in_blocks * math.prod(shape.size) * width),
        "w": (0, units * tiles * vectors * group * shape.taps * width), "bias": (0, units * tiles * vectors * width),
    }  # fmt: skip
    if residual:
        reads["add"] = (0, y_bytes)
    step = vectors * width // (shape.out_size[1] * ceil_div(shape.out_size[2], rows))
    params = make_params(
        lanes=lanes, rows=rows, vectors=vectors, group=group if narrow else 0, taps=taps, stride=shape.stride[2],
        activation=activation, every=1 if narrow else ask_every(step),
    )  # fmt: skip
    tasks = shape.images * units * shape.out_size[0] * row_groups * segments
    scratch = table + 8 * ring * in_blocks * shape.kernel[0] * shape.kernel[1]
    return Launch(KERNEL, params, dims, tasks, 1, scratch, reads, {"y": (0, y_bytes)})


def sliding_taps(shape: ConvShape, lanes: int) -> int:
    """Taps of a strip: those of a row where they share their vectors, else one."""
    slides = is_narrow(shape, lanes) and shape.dilation[2] == 1 and shape.kernel[2] in SLIDING_TAPS
    return shape.kernel[2] if slides else 1


def pack_narrow_weights(w: np.ndarray, lanes: int, taps: int) -> np.ndarray:
    """[C, group, *kernel] as [C/c, 2, rows of taps, pairs, taps, c] float32, flattened; surplus channels zero."""
    channels, group = w.shape[:2]
    blocks = ceil_div(channels, lanes)
    padded = np.zeros((blocks * lanes, group, math.prod(w.shape[2:])), np.float32)
    padded[:channels] = w.reshape(channels, group, -1)
    split = padded.reshape(blocks, lanes, group // 2, 2, -1, taps)
    return np.ascontiguousarray(split.transpose(0, 3, 4, 2, 5, 1)).reshape(-1)


def build(lanes: int, rows: int, vectors: int, group: int, taps: int, stride: int, activation: str, every: int):
    """Compile-time constants are the tile, the form (``group`` is 0 where wide), the steps along a row and how many
    updates of a wide tile there are to one that asks for a cache line."""
    from numba.extending import register_jitable

    from cnncc.runtime.cpu.epilogue import build_activation
    from cnncc.runtime.cpu.memory_access import (
        load_i64,
        load_words,
        outside,
        prefetch,
        prefetch_to_write,
        store_i64,
        word_float,
    )
    from cnncc.runtime.cpu.simd import load, splat, store
    from cnncc.runtime.cpu.tile import tile_fma_even_ahead, tile_of_row
    from cnncc.runtime.cpu.tile_lanewise import store_pairs, tile_slide_pairs
    from cnncc.runtime.cpu.tile_memory import store_through

    tile_finish = store_through(build_activation(activation))
    width, columns, narrow, row_step = 4 * lanes, 4 * lanes * vectors, group > 0, 4 * lanes * stride
    x_asks, y_asks = (ceil_div(rows * stride, 6), ceil_div(rows, 6)) if narrow else (ceil_div(rows * stride, 3), 0)
    pairs, strip_bytes = max(1, group // 2), width * taps if narrow else lanes * columns
    word = {name: i for i, name in enumerate(OPERANDS + DIMS)}
    word_count, (X, W, BIAS, ADD, Y, SCRATCH) = len(word), range(6)
    IN_D, IN_H, IN_W, OUT_D, OUT_H, OUT_W = (word[f"{n}_{axis}"] for n in ("in", "out") for axis in "dhw")
    K_D, K_H, K_W, STRIDE_D, STRIDE_H = (word[n] for n in ("k_d", "k_h", "k_w", "stride_d", "stride_h"))
    DILATION_D, DILATION_H, DILATION_W, PAD_D, PAD_H, PAD_W = (
        word[f"{n}_{axis}"] for n in ("dilation", "pad") for axis in "dhw"
    )
    UNITS, IN_BLOCKS, OUT_BLOCKS, TILES = (word[n] for n in ("units", "in_blocks", "out_blocks", "tiles"))
    GROUP_ROWS, ROW_GROUPS, RING, RING_W = (word[n] for n in ("group_rows", "row_groups", "ring", "ring_w"))
    SEGMENT, SEGMENTS = word["segment"], word["segments"]
    TABLE, A, B = word["table"], word["a"], word["b"]

    @register_jitable
    def put(target, ring_w, value):
        if narrow:
            store_pairs(target, ring_w * width, value, group)
        else:
            store(target, value)

    @register_jitable
    def clear(target, ring_w, begin, end):
        """Zeros in pixels begin .. end-1 of a row of the ring."""
        for at in range(begin, end):
            for p in range(pairs):
                store(target + (p * ring_w + at) * width, splat(0.0, lanes))

    @register_jitable
    def copy(target, ring_w, begin, end, row):
        """Pixels begin .. end-1 of a row of the ring, from those at ``row``."""
        for at in range(begin, end):
            put(target + at * width, ring_w, load(row + at * width, lanes))

    @register_jitable
    def ask(words, x, y, turn):
        """Of what a tile needs to begin with, the part number ``turn`` of 3 or, where narrow, 6: its pixels at ``x``
        of the rows that are copied next and, where narrow, the results of the tile at ``y``."""
        for row in range(stride):
            for i in range(x_asks):
                prefetch(x + (row * words[IN_W] + turn * x_asks + i) * width)
        for i in range(y_asks):
            prefetch_to_write(y + (turn * y_asks + i) * width)

    @register_jitable
    def aim(words, table):
        """Where the kernel rows lie, for each place in the ring that the first of them may have."""
        k_h, ring, row_bytes = words[K_H], words[RING], pairs * words[RING_W] * width
        planes = words[IN_BLOCKS] * words[K_D]
        for first in range(ring):
            for plane in range(planes):
                for k in range(k_h):
                    row = first + k * words[DILATION_H]
                    row = row - ring if row >= ring else row
                    place = words[SCRATCH] + (plane * ring + row) * row_bytes
                    store_i64(table + 8 * ((first * planes + plane) * k_h + k), place)

    @register_jitable
    def fill(words, x, d, y, begin, end, left, right):
        """Rows begin .. end-1 of a task, whose first is row ``y`` of x, to the ring: their pixels left .. right-1, or
        zeros; the others are zeros already. ``x`` is the address of what goes to pixel 0 of row 0."""
        k_d, in_d, in_h, in_w = words[K_D], words[IN_D], words[IN_H], words[IN_W]
        ring, ring_w = words[RING], words[RING_W]
        for row in range(begin, end):
            slot, missing = row % ring, outside(y + row, in_h)
            for block in range(words[IN_BLOCKS]):
                for k in range(k_d):
                    z = d * words[STRIDE_D] - words[PAD_D] + k * words[DILATION_D]
                    target = words[SCRATCH] + ((block * k_d + k) * ring + slot) * pairs * ring_w * width
                    if missing or outside(z, in_d):
                        clear(target, ring_w, left, right)
                    else:
                        place = x + ((block * in_d + z) * in_h + y + row) * in_w * width
                        copy(target, ring_w, left, right, place)

    @register_jitable
    def reduce_wide(acc, words, column, table, lines, w, ahead, step, coming):
        k_h, k_w, tap_step = words[K_H], words[K_W], words[DILATION_W] * width
        in_plane = words[IN_D] * words[IN_H] * words[IN_W] * width
        for plane in range(lines // k_h):
            for k in range(k_h):
                line = plane * k_h + k
                x = load_i64(table + 8 * line) + column
                ask(words, coming + plane * in_plane, 0, k)
                for t in range(k_w):
                    strip = line * k_w + t
                    v, later = w + strip * strip_bytes, ahead + strip * lanes * step
                    acc = tile_fma_even_ahead(acc, x + t * tap_step, row_step, 4, v, columns, lanes, 4, later, step,
                                              every)
        return acc

    def build_half(odd):
        """What the even or the odd channels of all pairs add to a tile."""

        @register_jitable
        def half(acc, words, column, table, lines, w, coming, y):
            strips, tap_step, pair_step = words[K_W] // taps, words[DILATION_W] * width, words[RING_W] * width
            for line in range(lines):
                x = load_i64(table + 8 * line) + column
                ask(words, coming, y, odd * 3 + line)
                for t in range(strips):
                    v = w + (line * strips + t) * pairs * strip_bytes
                    acc = tile_slide_pairs(acc, x + t * tap_step, pair_step, v, odd, pairs, taps, stride)
            return acc

        return half

    even_half, odd_half = build_half(0), build_half(1)

    @register_jitable
    def reduce_narrow(acc, words, column, table, lines, w, coming, y):
        acc = even_half(acc, words, column, table, lines, w, coming, y)
        w += lines * (words[K_W] // taps * pairs) * strip_bytes
        return odd_half(acc, words, column, table, lines, w, coming, y)

    @register_jitable
    def reduce(acc, words, column, table, lines, w, ahead, step, coming, y):
        if narrow:
            prefetch(ahead)
            return reduce_narrow(acc, words, column, table, lines, w, coming, y)
        return reduce_wide(acc, words, column, table, lines, w, ahead, step, coming)

    @register_jitable
    def clear_sides(words, left, right):
        """Zeros beside pixels left .. right-1 of all rows of the ring."""
        ring_w = words[RING_W]
        for row in range(words[IN_BLOCKS] * words[K_D] * words[RING]):
            target = words[SCRATCH] + row * pairs * ring_w * width
            clear(target, ring_w, 0, left)
            clear(target, ring_w, right, ring_w)

    def conv_grouped(args, begin, end):
        words = load_words(args, word_count)
        out_d, out_h, out_w = words[OUT_D], words[OUT_H], words[OUT_W]
        plane, in_plane = out_d * out_h * out_w * width, words[IN_D] * words[IN_H] * words[IN_W] * width
        units, tiles, out_blocks, row_groups = words[UNITS], words[TILES], words[OUT_BLOCKS], words[ROW_GROUPS]
        table, lines, ring = words[SCRATCH] + words[TABLE], words[IN_BLOCKS] * words[K_D] * words[K_H], words[RING]
        across, segments = words[SEGMENT] // rows, words[SEGMENTS]
        panel_bytes = lines * words[K_W] * (width * group if narrow else lanes * columns)
        step = columns // (out_h * ((out_w + (rows - 1)) // rows))
        tile_bytes = panel_bytes // (out_h * across * segments) if narrow else panel_bytes // columns * step
        a, b = word_float(words[A]), word_float(words[B])
        aim(words, table)
        for task in range(begin, end):
            h, segment = task // segments % row_groups * words[GROUP_ROWS], task % segments
            q, start = task // segments // row_groups, segment * words[SEGMENT]
            d, unit = q % out_d, q // out_d
            valid, filled = min(words[SEGMENT], out_w - start), 0
            w, bias = words[W] + unit % units * tiles * panel_bytes, words[BIAS] + unit % units * tiles * columns
            shift = start * stride - words[PAD_W]
            x, y_in = words[X] + unit * words[IN_BLOCKS] * in_plane + shift * width, h * words[STRIDE_H] - words[PAD_H]
            left = min(max(-shift, 0), words[RING_W])
            right = max(left, min(words[IN_W] - shift, words[RING_W]))
            clear_sides(words, left, right)
            for row in range(min(words[GROUP_ROWS], out_h - h)):
                first = row * words[STRIDE_H]
                fill(words, x, d, y_in, max(filled, first), first + ring, left, right)
                filled = first + ring
                z = d * words[STRIDE_D] - words[PAD_D]
                coming = x + ((z * words[IN_H] + y_in + filled) * words[IN_W]) * width
                places = table + first % ring * lines * 8
                asked, line_at = ((h + row) * segments + segment) * across, (d * out_h + h + row) * out_w + start
                for tile in range(tiles):
                    panel, channels = w + tile * panel_bytes, (unit * out_blocks + tile * vectors) * plane
                    for i in range(across):
                        p = i * rows
                        at = channels + (line_at + p) * width
                        if not narrow:
                            for v in range(vectors):
                                for r in range(rows):
                                    prefetch_to_write(words[Y] + at + v * plane + r * width)
                        next_y = words[Y] + at + (rows if i + 1 < across else out_w - p) * width
                        ahead = panel + tiles * panel_bytes + (asked + i) * tile_bytes
                        acc = tile_of_row(bias + tile * columns, width, rows, vectors, lanes)
                        acc = reduce(acc, words, p * row_step, places, lines, panel, ahead, step,
                                     coming + p * row_step, next_y)
                        tile_finish(acc, words[Y], words[ADD], at, width, plane, valid - p,
                                    out_blocks - tile * vectors, a, b)

    return conv_grouped


KERNEL = Kernel("conv_grouped", OPERANDS, DIMS, build)
