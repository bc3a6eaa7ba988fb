"""Winograd convolution F(m, 3) for few tiles or stride 2: weights are read as they are and transformed in registers.

Transformed weights are (m + 2)^2 / 9 times as many bytes. Where an image is but a few tiles, their way from memory
takes longer than the products, and so does writing transformed weights to a cache. Here each row of sums of ``rows``
tiles is a register tile (tile_winograd.py), so that a transformed weight is used ``rows`` times and forgotten. What is
computed is what conv_winograd.py says, but for the scales of G, which the last step has. With stride 2 a few additions
transform the weights, and up to four products are added up in one register (winograd.Axis).

Scratch of a thread, in groups of ``rows`` tiles: V [groups, IC/c, points, rows, c], M [groups, sums, rows, vectors, c].
Weights are [OC/(vectors * c), IC, taps, vectors * c]. x, y, add are NCHWc; bias is [OC/c, c].
"""

import math

import numpy as np

from cnncc.runtime.cpu.conv_shape import ConvShape
from cnncc.runtime.cpu.kernel import Kernel, Launch, ceil_div, float_word, make_params
from cnncc.runtime.cpu.winograd import axis_of
from cnncc.runtime.cpu.winograd_tiles import (
    TILE_DIMS,
    build_tiles,
    count_points,
    count_sums,
    count_tiles,
    is_strided,
    is_winograd,
    operand_ranges,
    output_tile,
    tile_dims,
)

OPERANDS = ("x", "w", "bias", "add", "y", "scratch")
DIMS = (*TILE_DIMS, "block", "blocks", "oc_parts", "chunk", "in_scratch", "a", "b")
# Tiles of a register tile by lanes and m: with m + 2 sums each they leave room for transformed weights.
ROWS = {16: {2: 6, 4: 4, 5: 3, 6: 3}, 8: {2: 3, 4: 2, 5: 1, 6: 1}, 4: {2: 6, 4: 4, 5: 3, 6: 3}}
STRIDED = {16: (4, 2), 8: (4, 1), 4: (4, 2)}  # tiles and vectors of output channels, with 3 sums each
SCRATCH_BYTES = 1536 << 10  # V should stay in L2
CHUNK_BYTES = 30 << 10  # weights of a block of output channels that all rows of points go over before the next
CACHED_BYTES, MIN_BLOCKS, TASKS = 1 << 20, 4, 32


def supports(shape: ConvShape, m: int) -> bool:
    """3x3 or 1x3, with stride 2 for m = 2 only; see winograd_tiles.py."""
    return m == 2 if is_strided(shape) else is_winograd(shape) and shape.kernel[2] == 3


def choose_tile(shape: ConvShape, m: int, lanes: int) -> tuple[int, int]:
    """(rows, vectors) of the register tile, per sum."""
    return STRIDED[lanes] if is_strided(shape) else (ROWS[lanes][m], 1)


def choose_block(shape: ConvShape, m: int, lanes: int) -> int:
    """Tiles of a task, a whole number of groups: as many as the scratch allows, in equal parts. Weights that stay in a
    cache may be gone over by MIN_BLOCKS, others by so many that V and M of each are at most half of their bytes, since
    every thread with a part of a block makes all of its V."""
    rows, vectors = choose_tile(shape, m, lanes)
    each = 4 * lanes * rows * (
        count_points(shape, m) * ceil_div(shape.channels, lanes) + count_sums(shape, m) * vectors)
    groups = ceil_div(count_tiles(shape, m), rows)
    w_bytes = 4 * shape.taps * shape.channels * shape.out_channels
    wanted = MIN_BLOCKS if w_bytes <= CACHED_BYTES else ceil_div(2 * groups * each, w_bytes)
    blocks = max(wanted, ceil_div(groups, max(1, SCRATCH_BYTES // each)))
    return rows * ceil_div(groups, min(groups, blocks))


def choose_chunk(shape: ConvShape, vectors: int, lanes: int) -> int:
    """Input channels, a multiple of a vector's, whose weights are CHUNK_BYTES at most."""
    return lanes * max(1, CHUNK_BYTES // (4 * lanes * lanes * vectors * shape.taps))


def launch(
    shape: ConvShape, lanes: int, m: int, residual: bool = False, activation: str = "clip", a: float = -math.inf,
    b: float = math.inf,
) -> Launch:  # fmt: skip
    """The step of a convolution; ``a`` and ``b`` belong to the activation (see epilogue.py)."""
    if not supports(shape, m):
        raise ValueError(f"{shape} is no convolution for F({m}, 3)")
    (m_h, m_w), (rows, vectors), width = output_tile(shape, m), choose_tile(shape, m, lanes), 4 * lanes
    in_blocks, out_blocks = ceil_div(shape.channels, lanes), ceil_div(shape.out_channels, lanes)
    block, oc_tiles = choose_block(shape, m, lanes), ceil_div(out_blocks, vectors)
    blocks = ceil_div(count_tiles(shape, m), block)
    oc_parts, chunk = min(oc_tiles, ceil_div(TASKS, blocks)), choose_chunk(shape, vectors, lanes)
    dims = (*tile_dims(shape, m, lanes), block, blocks, oc_parts, chunk, -1, float_word(a), float_word(b))
    w_bytes = oc_tiles * vectors * shape.channels * shape.taps * width
    reads, writes = operand_ranges(shape, lanes, w_bytes, out_blocks * width, residual)
    params = make_params(
        lanes=lanes, m_h=m_h, m_w=m_w, stride=shape.stride[2], rows=rows, vectors=vectors, activation=activation,
        residual=int(residual),
    )  # fmt: skip
    scratch = block * width * (count_points(shape, m) * in_blocks + count_sums(shape, m) * vectors)
    return Launch(KERNEL, params, dims, blocks * oc_parts, 1, scratch, reads, writes)


def pack_weights(w: np.ndarray, columns: int) -> np.ndarray:
    """[OC, IC, *kernel] as [OC/columns, IC, taps, columns], flat."""
    out_channels, channels = w.shape[:2]
    blocks, taps = ceil_div(out_channels, columns), math.prod(w.shape[2:])
    out = np.zeros((blocks, channels, taps, columns), np.float32)
    for block in range(blocks):
        part = w[block * columns : (block + 1) * columns].reshape(-1, channels, taps)
        out[block, :, :, : len(part)] = part.transpose(1, 2, 0)
    return out.reshape(-1)


def build(
    lanes: int, m_h: int, m_w: int, stride: int, rows: int, vectors: int, activation: str, residual: int
):  # fmt: skip
    """Compile-time constants are the transforms, the register tile and the epilogue."""
    from cnncc.runtime.cpu.memory_access import load_i64, stack, store_i64, word_float
    from cnncc.runtime.cpu.simd import load, splat, store
    from cnncc.runtime.cpu.tile_winograd import point_products

    axes, width = (axis_of(m_h, stride), axis_of(m_w, stride)), 4 * lanes
    (n_h, n_w), (sums_h, sums_w) = ([len(axis.forward) for axis in axes], [len(axis.backward[0]) for axis in axes])
    taps, points = len(axes[0].weights[0]) * len(axes[1].weights[0]), n_h * n_w
    column, m_column = rows * width, rows * vectors * width
    word = {name: 8 * i for i, name in enumerate((*OPERANDS, *DIMS))}
    read_tile, write_tile = build_tiles(lanes, m_h, m_w, word, activation, residual, True, stride)
    products = point_products(*axes, rows, vectors, lanes)
    patch_bytes, v_part = points * width, points * column
    m_group, w_step = sums_h * sums_w * m_column, taps * vectors * width
    W, BIAS, SCRATCH, A, B = (word[k] for k in ("w", "bias", "scratch", "a", "b"))
    IMAGES, CHANNELS, OUT_BLOCKS = (word[k] for k in ("images", "channels", "out_blocks"))
    TILES_H, TILES_W, BLOCK = (word[k] for k in ("tiles_h", "tiles_w", "block"))
    OC_PARTS, CHUNK, IN_SCRATCH = word["oc_parts"], word["chunk"], word["in_scratch"]

    def conv_winograd_raw(args, begin, end):
        zeros, patch = stack(width), stack(patch_bytes)
        nothing = splat(0.0, lanes)
        store(zeros, nothing)
        channels, out_blocks = load_i64(args + CHANNELS), load_i64(args + OUT_BLOCKS)
        in_blocks = (channels + (lanes - 1)) // lanes
        oc_tiles = (out_blocks + (vectors - 1)) // vectors
        block, oc_parts, chunk = load_i64(args + BLOCK), load_i64(args + OC_PARTS), load_i64(args + CHUNK)
        total = load_i64(args + IMAGES) * load_i64(args + TILES_H) * load_i64(args + TILES_W)
        a, b = word_float(load_i64(args + A)), word_float(load_i64(args + B))
        v_at, v_group = load_i64(args + SCRATCH), in_blocks * v_part
        m_at = v_at + block // rows * v_group
        for task in range(begin, end):
            number, part = task // oc_parts, task % oc_parts
            first = number * block
            count = min(block, total - first)
            groups = (count + (rows - 1)) // rows
            if number != load_i64(args + IN_SCRATCH):
                for t in range(count):
                    place = v_at + t // rows * v_group + t % rows * width
                    read_tile(args, first + t, in_blocks, patch, zeros, place, v_part, n_w * column, column)
                store_i64(args + IN_SCRATCH, number)
            for oc in range(oc_tiles * part // oc_parts, oc_tiles * (part + 1) // oc_parts):
                for k in range(groups * sums_h * sums_w * rows * vectors):
                    store(m_at + k * width, nothing)
                w = load_i64(args + W) + oc * channels * w_step
                ahead_step = w_step // (sums_h * groups)
                c = 0
                while c < channels:
                    some = min(chunk, channels - c)
                    after = w + some * w_step
                    for g in range(groups):
                        products(v_at + g * v_group + c // lanes * v_part, w, m_at + g * m_group, some,
                                 after + g * some * sums_h * ahead_step, ahead_step,
                                 v_at + (g + 1) * v_group + c // lanes * v_part)
                    w = after
                    c += some
                for v in range(min(vectors, out_blocks - oc * vectors)):
                    bias = load(load_i64(args + BIAS) + (oc * vectors + v) * width, lanes)
                    for t in range(count):
                        place = m_at + t // rows * m_group + (t % rows * vectors + v) * width
                        write_tile(args, place, sums_w * m_column, m_column, first + t, oc * vectors + v, bias, a, b)

    return conv_winograd_raw


KERNEL = Kernel("conv_winograd_raw", OPERANDS, DIMS, build)
