"""3x3 convolution of stride 1 by Winograd's F(m,3) along both axes (winograd.py): y = A^T [U * V] A, U = G w G^T,
V = B^T x B.

Three kernels for a run of tiles: `winograd_input` makes V [n * n, C, tiles] of x, n = m + 2; the kernel of conv_direct
multiplies, a matrix product for each of the n * n points, as a 1x1 convolution of so many groups; `winograd_output`
makes y of the products [n * n, OC, tiles], bias, residual and activation included. A thread has a tile of one channel,
neighbours in a warp neighbouring tiles, so what goes through ``scratch`` are whole lines. A run has so many of the
tiles of all images that scratch stays below a limit. Layouts: x [N, C, H, W]; U [n * n, C up to a multiple of bk, OC up
to bm]; bias [OC].
"""

from __future__ import annotations

import math

import numpy as np

from cnncc.runtime.cpu.conv_shape import ConvShape
from cnncc.runtime.cpu.winograd import BACKWARD, FORWARD, transform_weights
from cnncc.runtime.cuda.kernel import Kernel, Launch, Stage, Work, ceil_div, make_params
from cnncc.runtime.cuda.kernels import conv_direct
from cnncc.runtime.cuda.kernels.conv_direct import Tile

INPUT_DIMS = ("channels", "in_h", "in_w", "pad_h", "pad_w", "tiles_h", "tiles_w", "first", "tiles", "pitch")
OUTPUT_DIMS = ("channels", "out_h", "out_w", "tiles_h", "tiles_w", "first", "tiles", "pitch", "products")
THREADS = 128
LIMIT = 1 << 29  # bytes of scratch
FORMS = (2, 4)


def supports(shape: ConvShape) -> bool:
    return shape.groups == 1 and shape.kernel == (1, 3, 3) and shape.stride == shape.dilation == (1, 1, 1) \
        and shape.size[0] == shape.out_size[0] == 1 and shape.pad[0] == 0


def count_tiles(shape: ConvShape, m: int) -> tuple[int, int]:
    """Along h and w of an image."""
    return ceil_div(shape.out_size[1], m), ceil_div(shape.out_size[2], m)


def tiles_at_once(shape: ConvShape, m: int, limit: int = LIMIT) -> int:
    """A multiple of 4, so that the products' rows are read by 128 bits; what is beyond the last tile is not used."""
    total = shape.images * math.prod(count_tiles(shape, m))
    most = limit // (4 * (m + 2) ** 2 * (shape.channels + shape.out_channels))
    return max(4, min(ceil_div(total, 4) * 4, most // 4 * 4))


def pack_weights(w: np.ndarray, m: int, rows: int, step: int = conv_direct.STEP) -> np.ndarray:
    """w [OC, C, ..., 3, 3] as U, transformed in float64 and rounded once."""
    u = transform_weights((m, m)) @ w.reshape(-1, 9).T.astype(np.float64)
    u = u.reshape(-1, *w.shape[:2]).astype(np.float32)  # [points, OC, C]
    return conv_direct.pack_weights(u.reshape(-1, w.shape[1], 1), len(u), "channels", rows, step)


def launch(shape: ConvShape, m: int, tile: Tile, residual: bool = False, activation: str = "clip", p: float = -math.inf,
           q: float = math.inf, limit: int = LIMIT) -> Launch:
    """The step of a convolution with weights by `pack_weights`; ``p`` and ``q`` belong to the activation."""
    if not supports(shape):
        raise ValueError(f"{shape}: Winograd's F({m},3) is for 3x3 kernels of stride 1")
    points, total = (m + 2) ** 2, shape.images * math.prod(count_tiles(shape, m))
    pitch = tiles_at_once(shape, m, limit)
    y_bytes, plane = 4 * shape.images * shape.out_channels * shape.pixels, math.prod(shape.size)
    w_pitch = ceil_div(shape.out_channels, tile.m) * tile.m
    reads = {"x": (0, 4 * shape.images * shape.channels * plane), "bias": (0, 4 * shape.out_channels),
             "w": (0, 4 * points * ceil_div(shape.channels, tile.k) * tile.k * w_pitch)}
    if residual:
        reads["add"] = (0, y_bytes)
    stages: list[Stage] = []
    for first in range(0, total if y_bytes else 0, pitch):
        tiles = min(pitch, total - first)
        stages += [_input(shape, m, first, tiles, pitch), _products(shape, points, pitch, tile),
                   _output(shape, m, first, tiles, pitch, residual, activation, p, q)]
    scratch = 4 * points * (shape.channels + shape.out_channels) * pitch
    return Launch("conv_winograd", tuple(stages), reads, {"y": (0, y_bytes)}, scratch if stages else 0)


def _input(shape: ConvShape, m: int, first: int, tiles: int, pitch: int) -> Stage:
    dims = (shape.channels, *shape.size[1:], *shape.pad[1:], *count_tiles(shape, m), first, tiles, pitch)
    moved = 4.0 * shape.channels * tiles * (m * m + (m + 2) ** 2)
    return Stage(INPUT, make_params(m=m), dims, (ceil_div(tiles, THREADS), shape.channels, 1), (THREADS, 1, 1),
                 work=Work(moved, moved))


def _output(shape: ConvShape, m: int, first: int, tiles: int, pitch: int, residual: bool, activation: str, p: float,
            q: float) -> Stage:
    products = (m + 2) ** 2 * shape.channels * pitch
    dims = (shape.out_channels, *shape.out_size[1:], *count_tiles(shape, m), first, tiles, pitch, products)
    moved = 4.0 * shape.out_channels * tiles * (m * m * (1 + residual) + (m + 2) ** 2)
    return Stage(OUTPUT, make_params(m=m, residual=int(residual), activation=activation), dims,
                 (ceil_div(tiles, THREADS), shape.out_channels, 1), (THREADS, 1, 1), (p, q), work=Work(moved, moved))


def _products(shape: ConvShape, points: int, pitch: int, tile: Tile) -> Stage:
    """What conv_direct does for one image of `pitch` pixels and a group for each point, from scratch to scratch."""
    as_conv = ConvShape(1, points * shape.channels, points * shape.out_channels, (1, 1, pitch), (1, 1, pitch),
                        (1, 1, 1), groups=points)
    stage = conv_direct.launch(as_conv, tile, "channels").stages[0]
    first = points * shape.channels * pitch
    params = {**dict(stage.params), "split": 1}  # plain sums go to scratch
    moved = 4.0 * points * (shape.channels + shape.out_channels) * (pitch + shape.channels)
    return Stage(conv_direct.KERNEL, make_params(**params), (*stage.dims[:-1], first), stage.grid, stage.block,
                 stage.floats, work=Work(stage.work.flops if stage.work else 0.0, moved),
                 words=tuple("scratch" if word in ("x", "scratch") else word for word in conv_direct.OPERANDS))


def build_input(m: int):
    from cnncc.runtime.cuda.integers import divide, within
    from cnncc.runtime.cuda.language import cuda, device, int32
    from cnncc.runtime.cuda.memory_access import load_within
    from cnncc.runtime.cuda.tile import map_patch, unroll

    size, forward = m + 2, map_patch(FORWARD[m])

    @device
    def read_one(i, j, x, at, row, column, in_h, in_w):
        width = in_w if within(int32(row + i), in_h) else int32(0)
        return load_within(x, at + i * in_w + j, column + j, width)

    @device
    def store_one(i, j, v, scratch, at, step):
        scratch[at + (i * size + j) * step] = v
        return 0

    read, store = unroll((size, size), read_one), unroll((size, size), store_one, each=("v",))

    def winograd_input(x, scratch, channels, in_h, in_w, pad_h, pad_w, tiles_h, tiles_w, first, tiles, pitch):
        tile, channel = int32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x), int32(cuda.blockIdx.y)
        if tile < tiles:
            rest, across = divide(int32(first + tile), tiles_w)
            image, down = divide(rest, tiles_h)
            row, column = int32(down * m - pad_h), int32(across * m - pad_w)
            at = int32(((image * channels + channel) * in_h + row) * in_w + column)
            points = forward(read(x, at, row, column, in_h, in_w))
            store(points, scratch, int32(channel * pitch + tile), int32(channels * pitch))

    return winograd_input


def build_output(m: int, residual: int, activation: str):
    from cnncc.runtime.cuda.epilogue import build_activation
    from cnncc.runtime.cuda.integers import divide
    from cnncc.runtime.cuda.language import cuda, device, int32
    from cnncc.runtime.cuda.tile import map_patch, unroll

    size, backward, activate = m + 2, map_patch(BACKWARD[m]), build_activation(activation)

    @device
    def store_one(i, j, v, shift, add, y, at, down, across, out_w, p, q):
        if i < down and j < across:
            value = v + shift
            if residual:
                value += add[at + i * out_w + j]
            y[at + i * out_w + j] = activate(value, p, q)
        return 0

    read = unroll((size, size), device(lambda i, j, scratch, at, step: scratch[at + (i * size + j) * step]))
    store = unroll((m, m), store_one, each=("v",))

    def winograd_output(scratch, bias, add, y, channels, out_h, out_w, tiles_h, tiles_w, first, tiles, pitch, products,
                        p, q):
        tile, channel = int32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x), int32(cuda.blockIdx.y)
        if tile < tiles:
            rest, across = divide(int32(first + tile), tiles_w)
            image, down = divide(rest, tiles_h)
            values = backward(read(scratch, int32(products + channel * pitch + tile), int32(channels * pitch)))
            row, column = int32(down * m), int32(across * m)
            at = int32(((image * channels + channel) * out_h + row) * out_w + column)
            store(values, bias[channel], add, y, at, int32(out_h - row), int32(out_w - column), out_w, p, q)

    return winograd_output


INPUT = Kernel("winograd_input", ("x", "scratch"), INPUT_DIMS, build_input, threads=lambda **params: THREADS)
OUTPUT = Kernel("winograd_output", ("scratch", "bias", "add", "y"), OUTPUT_DIMS, build_output, ("p", "q"),
                threads=lambda **params: THREADS)
