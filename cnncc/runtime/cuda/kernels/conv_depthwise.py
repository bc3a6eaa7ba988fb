"""Convolution of narrow groups, depthwise ones above all, along 1 or 2 axes: each output is the sum of few products.

A thread computes ``STRIP`` outputs of one channel, one below the other; threads of a warp lie side by side, and so do
their accesses. It goes through the input channels of the group and the columns of the kernel; of each column it reads
the segment that its outputs need, once, into registers. Segments are unrolled for kernels of ``kh`` rows, stride ``sh``
and no dilation along that axis; with kh = 0 rows are taken one after another, whatever the geometry.

Layouts: x [N, C, H, W], w [OC, C/G, KH, KW], bias [OC], y and add [N, OC, OH, OW].
"""

from __future__ import annotations

import math

from cnncc.runtime.cpu.conv_shape import ConvShape
from cnncc.runtime.cuda.kernel import Kernel, Launch, Work, ceil_div, make_params, simple

DIMS = (
    "channels", "per_group", "out_channels", "in_h", "in_w", "out_h", "out_w", "kernel_h", "kernel_w", "stride_h",
    "stride_w", "dilation_h", "dilation_w", "pad_h", "pad_w", "strips", "total",
)  # fmt: skip
STRIP = 4
THREADS = 128
UNROLLED = {1: (1, 2, 3, 4, 5, 6, 7), 2: (1, 2, 3, 4, 5, 6, 7)}  # stride -> kernel rows that have a segment


def supports(shape: ConvShape) -> bool:
    """One image plane, not a volume."""
    return shape.size[0] == shape.out_size[0] == shape.kernel[0] == 1 and shape.pad[0] == 0


def unrolled(shape: ConvShape) -> tuple[int, int]:
    """(kh, sh) of the kernel's parameters."""
    kh, sh = shape.kernel[1], shape.stride[1]
    return (kh, sh) if shape.dilation[1] == 1 and kh in UNROLLED.get(sh, ()) else (0, 1)


def segment(kh: int, sh: int) -> int:
    """Rows of the input that a strip reads."""
    return (STRIP - 1) * sh + kh


def instructions(shape: ConvShape) -> float:
    """Of all threads, about: for a column of the kernel 6 for each row that is read and each weight, and 25 besides."""
    kh, sh = unrolled(shape)
    column = 6 * (segment(kh, sh) + kh) + 25 if kh else (10 * STRIP + 25) * shape.kernel[1]
    strips = shape.images * shape.out_channels * ceil_div(shape.out_size[1], STRIP) * shape.out_size[2]
    return float(strips * column * shape.kernel[2] * (shape.channels // shape.groups))


def launch(shape: ConvShape, residual: bool = False, activation: str = "clip", p: float = -math.inf,
           q: float = math.inf, threads: int = THREADS) -> Launch:
    """The step of a convolution; ``p`` and ``q`` belong to the activation."""
    if not supports(shape):
        raise ValueError(f"{shape}: conv_depthwise takes one or two axes")
    channels, plane = shape.channels // shape.groups, math.prod(shape.size)
    strips = ceil_div(shape.out_size[1], STRIP)
    total = shape.images * shape.out_channels * strips * shape.out_size[2]
    kh, sh = unrolled(shape)
    params = make_params(kh=kh, sh=sh, threads=threads, residual=int(residual), activation=activation)
    dims = (
        channels, shape.out_channels // shape.groups, shape.out_channels, *shape.size[1:], *shape.out_size[1:],
        *shape.kernel[1:], *shape.stride[1:], *shape.dilation[1:], *shape.pad[1:], strips, total,
    )  # fmt: skip
    y_bytes = 4 * shape.images * shape.out_channels * shape.pixels
    reads = {"x": (0, 4 * shape.images * shape.channels * plane), "bias": (0, 4 * shape.out_channels),
             "w": (0, 4 * shape.out_channels * channels * shape.taps)}
    if residual:
        reads["add"] = (0, y_bytes)
    work = Work(2.0 * y_bytes / 4 * channels * shape.taps, sum(high for _, high in reads.values()) + y_bytes)
    return simple(KERNEL, params, dims, (ceil_div(total, threads), 1, 1), (threads, 1, 1), floats=(p, q), work=work,
                  reads=reads, writes={"y": (0, y_bytes)})


def build(kh: int, sh: int, threads: int, residual: int, activation: str):
    from cnncc.runtime.cuda.epilogue import build_activation
    from cnncc.runtime.cuda.integers import divide, within
    from cnncc.runtime.cuda.language import cuda, device, int32
    from cnncc.runtime.cuda.memory_access import load_within
    from cnncc.runtime.cuda.tile import fold, unroll, zeros

    activate, no_sums, general = build_activation(activation), zeros(STRIP), int(kh == 0)

    read_segment = unroll(segment(kh, sh), device(
        lambda n, x, at, row, below, height: load_within(x, at + n * below, row + n, height)))
    read_weights = unroll(max(1, kh), device(lambda n, w, at, step: w[at + n * step]))

    add_rows = fold(max(1, kh), device(lambda k, total, n, inputs, weights: total + inputs[n * sh + k] * weights),
                    each=("weights",))

    @device
    def add_product(n, sums, x, at, row, below, height, step, weight):
        """One row of the kernel, which takes rows of the input ``step`` apart."""
        return sums + load_within(x, at + n * step * below, row + n * step, height) * weight

    add_column = unroll(STRIP, device(lambda n, sums, inputs, weights: add_rows(sums, n, inputs, weights)),
                        each=("sums",))
    add_row = unroll(STRIP, add_product, each=("sums",))

    @device
    def store_one(n, sums, shift, add, y, at, below, left, p, q):
        if n < left:
            value = sums + shift
            if residual:
                value += add[at + n * below]
            y[at + n * below] = activate(value, p, q)
        return 0

    store_strip = unroll(STRIP, store_one, each=("sums",))

    def conv_depthwise(x, w, bias, add, y, channels, per_group, out_channels, in_h, in_w, out_h, out_w, kernel_h,
                       kernel_w, stride_h, stride_w, dilation_h, dilation_w, pad_h, pad_w, strips, total, p, q):
        place = int32(cuda.blockIdx.x * threads + cuda.threadIdx.x)
        if place < total:
            rest, ow = divide(place, out_w)
            plane, strip = divide(rest, strips)
            image, oc = divide(plane, out_channels)
            group, _ = divide(oc, per_group)
            groups, _ = divide(out_channels, per_group)
            oh = int32(strip * STRIP)
            row, column = int32(oh * stride_h - pad_h), int32(ow * stride_w - pad_w)
            first = int32((image * groups + group) * channels * in_h * in_w + row * in_w + column)
            w_at = int32(oc * channels * kernel_h * kernel_w)
            sums = no_sums()
            for _ in range(channels):
                for kx in range(kernel_w):
                    step = int32(kx * dilation_w)
                    height = in_h if within(int32(column + step), in_w) else int32(0)
                    if general:
                        for ky in range(kernel_h):
                            down = int32(ky * dilation_h)
                            sums = add_row(sums, x, int32(first + step + down * in_w), int32(row + down), in_w, height,
                                           stride_h, w[w_at + ky * kernel_w + kx])
                    else:
                        inputs = read_segment(x, int32(first + step), row, in_w, height)
                        sums = add_column(sums, inputs, read_weights(w, int32(w_at + kx), kernel_w))
                first = int32(first + in_h * in_w)
                w_at = int32(w_at + kernel_h * kernel_w)
            y_at = int32((plane * out_h + oh) * out_w + ow)
            store_strip(sums, bias[oc], add, y, y_at, out_w, int32(out_h - oh), p, q)

    return conv_depthwise


KERNEL = Kernel("conv_depthwise", ("x", "w", "bias", "add", "y"), DIMS, build, ("p", "q"),
                threads=lambda threads, **params: threads)
