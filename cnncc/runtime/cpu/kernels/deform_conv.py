"""Deformable convolution of two spatial axes in NCHWc: what the moved taps read, then a matrix product.

A task is a piece of the output pixels of one image. What its taps read, times the mask, goes to scratch memory, a row
for each pixel: [groups, taps, channels of a group]. Rows times packed weights then give register tiles of pixels by
output channels, as in a direct convolution. Around each tap up to four pixels are read with their weights, which are
found once for all channels of an offset group.

Layouts (float32): x is [N, C/c, H*W, c], y [N, OC/c, OH*OW, c]; offset [N, offset groups, taps, 2, OH*OW] and mask
[N, offset groups, taps, OH*OW] are plain; weights are [G, tiles, taps, C/G, vectors * c] and bias [G, tiles,
vectors * c], surplus channels being zero.
"""

import numpy as np

from cnncc.runtime.cpu.conv_shape import ConvShape
from cnncc.runtime.cpu.kernel import Kernel, Launch, ceil_div, make_params

OPERANDS = ("x", "w", "offset", "bias", "mask", "y", "scratch")
DIMS = (
    "in_h", "in_w", "out_h", "out_w", "k_h", "k_w", "stride_h", "stride_w", "dilation_h", "dilation_w",
    "pad_h", "pad_w", "groups", "group_blocks", "offset_groups", "offset_blocks", "last_channels", "out_blocks",
    "tiles", "piece", "pieces",
)  # fmt: skip
SCRATCH_BYTES = 768 << 10  # of a task's rows, so that they stay in a cache while weights are read once for all of them
MANY_TASKS = 16
PANEL_BYTES = 256 << 10  # weights that are gone over again for each tile of a task
LEAST_PIXELS, MOST_PIXELS = 48, 96  # of a task, which reads all weights


def supports(shape: ConvShape, offset_groups: int, lanes: int) -> bool:
    """Groups of either kind must not cut a block of channels."""
    counts = [shape.channels // shape.groups, shape.out_channels // shape.groups] if shape.groups > 1 else []
    counts += [shape.channels // offset_groups] if offset_groups > 1 else []
    return all(n % lanes == 0 for n in counts)


def launch(shape: ConvShape, offset_groups: int, lanes: int, tile: tuple[int, int], masked: bool) -> Launch:
    """The step of a convolution whose last two axes have taps that move."""
    if not supports(shape, offset_groups, lanes):
        raise ValueError(f"groups of {shape} and {offset_groups} groups of offsets cut blocks of {lanes} channels")
    (rows, vectors), width = tile, 4 * lanes
    blocks, out_blocks = ceil_div(shape.channels, lanes), ceil_div(shape.out_channels // shape.groups, lanes)
    tiles, row_bytes = ceil_div(out_blocks, vectors), shape.taps * blocks * width
    wanted = min(SCRATCH_BYTES // max(1, row_bytes), ceil_div(shape.pixels * shape.images, MANY_TASKS), MOST_PIXELS)
    piece = ceil_div(min(max(wanted, LEAST_PIXELS), max(shape.pixels, 1)), rows) * rows
    pieces = ceil_div(shape.pixels, piece)
    dims = (
        *shape.size[1:], *shape.out_size[1:], *shape.kernel[1:], *shape.stride[1:], *shape.dilation[1:],
        *shape.pad[1:], shape.groups, blocks // shape.groups, offset_groups, blocks // offset_groups,
        shape.channels - (blocks - 1) * lanes, out_blocks, tiles, piece, pieces,
    )  # fmt: skip
    moves = 4 * shape.images * offset_groups * shape.taps * shape.pixels
    in_pixels = shape.size[1] * shape.size[2]
    reads = {
        "x": (0, shape.images * blocks * in_pixels * width), "offset": (0, 2 * moves),
        "w": (0, tiles * vectors * row_bytes * lanes), "bias": (0, shape.groups * tiles * vectors * width),
    }  # fmt: skip
    if masked:
        reads["mask"] = (0, moves)
    return Launch(
        KERNEL, make_params(lanes=lanes, rows=rows, vectors=vectors, masked=int(masked)), dims, shape.images * pieces,
        scratch=ceil_div(piece * row_bytes, 64) * 64, reads=reads,
        writes={"y": (0, shape.images * shape.groups * out_blocks * shape.pixels * width)},
    )  # fmt: skip


def pack_weights(w: np.ndarray, groups: int, lanes: int, vectors: int) -> np.ndarray:
    """W [OC, C/G, kh, kw] as [G, tiles, taps, C/G, vectors * lanes], C/G a whole number of blocks; flattened."""
    outputs, channels, *kernel = w.shape
    per, columns = outputs // groups, vectors * lanes
    tiles, padded_channels = ceil_div(per, columns), ceil_div(channels, lanes) * lanes
    padded = np.zeros((groups, tiles * columns, padded_channels, int(np.prod(kernel))), np.float32)
    padded[:, :per, :channels] = w.reshape(groups, per, channels, -1)
    parts = padded.reshape(groups, tiles, columns, padded_channels, -1)
    return np.ascontiguousarray(parts.transpose(0, 1, 4, 3, 2)).reshape(-1)


def pack_bias(bias: np.ndarray | None, outputs: int, groups: int, lanes: int, vectors: int) -> np.ndarray:
    """B [OC], zeros where there is none, as [G, tiles, vectors * lanes]; flattened."""
    per, columns = outputs // groups, vectors * lanes
    padded = np.zeros((groups, ceil_div(per, columns) * columns), np.float32)
    if bias is not None:
        padded[:, :per] = bias.reshape(groups, per)
    return padded.reshape(-1)


def build(lanes: int, rows: int, vectors: int, masked: int):
    from numba.extending import register_jitable

    from cnncc.runtime.cpu.memory_access import load_f32, load_i64, stack, store_f32, store_i64
    from cnncc.runtime.cpu.simd import fma, load, splat, store, store_first
    from cnncc.runtime.cpu.tile import tile_fma, tile_of_row
    from cnncc.runtime.cpu.tile_memory import tile_load, tile_store

    width, entry, taps_bytes, rows_bytes = 4 * lanes, 16, 64, 8 * rows  # an entry: an offset in bytes, a weight
    panel_row = vectors * width
    chunk = PANEL_BYTES // panel_row
    zero, one, far_off = np.float32(0), np.float32(1), np.float32(2.0**30)
    word = {name: 8 * (len(OPERANDS) + i) for i, name in enumerate(DIMS)}
    IN_H, IN_W, OUT_H, OUT_W, K_H, K_W = (word[name] for name in DIMS[:6])
    STRIDE, DILATION, PAD = word["stride_h"], word["dilation_h"], word["pad_h"]
    GROUPS, GROUP_BLOCKS, OFFSET_GROUPS, OFFSET_BLOCKS, LAST_CHANNELS = (word[name] for name in DIMS[12:17])
    OUT_BLOCKS, TILES, PIECE, PIECES = (word[name] for name in DIMS[17:])

    @register_jitable
    def put(table, count, at, plane, size, weight):
        """Adds a pixel that a tap reads, unless it lies outside."""
        if at < 0 or at >= size:
            return count
        store_i64(table + count * entry, plane + at)
        store_f32(table + count * entry + 8, weight)
        return count + 1

    @register_jitable
    def around(y, x, in_h, in_w, scale, table):
        """Writes the pixels around a position that lie inside, with their weights; gives their number."""
        if not (abs(y) < far_off and abs(x) < far_off):  # NaN is nowhere
            return 0
        low_y, low_x = np.floor(y), np.floor(x)
        top, left, lower, later = np.int64(low_y), np.int64(low_x), y - low_y, x - low_x
        count = 0
        for step in range(2):
            row, weight = top + step, (lower if step else one - lower) * scale
            if 0 <= row < in_h:
                count = put(table, count, left, row * in_w, in_w, weight * (one - later))
                count = put(table, count, left + 1, row * in_w, in_w, weight * later)
        return count

    @register_jitable
    def read(source, table, count):
        total = splat(zero, lanes)
        for i in range(count):
            total = fma(load(source + load_i64(table + i * entry) * width, lanes), load_f32(table + i * entry + 8),
                        total)
        return total

    @register_jitable
    def place(row, block, tap, taps, group_blocks):
        """Where a tap of a block of channels lies in a pixel's row."""
        return row + (block // group_blocks * taps * group_blocks + tap * group_blocks + block % group_blocks) * width

    @register_jitable
    def fill_row(args, image, pixel, row, table):
        """What all taps of an output pixel read."""
        in_h, in_w, k_h, k_w = (
            load_i64(args + IN_H), load_i64(args + IN_W), load_i64(args + K_H), load_i64(args + K_W))
        out_w, group_blocks = load_i64(args + OUT_W), load_i64(args + GROUP_BLOCKS)
        pixels, taps = load_i64(args + OUT_H) * out_w, k_h * k_w
        offset_groups, blocks = load_i64(args + OFFSET_GROUPS), load_i64(args + OFFSET_BLOCKS)
        all_blocks, last = offset_groups * blocks, load_i64(args + LAST_CHANNELS)
        start_y = pixel // out_w * load_i64(args + STRIDE) - load_i64(args + PAD)
        start_x = pixel % out_w * load_i64(args + STRIDE + 8) - load_i64(args + PAD + 8)
        x = load_i64(args) + image * all_blocks * in_h * in_w * width
        for unit in range(offset_groups * taps):
            group, tap = unit // taps, unit % taps
            moves = load_i64(args + 16) + 4 * (2 * (image * offset_groups * taps + unit) * pixels + pixel)
            scale = one
            if masked:
                scale = load_f32(load_i64(args + 32) + 4 * ((image * offset_groups * taps + unit) * pixels + pixel))
            y_at = np.float32(start_y + tap // k_w * load_i64(args + DILATION)) + load_f32(moves)
            x_at = np.float32(start_x + tap % k_w * load_i64(args + DILATION + 8)) + load_f32(moves + 4 * pixels)
            count = around(y_at, x_at, in_h, in_w, scale, table)
            for block in range(group * blocks, (group + 1) * blocks):
                to, value = place(row, block, tap, taps, group_blocks), read(x + block * in_h * in_w * width, table,
                                                                             count)
                if block == all_blocks - 1 and last < lanes:
                    store(to, splat(zero, lanes))
                    store_first(to, value, last)
                else:
                    store(to, value)

    @register_jitable
    def multiply(args, scratch, row_bytes, count, y, rows_at):
        """The outputs of ``count`` pixels from their rows."""
        groups, tiles, out_blocks = (
            load_i64(args + GROUPS), load_i64(args + TILES), load_i64(args + OUT_BLOCKS))
        depth = row_bytes // groups // 4
        plane = load_i64(args + OUT_H) * load_i64(args + OUT_W) * width
        for panel in range(groups * tiles):
            group, first_block = panel // tiles, panel % tiles * vectors
            w, bias = load_i64(args + 8) + panel * depth * panel_row, load_i64(args + 24) + panel * panel_row
            to = y + (group * out_blocks + first_block) * plane
            for start in range(0, depth, chunk):
                part, behind = min(chunk, depth - start), 4 * (group * depth + start)
                for first in range(0, count, rows):
                    for r in range(rows):
                        store_i64(rows_at + 8 * r, scratch + min(first + r, count - 1) * row_bytes + behind)
                    place_y, valid = to + first * width, out_blocks - first_block
                    acc = tile_of_row(bias, width, rows, vectors, lanes)
                    if start > 0:
                        acc = tile_load(place_y, width, plane, count - first, valid, rows, vectors, lanes)
                    acc = tile_fma(acc, rows_at, 4, w + start * panel_row, panel_row, part, 2)
                    tile_store(acc, place_y, width, plane, count - first, valid)

    def deform_conv(args, begin, end):
        table, rows_at, scratch = stack(taps_bytes), stack(rows_bytes), load_i64(args + 48)
        pixels, piece = load_i64(args + OUT_H) * load_i64(args + OUT_W), load_i64(args + PIECE)
        pieces, groups = load_i64(args + PIECES), load_i64(args + GROUPS)
        taps = load_i64(args + K_H) * load_i64(args + K_W)
        row_bytes = taps * groups * load_i64(args + GROUP_BLOCKS) * width
        y_image = groups * load_i64(args + OUT_BLOCKS) * pixels * width
        for task in range(begin, end):
            image, first = task // pieces, task % pieces * piece
            count = min(piece, pixels - first)
            for i in range(count):
                fill_row(args, image, first + i, scratch + i * row_bytes, table)
            multiply(args, scratch, row_bytes, count, load_i64(args + 40) + image * y_image + first * width, rows_at)

    return deform_conv


KERNEL = Kernel("deform_conv", OPERANDS, DIMS, build)
