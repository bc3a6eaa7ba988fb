"""First layers: convolution of few channels, from plain NCHW to NCHWc.

    y[p, o] = act(bias[o] + add[p, o] + sum over ic, kd, kh, kw of x[ic, pixel(p, kd, kh, kw)] * w[o, ic, kd, kh, kw])

A task is some output rows. It copies the input rows that they need, with the padding around them, to scratch memory;
there each term of the sum lies at the same distance from its pixel. A strip is the ``taps`` taps along a row of the
kernel (or one of them); the distances of strips are one table. A register tile is ``rows`` output pixels of one row
times ``vectors`` blocks of ``lanes`` output channels.

Layouts (float32): x is [N, IC, D*H*W]; y and add are [N, OC/c, OD*OH*OW, c]; bias is [tiles, vectors * c]; weights
are [tiles, IC, KD*KH*KW, vectors * c], surplus output channels being zero. Scratch: the patch
[IC, KD, patch_h, patch_w], then the table of int64.
"""

import math

import numpy as np

from cnncc.runtime.cpu.conv_shape import ConvShape
from cnncc.runtime.cpu.kernel import Kernel, Launch, ceil_div, float_word, make_params

OPERANDS = ("x", "w", "bias", "add", "y", "scratch")
DIMS = (
    "in_d", "in_h", "in_w", "out_d", "out_h", "out_w", "k_d", "k_h", "k_w", "stride_d", "stride_h",
    "dilation_d", "dilation_h", "dilation_w", "pad_d", "pad_h", "pad_w", "channels", "out_blocks", "tiles",
    "group_rows", "row_groups", "patch_h", "patch_w", "table", "a", "b",
)  # fmt: skip
TASK_MACS, PATCH_BYTES, MOST_TAPS = 2e6, 128 << 10, 11
# (rows, vectors) by lanes, with their merit: what the compiler keeps in registers
TILES = {
    16: {
        (6, 4): 0.94, (5, 4): 1.0, (7, 3): 0.9, (10, 2): 0.97, (8, 2): 0.95, (14, 1): 0.92, (10, 1): 0.9,
        (7, 1): 0.8,
    },
    8: {(6, 2): 1.0, (5, 2): 0.97, (8, 1): 0.9},
    4: {(6, 4): 1.0, (5, 4): 0.99, (7, 3): 0.99, (10, 2): 0.98, (14, 1): 0.92, (10, 1): 0.9, (7, 1): 0.8},
}


def supports(shape: ConvShape, lanes: int) -> bool:
    """Few channels, no groups, and rows of a sensible length (the patch of one row has to fit a cache)."""
    return shape.groups == 1 and 2 * shape.channels <= lanes and _patch(shape, 1)[2] <= 1 << 20


def count_tiles(shape: ConvShape, lanes: int, tile: tuple[int, int]) -> int:
    """Register tiles of an image."""
    rows, vectors = tile
    lines = shape.out_size[0] * shape.out_size[1]
    return lines * ceil_div(shape.out_size[2], rows) * ceil_div(ceil_div(shape.out_channels, lanes), vectors)


def choose_tile(shape: ConvShape, lanes: int) -> tuple[int, int]:
    """(rows, vectors) with the least padded work."""
    tiles = TILES[lanes]
    return min(tiles, key=lambda tile: count_tiles(shape, lanes, tile) * math.prod(tile) / tiles[tile])


def _patch(shape: ConvShape, rows: int) -> tuple[int, int, int]:
    """(height, width, bytes) of the input that ``rows`` output rows need."""
    height, width = (
        (out - 1) * shape.stride[axis] + (shape.kernel[axis] - 1) * shape.dilation[axis] + 1
        for axis, out in ((1, rows), (2, shape.out_size[2]))
    )
    return height, width, 4 * shape.channels * shape.kernel[0] * height * width


def _group_rows(shape: ConvShape, columns: int) -> int:
    """Output rows of a task."""
    row_macs = shape.out_size[2] * columns * shape.channels * shape.taps
    rows = min(shape.out_size[1], max(1, round(TASK_MACS / row_macs)))
    while rows > 1 and _patch(shape, rows)[2] > PATCH_BYTES:
        rows -= 1
    return rows


def launch(
    shape: ConvShape, lanes: int, tile: tuple[int, int] | None = None, residual: bool = False,
    activation: str = "clip", a: float = -math.inf, b: float = math.inf,
) -> Launch:  # fmt: skip
    """The step of a convolution; ``a`` and ``b`` belong to the activation (see epilogue.py)."""
    if not supports(shape, lanes):
        raise ValueError(f"{shape} is no first layer")
    rows, vectors = tile or choose_tile(shape, lanes)
    blocks, width = ceil_div(shape.out_channels, lanes), 4 * lanes
    tiles = ceil_div(blocks, vectors)
    group_rows = _group_rows(shape, tiles * vectors * lanes)
    row_groups = ceil_div(shape.out_size[1], group_rows)
    patch_h, patch_w, patch_bytes = _patch(shape, group_rows)
    table = ceil_div(patch_bytes + width + 4 * rows * shape.stride[2], 64) * 64  # the last tile of a row reads on
    taps = shape.kernel[2] if shape.dilation[2] == 1 and shape.kernel[2] <= MOST_TAPS else 1
    terms = shape.channels * shape.taps
    dims = (
        *shape.size, *shape.out_size, *shape.kernel, *shape.stride[:2], *shape.dilation, *shape.pad, shape.channels,
        blocks, tiles, group_rows, row_groups, patch_h, patch_w, table, float_word(a), float_word(b),
    )  # fmt: skip
    y_bytes = shape.images * blocks * shape.pixels * width
    reads = {
        "x": (0, 4 * shape.images * shape.channels * math.prod(shape.size)),
        "w": (0, tiles * terms * vectors * width), "bias": (0, tiles * vectors * width),
    }  # fmt: skip
    if residual:
        reads["add"] = (0, y_bytes)
    params = make_params(
        lanes=lanes, rows=rows, vectors=vectors, taps=taps, stride=shape.stride[2], activation=activation
    )
    tasks = shape.images * shape.out_size[0] * row_groups
    return Launch(KERNEL, params, dims, tasks, 1, table + 8 * (terms // taps), reads, {"y": (0, y_bytes)})


def pack_weights(w: np.ndarray, lanes: int, vectors: int) -> np.ndarray:
    """[OC, IC, *kernel] as [tiles, IC * taps, vectors * c] float32, flattened."""
    columns = vectors * lanes
    tiles = ceil_div(w.shape[0], columns)
    padded = np.zeros((tiles * columns, math.prod(w.shape[1:])), np.float32)
    padded[: w.shape[0]] = w.reshape(w.shape[0], -1)
    return np.ascontiguousarray(padded.reshape(tiles, columns, -1).transpose(0, 2, 1)).reshape(-1)


def build(lanes: int, rows: int, vectors: int, taps: int, stride: int, activation: str):
    """Compile-time constants are the tile, the steps along a row and the epilogue."""
    from numba.extending import register_jitable

    from cnncc.runtime.cpu.epilogue import build_activation
    from cnncc.runtime.cpu.memory_access import load_words, outside, store_i64, word_float
    from cnncc.runtime.cpu.simd import load_first, splat, store
    from cnncc.runtime.cpu.tile import tile_of_row
    from cnncc.runtime.cpu.tile_memory import store_through
    from cnncc.runtime.cpu.tile_spread import tile_fma_strips

    tile_finish = store_through(build_activation(activation))
    width, columns, row_step = 4 * lanes, 4 * lanes * vectors, 4 * stride
    word = {name: i for i, name in enumerate(OPERANDS + DIMS)}
    word_count, (X, W, BIAS, ADD, Y, SCRATCH) = len(word), range(6)
    IN_D, IN_H, IN_W, OUT_D, OUT_H, OUT_W = (word[f"{n}_{axis}"] for n in ("in", "out") for axis in "dhw")
    K_D, K_H, K_W, STRIDE_D, STRIDE_H = (word[n] for n in ("k_d", "k_h", "k_w", "stride_d", "stride_h"))
    DILATION_D, DILATION_H, DILATION_W, PAD_D, PAD_H, PAD_W = (
        word[f"{n}_{axis}"] for n in ("dilation", "pad") for axis in "dhw"
    )
    CHANNELS, OUT_BLOCKS, TILES, TABLE = (word[n] for n in ("channels", "out_blocks", "tiles", "table"))
    GROUP_ROWS, ROW_GROUPS, PATCH_H, PATCH_W = (word[n] for n in ("group_rows", "row_groups", "patch_h", "patch_w"))
    A, B = word["a"], word["b"]

    @register_jitable
    def copy_row(row, target, pad, in_w, patch_w):
        """A row of x with ``pad`` zeros before it and zeros after it; what follows the target is overwritten."""
        for at in range(0, patch_w, lanes):
            store(target + 4 * at, splat(0.0, lanes))
        skipped = max(0, -pad)
        for at in range(skipped, min(in_w, patch_w - pad), lanes):
            store(target + 4 * (pad + at), load_first(row + 4 * at, min(lanes, in_w - at), lanes))

    @register_jitable
    def fill(words, x, d, h):
        """The patch of the output rows from (d, h) on."""
        in_d, in_h, in_w, patch_w = words[IN_D], words[IN_H], words[IN_W], words[PATCH_W]
        target = words[SCRATCH]
        for c in range(words[CHANNELS]):
            for i in range(words[K_D]):
                z = d * words[STRIDE_D] - words[PAD_D] + i * words[DILATION_D]
                for j in range(words[PATCH_H]):
                    y = h * words[STRIDE_H] - words[PAD_H] + j
                    if outside(z, in_d) or outside(y, in_h):
                        for at in range(0, patch_w, lanes):
                            store(target + 4 * at, splat(0.0, lanes))
                    else:
                        copy_row(x + 4 * ((c * in_d + z) * in_h + y) * in_w, target, words[PAD_W], in_w, patch_w)
                    target += 4 * patch_w

    @register_jitable
    def tabulate(words, table):
        """The distance of each strip from its pixel; how many there are."""
        k_h, patch_h, patch_w, across = words[K_H], words[PATCH_H], words[PATCH_W], words[K_W] // taps
        strips = 0
        for plane in range(words[CHANNELS] * words[K_D]):
            for j in range(k_h):
                row = plane * patch_h + j * words[DILATION_H]
                for t in range(across):
                    store_i64(table + 8 * strips, 4 * (row * patch_w + t * words[DILATION_W]))
                    strips += 1
        return strips

    def conv_first(args, begin, end):
        words = load_words(args, word_count)
        out_d, out_h, out_w, tiles = words[OUT_D], words[OUT_H], words[OUT_W], words[TILES]
        plane, out_blocks, row_groups = out_d * out_h * out_w * width, words[OUT_BLOCKS], words[ROW_GROUPS]
        x_image = 4 * words[CHANNELS] * words[IN_D] * words[IN_H] * words[IN_W]
        table = words[SCRATCH] + words[TABLE]
        strips = tabulate(words, table)
        line_bytes = 4 * words[STRIDE_H] * words[PATCH_W]
        a, b = word_float(words[A]), word_float(words[B])
        for task in range(begin, end):
            h, q = task % row_groups * words[GROUP_ROWS], task // row_groups
            d, image = q % out_d, q // out_d
            count = min(words[GROUP_ROWS], out_h - h)
            fill(words, words[X] + image * x_image, d, h)
            for tile in range(tiles):
                at = (image * out_blocks + tile * vectors) * plane + (d * out_h + h) * out_w * width
                w, bias = words[W] + tile * strips * taps * columns, words[BIAS] + tile * columns
                for line in range(count):
                    x = words[SCRATCH] + line * line_bytes
                    for p in range(0, out_w, rows):
                        acc = tile_of_row(bias, width, rows, vectors, lanes)
                        acc = tile_fma_strips(acc, x + p * row_step, row_step, 4, table, strips, taps, w, columns)
                        place = at + (line * out_w + p) * width
                        valid = out_blocks - tile * vectors
                        tile_finish(acc, words[Y], words[ADD], place, width, plane, out_w - p, valid, a, b)

    return conv_first


KERNEL = Kernel("conv_first", OPERANDS, DIMS, build)
