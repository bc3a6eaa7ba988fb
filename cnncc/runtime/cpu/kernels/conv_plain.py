"""Convolution from plain NCHW to plain NCHW: groups that fit no vector, and few output channels.

    y[o, p] = act(bias[o] + add[o, p] + sum over ic of o's group, taps of x[ic, pixel(p, tap)] * w[o, ic, tap])

A task is some output rows of a group. It copies the input rows that they need, with the padding around them, to
scratch memory, rows and columns sorted by their number modulo the stride: the patch [IC, KD, sh, sw, height, pitch].
Pixel (r, c) of the task is then position q = r * pitch + c of every term's own part of the patch, whatever the
stride, and the positions in between belong to no pixel. A register tile is ``rows`` output channels times ``vectors``
of ``lanes`` positions; its sums go to scratch memory, from where the pixels are finished row by row.

Layouts (float32, contiguous): x [N, G, IC, D*H*W], w [G, OC, IC, KD*KH*KW] as in ONNX, bias [G, OC], y and add
[N, G, OC, OD*OH*OW]. Scratch: the patch, a table of where each term's part begins, the sums [rows, positions].
"""

import math
from dataclasses import replace
from functools import cache

from cnncc.runtime.cpu.conv_shape import ConvShape
from cnncc.runtime.cpu.kernel import Kernel, Launch, ceil_div, float_word, make_params

OPERANDS = ("x", "w", "bias", "add", "y", "scratch")
DIMS = (
    "in_d", "in_h", "in_w", "out_d", "out_h", "out_w", "k_d", "k_h", "k_w", "stride_d", "stride_h", "stride_w",
    "dilation_d", "dilation_h", "dilation_w", "pad_d", "pad_h", "pad_w", "channels", "out_channels", "groups",
    "group_rows", "row_groups", "height", "pitch", "table", "sums", "sums_row", "a", "b",
)  # fmt: skip
TASK_MACS, CLAIM_MACS, PATCH_BYTES, LONG_ROW = 1e6, 2e5, 256 << 10, 512
# (output channels, vectors of positions) by lanes: what the compiler keeps in 32 registers (16 and 4 lanes) or 16
TILES = {
    16: ((1, 8), (2, 8), (4, 5), (5, 4), (6, 3), (7, 3), (10, 2), (12, 1)),
    8: ((1, 6), (2, 4), (3, 3), (4, 2), (5, 2), (8, 1)),
    4: ((1, 8), (2, 8), (4, 5), (5, 4), (6, 3), (7, 3), (10, 2), (12, 1)),
}


def _patch(shape: ConvShape, rows: int) -> tuple[int, int, int]:
    """(height, pitch, floats) of the patch for ``rows`` output rows."""
    (height, pitch) = (
        ceil_div((out - 1) * shape.stride[axis] + (shape.kernel[axis] - 1) * shape.dilation[axis] + 1,
                 shape.stride[axis])
        for axis, out in ((1, rows), (2, shape.out_size[2]))
    )  # fmt: skip
    planes = shape.channels // shape.groups * shape.kernel[0] * shape.stride[1] * shape.stride[2]
    return height, pitch, planes * height * pitch


def _folded(shape: ConvShape) -> ConvShape:
    """The same convolution with long rows where the pixels do not depend on their neighbours."""
    if not shape.is_pointwise:
        return shape
    width = _longest_row(shape.pixels)
    size = (1, shape.pixels // width, width)
    return replace(shape, size=size, out_size=size) if width > shape.out_size[2] else shape


@cache
def _longest_row(pixels: int) -> int:
    return max(w for w in range(1, LONG_ROW + 1) if pixels % w == 0)


def _group_rows(shape: ConvShape) -> int:
    """Output rows of a task."""
    row_macs = shape.out_size[2] * shape.taps * shape.channels * shape.out_channels // shape.groups**2
    rows = max(1, min(shape.out_size[1], round(TASK_MACS / max(row_macs, 1))))
    while rows > 1 and 4 * _patch(shape, rows)[2] > PATCH_BYTES:
        rows = ceil_div(rows, 2)
    return rows


def _positions(shape: ConvShape, rows: int) -> int:
    return (rows - 1) * _patch(shape, rows)[1] + shape.out_size[2]


def _vector_fmas(shape: ConvShape, tile: tuple[int, int], lanes: int, group_rows: int) -> float:
    """Of a group of output rows, with the loads counted beside them."""
    rows, vectors = tile
    channels = ceil_div(shape.out_channels // shape.groups, rows) * rows
    positions = ceil_div(_positions(shape, group_rows), vectors * lanes) * vectors
    return channels * positions * (1 + 0.3 * (1 / rows + 1 / vectors)) * shape.taps * shape.channels / shape.groups


def choose_tile(shape: ConvShape, lanes: int) -> tuple[int, int]:
    """(rows, vectors) with the least padded work."""
    shape = _folded(shape)
    return min(TILES[lanes], key=lambda tile: _vector_fmas(shape, tile, lanes, _group_rows(shape)))


def cost(shape: ConvShape, lanes: int) -> float:
    """All work, in vector FMAs: the products, the patches (element by element where there is a stride), the pixels."""
    shape = _folded(shape)
    rows = _group_rows(shape)
    patch = _patch(shape, rows)[2] * (2 / lanes if shape.stride[1:] == (1, 1) else 2)
    pixels = 5 * shape.out_channels // shape.groups * rows * ceil_div(shape.out_size[2], lanes)
    each = _vector_fmas(shape, choose_tile(shape, lanes), lanes, rows) + patch + pixels
    return shape.images * shape.groups * shape.out_size[0] * ceil_div(shape.out_size[1], rows) * each


def launch(
    shape: ConvShape, lanes: int, tile: tuple[int, int], residual: bool = False, activation: str = "clip",
    a: float = -math.inf, b: float = math.inf,
) -> Launch:  # fmt: skip
    """The step of a convolution; ``a`` and ``b`` belong to the activation (see epilogue.py)."""
    rows, vectors = tile
    shape = _folded(shape)
    channels, out_channels = shape.channels // shape.groups, shape.out_channels // shape.groups
    group_rows, terms = _group_rows(shape), channels * shape.taps
    row_groups = ceil_div(shape.out_size[1], group_rows)
    height, pitch, floats = _patch(shape, group_rows)
    positions = ceil_div(_positions(shape, group_rows), vectors * lanes) * vectors * lanes
    table = ceil_div(4 * (floats + vectors * lanes), 64) * 64  # a tile may read that much beyond the patch
    sums = table + ceil_div(8 * terms, 64) * 64
    dims = (
        *shape.size, *shape.out_size, *shape.kernel, *shape.stride, *shape.dilation, *shape.pad, channels,
        out_channels, shape.groups, group_rows, row_groups, height, pitch, table, sums, 4 * positions,
        float_word(a), float_word(b),
    )  # fmt: skip
    y_bytes = 4 * shape.images * shape.out_channels * shape.pixels
    reads = {
        "x": (0, 4 * shape.images * shape.channels * math.prod(shape.size)),
        "w": (0, 4 * shape.out_channels * terms), "bias": (0, 4 * shape.out_channels),
    }  # fmt: skip
    if residual:
        reads["add"] = (0, y_bytes)
    params = make_params(lanes=lanes, rows=rows, vectors=vectors, activation=activation, residual=int(residual))
    tasks = shape.images * shape.groups * shape.out_size[0] * row_groups
    grain = max(1, round(CLAIM_MACS / (group_rows * shape.out_size[2] * out_channels * terms)))
    scratch = ceil_div(sums + 4 * rows * positions, 64) * 64
    return Launch(KERNEL, params, dims, tasks, grain, scratch, reads, {"y": (0, y_bytes)})


def build(lanes: int, rows: int, vectors: int, activation: str, residual: int):
    """Compile-time constants are the tile and the epilogue."""
    from numba.extending import register_jitable

    from cnncc.runtime.cpu.epilogue import build_activation
    from cnncc.runtime.cpu.memory_access import (
        load_f32,
        load_i64,
        load_words,
        outside,
        select,
        stack,
        store_f32,
        store_i64,
        word_float,
    )
    from cnncc.runtime.cpu.simd import load, load_first, store, store_first
    from cnncc.runtime.cpu.tile_memory import tile_store
    from cnncc.runtime.cpu.tile_spread import tile_fma_pixels, tile_of_rows

    activate = build_activation(activation)
    width, row_bytes, step = 4 * lanes, 8 * rows, lanes * vectors
    word = {name: i for i, name in enumerate(OPERANDS + DIMS)}
    word_count, (X, W, BIAS, ADD, Y, SCRATCH) = len(word), range(6)
    IN_D, IN_H, IN_W, OUT_D, OUT_H, OUT_W = (word[f"{n}_{axis}"] for n in ("in", "out") for axis in "dhw")
    K_D, K_H, K_W, STRIDE_D, STRIDE_H, STRIDE_W = (word[f"{n}_{axis}"] for n in ("k", "stride") for axis in "dhw")
    DILATION_D, DILATION_H, DILATION_W, PAD_D, PAD_H, PAD_W = (
        word[f"{n}_{axis}"] for n in ("dilation", "pad") for axis in "dhw"
    )
    CHANNELS, OUT_CHANNELS, GROUPS = word["channels"], word["out_channels"], word["groups"]
    GROUP_ROWS, ROW_GROUPS, HEIGHT, PITCH = (word[n] for n in ("group_rows", "row_groups", "height", "pitch"))
    TABLE, SUMS, SUMS_ROW, A, B = (word[n] for n in ("table", "sums", "sums_row", "a", "b"))

    @register_jitable
    def copy_columns(words, row, missing, target, zero):
        """Input columns of one patch row, sorted by their number modulo the stride; zeros where there are none."""
        stride, in_w, pitch = words[STRIDE_W], words[IN_W], words[PITCH]
        part = 4 * words[HEIGHT] * pitch
        for phase in range(stride):
            at, place, end = phase - words[PAD_W], target + phase * part, target + phase * part + 4 * pitch
            while place < end:
                inside = (at >= 0) & (at + lanes <= in_w) & (place + width <= end)
                if stride == 1 and inside and not missing:
                    store(place, load(row + 4 * at, lanes))
                    at += lanes
                    place += width
                else:
                    store_f32(place, load_f32(select(missing | outside(at, in_w), zero, row + 4 * at)))
                    at += stride
                    place += 4

    @register_jitable
    def fill(words, x, d, h, zero):
        """The patch of the output rows from (d, h) on."""
        in_d, in_h, in_w = words[IN_D], words[IN_H], words[IN_W]
        stride, height, pitch = words[STRIDE_H], words[HEIGHT], words[PITCH]
        part = 4 * height * pitch * words[STRIDE_W]
        target = words[SCRATCH]
        for c in range(words[CHANNELS]):
            for i in range(words[K_D]):
                z = d * words[STRIDE_D] - words[PAD_D] + i * words[DILATION_D]
                for phase in range(stride):
                    for j in range(height):
                        y = (h + j) * stride - words[PAD_H] + phase
                        missing = outside(z, in_d) | outside(y, in_h)
                        row = x + 4 * ((c * in_d + z) * in_h + y) * in_w
                        copy_columns(words, row, missing, target + 4 * j * pitch, zero)
                    target += part

    @register_jitable
    def tabulate(words, table):
        """Where in the patch each term's part begins; the number of terms."""
        height, pitch, stride_h, stride_w = words[HEIGHT], words[PITCH], words[STRIDE_H], words[STRIDE_W]
        part, terms, taps = 4 * height * pitch, 0, words[K_H] * words[K_W]
        for j in range(words[K_H]):
            row = j * words[DILATION_H]
            down = 4 * row * pitch
            if stride_h != 1:
                down = row % stride_h * stride_w * part + 4 * (row // stride_h) * pitch
            for t in range(words[K_W]):
                column = t * words[DILATION_W]
                across = 4 * column
                if stride_w != 1:
                    across = column % stride_w * part + 4 * (column // stride_w)
                store_i64(table + 8 * terms, down + across)
                terms += 1
        for _ in range((words[CHANNELS] * words[K_D] - 1) * taps):
            at = load_i64(table + 8 * (terms - taps)) + stride_h * stride_w * part
            store_i64(table + 8 * terms, at)
            terms += 1
        return terms

    @register_jitable
    def sum_up(words, w, bias, first, positions, terms, rows_at):
        """Sums of the output channels first .. first+rows-1 (held at the last), with their bias."""
        last, patch, table = words[OUT_CHANNELS] - 1, words[SCRATCH], words[SCRATCH] + words[TABLE]
        for q in range(0, positions, step):
            for r in range(rows):
                store_i64(rows_at + 8 * r, bias + 4 * min(first + r, last))
            acc = tile_of_rows(rows_at, rows, vectors, lanes)
            for r in range(rows):
                store_i64(rows_at + 8 * r, w + 4 * min(first + r, last) * terms)
            acc = tile_fma_pixels(acc, rows_at, patch + 4 * q, table, terms, 2)
            tile_store(acc, patch + words[SUMS] + 4 * q, words[SUMS_ROW], width, rows, vectors)

    @register_jitable
    def finish(words, y, shift, first, count, a, b):
        """The pixels of ``count`` rows of the output channels first .. first+rows-1, from their sums."""
        out_w, pitch = words[OUT_W], words[PITCH]
        plane = words[OUT_D] * words[OUT_H] * out_w
        for r in range(min(rows, words[OUT_CHANNELS] - first)):
            sums, place = words[SCRATCH] + words[SUMS] + r * words[SUMS_ROW], y + 4 * (first + r) * plane
            for row in range(count):
                for at in range(0, out_w, lanes):
                    value, to = load_first(sums + 4 * (row * pitch + at), out_w - at, lanes), place + 4 * at
                    if residual:
                        value = value + load_first(to + shift, out_w - at, lanes)
                    store_first(to, activate(value, a, b), out_w - at)
                place += 4 * out_w

    def conv_plain(args, begin, end):
        words = load_words(args, word_count)
        rows_at, zero = stack(row_bytes), stack(64)
        store_f32(zero, 0.0)
        out_d, out_h, out_w, groups = words[OUT_D], words[OUT_H], words[OUT_W], words[GROUPS]
        channels, out_channels, row_groups = words[CHANNELS], words[OUT_CHANNELS], words[ROW_GROUPS]
        in_plane = words[IN_D] * words[IN_H] * words[IN_W]
        terms = tabulate(words, words[SCRATCH] + words[TABLE])
        a, b = word_float(words[A]), word_float(words[B])
        for task in range(begin, end):
            h, q = task % row_groups * words[GROUP_ROWS], task // row_groups
            d, plane = q % out_d, q // out_d  # plane: number of the image times groups, plus the group
            count, group = min(words[GROUP_ROWS], out_h - h), plane % groups
            fill(words, words[X] + 4 * plane * channels * in_plane, d, h, zero)
            w, bias = words[W] + 4 * group * out_channels * terms, words[BIAS] + 4 * group * out_channels
            y = words[Y] + 4 * (plane * out_channels * out_d * out_h + d * out_h + h) * out_w
            positions = (count - 1) * words[PITCH] + out_w
            for first in range(0, out_channels, rows):
                sum_up(words, w, bias, first, positions, terms, rows_at)
                finish(words, y, words[ADD] - words[Y], first, count, a, b)

    return conv_plain


KERNEL = Kernel("conv_plain", OPERANDS, DIMS, build)
