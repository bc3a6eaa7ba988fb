"""Winograd convolution F(m, 3) for few tiles: the weights are read as they are and transformed in registers.

Transformed weights are (m + 2)^2 / 9 times as many bytes. Where an image is but a few tiles, their way from memory
takes longer than the products, and so does writing transformed weights to a cache. Here each row of points of ``rows``
tiles is a register tile (tile_winograd.py), so that a transformed weight is used ``rows`` times and forgotten. What is
computed is what conv_winograd.py says, but for the scales of G, which the last step has.

Scratch of a thread, for groups of ``rows`` tiles: V [groups, IC/c, points, rows, c] and M [groups, points, rows, c].
Weights are [OC/c, IC, taps, c]. x, y, add are NCHWc; bias is [OC/c, c].
"""

import math

import numpy as np

from cnncc.runtime.cpu.kernel import Kernel, Launch, ceil_div, float_word, make_params
from cnncc.runtime.cpu.kernels.conv_direct import ConvShape
from cnncc.runtime.cpu.winograd import UNSCALED
from cnncc.runtime.cpu.winograd_tiles import (
    TILE_DIMS,
    build_tiles,
    count_points,
    count_tiles,
    input_length,
    is_winograd,
    operand_ranges,
    output_tile,
    tile_dims,
)

OPERANDS = ("x", "w", "bias", "add", "y", "scratch")
DIMS = (*TILE_DIMS, "block", "blocks", "oc_parts", "chunk", "a", "b")
# Tiles of a register tile by lanes and m: with m + 2 points each they leave room for transformed weights.
ROWS = {16: {2: 6, 4: 4, 6: 3}, 8: {2: 3, 4: 2, 6: 1}, 4: {2: 6, 4: 4, 6: 3}}
SCRATCH_BYTES = 1280 << 10  # V should stay in L2
CHUNK_BYTES = 30 << 10  # weights of a block of output channels that all rows of points go over before the next
MIN_TASKS = 4


def supports(shape: ConvShape) -> bool:
    """3x3 or 1x3; see winograd_tiles.is_winograd."""
    return is_winograd(shape) and shape.kernel[2] == 3


def choose_block(shape: ConvShape, m: int, lanes: int) -> int:
    """Tiles of a task: as many as the scratch allows, a whole number of groups."""
    rows = ROWS[lanes][m]
    each = 4 * lanes * rows * count_points(shape, m) * (ceil_div(shape.channels, lanes) + 1)
    return rows * min(ceil_div(count_tiles(shape, m), rows), max(1, SCRATCH_BYTES // each))


def choose_chunk(shape: ConvShape, lanes: int) -> int:
    """Input channels, a multiple of a vector's, whose weights are CHUNK_BYTES at most."""
    return lanes * max(1, CHUNK_BYTES // (4 * lanes * lanes * shape.taps))


def launch(
    shape: ConvShape, lanes: int, m: int, residual: bool = False, activation: str = "clip", a: float = -math.inf,
    b: float = math.inf,
) -> Launch:  # fmt: skip
    """The step of a convolution; ``a`` and ``b`` belong to the activation (see epilogue.py)."""
    if not supports(shape):
        raise ValueError(f"{shape} is no convolution for F({m}, 3)")
    (m_h, m_w), points, width = output_tile(shape, m), count_points(shape, m), 4 * lanes
    in_blocks, out_blocks = ceil_div(shape.channels, lanes), ceil_div(shape.out_channels, lanes)
    block = choose_block(shape, m, lanes)
    blocks = ceil_div(count_tiles(shape, m), block)
    oc_parts, chunk = min(out_blocks, ceil_div(MIN_TASKS, blocks)), choose_chunk(shape, lanes)
    dims = (*tile_dims(shape, m, lanes), block, blocks, oc_parts, chunk, float_word(a), float_word(b))
    w_bytes = out_blocks * shape.channels * shape.taps * width
    reads, writes = operand_ranges(shape, lanes, w_bytes, out_blocks * width, residual)
    params = make_params(
        lanes=lanes, m_h=m_h, m_w=m_w, rows=ROWS[lanes][m], activation=activation, residual=int(residual)
    )
    scratch = points * block * width * (in_blocks + 1)
    return Launch(KERNEL, params, dims, blocks * oc_parts, 1, scratch, reads, writes)


def pack_weights(w: np.ndarray, lanes: int) -> np.ndarray:
    """[OC, IC, *kernel] as [OC/c, IC, taps, c], flat."""
    out_channels, channels = w.shape[:2]
    blocks, taps = ceil_div(out_channels, lanes), math.prod(w.shape[2:])
    out = np.zeros((blocks, channels, taps, lanes), np.float32)
    for block in range(blocks):
        part = w[block * lanes : (block + 1) * lanes].reshape(-1, channels, taps)
        out[block, :, :, : len(part)] = part.transpose(1, 2, 0)
    return out.reshape(-1)


def build(lanes: int, m_h: int, m_w: int, rows: int, activation: str, residual: int):
    """Compile-time constants are the transforms, the register tile and the epilogue."""
    from cnncc.runtime.cpu.memory_access import load_i64, stack, word_float
    from cnncc.runtime.cpu.simd import load, splat, store
    from cnncc.runtime.cpu.tile_winograd import point_products

    n_h, n_w, width = input_length(m_h), input_length(m_w), 4 * lanes
    taps = len(UNSCALED[m_h][0]) * len(UNSCALED[m_w][0])
    points, column = n_h * n_w, rows * width
    word = {name: 8 * i for i, name in enumerate((*OPERANDS, *DIMS))}
    read_tile, write_tile = build_tiles(lanes, m_h, m_w, word, activation, residual, True)
    products = point_products(UNSCALED[m_h], UNSCALED[m_w], rows, lanes)
    patch_bytes, m_group, w_step = points * width, points * column, taps * width
    W, BIAS, SCRATCH, A, B = (word[k] for k in ("w", "bias", "scratch", "a", "b"))
    IMAGES, CHANNELS, OUT_BLOCKS = (word[k] for k in ("images", "channels", "out_blocks"))
    TILES_H, TILES_W, BLOCK = (word[k] for k in ("tiles_h", "tiles_w", "block"))
    OC_PARTS, CHUNK = word["oc_parts"], word["chunk"]

    def conv_winograd_raw(args, begin, end):
        zeros, patch = stack(width), stack(patch_bytes)
        nothing = splat(0.0, lanes)
        store(zeros, nothing)
        channels, out_blocks = load_i64(args + CHANNELS), load_i64(args + OUT_BLOCKS)
        in_blocks = (channels + (lanes - 1)) // lanes
        block, oc_parts, chunk = load_i64(args + BLOCK), load_i64(args + OC_PARTS), load_i64(args + CHUNK)
        total = load_i64(args + IMAGES) * load_i64(args + TILES_H) * load_i64(args + TILES_W)
        a, b = word_float(load_i64(args + A)), word_float(load_i64(args + B))
        v_at, v_group = load_i64(args + SCRATCH), in_blocks * m_group
        m_at = v_at + block // rows * v_group
        present = -1
        for task in range(begin, end):
            number, part = task // oc_parts, task % oc_parts
            first = number * block
            count = min(block, total - first)
            groups = (count + (rows - 1)) // rows
            if number != present:
                for t in range(count):
                    place = v_at + t // rows * v_group + t % rows * width
                    read_tile(args, first + t, in_blocks, patch, zeros, place, m_group, n_w * column, column)
                present = number
            for oc in range(out_blocks * part // oc_parts, out_blocks * (part + 1) // oc_parts):
                for k in range(groups * points * rows):
                    store(m_at + k * width, nothing)
                w = load_i64(args + W) + oc * channels * w_step
                ahead_step = taps * width // (n_h * groups)
                c = 0
                while c < channels:
                    some = min(chunk, channels - c)
                    after = w + some * w_step
                    for g in range(groups):
                        products(v_at + g * v_group + c // lanes * m_group, w, m_at + g * m_group, some,
                                 after + g * some * n_h * ahead_step, ahead_step)
                    w = after
                    c += some
                bias = load(load_i64(args + BIAS) + oc * width, lanes)
                for t in range(count):
                    place = m_at + t // rows * m_group + t % rows * width
                    write_tile(args, place, n_w * column, column, first + t, oc, bias, a, b)

    return conv_winograd_raw


KERNEL = Kernel("conv_winograd_raw", OPERANDS, DIMS, build)
