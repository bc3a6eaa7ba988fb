"""Winograd convolution F(m, 3), m = 2, 4 or 6, stride 1, in NCHWc (Lavin & Gray 2015, arXiv:1509.09308).

An output tile of m_h x m_w pixels needs an input tile of n_h x n_w. An axis with 3 taps has n = m + 2; an axis with one
tap is not transformed: m = n = 1, which makes the 1-D forms for 1x3 and 3x1 kernels. With the matrices of winograd.py,

    Y = A_h^T [ sum over ic of (G_h w G_w^T) * (B_h^T x B_w) ] A_w          (* is elementwise)

so each of the n_h * n_w elements ("points") is a matrix product over input channels, tiles x OC. A task takes ``block``
tiles and a range of output channels: it transforms the input tiles once, and for each tile of output channels
multiplies point by point and transforms back, adding bias and residual and applying the activation in registers.

Scratch of a thread: V [points, block, ceil(IC/c)*c] and M [vectors, block, points, c]. Weights are transformed
beforehand: U [tiles of OC, points, IC, vectors * c] float32; or they are ``raw``, [tiles of OC, IC, taps, vectors * c],
and a task transforms ``chunk`` input channels at a time into its scratch, which pays where there are few tiles: then
the way of U from memory takes longer than the products. x, y, add are NCHWc; bias is [tiles of OC, vectors * c].
"""

import math

import numpy as np

from cnncc.runtime.cpu.kernel import Kernel, Launch, ceil_div, float_word, make_params
from cnncc.runtime.cpu.kernels.conv_direct import TILES, ConvShape
from cnncc.runtime.cpu.winograd import BACKWARD, FORWARD, WEIGHTS, transform_weights

OPERANDS = ("x", "w", "bias", "add", "y", "scratch")
DIMS = (
    "images", "channels", "in_h", "in_w", "out_h", "out_w", "pad_h", "pad_w", "out_blocks", "oc_tiles",
    "tiles_h", "tiles_w", "block", "blocks", "oc_parts", "chunk", "a", "b",
)  # fmt: skip
SCRATCH_BYTES = 768 << 10  # V and M together should stay in L2
RAW_BYTES = 400 << 10  # transformed weights at a time, where the kernel transforms them
LINE = 64  # bytes by which points are moved apart, lest they meet in the same set of a cache
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


def choose_chunk(shape: ConvShape, m: int, vectors: int, lanes: int) -> int:
    """Input channels whose weights are transformed at a time, in equal parts of about RAW_BYTES."""
    size = 4 * count_points(shape, m) * shape.channels * vectors * lanes
    return ceil_div(shape.channels, ceil_div(size, RAW_BYTES))


def launch(
    shape: ConvShape, lanes: int, m: int, tile: tuple[int, int], raw: bool = False, residual: bool = False,
    activation: str = "clip", a: float = -math.inf, b: float = math.inf,
) -> Launch:  # fmt: skip
    """The step of a convolution; ``a`` and ``b`` belong to the activation (see epilogue.py)."""
    if not supports(shape):
        raise ValueError(f"{shape} is no convolution for F({m}, 3)")
    rows, vectors = tile
    (m_h, m_w), points, width = output_tile(shape, m), count_points(shape, m), 4 * lanes
    in_blocks, out_blocks = ceil_div(shape.channels, lanes), ceil_div(shape.out_channels, lanes)
    oc_tiles = ceil_div(out_blocks, vectors)
    block = choose_block(shape, m, rows, vectors, lanes)
    blocks = ceil_div(count_tiles(shape, m), block)
    oc_parts = min(oc_tiles, ceil_div(MIN_TASKS, blocks))
    chunk = choose_chunk(shape, m, vectors, lanes) if raw else shape.channels
    _, in_h, in_w = shape.size
    _, out_h, out_w = shape.out_size
    dims = (
        shape.images, shape.channels, in_h, in_w, out_h, out_w, shape.pad[1], shape.pad[2], out_blocks, oc_tiles,
        ceil_div(out_h, m_h), ceil_div(out_w, m_w), block, blocks, oc_parts, chunk, float_word(a), float_word(b),
    )  # fmt: skip
    x_bytes = shape.images * in_blocks * in_h * in_w * width
    y_bytes = shape.images * out_blocks * out_h * out_w * width
    reads = {
        "x": (0, x_bytes), "w": (0, oc_tiles * (shape.taps if raw else points) * shape.channels * vectors * width),
        "bias": (0, oc_tiles * vectors * width),
    }  # fmt: skip
    if residual:
        reads["add"] = (0, y_bytes)
    params = make_params(
        lanes=lanes, m_h=m_h, m_w=m_w, rows=rows, vectors=vectors, activation=activation, residual=int(residual),
        raw=int(raw),
    )  # fmt: skip
    scratch = points * (block * width * (in_blocks + vectors) + LINE)
    if raw:
        scratch += points * (chunk * vectors * width + LINE)
    return Launch(KERNEL, params, dims, blocks * oc_parts, 1, scratch, reads, {"y": (0, y_bytes)})


def pack_raw_weights(w: np.ndarray, lanes: int, vectors: int) -> np.ndarray:
    """[OC, IC, *kernel] as [tiles of OC, IC, taps, vectors * c], flat."""
    out_channels, channels = w.shape[:2]
    columns, count = vectors * lanes, math.prod(w.shape[2:])
    tiles = ceil_div(ceil_div(out_channels, lanes), vectors)
    out = np.zeros((tiles, channels, count, columns), np.float32)
    for tile in range(tiles):
        part = w[tile * columns : (tile + 1) * columns].reshape(-1, channels, count)
        out[tile, :, :, : len(part)] = part.transpose(1, 2, 0)
    return out.reshape(-1)


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


def build(lanes: int, m_h: int, m_w: int, rows: int, vectors: int, activation: str, residual: int, raw: int):
    """Compile-time constants are the transforms, the register tile, the epilogue and how the weights come (``raw``)."""
    from numba.extending import register_jitable

    from cnncc.runtime.cpu.epilogue import build_finish
    from cnncc.runtime.cpu.linear_map import finish_patch, map_patch
    from cnncc.runtime.cpu.memory_access import load_i64, outside, select, stack, word_float
    from cnncc.runtime.cpu.simd import load, splat, store
    from cnncc.runtime.cpu.tile import tile_fma_even_ahead, tile_load, tile_store, tile_zero

    finish = register_jitable(build_finish(activation, residual, lanes))
    n_h, n_w = input_length(m_h), input_length(m_w)
    forward = map_patch(FORWARD[m_h], FORWARD[m_w], lanes)
    backward = finish_patch(BACKWARD[m_h], BACKWARD[m_w], finish, lanes)
    expand = map_patch(WEIGHTS[m_h], WEIGHTS[m_w], lanes)
    taps_w = len(WEIGHTS[m_w][0])
    taps = len(WEIGHTS[m_h][0]) * taps_w
    width, columns, points = 4 * lanes, 4 * lanes * vectors, n_h * n_w
    patch_bytes = points * width
    word = {name: 8 * (len(OPERANDS) + i) for i, name in enumerate(DIMS)}
    CHANNELS, IN_H, IN_W, OUT_H, OUT_W = (word[k] for k in ("channels", "in_h", "in_w", "out_h", "out_w"))
    PAD_H, PAD_W, OUT_BLOCKS, OC_TILES = (word[k] for k in ("pad_h", "pad_w", "out_blocks", "oc_tiles"))
    TILES_H, TILES_W, BLOCK, OC_PARTS = (word[k] for k in ("tiles_h", "tiles_w", "block", "oc_parts"))
    IMAGES, CHUNK, A, B = word["images"], word["chunk"], word["a"], word["b"]

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
    def transform_block(args, x, first, count, v_at, step, in_blocks, patch, zeros):
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
                source, row_step = image + block_c * plane + (top * in_w + left) * width, in_w * width
                if not inside:
                    fetch(image + block_c * plane, patch, zeros, top, left, in_h, in_w)
                    source, row_step = patch, n_w * width
                forward(source, row_step, width, target, step)

    @register_jitable
    def transform_weights(w, u, step, count):
        """U of ``count`` input channels of one tile of output channels."""
        for _ in range(count):
            for v in range(vectors):
                expand(w + v * width, taps_w * columns, columns, u + v * width, step)
            w += taps * columns
            u += columns

    @register_jitable
    def multiply(v_at, v_step, u, u_step, m_at, count, block, channels, depth, first, coming, size):
        """M of one tile of output channels, or what ``channels`` of the input add to it: for each point, tiles x
        channels times channels x columns. Meanwhile the ``size`` bytes at ``coming`` are asked for: weights, in the
        order in which they will be needed."""
        step = size // (points * ((count + (rows - 1)) // rows) * channels)
        for k in range(points):
            for t in range(0, count, rows):
                place = m_at + (t * points + k) * width
                if first:
                    acc = tile_zero(rows, vectors, lanes)
                else:
                    acc = tile_load(place, points * width, block * points * width, rows, vectors, rows, vectors, lanes)
                x = v_at + k * v_step + t * depth
                acc = tile_fma_even_ahead(acc, x, depth, 4, u, columns, channels, 4, coming, step)
                coming += channels * step
                tile_store(acc, place, points * width, block * points * width, rows, vectors)
            u += u_step

    @register_jitable
    def write_block(args, m_at, first, count, block, oc, a, b):
        """A^T M A, then the epilogue: all tiles of a block for one tile of output channels."""
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
                backward(
                    source, n_w * width, width, bias, place, out_w * width, width, out_h - top, out_w - left, shift,
                    a, b,
                )  # fmt: skip

    def conv_winograd(args, begin, end):
        zeros, patch = stack(width), stack(patch_bytes)
        store(zeros, splat(0.0, lanes))
        channels, block, oc_tiles = load_i64(args + CHANNELS), load_i64(args + BLOCK), load_i64(args + OC_TILES)
        oc_parts, in_blocks = load_i64(args + OC_PARTS), (channels + (lanes - 1)) // lanes
        chunk = load_i64(args + CHUNK)
        total = load_i64(args + IMAGES) * load_i64(args + TILES_H) * load_i64(args + TILES_W)
        a, b = word_float(load_i64(args + A)), word_float(load_i64(args + B))
        v_at, depth = load_i64(args + 40), in_blocks * width
        v_step, u_step = block * depth + LINE, chunk * columns + LINE * raw
        m_at = v_at + points * v_step
        u_at = m_at + points * block * columns
        present = -1
        for task in range(begin, end):
            number, part = task // oc_parts, task % oc_parts
            first = number * block
            count = min(block, total - first)
            if number != present:
                transform_block(args, load_i64(args), first, count, v_at, v_step, in_blocks, patch, zeros)
                present = number
            for oc in range(oc_tiles * part // oc_parts, oc_tiles * (part + 1) // oc_parts):
                if raw:
                    w = load_i64(args + 8) + oc * taps * channels * columns
                    c = 0
                    while c < channels:
                        some = min(chunk, channels - c)
                        transform_weights(w + c * taps * columns, u_at, u_step, some)
                        after = w + (c + some) * taps * columns
                        multiply(v_at + 4 * c, v_step, u_at, u_step, m_at, count, block, some, depth, c == 0, after,
                                 chunk * taps * columns)
                        c += some
                else:
                    u = load_i64(args + 8) + oc * points * u_step
                    multiply(v_at, v_step, u, u_step, m_at, count, block, channels, depth, True, u + u_step,
                             points * u_step)
                write_block(args, m_at, first, count, block, oc, a, b)

    return conv_winograd


KERNEL = Kernel("conv_winograd", OPERANDS, DIMS, build)
