"""Winograd convolution F(m, 3), m = 2, 4, 5 or 6, stride 1, in NCHWc (Lavin & Gray 2015, arXiv:1509.09308).

With the matrices of winograd.py, and input tiles of n_h x n_w that give output tiles of m_h x m_w (winograd_tiles.py),

    Y = A_h^T [ sum over ic of (G_h w G_w^T) * (B_h^T x B_w) ] A_w          (* is elementwise)

so each of the n_h * n_w elements ("points") is a matrix product over input channels, tiles x OC. A task takes ``block``
tiles and a range of output channels: it transforms the input tiles, unless this thread has done so in the task before,
and for each tile of output channels multiplies point by point and transforms back, adding bias and residual and
applying the activation in registers.

Scratch of a thread: V [points, block, ceil(IC/c)*c] and M [vectors, block, points, c]. Weights are transformed
beforehand: U [tiles of OC, points, IC, vectors * c] float32. x, y, add are NCHWc; bias is [tiles of OC, vectors * c].
"""

import math

import numpy as np

from cnncc.runtime.cpu.conv_shape import ConvShape
from cnncc.runtime.cpu.kernel import LINE, Kernel, Launch, ask_every, ceil_div, float_word, make_params
from cnncc.runtime.cpu.kernels.conv_direct import TILES
from cnncc.runtime.cpu.winograd import transform_weights
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
DIMS = (*TILE_DIMS, "oc_tiles", "block", "blocks", "oc_parts", "in_scratch", "a", "b")
SCRATCH_BYTES = 768 << 10  # V and M together should stay in L2
TASKS = 32
PACK_FLOATS = 1 << 16


def choose_tile(shape: ConvShape, m: int, lanes: int) -> tuple[int, int]:
    """(rows, vectors) of the register tile with the least padded work."""
    blocks, tiles = ceil_div(shape.out_channels, lanes), count_tiles(shape, m)

    def cost(tile: tuple[int, int]) -> float:
        rows, vectors = tile
        block = choose_block(shape, m, rows, vectors, lanes)
        whole = tiles // block * ceil_div(block, rows) + ceil_div(tiles % block, rows)
        return whole * rows * ceil_div(blocks, vectors) * vectors / TILES[lanes][tile]

    return min(TILES[lanes], key=cost)


def choose_block(shape: ConvShape, m: int, rows: int, vectors: int, lanes: int) -> int:
    """Tiles of a task: as many as the scratch allows, at least two register tiles, at most all."""
    points, channels = count_points(shape, m), ceil_div(shape.channels, lanes) * lanes
    each = 4 * points * (channels + vectors * lanes)
    most = ceil_div(count_tiles(shape, m), rows)
    return rows * min(most, max(24 // rows, SCRATCH_BYTES // (each * rows)))


def launch(
    shape: ConvShape, lanes: int, m: int, tile: tuple[int, int], residual: bool = False,
    activation: str = "clip", a: float = -math.inf, b: float = math.inf,
) -> Launch:  # fmt: skip
    """The step of a convolution; ``a`` and ``b`` belong to the activation (see epilogue.py)."""
    if not is_winograd(shape):
        raise ValueError(f"{shape} is no convolution for F({m}, 3)")
    rows, vectors = tile
    (m_h, m_w), points, width = output_tile(shape, m), count_points(shape, m), 4 * lanes
    in_blocks, out_blocks = ceil_div(shape.channels, lanes), ceil_div(shape.out_channels, lanes)
    oc_tiles = ceil_div(out_blocks, vectors)
    block = choose_block(shape, m, rows, vectors, lanes)
    blocks = ceil_div(count_tiles(shape, m), block)
    oc_parts = min(oc_tiles, ceil_div(TASKS, blocks))
    dims = (*tile_dims(shape, m, lanes), oc_tiles, block, blocks, oc_parts, -1, float_word(a), float_word(b))
    w_bytes, bias_bytes = oc_tiles * points * shape.channels * vectors * width, oc_tiles * vectors * width
    reads, writes = operand_ranges(shape, lanes, w_bytes, bias_bytes, residual)
    params = make_params(
        lanes=lanes, m_h=m_h, m_w=m_w, rows=rows, vectors=vectors, activation=activation, residual=int(residual),
        every=ask_every(vectors * width // ceil_div(block, rows)),
    )  # fmt: skip
    scratch = points * (block * width * (in_blocks + vectors) + LINE)
    return Launch(KERNEL, params, dims, blocks * oc_parts, 1, scratch, reads, writes)


def pack_weights(w: np.ndarray, m: int, lanes: int, vectors: int) -> np.ndarray:
    """[OC, IC, *kernel] as U [tiles of OC, points, IC, vectors * c], transformed in float64 and rounded once, flat."""
    out_channels, channels = w.shape[:2]
    columns, (taps_h, taps_w) = vectors * lanes, (1, 1, *w.shape[2:])[-2:]
    count, g = taps_h * taps_w, transform_weights((m if taps_h == 3 else 1, m if taps_w == 3 else 1))
    points, tiles = len(g), ceil_div(ceil_div(out_channels, lanes), vectors)
    u = np.zeros((tiles, points, channels, columns), np.float32)
    step = max(1, PACK_FLOATS // (points * columns))  # input channels at a time: what stays in a cache
    for tile in range(tiles):
        taps = np.zeros((count, channels, columns))
        part = w[tile * columns : (tile + 1) * columns].reshape(-1, channels, count)
        taps[:, :, : part.shape[0]] = part.transpose(2, 1, 0)
        for at in range(0, channels, step):
            some = taps[:, at : at + step].reshape(count, -1)
            u[tile, :, at : at + step] = (g @ some).reshape(points, -1, columns)
    return u.reshape(-1)


def build(
    lanes: int, m_h: int, m_w: int, rows: int, vectors: int, activation: str, residual: int, every: int
):  # fmt: skip
    """Compile-time constants are the transforms, the register tile, the epilogue and how many updates of the tile there
    are to one that asks for a cache line."""
    from numba.extending import register_jitable

    from cnncc.runtime.cpu.memory_access import load_i64, stack, store_i64, word_float
    from cnncc.runtime.cpu.simd import load, splat, store
    from cnncc.runtime.cpu.tile import tile_fma_even_ahead, tile_zero
    from cnncc.runtime.cpu.tile_memory import tile_store

    n_w = input_length(m_w)
    width, columns, points = 4 * lanes, 4 * lanes * vectors, input_length(m_h) * n_w
    word = {name: 8 * i for i, name in enumerate((*OPERANDS, *DIMS))}
    read_tile, write_tile = build_tiles(lanes, m_h, m_w, word, activation, residual, False)
    patch_bytes = points * width
    W, BIAS, SCRATCH, A, B = (word[k] for k in ("w", "bias", "scratch", "a", "b"))
    IMAGES, CHANNELS, OUT_BLOCKS = (word[k] for k in ("images", "channels", "out_blocks"))
    TILES_H, TILES_W, OC_TILES = (word[k] for k in ("tiles_h", "tiles_w", "oc_tiles"))
    BLOCK, OC_PARTS, IN_SCRATCH = word["block"], word["oc_parts"], word["in_scratch"]

    @register_jitable
    def multiply(v_at, v_step, u, u_step, m_at, count, block, channels, depth, coming, size):
        """M of one tile of output channels: for each point, tiles x channels times channels x columns. Meanwhile the
        ``size`` bytes at ``coming`` are asked for: weights, in the order in which they will be needed."""
        step = size // (points * ((count + (rows - 1)) // rows) * channels)
        for k in range(points):
            for t in range(0, count, rows):
                place = m_at + (t * points + k) * width
                acc = tile_zero(rows, vectors, lanes)
                x = v_at + k * v_step + t * depth
                acc = tile_fma_even_ahead(acc, x, depth, 4, u, columns, channels, 4, coming, step, every)
                coming += channels * step
                tile_store(acc, place, points * width, block * points * width, rows, vectors)
            u += u_step

    def conv_winograd(args, begin, end):
        zeros, patch = stack(width), stack(patch_bytes)
        store(zeros, splat(0.0, lanes))
        channels, block, oc_tiles = load_i64(args + CHANNELS), load_i64(args + BLOCK), load_i64(args + OC_TILES)
        oc_parts, in_blocks = load_i64(args + OC_PARTS), (channels + (lanes - 1)) // lanes
        out_blocks = load_i64(args + OUT_BLOCKS)
        total = load_i64(args + IMAGES) * load_i64(args + TILES_H) * load_i64(args + TILES_W)
        a, b = word_float(load_i64(args + A)), word_float(load_i64(args + B))
        v_at, depth, u_step = load_i64(args + SCRATCH), in_blocks * width, channels * columns
        v_step = block * depth + LINE  # lest points meet in the same set of a cache
        m_at = v_at + points * v_step
        for task in range(begin, end):
            number, part = task // oc_parts, task % oc_parts
            first = number * block
            count = min(block, total - first)
            if number != load_i64(args + IN_SCRATCH):
                for t in range(count):
                    read_tile(args, first + t, in_blocks, patch, zeros, v_at + t * depth, width, n_w * v_step, v_step)
                store_i64(args + IN_SCRATCH, number)
            for oc in range(oc_tiles * part // oc_parts, oc_tiles * (part + 1) // oc_parts):
                u = load_i64(args + W) + oc * points * u_step
                multiply(v_at, v_step, u, u_step, m_at, count, block, channels, depth, u + u_step, points * u_step)
                for v in range(min(vectors, out_blocks - oc * vectors)):
                    bias = load(load_i64(args + BIAS) + (oc * vectors + v) * width, lanes)
                    for t in range(count):
                        write_tile(args, m_at + (v * block + t) * points * width, n_w * width, width, first + t,
                                   oc * vectors + v, bias, a, b)

    return conv_winograd


KERNEL = Kernel("conv_winograd", OPERANDS, DIMS, build)
