"""Convolution of bytes with few input channels, read as they come: from plain NCHW to NCHWc.

Four neighbouring taps of a kernel row are one group of products: their bytes lie next to each other in x. A task is
some output rows of an image, for all output channels. It copies the input rows that they need to scratch memory, the
zero point around them, and lists where each group begins; a register tile is ``rows`` pixels of a row times ``vectors``
blocks of output channels. The sums, the weights' zero points and the results are those of conv_integer.

Layouts: x is [N, C, D*H*W] bytes, y [N, OC/c, OD*OH*OW, c]; weights are bytes [tiles, C*KD*KH*ceil(KW/4), vectors +
sums, c, 4], taps that are not there being zero. Scratch: the patch [C, KD, height, pitch], then the list (int64).
"""

import math

import numpy as np

from cnncc.runtime.cpu.conv_shape import ConvShape
from cnncc.runtime.cpu.elements import SIZES
from cnncc.runtime.cpu.kernel import Kernel, Launch, ceil_div, float_word, make_params

OPERANDS = ("x", "zero", "w", "bias", "weight_sums", "zeros", "scale", "shift", "factor", "y", "scratch")
DIMS = (
    "in_d", "in_h", "in_w", "out_d", "out_h", "out_w", "k_d", "k_h", "k_w", "stride_d", "stride_h", "stride_w",
    "dilation_d", "dilation_h", "pad_d", "pad_h", "pad_w", "channels", "out_blocks", "tiles", "terms", "row_groups",
    "group_rows", "height", "pitch", "table", "a", "b", "y_zero", "flip",
)  # fmt: skip
TASK_MACS, PATCH_BYTES = 1e6, 128 << 10
FLIP = 0x80808080


def _terms(shape: ConvShape) -> int:
    """Groups of products of a sum."""
    return shape.channels * shape.kernel[0] * shape.kernel[1] * ceil_div(shape.kernel[2], 4)


def supports(shape: ConvShape) -> bool:
    """Where channels are too few to be taken four at a time, and taps along the row are neighbours."""
    apart = shape.taps * ceil_div(shape.channels, 4)
    return shape.groups == 1 and shape.dilation[2] == 1 and shape.taps > 1 and _terms(shape) <= apart


def launch(
    shape: ConvShape, lanes: int, tile: tuple[int, int], source: str, result: str, sums: bool = False,
    activation: str = "clip", a: float = -math.inf, b: float = math.inf, y_zero: int = 0, vnni: bool = True,
) -> Launch:  # fmt: skip
    """The step of a convolution; parameters are those of conv_integer.launch."""
    if not supports(shape):
        raise ValueError(f"{shape} has too many channels, or dilation")
    rows, vectors = tile
    out_blocks = ceil_div(shape.out_channels, lanes)
    tiles, columns, terms = ceil_div(out_blocks, vectors), vectors * lanes, _terms(shape)
    pitch = ceil_div((shape.out_size[2] - 1) * shape.stride[2] + ceil_div(shape.kernel[2], 4) * 4, 8) * 8
    planes = shape.channels * shape.kernel[0]

    def height(count: int) -> int:
        return (count - 1) * shape.stride[1] + (shape.kernel[1] - 1) * shape.dilation[1] + 1

    macs = 4 * terms * out_blocks * lanes * shape.out_size[2]
    group_rows = max(1, min(shape.out_size[1], round(TASK_MACS / macs)))
    while group_rows > 1 and planes * height(group_rows) * pitch > PATCH_BYTES:
        group_rows = ceil_div(group_rows, 2)
    row_groups = ceil_div(shape.out_size[1], group_rows)
    table = planes * height(group_rows) * pitch
    dims = (
        *shape.size, *shape.out_size, *shape.kernel, *shape.stride, *shape.dilation[:2], *shape.pad, shape.channels,
        out_blocks, tiles, terms, row_groups, group_rows, height(group_rows), pitch, table, float_word(a),
        float_word(b), y_zero, FLIP,
    )  # fmt: skip
    per_channel = (0, 4 * tiles * columns)
    reads = {
        "x": (0, shape.images * shape.channels * math.prod(shape.size)), "zero": (0, 1),
        "w": (0, tiles * terms * (vectors + sums) * lanes * 4), "bias": per_channel, "weight_sums": per_channel,
    }  # fmt: skip
    reads |= {"zeros": per_channel} if sums else {}
    reads |= {"scale": per_channel, "factor": (0, 4)} if result != "i32" else {}
    reads |= {"shift": per_channel} if result == "f32" else {}
    params = make_params(
        lanes=lanes, rows=rows, vectors=vectors, sums=int(sums), signed=int(source == "i8"), result=result,
        activation=activation if result == "f32" else "clip", vnni=int(vnni),
    )  # fmt: skip
    tasks = shape.images * shape.out_size[0] * row_groups
    y_bytes = shape.images * out_blocks * shape.pixels * lanes * SIZES[result]
    return Launch(
        KERNEL, params, dims, tasks if shape.pixels else 0, scratch=ceil_div(table + 8 * terms, 64) * 64, reads=reads,
        writes={"y": (0, y_bytes)},
    )  # fmt: skip


def pack_weights(w: np.ndarray, lanes: int, vectors: int, sums: bool) -> np.ndarray:
    """[OC, C, *kernel] i8, packed; surplus output channels and taps are zero."""
    out_channels, channels, *kernel = w.shape
    fours, columns = ceil_div(kernel[-1], 4), vectors * lanes
    tiles = ceil_div(ceil_div(out_channels, lanes), vectors)
    rows = channels * math.prod(kernel[:-1])
    padded = np.zeros((tiles * columns, rows, 4 * fours), np.int8)
    padded[:out_channels, :, : kernel[-1]] = w.reshape(out_channels, rows, kernel[-1])
    packed = padded.reshape(tiles, vectors, lanes, rows * fours, 4).transpose(0, 3, 1, 2, 4)
    if sums:
        ones = np.zeros(4 * fours, np.int8)
        ones[: kernel[-1]] = 1
        column = np.tile(ones.reshape(fours, 4), (rows, 1)).reshape(1, rows * fours, 1, 1, 4)
        packed = np.concatenate([packed, np.broadcast_to(column, (tiles, rows * fours, 1, lanes, 4))], 2)
    return np.ascontiguousarray(packed).reshape(-1)


def build(lanes: int, rows: int, vectors: int, sums: int, signed: int, result: str, activation: str, vnni: int):
    """Compile-time constants are the tile and the types."""
    from numba.extending import register_jitable

    from cnncc.runtime.cpu.emit import copy_bytes, emitted
    from cnncc.runtime.cpu.epilogue import build_activation
    from cnncc.runtime.cpu.integer_results import blocked_store
    from cnncc.runtime.cpu.memory_access import load_f32, load_u8, load_words, outside, stack, store_i64, word_float
    from cnncc.runtime.cpu.tile_integer import dot_list, dot_start

    finish = blocked_store(result, build_activation(activation), sums)
    move = emitted("move", 3, lambda context, b, target, source, count: copy_bytes(b, target, source, count, lanes))
    real, y_width, columns, row_bytes = int(result != "i32"), SIZES[result] * lanes, 4 * lanes * vectors, 8 * rows
    panel_step = 4 * lanes * (vectors + sums)
    word = {name: i for i, name in enumerate(OPERANDS + DIMS)}
    IN_D, IN_H, IN_W, OUT_D, OUT_H, OUT_W = (word[f"{n}_{axis}"] for n in ("in", "out") for axis in "dhw")
    K_D, K_H, K_W, STRIDE_D, STRIDE_H, STRIDE_W = (word[f"{n}_{axis}"] for n in ("k", "stride") for axis in "dhw")
    DILATION_D, DILATION_H, PAD_D, PAD_H, PAD_W = (
        word[n] for n in ("dilation_d", "dilation_h", "pad_d", "pad_h", "pad_w")
    )
    CHANNELS, OUT_BLOCKS, TILES, TERMS = (word[n] for n in ("channels", "out_blocks", "tiles", "terms"))
    ROW_GROUPS, GROUP_ROWS, HEIGHT, PITCH, TABLE = (
        word[n] for n in ("row_groups", "group_rows", "height", "pitch", "table")
    )
    A, B, Y_ZERO, FLIPS = word["a"], word["b"], word["y_zero"], word["flip"]
    word_count, (X, ZERO, W, BIAS, SUMS, ZEROS, SCALE, SHIFT, FACTOR, Y, SCRATCH) = len(word), range(11)
    flip = 128 if signed else 0

    @register_jitable
    def fill(words, x, d, h, zeros):
        """The patch of the output rows from (d, h) on: input rows with eight zero points in each word of ``zeros``."""
        in_d, in_h, in_w, pitch, pad = words[IN_D], words[IN_H], words[IN_W], words[PITCH], words[PAD_W]
        target = words[SCRATCH]
        first, last = max(0, -pad), min(in_w, pitch - pad)
        for c in range(words[CHANNELS]):
            for i in range(words[K_D]):
                z = d * words[STRIDE_D] - words[PAD_D] + i * words[DILATION_D]
                for j in range(words[HEIGHT]):
                    y = h * words[STRIDE_H] - words[PAD_H] + j
                    for at in range(0, pitch, 8):
                        store_i64(target + at, zeros)
                    if not (outside(z, in_d) | outside(y, in_h)) and last > first:
                        move(target + pad + first, x + ((c * in_d + z) * in_h + y) * in_w + first, last - first)
                    target += pitch

    @register_jitable
    def tabulate(words, table):
        """Where in the patch each group of taps begins."""
        pitch, height, n = words[PITCH], words[HEIGHT], 0
        for plane in range(words[CHANNELS] * words[K_D]):
            for j in range(words[K_H]):
                for t in range(0, words[K_W], 4):
                    store_i64(table + 8 * n, (plane * height + j * words[DILATION_H]) * pitch + t)
                    n += 1

    def conv_integer_first(args, begin, end):
        words = load_words(args, word_count)
        rows_at = stack(row_bytes)
        zero = load_u8(words[ZERO])
        zeros = zero * 0x0101010101010101
        zero = zero ^ flip
        out_d, out_h, out_w, tiles, terms = words[OUT_D], words[OUT_H], words[OUT_W], words[TILES], words[TERMS]
        out_blocks, stride = words[OUT_BLOCKS], words[STRIDE_W]
        image_bytes = words[CHANNELS] * words[IN_D] * words[IN_H] * words[IN_W]
        a, b, y_zero = word_float(words[A]), word_float(words[B]), words[Y_ZERO]
        factor = load_f32(words[FACTOR]) if real else a
        table, plane = words[SCRATCH] + words[TABLE], out_d * out_h * out_w * y_width
        tabulate(words, table)
        for task in range(begin, end):
            top, q = task % words[ROW_GROUPS] * words[GROUP_ROWS], task // words[ROW_GROUPS]
            d, image = q % out_d, q // out_d
            fill(words, words[X] + image * image_bytes, d, top, zeros)
            for tile in range(tiles):
                at, w = tile * columns, words[W] + tile * terms * panel_step
                start = dot_start(words[BIAS] + at, words[SUMS] + at, zero, rows, vectors, lanes, sums)
                y = words[Y] + (image * out_blocks + tile * vectors) * plane
                for h in range(top, min(top + words[GROUP_ROWS], out_h)):
                    line = words[SCRATCH] + (h - top) * words[STRIDE_H] * words[PITCH]
                    for p in range(0, out_w, rows):
                        for r in range(rows):
                            store_i64(rows_at + 8 * r, line + min(p + r, out_w - 1) * stride)
                        acc = dot_list(start, rows_at, table, w, terms, words[FLIPS], signed, vnni)
                        place = y + ((d * out_h + h) * out_w + p) * y_width
                        finish(acc, place, y_width, plane, out_w - p, out_blocks - tile * vectors, words[SCALE] + at,
                               words[SHIFT] + at, words[ZEROS] + at, factor, a, b, y_zero)  # fmt: skip

    return conv_integer_first


KERNEL = Kernel("conv_integer_first", OPERANDS, DIMS, build)
