"""Grouped convolution on plain NCHW for any groups: depth multipliers and groups that fit no vector.

    y[o, p] = act(bias[o] + add[o, p] + sum over ic of o's group, taps of x[ic, pixel(p, tap)] * w[o, ic, tap])

A vector holds ``lanes`` consecutive pixels of an output row. Where stride is 1 and no pixel is in the padding the
input vector is one load, elsewhere it is collected pixel by pixel.

Layouts (float32, contiguous): x [N, IC, D*H*W], w [OC, IC/G, KD*KH*KW] as in ONNX, bias [OC], y and add
[N, OC, OD*OH*OW].
"""

import math

from cnncc.runtime.cpu.kernel import Kernel, Launch, ceil_div, float_word, make_params
from cnncc.runtime.cpu.kernels.conv_direct import ConvShape

OPERANDS = ("x", "w", "bias", "add", "y")
DIMS = (
    "in_d", "in_h", "in_w", "out_d", "out_h", "out_w", "k_d", "k_h", "k_w", "stride_d", "stride_h", "stride_w",
    "dilation_d", "dilation_h", "dilation_w", "pad_d", "pad_h", "pad_w", "channels", "out_channels", "groups",
    "row_groups", "group_rows", "a", "b",
)  # fmt: skip
TASK_FMAS = 1 << 16


def launch(
    shape: ConvShape, lanes: int, residual: bool = False, activation: str = "clip",
    a: float = -math.inf, b: float = math.inf,
) -> Launch:  # fmt: skip
    """The step of a grouped convolution; ``a`` and ``b`` belong to the activation (see epilogue.py)."""
    channels = shape.channels // shape.groups
    out_rows = shape.out_size[0] * shape.out_size[1]
    group_rows = min(out_rows, max(1, TASK_FMAS // max(1, shape.out_size[2] * shape.taps * channels)))
    row_groups = ceil_div(out_rows, group_rows)
    dims = (
        *shape.size, *shape.out_size, *shape.kernel, *shape.stride, *shape.dilation, *shape.pad,
        channels, shape.out_channels, shape.groups, row_groups, group_rows, float_word(a), float_word(b),
    )  # fmt: skip
    y_bytes = 4 * shape.images * shape.out_channels * shape.pixels
    reads = {
        "x": (0, 4 * shape.images * shape.channels * math.prod(shape.size)),
        "w": (0, 4 * shape.out_channels * channels * shape.taps),
        "bias": (0, 4 * shape.out_channels),
    }
    if residual:
        reads["add"] = (0, y_bytes)
    params = make_params(lanes=lanes, activation=activation, residual=int(residual))
    tasks = shape.images * shape.out_channels * row_groups
    return Launch(KERNEL, params, dims, tasks, reads=reads, writes={"y": (0, y_bytes)})


def build(lanes: int, activation: str, residual: int):
    """Everything but the epilogue is an integer at run time."""
    from numba.extending import register_jitable

    from cnncc.runtime.cpu.epilogue import build_activation
    from cnncc.runtime.cpu.memory_access import load_f32, load_words, outside, select, stack, store_f32, word_float
    from cnncc.runtime.cpu.simd import fma, load, load_first, splat, store_first

    activate = build_activation(activation)
    buffer_bytes = 4 * lanes
    word = {name: i for i, name in enumerate(OPERANDS + DIMS)}
    word_count, (X, W, BIAS, ADD, Y) = len(word), range(5)
    IN_D, IN_H, IN_W, OUT_D, OUT_H, OUT_W = (word[f"{n}_{axis}"] for n in ("in", "out") for axis in "dhw")
    K_D, K_H, K_W, STRIDE_D, STRIDE_H, STRIDE_W = (word[f"{n}_{axis}"] for n in ("k", "stride") for axis in "dhw")
    DILATION_D, DILATION_H, DILATION_W, PAD_D, PAD_H, PAD_W = (
        word[f"{n}_{axis}"] for n in ("dilation", "pad") for axis in "dhw"
    )
    CHANNELS, OUT_CHANNELS, GROUPS = word["channels"], word["out_channels"], word["groups"]
    ROW_GROUPS, GROUP_ROWS, A, B = word["row_groups"], word["group_rows"], word["a"], word["b"]

    @register_jitable
    def pixels(row, column, step, in_w, zero, buffer):
        """x at columns column, column + step, ... of a row; zeros outside."""
        if step == 1 and column >= 0 and column + lanes <= in_w:
            return load(row + 4 * column, lanes)
        for lane in range(lanes):
            at = column + lane * step
            store_f32(buffer + 4 * lane, load_f32(select(outside(at, in_w), zero, row + 4 * at)))
        return load(buffer, lanes)

    @register_jitable
    def reduce(acc, words, x, w, d, h, column, zero, buffer):
        """All channels and taps; ``d, h, column`` are the input coordinates of lane 0 at tap (0, 0, 0)."""
        in_d, in_h, in_w = words[IN_D], words[IN_H], words[IN_W]
        k_d, k_h, k_w = words[K_D], words[K_H], words[K_W]
        for c in range(words[CHANNELS]):
            for i in range(k_d):
                z = d + i * words[DILATION_D]
                for j in range(k_h):
                    y = h + j * words[DILATION_H]
                    if not (outside(z, in_d) or outside(y, in_h)):
                        row = x + 4 * ((c * in_d + z) * in_h + y) * in_w
                        for t in range(k_w):
                            at = column + t * words[DILATION_W]
                            value = pixels(row, at, words[STRIDE_W], in_w, zero, buffer)
                            acc = fma(value, load_f32(w + 4 * (((c * k_d + i) * k_h + j) * k_w + t)), acc)
        return acc

    def conv_grouped(args, begin, end):
        words = load_words(args, word_count)
        zero, buffer = stack(8), stack(buffer_bytes)
        store_f32(zero, 0.0)
        out_d, out_h, out_w = words[OUT_D], words[OUT_H], words[OUT_W]
        in_plane = words[IN_D] * words[IN_H] * words[IN_W]
        taps = words[K_D] * words[K_H] * words[K_W]
        channels, out_channels, groups = words[CHANNELS], words[OUT_CHANNELS], words[GROUPS]
        row_groups, group_rows = words[ROW_GROUPS], words[GROUP_ROWS]
        a, b = word_float(words[A]), word_float(words[B])
        for task in range(begin, end):
            plane = task // row_groups
            image, channel = plane // out_channels, plane % out_channels
            group = channel // (out_channels // groups)
            x = words[X] + 4 * (image * groups + group) * channels * in_plane
            w = words[W] + 4 * channel * channels * taps
            start = task % row_groups * group_rows
            for row in range(start, min(start + group_rows, out_d * out_h)):
                d = row // out_h * words[STRIDE_D] - words[PAD_D]
                h = row % out_h * words[STRIDE_H] - words[PAD_H]
                for p in range(0, out_w, lanes):
                    column = p * words[STRIDE_W] - words[PAD_W]
                    acc = splat(load_f32(words[BIAS] + 4 * channel), lanes)
                    acc = reduce(acc, words, x, w, d, h, column, zero, buffer)
                    at = 4 * ((plane * out_d * out_h + row) * out_w + p)
                    if residual:
                        acc = acc + load_first(words[ADD] + at, out_w - p, lanes)
                    store_first(words[Y] + at, activate(acc, a, b), out_w - p)

    return conv_grouped


KERNEL = Kernel("conv_grouped", OPERANDS, DIMS, build)
