"""Winograd convolution F(m, 3), m = 2, 4 or 6, stride 1, in NCHWc (Lavin & Gray 2015, arXiv:1509.09308).

An output tile of m_h x m_w pixels needs an input tile of n_h x n_w. An axis with 3 taps has n = m + 2; an axis with one
tap is not transformed: m = n = 1, which makes the 1-D forms for 1x3 and 3x1 kernels. With the matrices of winograd.py,

    Y = A_h^T [ sum over ic of (G_h w G_w^T) * (B_h^T x B_w) ] A_w          (* is elementwise)

so each of the n_h * n_w elements ("points") is a matrix product over input channels, tiles x OC. A task takes ``block``
tiles and a range of output channels: it transforms the input tiles once, and for each tile of output channels
multiplies point by point and transforms back, adding bias and residual and applying the activation in registers.

Scratch of a thread: V [points, block, ceil(IC/c)*c] and M [vectors, block, points, c]. Weights are transformed
beforehand: U [tiles of OC, points, IC, vectors * c] float32. x, y, add are NCHWc; bias is [tiles of OC, vectors * c].
"""

import math

import numpy as np

from cnncc.runtime.cpu.kernel import Kernel, Launch, ceil_div, float_word, make_params
from cnncc.runtime.cpu.kernels.conv_direct import TILES, ConvShape
from cnncc.runtime.cpu.winograd import BACKWARD, FORWARD, transform_weights

OPERANDS = ("x", "w", "bias", "add", "y", "scratch")
DIMS = (
    "images", "channels", "in_h", "in_w", "out_h", "out_w", "pad_h", "pad_w", "out_blocks", "oc_tiles",
    "tiles_h", "tiles_w", "block", "blocks", "oc_parts", "a", "b",
)  # fmt: skip
SCRATCH_BYTES = 768 << 10  # V and M together should stay in L2
MIN_TASKS = 4
PACK_FLOATS = 1 << 16

def supports(shape: ConvShape) -> bool:
    """3x3, 1x3 or 3x1, stride 1, no dilation, no groups, at most two spatial axes."""
    return (
        shape.kernel in ((1, 3, 3), (1, 1, 3), (1, 3, 1)) and shape.stride == (1, 1, 1)
        and shape.dilation == (1, 1, 1) and shape.groups == 1 and shape.pad[0] == 0 and shape.size[0] == 1
    )  # fmt: skip


def output_tile(shape: ConvShape, m: int) -> tuple[int, int]:
    """(m_h, m_w): m along the axes that have 3 taps, 1 along others."""
    return m if shape.kernel[1] == 3 else 1, m if shape.kernel[2] == 3 else 1


def input_length(m: int) -> int:
    """n: the elements of a line that m outputs of an axis need."""
    return m + 2 if m > 1 else 1


def count_points(shape: ConvShape, m: int) -> int:
    return math.prod(map(input_length, output_tile(shape, m)))


def count_tiles(shape: ConvShape, m: int) -> int:
    m_h, m_w = output_tile(shape, m)
    return shape.images * ceil_div(shape.out_size[1], m_h) * ceil_div(shape.out_size[2], m_w)


def choose_tile(shape: ConvShape, m: int, lanes: int) -> tuple[int, int]:
    """(rows, vectors) of the register tile with the least padded work."""
    blocks, tiles = ceil_div(shape.out_channels, lanes), count_tiles(shape, m)

    def cost(tile: tuple[int, int]) -> float:
        rows, vectors = tile
        block = _block(shape, m, rows, vectors, lanes)
        whole = tiles // block * ceil_div(block, rows) + ceil_div(tiles % block, rows)
        return whole * rows * ceil_div(blocks, vectors) * vectors / TILES[lanes][tile]

    return min(TILES[lanes], key=cost)


def _block(shape: ConvShape, m: int, rows: int, vectors: int, lanes: int) -> int:
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
    if not supports(shape):
        raise ValueError(f"{shape} is no convolution for F({m}, 3)")
    rows, vectors = tile
    (m_h, m_w), points, width = output_tile(shape, m), count_points(shape, m), 4 * lanes
    in_blocks, out_blocks = ceil_div(shape.channels, lanes), ceil_div(shape.out_channels, lanes)
    oc_tiles = ceil_div(out_blocks, vectors)
    block = _block(shape, m, rows, vectors, lanes)
    blocks = ceil_div(count_tiles(shape, m), block)
    oc_parts = min(oc_tiles, ceil_div(MIN_TASKS, blocks))
    _, in_h, in_w = shape.size
    _, out_h, out_w = shape.out_size
    dims = (
        shape.images, shape.channels, in_h, in_w, out_h, out_w, shape.pad[1], shape.pad[2], out_blocks, oc_tiles,
        ceil_div(out_h, m_h), ceil_div(out_w, m_w), block, blocks, oc_parts, float_word(a), float_word(b),
    )  # fmt: skip
    x_bytes = shape.images * in_blocks * in_h * in_w * width
    y_bytes = shape.images * out_blocks * out_h * out_w * width
    reads = {
        "x": (0, x_bytes), "w": (0, oc_tiles * points * shape.channels * vectors * width),
        "bias": (0, oc_tiles * vectors * width),
    }  # fmt: skip
    if residual:
        reads["add"] = (0, y_bytes)
    params = make_params(
        lanes=lanes, m_h=m_h, m_w=m_w, rows=rows, vectors=vectors, activation=activation, residual=int(residual)
    )  # fmt: skip
    scratch = points * block * width * (in_blocks + vectors)
    return Launch(KERNEL, params, dims, blocks * oc_parts, 1, scratch, reads, {"y": (0, y_bytes)})


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


def build(lanes: int, m_h: int, m_w: int, rows: int, vectors: int, activation: str, residual: int):
    """Compile-time constants are the transform, the register tile and the epilogue."""
    from numba.extending import register_jitable

    from cnncc.runtime.cpu.epilogue import build_finish
    from cnncc.runtime.cpu.linear_map import finish_line, map_line
    from cnncc.runtime.cpu.memory_access import load_i64, outside, select, stack, word_float
    from cnncc.runtime.cpu.simd import load, splat, store
    from cnncc.runtime.cpu.tile import tile_fma_even, tile_store, tile_zero

    finish = register_jitable(build_finish(activation, residual, lanes))
    n_h, n_w = input_length(m_h), input_length(m_w)
    forward_h, forward_w, backward_h = (map_line(a, lanes) for a in (FORWARD[m_h], FORWARD[m_w], BACKWARD[m_h]))
    finish_h, finish_w = (finish_line(BACKWARD[m], finish, lanes) for m in (m_h, m_w))
    width, columns, points = 4 * lanes, 4 * lanes * vectors, n_h * n_w
    patch_bytes = points * width
    word = {name: 8 * (len(OPERANDS) + i) for i, name in enumerate(DIMS)}
    CHANNELS, IN_H, IN_W, OUT_H, OUT_W = (word[k] for k in ("channels", "in_h", "in_w", "out_h", "out_w"))
    PAD_H, PAD_W, OUT_BLOCKS, OC_TILES = (word[k] for k in ("pad_h", "pad_w", "out_blocks", "oc_tiles"))
    TILES_H, TILES_W, BLOCK, OC_PARTS = (word[k] for k in ("tiles_h", "tiles_w", "block", "oc_parts"))
    IMAGES, A, B = word["images"], word["a"], word["b"]

    @register_jitable
    def fetch(plane, patch, zeros, top, left, in_h, in_w):
        """The n_h x n_w input vectors at (top, left), zeros outside the image, to ``patch``."""
        for i in range(n_h):
            row = plane + ((top + i) * in_w + left) * width
            off = outside(top + i, in_h)
            for j in range(n_w):
                missing = off | outside(left + j, in_w)
                store(patch + (i * n_w + j) * width, load(select(missing, zeros, row + j * width), lanes))

    @register_jitable
    def transform_input(source, row_step, half, target, step):
        """B^T x B of n_h x n_w vectors at ``source``, rows ``row_step`` apart; point k to ``target + k * step``."""
        if m_h == 1:
            forward_w(source, width, target, step)
        elif m_w == 1:
            forward_h(source, row_step, target, step)
        else:
            for j in range(n_w):
                forward_h(source + j * width, row_step, half + j * width, n_w * width)
            for i in range(n_h):
                forward_w(half + i * n_w * width, width, target + i * n_w * step, step)

    @register_jitable
    def transform_block(args, x, first, count, v_at, block, in_blocks, patch, half, zeros):
        """V of the tiles first .. first+count-1."""
        in_h, in_w = load_i64(args + IN_H), load_i64(args + IN_W)
        tiles_h, tiles_w = load_i64(args + TILES_H), load_i64(args + TILES_W)
        pad_h, pad_w = load_i64(args + PAD_H), load_i64(args + PAD_W)
        depth, plane = in_blocks * width, in_h * in_w * width
        for t in range(count):
            q = first + t
            left = q % tiles_w * m_w - pad_w
            q = q // tiles_w
            top = q % tiles_h * m_h - pad_h
            inside = (top >= 0) & (left >= 0) & (top + n_h <= in_h) & (left + n_w <= in_w)
            image = x + q // tiles_h * in_blocks * plane
            for block_c in range(in_blocks):
                target = v_at + t * depth + block_c * width
                if inside:
                    source = image + block_c * plane + (top * in_w + left) * width
                    transform_input(source, in_w * width, half, target, block * depth)
                else:
                    fetch(image + block_c * plane, patch, zeros, top, left, in_h, in_w)
                    transform_input(patch, n_w * width, half, target, block * depth)

    @register_jitable
    def multiply(v_at, u, m_at, count, block, channels, depth):
        """M of one tile of output channels: for each point, tiles x channels times channels x columns."""
        for k in range(points):
            for t in range(0, count, rows):
                acc = tile_zero(rows, vectors, lanes)
                acc = tile_fma_even(acc, v_at + (k * block + t) * depth, depth, 4, u, columns, channels, 4)
                tile_store(acc, m_at + (t * points + k) * width, points * width, block * points * width, rows, vectors)
            u += channels * columns

    @register_jitable
    def write_tile(m_at, half, y, shift, bias, rows_left, columns_left, row_step, a, b):
        """A^T M A, then the epilogue, for one tile and one block of channels."""
        if m_h == 1:
            finish_w(m_at, width, bias, y, width, columns_left, shift, a, b)
        elif m_w == 1:
            finish_h(m_at, width, bias, y, row_step, rows_left, shift, a, b)
        else:
            for j in range(n_w):
                backward_h(m_at + j * width, n_w * width, half + j * width, n_w * width)
            for i in range(min(m_h, rows_left)):
                finish_w(half + i * n_w * width, width, bias, y + i * row_step, width, columns_left, shift, a, b)

    @register_jitable
    def write_block(args, m_at, first, count, block, oc, half, a, b):
        """All tiles of a block for one tile of output channels."""
        out_h, out_w = load_i64(args + OUT_H), load_i64(args + OUT_W)
        tiles_h, tiles_w = load_i64(args + TILES_H), load_i64(args + TILES_W)
        out_blocks, y = load_i64(args + OUT_BLOCKS), load_i64(args + 32)
        shift = load_i64(args + 24) - y
        for v in range(min(vectors, out_blocks - oc * vectors)):
            bias = load(load_i64(args + 16) + (oc * vectors + v) * width, lanes)
            for t in range(count):
                q = first + t
                left = q % tiles_w * m_w
                q = q // tiles_w
                top = q % tiles_h * m_h
                channel = q // tiles_h * out_blocks + oc * vectors + v
                place = y + ((channel * out_h + top) * out_w + left) * width
                source = m_at + (v * block + t) * points * width
                write_tile(source, half, place, shift, bias, out_h - top, out_w - left, out_w * width, a, b)

    def conv_winograd(args, begin, end):
        zeros, patch, half = stack(width), stack(patch_bytes), stack(patch_bytes)
        store(zeros, splat(0.0, lanes))
        channels, block, oc_tiles = load_i64(args + CHANNELS), load_i64(args + BLOCK), load_i64(args + OC_TILES)
        oc_parts, in_blocks = load_i64(args + OC_PARTS), (channels + (lanes - 1)) // lanes
        total = load_i64(args + IMAGES) * load_i64(args + TILES_H) * load_i64(args + TILES_W)
        a, b = word_float(load_i64(args + A)), word_float(load_i64(args + B))
        v_at, depth = load_i64(args + 40), in_blocks * width
        m_at = v_at + points * block * depth
        present = -1
        for task in range(begin, end):
            number, part = task // oc_parts, task % oc_parts
            first = number * block
            count = min(block, total - first)
            if number != present:
                transform_block(args, load_i64(args), first, count, v_at, block, in_blocks, patch, half, zeros)
                present = number
            for oc in range(oc_tiles * part // oc_parts, oc_tiles * (part + 1) // oc_parts):
                u = load_i64(args + 8) + oc * points * channels * columns
                multiply(v_at, u, m_at, count, block, channels, depth)
                write_block(args, m_at, first, count, block, oc, half, a, b)

    return conv_winograd


KERNEL = Kernel("conv_winograd", OPERANDS, DIMS, build)
