"""Depthwise convolution of bytes in NCHWc: up to four taps of a column of the kernel are one group of products.

The bytes of four input rows (those of four taps above each other) at one column are interleaved channel by channel, so
that one group of four products a lane does four taps of every channel of a block. A tap that is not there reads the
zero point, so weight_sums count it too. A tile is ``rows`` output pixels of a
row; the sums, the weights' zero points and the results are those of conv_integer.

Layouts: x is [N, C/c, D*H*W, c] bytes, y [N, C/c, OD*OH*OW, c]; weights are bytes [C/c, KD, ceil(KH/4), KW, c, 4], taps
that are not there being zero; bias, weight_sums, zeros, scale, shift are [C/c * c].
"""

import math

import numpy as np

from cnncc.runtime.cpu.conv_shape import ConvShape
from cnncc.runtime.cpu.elements import SIZES
from cnncc.runtime.cpu.kernel import Kernel, Launch, ceil_div, float_word, make_params

OPERANDS = ("x", "zero", "w", "bias", "weight_sums", "zeros", "scale", "shift", "factor", "y")
DIMS = (
    "in_d", "in_h", "in_w", "out_d", "out_h", "out_w", "k_d", "k_h", "k_w", "stride_d", "stride_h", "stride_w",
    "dilation_d", "dilation_h", "dilation_w", "pad_d", "pad_h", "pad_w", "blocks", "row_groups", "group_rows",
    "a", "b", "y_zero", "flip",
)  # fmt: skip
TASK_GROUPS = 4096  # groups of products of a task, at least
ROWS = 8
FLIP = 0x80808080
SLIDING_TAPS, SLIDING_STRIDES = (2, 3, 5, 7), (1, 2)


def supports(shape: ConvShape) -> bool:
    """As many outputs as inputs, each of its own input."""
    return shape.groups > 1 and shape.channels == shape.out_channels == shape.groups


def launch(
    shape: ConvShape, lanes: int, source: str, result: str, sums: bool = False, activation: str = "clip",
    a: float = -math.inf, b: float = math.inf, y_zero: int = 0, vnni: bool = True,
) -> Launch:  # fmt: skip
    """The step of a depthwise convolution; parameters are those of conv_integer.launch."""
    if not supports(shape):
        raise ValueError(f"{shape} is not depthwise")
    blocks = ceil_div(shape.channels, lanes)
    out_rows = shape.out_size[0] * shape.out_size[1]
    k_d, k_h, k_w = shape.kernel
    row_work = max(1, shape.out_size[2] * k_d * ceil_div(k_h, 4) * k_w)
    group_rows = min(out_rows, max(1, TASK_GROUPS // row_work))
    row_groups = ceil_div(out_rows, group_rows)
    slides = shape.dilation[2] == 1 and k_w in SLIDING_TAPS and shape.stride[2] in SLIDING_STRIDES
    dims = (
        *shape.size, *shape.out_size, *shape.kernel, *shape.stride, *shape.dilation, *shape.pad, blocks, row_groups,
        group_rows, float_word(a), float_word(b), y_zero, FLIP,
    )  # fmt: skip
    per_channel = (0, 4 * blocks * lanes)
    reads = {
        "x": (0, shape.images * blocks * math.prod(shape.size) * lanes), "zero": (0, 1),
        "w": (0, blocks * k_d * ceil_div(k_h, 4) * k_w * lanes * 4), "bias": per_channel, "weight_sums": per_channel,
    }  # fmt: skip
    reads |= {"zeros": per_channel} if sums else {}
    reads |= {"scale": per_channel, "factor": (0, 4)} if result != "i32" else {}
    reads |= {"shift": per_channel} if result == "f32" else {}
    params = make_params(
        lanes=lanes, sums=int(sums), signed=int(source == "i8"), result=result, vnni=int(vnni),
        activation=activation if result == "f32" else "clip", taps=k_w if slides else 0,
        stride=shape.stride[2] if slides else 0,
    )  # fmt: skip
    y_bytes = shape.images * blocks * shape.pixels * lanes * SIZES[result]
    return Launch(KERNEL, params, dims, shape.images * blocks * row_groups, reads=reads, writes={"y": (0, y_bytes)})


def pack_weights(w: np.ndarray, lanes: int) -> np.ndarray:
    """[C, 1, *kernel] i8 as [C/c, KD, ceil(KH/4), KW, c, 4], flattened; surplus channels and taps are zero."""
    channels, kernel = w.shape[0], (1,) * (5 - w.ndim) + w.shape[2:]
    blocks, fours = ceil_div(channels, lanes), ceil_div(kernel[1], 4)
    padded = np.zeros((blocks * lanes, kernel[0], 4 * fours, kernel[2]), np.int8)
    padded[:channels, :, : kernel[1]] = w.reshape(channels, *kernel)
    split = padded.reshape(blocks, lanes, kernel[0], fours, 4, kernel[2])
    return np.ascontiguousarray(split.transpose(0, 2, 3, 5, 1, 4)).reshape(-1)


def build(lanes: int, sums: int, signed: int, result: str, vnni: int, activation: str, taps: int, stride: int):
    """``taps`` and ``stride`` along the row are constants where columns are read once for all taps, 0 otherwise."""
    from numba.extending import register_jitable

    from cnncc.runtime.cpu.epilogue import build_activation
    from cnncc.runtime.cpu.integer_results import blocked_store
    from cnncc.runtime.cpu.memory_access import (
        load_f32,
        load_u8,
        load_words,
        outside,
        select,
        stack,
        store_i64,
        word_float,
    )
    from cnncc.runtime.cpu.tile_columns import column_dots, sliding_dots
    from cnncc.runtime.cpu.tile_integer import dot_start

    finish = blocked_store(result, build_activation(activation), sums)
    real, y_width, group_bytes, rows = int(result != "i32"), SIZES[result] * lanes, 4 * lanes, ROWS
    word = {name: i for i, name in enumerate(OPERANDS + DIMS)}
    IN_D, IN_H, IN_W, OUT_D, OUT_H, OUT_W = (word[f"{n}_{axis}"] for n in ("in", "out") for axis in "dhw")
    K_D, K_H, K_W, STRIDE_D, STRIDE_H, STRIDE_W = (word[f"{n}_{axis}"] for n in ("k", "stride") for axis in "dhw")
    DILATION_D, DILATION_H, DILATION_W, PAD_D, PAD_H, PAD_W = (
        word[f"{n}_{axis}"] for n in ("dilation", "pad") for axis in "dhw"
    )
    BLOCKS, ROW_GROUPS, GROUP_ROWS = word["blocks"], word["row_groups"], word["group_rows"]
    A, B, Y_ZERO, FLIPS = word["a"], word["b"], word["y_zero"], word["flip"]
    word_count, (X, ZERO, W, BIAS, SUMS, ZEROS, SCALE, SHIFT, FACTOR, Y) = len(word), range(10)
    sliding, flip = taps > 0, 128 if signed else 0

    @register_jitable
    def multiply(acc, words, lines, first, padding, w):
        """One group of up to four taps above each other, for all taps along the row."""
        in_w, flips = words[IN_W], words[FLIPS]
        if sliding:
            return sliding_dots(acc, lines, first, in_w, padding, w, flips, taps, stride, signed, vnni, sums)
        step, dilation = words[STRIDE_W], words[DILATION_W]
        for t in range(words[K_W]):
            at = w + t * group_bytes
            acc = column_dots(acc, lines, first + t * dilation, step, in_w, padding, at, flips, signed, vnni, sums)
        return acc

    @register_jitable
    def reduce(acc, words, lines, x, d, h, first, padding, w):
        """All kernel rows; ``d, h`` are the input coordinates of tap (0, 0)."""
        in_d, in_h, in_w, k_h = words[IN_D], words[IN_H], words[IN_W], words[K_H]
        group = words[K_W] * group_bytes
        for i in range(words[K_D]):
            z = d + i * words[DILATION_D]
            for j in range(0, k_h, 4):
                for q in range(4):
                    y = h + (j + q) * words[DILATION_H]
                    missing = outside(z, in_d) | outside(y, in_h) | (j + q >= k_h)
                    store_i64(lines + 8 * q, select(missing, 0, x + (z * in_h + y) * in_w * lanes))
                acc = multiply(acc, words, lines, first, padding, w)
                w += group
        return acc

    def conv_integer_depthwise(args, begin, end):
        words = load_words(args, word_count)
        padding, lines = stack(64), stack(32)
        zero = load_u8(words[ZERO])
        for i in range(8):
            store_i64(padding + 8 * i, zero * 0x0101010101010101)
        zero = zero ^ flip
        out_d, out_h, out_w = words[OUT_D], words[OUT_H], words[OUT_W]
        in_plane = words[IN_D] * words[IN_H] * words[IN_W] * lanes
        weights = words[K_D] * ((words[K_H] + 3) // 4) * words[K_W] * group_bytes
        row_groups, group_rows = words[ROW_GROUPS], words[GROUP_ROWS]
        a, b, y_zero = word_float(words[A]), word_float(words[B]), words[Y_ZERO]
        factor = load_f32(words[FACTOR]) if real else a
        for task in range(begin, end):
            plane = task // row_groups
            block = plane % words[BLOCKS]
            x, w, at = words[X] + plane * in_plane, words[W] + block * weights, block * group_bytes
            start = dot_start(words[BIAS] + at, words[SUMS] + at, zero, rows, 1, lanes, sums)
            row = task % row_groups * group_rows
            for line in range(row, min(row + group_rows, out_d * out_h)):
                d = line // out_h * words[STRIDE_D] - words[PAD_D]
                h = line % out_h * words[STRIDE_H] - words[PAD_H]
                for p in range(0, out_w, rows):
                    first = p * words[STRIDE_W] - words[PAD_W]
                    acc = reduce(start, words, lines, x, d, h, first, padding, w)
                    place = words[Y] + ((plane * out_d * out_h + line) * out_w + p) * y_width
                    finish(acc, place, y_width, 0, out_w - p, 1, words[SCALE] + at, words[SHIFT] + at,
                           words[ZEROS] + at, factor, a, b, y_zero)  # fmt: skip

    return conv_integer_depthwise


KERNEL = Kernel("conv_integer_depthwise", OPERANDS, DIMS, build)
