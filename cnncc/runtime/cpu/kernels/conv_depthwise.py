"""Depthwise convolution, in NCHWc.

    y[p, l] = act(bias[l] + add[p, l] + sum over taps of x[pixel(p, tap), l] * w[l, tap])

with as many output as input channels. A tile is ``rows`` output pixels of one row; each lane is one channel.
Rows without dilation slide: each input vector is read once and used by all the taps that need it.

Layouts (float32): x is [N, C/c, D*H*W, c]; y and add [N, C/c, OD*OH*OW, c]; bias [C/c * c]; weights
[C/c, KD, KH, KW, c].
"""

import math

import numpy as np

from cnncc.runtime.cpu.conv_shape import ConvShape
from cnncc.runtime.cpu.kernel import Kernel, Launch, ceil_div, float_word, make_params

OPERANDS = ("x", "w", "bias", "add", "y")
DIMS = (
    "in_d", "in_h", "in_w", "out_d", "out_h", "out_w", "k_d", "k_h", "k_w", "stride_d", "stride_h", "stride_w",
    "dilation_d", "dilation_h", "dilation_w", "pad_d", "pad_h", "pad_w", "blocks", "row_groups", "group_rows",
    "a", "b",
)  # fmt: skip
TASK_VECTORS = 4096  # vector FMAs of a task, at least
SLIDING_TAPS, SLIDING_STRIDES = (2, 3, 4, 5, 7), (1, 2)


def supports(shape: ConvShape) -> bool:
    """As many outputs as inputs, each in a group of its own."""
    return shape.channels == shape.out_channels == shape.groups


def choose_rows(shape: ConvShape) -> int:
    """Pixels of a tile: the choice with the fewest beyond the end of a row."""
    return min((8, 7), key=lambda rows: ceil_div(shape.out_size[2], rows) * rows)


def launch(
    shape: ConvShape, lanes: int, rows: int | None = None, residual: bool = False, activation: str = "clip",
    a: float = -math.inf, b: float = math.inf,
) -> Launch:  # fmt: skip
    """The step of a depthwise convolution; ``a`` and ``b`` belong to the activation."""
    if not supports(shape):
        raise ValueError(f"{shape} is not depthwise")
    rows = rows or choose_rows(shape)
    blocks, width = ceil_div(shape.channels, lanes), lanes * 4
    out_rows = shape.out_size[0] * shape.out_size[1]
    row_work = max(1, shape.out_size[2] * shape.taps)
    group_rows = min(out_rows, max(1, TASK_VECTORS // row_work))
    row_groups = ceil_div(out_rows, group_rows)
    slides = shape.dilation[2] == 1 and shape.kernel[2] in SLIDING_TAPS
    slides = slides and shape.stride[2] in SLIDING_STRIDES
    params = make_params(
        lanes=lanes, rows=rows, activation=activation,
        taps=shape.kernel[2] if slides else 0, stride=shape.stride[2] if slides else 0,
    )  # fmt: skip
    dims = (
        *shape.size, *shape.out_size, *shape.kernel, *shape.stride, *shape.dilation, *shape.pad,
        blocks, row_groups, group_rows, float_word(a), float_word(b),
    )  # fmt: skip
    y_bytes = shape.images * blocks * shape.pixels * width
    reads = {
        "x": (0, shape.images * blocks * math.prod(shape.size) * width),
        "w": (0, blocks * shape.taps * width),
        "bias": (0, blocks * width),
    }
    if residual:
        reads["add"] = (0, y_bytes)
    tasks = shape.images * blocks * row_groups
    return Launch(KERNEL, params, dims, tasks, reads=reads, writes={"y": (0, y_bytes)})


def pack_weights(w: np.ndarray, lanes: int) -> np.ndarray:
    """[C, 1, *kernel] as [C/c, taps, c] float32, flattened; surplus channels zero."""
    blocks = ceil_div(w.shape[0], lanes)
    padded = np.zeros((blocks * lanes, math.prod(w.shape[1:])), np.float32)
    padded[: w.shape[0]] = w.reshape(w.shape[0], -1)
    return np.ascontiguousarray(padded.reshape(blocks, lanes, -1).transpose(0, 2, 1)).reshape(-1)


def pack_bias(bias: np.ndarray | None, channels: int, lanes: int) -> np.ndarray:
    """[C] with zeros up to a whole number of blocks."""
    out = np.zeros(ceil_div(channels, lanes) * lanes, np.float32)
    if bias is not None:
        out[:channels] = bias
    return out


def build(lanes: int, rows: int, activation: str, taps: int, stride: int):
    """``taps`` and ``stride`` along the row are constants where rows slide, 0 otherwise."""
    from numba.extending import register_jitable

    from cnncc.runtime.cpu.epilogue import build_activation
    from cnncc.runtime.cpu.memory_access import load_words, outside, select, stack, store_i64, word_float
    from cnncc.runtime.cpu.simd import splat, store
    from cnncc.runtime.cpu.tile import tile_of_row
    from cnncc.runtime.cpu.tile_lanewise import tile_lanewise, tile_slide_within
    from cnncc.runtime.cpu.tile_memory import store_through

    tile_finish = store_through(build_activation(activation))
    width, row_bytes, sliding = 4 * lanes, 8 * rows, taps > 0
    word = {name: i for i, name in enumerate(OPERANDS + DIMS)}
    word_count, (X, W, BIAS, ADD, Y) = len(word), range(5)
    IN_D, IN_H, IN_W, OUT_D, OUT_H, OUT_W = (word[f"{n}_{axis}"] for n in ("in", "out") for axis in "dhw")
    K_D, K_H, K_W, STRIDE_D, STRIDE_H, STRIDE_W = (word[f"{n}_{axis}"] for n in ("k", "stride") for axis in "dhw")
    DILATION_D, DILATION_H, DILATION_W, PAD_D, PAD_H, PAD_W = (
        word[f"{n}_{axis}"] for n in ("dilation", "pad") for axis in "dhw"
    )
    BLOCKS, ROW_GROUPS, GROUP_ROWS = word["blocks"], word["row_groups"], word["group_rows"]
    A, B = word["a"], word["b"]

    @register_jitable
    def tap_row(acc, words, rows_at, x, first, zeros, w):
        """All taps along one kernel row; ``first`` is the input column of pixel 0, tap 0."""
        in_w = words[IN_W]
        if sliding:
            return tile_slide_within(acc, x, first, in_w, zeros, w, taps, stride)
        step, dilation = words[STRIDE_W], words[DILATION_W]
        for t in range(words[K_W]):
            for r in range(rows):
                column = first + r * step + t * dilation
                store_i64(rows_at + 8 * r, select(outside(column, in_w), zeros, x + column * width))
            acc = tile_lanewise(acc, rows_at, w + t * width)
        return acc

    @register_jitable
    def reduce(acc, words, rows_at, x, d, h, first, zeros, w):
        """All kernel rows; ``d, h`` are the input coordinates of tap (0, 0)."""
        in_d, in_h, in_w = words[IN_D], words[IN_H], words[IN_W]
        k_h, k_w = words[K_H], words[K_W]
        for i in range(words[K_D]):
            z = d + i * words[DILATION_D]
            if not outside(z, in_d):
                for j in range(k_h):
                    y = h + j * words[DILATION_H]
                    if not outside(y, in_h):
                        row = x + (z * in_h + y) * in_w * width
                        acc = tap_row(acc, words, rows_at, row, first, zeros, w + (i * k_h + j) * k_w * width)
        return acc

    def conv_depthwise(args, begin, end):
        words = load_words(args, word_count)
        zeros, rows_at = stack(64), stack(row_bytes)
        store(zeros, splat(0.0, lanes))
        out_d, out_h, out_w = words[OUT_D], words[OUT_H], words[OUT_W]
        in_plane = words[IN_D] * words[IN_H] * words[IN_W] * width
        taps_bytes = words[K_D] * words[K_H] * words[K_W] * width
        row_groups, group_rows = words[ROW_GROUPS], words[GROUP_ROWS]
        a, b = word_float(words[A]), word_float(words[B])
        for task in range(begin, end):
            plane = task // row_groups
            block = plane % words[BLOCKS]
            x, w = words[X] + plane * in_plane, words[W] + block * taps_bytes
            bias = words[BIAS] + block * width
            start = task % row_groups * group_rows
            for row in range(start, min(start + group_rows, out_d * out_h)):
                d = row // out_h * words[STRIDE_D] - words[PAD_D]
                h = row % out_h * words[STRIDE_H] - words[PAD_H]
                for p in range(0, out_w, rows):
                    at = ((plane * out_d * out_h + row) * out_w + p) * width
                    first = p * words[STRIDE_W] - words[PAD_W]
                    acc = tile_of_row(bias, width, rows, 1, lanes)
                    acc = reduce(acc, words, rows_at, x, d, h, first, zeros, w)
                    tile_finish(acc, words[Y], words[ADD], at, width, 0, out_w - p, 1, a, b)

    return conv_depthwise


KERNEL = Kernel("conv_depthwise", OPERANDS, DIMS, build)
