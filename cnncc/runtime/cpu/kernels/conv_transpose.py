"""Transposed convolution in NCHWc, gathered: the outputs at each remainder of their position by the stride (a phase)
are a dense convolution of stride 1 with the taps that reach them, so nothing is computed twice and nothing is added up
in memory.

Along an axis, output o = u * stride + phase is reached by tap t from input (o + pad - t * dilation) / stride where that
is a whole number: taps stride / g apart (g = gcd(stride, dilation)), inputs dilation / g apart, the largest tap from
the first of them. Register tiles of ``rows`` outputs of a phase times ``vectors`` blocks of channels stay in registers
over the whole reduction; then they go through a buffer to where they belong.

Layouts (float32): x is [N, IC/c, D*H*W, c], y is [N, OC/c, OD*OH*OW, c], bias is [G, tiles, vectors * c], weights are
[G, tiles, phases, IC/c, taps of the phase, c, vectors * c], the last input block being as short as the channels are.
"""

import itertools
import math

import numpy as np

from cnncc.records import record
from cnncc.runtime.cpu.conv_shape import ConvShape
from cnncc.runtime.cpu.kernel import Kernel, Launch, ceil_div, float_word, make_params
from cnncc.runtime.cpu.kernels import conv_direct

OPERANDS = ("x", "w", "bias", "y")
DIMS = (
    "x_image", "x_block", "in_d", "in_h", "in_w", "out_d", "out_h", "out_w", "k_d", "k_h", "k_w",
    "stride_d", "stride_h", "stride_w", "dilation_d", "dilation_h", "dilation_w", "pad_d", "pad_h", "pad_w",
    "step_d", "step_h", "step_w", "channels", "groups", "out_blocks", "tiles", "pixel_groups", "group_pixels",
    "oc_outer", "a", "b",
)  # fmt: skip
TASK_FLOPS, MOST_PIXELS, MANY_TASKS = 4e6, 192, 16
Three = tuple[int, int, int]


@record
class TransposeShape:
    """A transposed convolution with the spatial rank lifted to 3 (leading ones); channels over all groups."""

    images: int
    channels: int
    out_channels: int
    size: Three
    out_size: Three
    kernel: Three
    stride: Three
    dilation: Three
    pad: Three
    groups: int = 1

    def merge(self, lanes: int) -> int:
        """How many groups are computed as one, with weights of zero between them, so that none cuts a block."""
        if self.groups == 1:
            return 1
        parts = (self.channels // self.groups, self.out_channels // self.groups)
        count = math.lcm(*(lanes // math.gcd(n, lanes) for n in parts))
        return count if self.groups % count == 0 else self.groups

    def dense(self, lanes: int) -> "TransposeShape":
        return TransposeShape(self.images, self.channels, self.out_channels, self.size, self.out_size, self.kernel,
                              self.stride, self.dilation, self.pad, self.groups // self.merge(lanes))  # fmt: skip

    @property
    def phase_pixels(self) -> int:
        """Outputs of the largest phase."""
        return math.prod(ceil_div(o, s) for o, s in zip(self.out_size, self.stride, strict=True))

    @property
    def phase_taps(self) -> int:
        """Taps that reach an output, on average, rounded up."""
        return ceil_div(math.prod(self.kernel), math.prod(self.stride))


def choose_tile(shape: TransposeShape, lanes: int) -> tuple[int, int]:
    """(rows, vectors) with the least padded work."""
    dense = shape.dense(lanes)
    as_conv = ConvShape(
        dense.images, dense.channels, dense.out_channels, (1, 1, dense.phase_pixels), (1, 1, dense.phase_pixels),
        (1, 1, 1), groups=dense.groups,
    )  # fmt: skip
    return conv_direct.choose_tile(as_conv, lanes)


def launch(shape: TransposeShape, lanes: int, tile: tuple[int, int], activation: str = "clip",
           a: float = -math.inf, b: float = math.inf) -> Launch:  # fmt: skip
    """The step of a transposed convolution; ``a`` and ``b`` belong to the activation (see epilogue.py)."""
    rows, vectors = tile
    dense = shape.dense(lanes)
    width, groups, channels = lanes * 4, dense.groups, dense.channels // dense.groups
    blocks = ceil_div(dense.out_channels // groups, lanes)
    tiles = ceil_div(blocks, vectors)
    x_block = math.prod(shape.size) * width
    x_image = x_block * groups * ceil_div(channels, lanes)
    y_bytes = shape.images * groups * blocks * math.prod(shape.out_size) * width
    w_bytes = groups * tiles * channels * math.prod(shape.kernel) * vectors * width
    pixels, phases = dense.phase_pixels, math.prod(shape.stride)
    flops = 2 * vectors * lanes * channels * dense.phase_taps
    few = ceil_div(pixels, ceil_div(MANY_TASKS, max(1, shape.images * groups * tiles * phases)))
    group_pixels = ceil_div(min(max(48, round(TASK_FLOPS / flops)), MOST_PIXELS, max(2 * rows, few)), rows) * rows
    pixel_groups = ceil_div(pixels, group_pixels)
    dims = (
        x_image, x_block, *shape.size, *shape.out_size, *shape.kernel, *shape.stride, *shape.dilation, *shape.pad,
        *(d // math.gcd(s, d) for s, d in zip(shape.stride, shape.dilation, strict=True)),
        channels, groups, blocks, tiles, pixel_groups, group_pixels, int(w_bytes > x_image),
        float_word(a), float_word(b),
    )  # fmt: skip
    params = make_params(lanes=lanes, rows=rows, vectors=vectors, activation=activation)
    tasks = shape.images * groups * phases * pixel_groups * tiles
    return Launch(
        KERNEL, params, dims, tasks, writes={"y": (0, y_bytes)},
        reads={"x": (0, shape.images * x_image), "w": (0, w_bytes), "bias": (0, groups * tiles * vectors * width)},
    )  # fmt: skip


def pack_weights(w: np.ndarray, shape: TransposeShape, lanes: int, vectors: int) -> np.ndarray:
    """[IC, OC/G, *kernel] as [G, tiles, phases, (IC/c, taps, c), vectors * c] float32, flattened."""
    merged, dense = shape.merge(lanes), shape.dense(lanes)
    per_in, per_out = shape.channels // shape.groups, shape.out_channels // shape.groups
    # As a convolution's: [OC, IC/G, *kernel], with zeros between the groups that are merged.
    full = np.zeros((dense.groups, merged, per_out, merged, per_in, *shape.kernel), np.float32)
    given = w.reshape(dense.groups, merged, per_in, per_out, *shape.kernel).swapaxes(2, 3)
    for i in range(merged):
        full[:, i, :, i] = given[:, i]
    full = full.reshape(shape.out_channels, merged * per_in, *shape.kernel)
    tiles = ceil_div(ceil_div(shape.out_channels // dense.groups, lanes), vectors)
    axes = [
        [[t for t in reversed(range(k)) if (phase + pad - t * d) % s == 0] for phase in range(s)]
        for k, s, d, pad in zip(shape.kernel, shape.stride, shape.dilation, shape.pad, strict=True)
    ]
    parts = []
    for depth, height, along in itertools.product(*axes):
        taps = full[:, :, depth][:, :, :, height][:, :, :, :, along]
        packed = conv_direct.pack_weights(taps, dense.groups, lanes, vectors)
        parts.append(packed.reshape(dense.groups, tiles, packed.size // (dense.groups * tiles)))
    return np.concatenate(parts, 2).reshape(-1)


def pack_bias(bias: np.ndarray | None, shape: TransposeShape, lanes: int, vectors: int) -> np.ndarray:
    return conv_direct.pack_bias(bias, shape.out_channels, shape.dense(lanes).groups, lanes, vectors)


def build(lanes: int, rows: int, vectors: int, activation: str):
    from numba.extending import register_jitable

    from cnncc.runtime.cpu.epilogue import build_activation
    from cnncc.runtime.cpu.memory_access import load_i64, load_words, outside, select, stack, store_i64, word_float
    from cnncc.runtime.cpu.simd import load, splat, store
    from cnncc.runtime.cpu.tile import tile_fma, tile_of_row
    from cnncc.runtime.cpu.tile_memory import tile_store

    activate = build_activation(activation)
    width, columns = 4 * lanes, 4 * lanes * vectors
    word = {name: i for i, name in enumerate(OPERANDS + DIMS)}
    X, W, BIAS, Y = range(4)
    IN, OUT, K, STRIDE, DILATION, PAD, STEP = (
        word[f"{n}_d"] for n in ("in", "out", "k", "stride", "dilation", "pad", "step")
    )
    X_BLOCK, X_IMAGE, CHANNELS, GROUPS = (word[n] for n in ("x_block", "x_image", "channels", "groups"))
    OUT_BLOCKS, TILES, OC_OUTER = (word[n] for n in ("out_blocks", "tiles", "oc_outer"))
    PIXEL_GROUPS, GROUP_PIXELS, A, B = (word[n] for n in ("pixel_groups", "group_pixels", "a", "b"))
    word_count, row_bytes, place_bytes, tile_bytes = len(word), 8 * rows, 24 * rows, rows * columns

    @register_jitable
    def phase_taps(words, axis, phase):
        """(taps of the phase, taps of those before it, the first input position of output 0)."""
        stride, dilation, pad = words[STRIDE + axis], words[DILATION + axis], words[PAD + axis]
        count, before, last = 0, 0, 0
        for t in range(words[K + axis]):
            own = (t * dilation - pad) % stride
            if own == phase:
                count += 1
                last = t
            elif own < phase:
                before += 1
        return count, before, (phase + pad - last * dilation) // stride

    @register_jitable
    def locate(words, places, outputs, p, last, first, phase, counts):
        """Where outputs p .. p+rows-1 of the phase (held at ``last``) begin to read, and which pixels they are."""
        for r in range(rows):
            q = min(p + r, last)
            w = q % counts[2]
            q = q // counts[2]
            h = q % counts[1]
            d = q // counts[1]
            store_i64(places + 24 * r, d + first[0])
            store_i64(places + 24 * r + 8, h + first[1])
            store_i64(places + 24 * r + 16, w + first[2])
            row = (d * words[STRIDE] + phase[0]) * words[OUT + 1] + h * words[STRIDE + 1] + phase[1]
            store_i64(outputs + 8 * r, row * words[OUT + 2] + w * words[STRIDE + 2] + phase[2])

    @register_jitable
    def aim(words, rows_at, steps, places, x, zeros, d, h, w):
        """Addresses of the input pixels ``d, h, w`` away from the places, and how far the next block is from them."""
        in_h, in_w, block = words[IN + 1], words[IN + 2], words[X_BLOCK]
        for r in range(rows):
            z, y = load_i64(places + 24 * r) + d, load_i64(places + 24 * r + 8) + h
            c = load_i64(places + 24 * r + 16) + w
            missing = outside(z, words[IN]) | outside(y, in_h) | outside(c, in_w)
            store_i64(rows_at + 8 * r, select(missing, zeros, x + ((z * in_h + y) * in_w + c) * width))
            store_i64(steps + 8 * r, select(missing, 0, block))

    @register_jitable
    def one_tap(acc, words, rows_at, steps, places, zeros, x, w):
        channels = words[CHANNELS]
        aim(words, rows_at, steps, places, x, zeros, 0, 0, 0)
        for start in range(0, channels, lanes):
            acc = tile_fma(acc, rows_at, 4, w + start * columns, columns, min(lanes, channels - start), 4)
            for r in range(rows):
                store_i64(rows_at + 8 * r, load_i64(rows_at + 8 * r) + load_i64(steps + 8 * r))
        return acc

    @register_jitable
    def all_taps(acc, words, rows_at, steps, places, zeros, x, w, taps):
        channels = words[CHANNELS]
        for start in range(0, channels, lanes):
            n = min(lanes, channels - start)
            for d in range(taps[0]):
                for h in range(taps[1]):
                    for v in range(taps[2]):
                        aim(words, rows_at, steps, places, x, zeros, d * words[STEP], h * words[STEP + 1],
                            v * words[STEP + 2])  # fmt: skip
                        acc = tile_fma(acc, rows_at, 4, w, columns, n, 4)
                        w += n * columns
            x += words[X_BLOCK]
        return acc

    @register_jitable
    def finish(acc, buffer, outputs, y, plane, rows_valid, vectors_valid, a, b):
        tile_store(acc, buffer, columns, width, rows, vectors)
        for r in range(rows_valid):
            place = y + load_i64(outputs + 8 * r) * width
            for v in range(vectors_valid):
                store(place + v * plane, activate(load(buffer + r * columns + v * width, lanes), a, b))

    @register_jitable
    def task_of(words, task):
        """(image and group, phase, tile of channels, group of pixels)."""
        tiles, pixel_groups = words[TILES], words[PIXEL_GROUPS]
        phases = words[STRIDE] * words[STRIDE + 1] * words[STRIDE + 2]
        low, high = task % (tiles * pixel_groups), task // (tiles * pixel_groups)
        if words[OC_OUTER] != 0:
            return high // phases, high % phases, low // pixel_groups, low % pixel_groups
        return high // phases, high % phases, low % tiles, low // tiles

    def conv_transpose(args, begin, end):
        words = load_words(args, word_count)
        zeros, rows_at, steps, places = stack(64), stack(row_bytes), stack(row_bytes), stack(place_bytes)
        outputs, buffer = stack(row_bytes), stack(tile_bytes)
        store(zeros, splat(0.0, lanes))
        channels, groups, x_block = words[CHANNELS], words[GROUPS], words[X_BLOCK]
        in_blocks = (channels + (lanes - 1)) // lanes
        out_blocks, tiles = words[OUT_BLOCKS], words[TILES]
        plane = words[OUT] * words[OUT + 1] * words[OUT + 2] * width
        all_of = words[K] * words[K + 1] * words[K + 2]
        a, b = word_float(words[A]), word_float(words[B])
        for task in range(begin, end):
            panel, number, tile, part = task_of(words, task)
            image, group = panel // groups, panel % groups
            phase_w = number % words[STRIDE + 2]
            number = number // words[STRIDE + 2]
            phase = number // words[STRIDE + 1], number % words[STRIDE + 1], phase_w
            n_d, before_d, first_d = phase_taps(words, 0, phase[0])
            n_h, before_h, first_h = phase_taps(words, 1, phase[1])
            n_w, before_w, first_w = phase_taps(words, 2, phase[2])
            counts = (
                (words[OUT] - phase[0] + words[STRIDE] - 1) // words[STRIDE],
                (words[OUT + 1] - phase[1] + words[STRIDE + 1] - 1) // words[STRIDE + 1],
                (words[OUT + 2] - phase[2] + words[STRIDE + 2] - 1) // words[STRIDE + 2],
            )
            before = before_d * words[K + 1] * words[K + 2] + n_d * (before_h * words[K + 2] + n_h * before_w)
            taps = n_d * n_h * n_w
            x = words[X] + image * words[X_IMAGE] + group * in_blocks * x_block
            w = words[W] + ((group * tiles + tile) * all_of + before) * channels * columns
            bias = words[BIAS] + (group * tiles + tile) * columns
            y = words[Y] + ((image * groups + group) * out_blocks + tile * vectors) * plane
            valid = min(vectors, out_blocks - tile * vectors)
            start = part * words[GROUP_PIXELS]
            stop = min(start + words[GROUP_PIXELS], counts[0] * counts[1] * counts[2])
            for p in range(start, stop, rows):
                locate(words, places, outputs, p, stop - 1, (first_d, first_h, first_w), phase, counts)
                acc = tile_of_row(bias, width, rows, vectors, lanes)
                if taps == 1:
                    acc = one_tap(acc, words, rows_at, steps, places, zeros, x, w)
                elif taps > 1:
                    acc = all_taps(acc, words, rows_at, steps, places, zeros, x, w, (n_d, n_h, n_w))
                finish(acc, buffer, outputs, y, plane, min(rows, stop - p), valid, a, b)

    return conv_transpose


KERNEL = Kernel("conv_transpose", OPERANDS, DIMS, build)
