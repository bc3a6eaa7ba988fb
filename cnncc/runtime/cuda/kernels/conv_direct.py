"""Convolution as a matrix product whose right-hand side is never stored (implicit GEMM).

    y[n, oc, p] = act(bias[oc] + add[n, oc, p] + sum over ic, tap of w[oc, ic, tap] * x[n, ic, input(p, tap)])

M = output channels, N = output pixels of all images, K = taps x input channels. A block computes a bm x bn tile of y in
steps of bk along K. Two buffers of shared memory hold a step's weights [bk, bm] and inputs [bk, bn]; while threads
multiply one, what the next step needs is on its way from memory to registers, so a step waits once. A thread keeps 8x8
sums: 4 rows and 4 columns in each half of the tile, so that its operands come in accesses of 128 bits without bank
conflicts. In the end the halves go through shared memory, where rows are whole, to y.

``form`` says how K is walked:

- `wide`: a 1x1 convolution of stride 1 whose images have 4 n pixels, read in accesses of 128 bits;
- `channels`: taps one after another, all channels of each; a step has one tap, whose place is found when it begins;
- `taps`: few channels; each k has an entry of a table in shared memory: its distance in x, and a bit for its step along
  each axis. A pixel has a mask of the steps that stay inside, so that one instruction finds out about the padding;
- `transposed`: a transposed convolution. The output pixels with the same remainder by the strides, a phase, are those
  of a plain convolution of stride 1 with some of the taps; a block belongs to one phase (see conv_transpose).

With ``split``, blocks share the steps of a tile and store plain sums to ``scratch``, [parts, *y]; the kernel `conv_sum`
adds these up, in order, and finishes. Layouts: x [N, C, D, H, W]; w [G, K, OC/G up to a multiple of bm], zeros where
there is none; bias [G, OC/G up to bm]; taps as `pack_taps` and conv_transpose make it.
"""

from __future__ import annotations

import math

import numpy as np

from cnncc.records import record
from cnncc.runtime.cpu.conv_shape import ConvShape
from cnncc.runtime.cuda.kernel import Kernel, Launch, Stage, Work, ceil_div, make_params
from cnncc.runtime.cuda.kernels import conv_sum
from cnncc.runtime.cuda.sums import PAD, blocks_of, threads_of
from cnncc.runtime.cuda.tf32 import round_tf32

OPERANDS = ("x", "w", "bias", "add", "taps", "y", "scratch")
DIMS = (
    "channels", "plane", "image", "in_d", "in_h", "in_w", "grid_h", "grid_w", "pixels", "total", "stride_d", "stride_h",
    "stride_w", "channel_steps", "steps", "split_steps", "splits", "groups", "out_channels", "w_pitch", "w_group",
    "out_d", "out_h", "out_w", "y_plane", "y_image", "y_size", "bits", "y_first",
)  # fmt: skip
FORMS = ("wide", "channels", "taps", "transposed")
STEP = 16          # bk
MAX_TABLE = 512    # entries of the table of `taps`
MAX_BITS = 30      # steps along the axes that a mask has bits for


@record
class Tile:
    """``m`` output channels x ``n`` pixels, in steps of ``k``; ``parts`` blocks share the steps of one. With ``tensor``
    on tensor cores, which take numbers rounded to TF32."""

    m: int
    n: int
    k: int = STEP
    parts: int = 1
    tensor: bool = False

    @property
    def threads(self) -> int:
        return threads_of(self.m, self.n, self.tensor)


def packed_form(shape: ConvShape, step: int = STEP) -> str:
    """How weights are packed: by `channels`, or by `taps` where channels are so few that steps would be half empty."""
    few = shape.taps > 1 and 2 * (shape.channels // shape.groups) < step
    return "taps" if few and fits_table(shape) else "channels"


def fits_table(shape: ConvShape) -> bool:
    """Whether taps of all channels have entries in the table, and their steps bits in a mask."""
    return shape.channels // shape.groups * shape.taps <= MAX_TABLE and sum(shape.kernel) <= MAX_BITS


def depth(shape: ConvShape, form: str, step: int = STEP) -> int:
    """K with the zeros that fill steps."""
    channels = shape.channels // shape.groups
    each, runs = (channels * shape.taps, 1) if form == "taps" else (channels, shape.taps)
    return runs * ceil_div(each, step) * step


def pack_weights(w: np.ndarray, groups: int, form: str, m: int, step: int = STEP, tensor: bool = False) -> np.ndarray:
    """w [OC, C/G, *kernel] as [G, K, OC/G up to a multiple of m]; for tensor cores rounded to TF32."""
    per_group, channels = w.shape[0] // groups, w.shape[1]
    w = w.reshape(groups, per_group, channels, -1)
    if form == "taps":
        rows = w.reshape(groups, per_group, -1).transpose(0, 2, 1)
        k = ceil_div(rows.shape[1], step) * step
    else:
        padded = np.zeros((groups, w.shape[3], ceil_div(channels, step) * step, per_group), np.float32)
        padded[:, :, :channels] = w.transpose(0, 3, 2, 1)
        rows = padded.reshape(groups, -1, per_group)
        k = rows.shape[1]
    out = np.zeros((groups, k, ceil_div(per_group, m) * m), np.float32)
    out[:, :rows.shape[1], :per_group] = round_tf32(rows) if tensor else rows
    return out


def pack_bias(bias: np.ndarray | None, out_channels: int, groups: int, m: int) -> np.ndarray:
    """bias [OC] or none as [G, OC/G up to a multiple of m]."""
    per_group = out_channels // groups
    out = np.zeros((groups, ceil_div(per_group, m) * m), np.float32)
    if bias is not None:
        out[:, :per_group] = bias.reshape(groups, per_group)
    return out


def pack_taps(shape: ConvShape, form: str, step: int = STEP) -> np.ndarray:
    """The table of taps, int32; of ``shape`` only channels, kernel, dilation and pad count.

    `channels`: for each tap its steps (d, h, w) from the pixel's place, and 0. `taps`: for each k (channel, d, h, w),
    then for each k the bits that its pixel's mask must have, then for each bit (axis, step along it).
    """
    moves = [(d * shape.dilation[0] - shape.pad[0], h * shape.dilation[1] - shape.pad[1],
              w * shape.dilation[2] - shape.pad[2]) for d, h, w in np.ndindex(*shape.kernel)]
    if form != "taps":
        return np.array([(*move, 0) for move in moves], np.int32)
    channels, k = shape.channels // shape.groups, depth(shape, form, step)
    entries, bits = np.zeros((k, 4), np.int32), np.full(k, 1 << MAX_BITS, np.int32)
    start = (0, shape.kernel[0], shape.kernel[0] + shape.kernel[1])
    for n, (c, *tap) in enumerate(np.ndindex(channels, *shape.kernel)):
        entries[n] = (c, *moves[n % shape.taps])
        bits[n] = sum(1 << s + t for s, t in zip(start, tap, strict=True))
    steps = [(axis, t * shape.dilation[axis] - shape.pad[axis]) for axis in range(3) for t in range(shape.kernel[axis])]
    return np.concatenate([entries.reshape(-1), bits, np.array(steps, np.int32).reshape(-1)])


def launch(shape: ConvShape, tile: Tile, form: str, residual: bool = False, activation: str = "clip",
           p: float = -math.inf, q: float = math.inf) -> Launch:
    """The step of a convolution whose weights are packed by ``form``; ``p`` and ``q`` belong to the activation."""
    if form == "channels" and shape.is_pointwise and shape.pixels % 4 == 0:
        form = "wide"
    channels, out_channels = shape.channels // shape.groups, shape.out_channels // shape.groups
    k, plane = depth(shape, form, tile.k), math.prod(shape.size)
    steps, total, m_tiles = k // tile.k, shape.images * shape.pixels, ceil_div(out_channels, tile.m)
    split_steps = ceil_div(steps, tile.parts)
    parts = ceil_div(steps, split_steps) if steps else 1
    y_size = shape.images * shape.out_channels * shape.pixels
    channel_steps = steps if form == "taps" else ceil_div(channels, tile.k)
    dims = (
        channels, plane, shape.channels * plane, *shape.size, *shape.out_size[1:], shape.pixels, total, *shape.stride,
        max(1, channel_steps), steps, split_steps, parts, shape.groups, out_channels, m_tiles * tile.m,
        k * m_tiles * tile.m, *shape.out_size, shape.pixels, shape.out_channels * shape.pixels, y_size,
        sum(shape.kernel), 0,
    )  # fmt: skip
    split, wide = int(parts > 1), int(shape.pixels % 4 == 0)
    params = make_params(form=form, bm=tile.m, bn=tile.n, bk=tile.k, tensor=int(tile.tensor), wide=wide, split=split,
                         residual=int(residual and not split), activation="clip" if split else activation)
    grid = (ceil_div(total, tile.n), m_tiles, shape.groups * parts)
    reads = {"x": (0, 4 * shape.images * shape.channels * plane), "w": (0, 4 * shape.groups * k * m_tiles * tile.m),
             "bias": (0, 4 * shape.groups * m_tiles * tile.m), "taps": (0, pack_taps_bytes(shape, form, tile.k))}
    if residual:
        reads["add"] = (0, 4 * y_size)
    if not y_size:
        return Launch(KERNEL.name, (), reads, {"y": (0, 0)})
    flops = 2.0 * math.prod(grid[:2]) * shape.groups * k * tile.m * tile.n
    moved = reads["x"][1] + reads["w"][1] + 4.0 * y_size * (parts if split else 1 + residual)
    stages = [Stage(KERNEL, params, dims, grid, (tile.threads, 1, 1), (p, q), work=Work(flops, moved))]
    if split:
        stages.append(conv_sum.stage(shape, parts, m_tiles * tile.m, residual, activation, p, q))
    return Launch(KERNEL.name, tuple(stages), reads, {"y": (0, 4 * y_size)}, 4 * parts * y_size * split)


def pack_taps_bytes(shape: ConvShape, form: str, step: int) -> int:
    return 4 * (5 * depth(shape, form, step) + 2 * sum(shape.kernel)) if form == "taps" else 16 * shape.taps


def build(form: str, bm: int, bn: int, bk: int, tensor: int, wide: int, split: int, residual: int, activation: str):
    from cnncc.runtime.cuda.epilogue import build_activation
    from cnncc.runtime.cuda.integers import divide, within
    from cnncc.runtime.cuda.language import cuda, device, float32, int32
    from cnncc.runtime.cuda.memory_access import (
        load,
        load2_i32,
        load4,
        load4_below,
        load4_i32,
        load_below,
        store,
        store2_i32,
        store4,
    )
    from cnncc.runtime.cuda.sums import Sums
    from cnncc.runtime.cuda.tile import unroll, zeros

    threads, half_m = threads_of(bm, bn, tensor), bm // 2
    a_pitch, b_pitch = (bm + PAD, bn + PAD) if tensor else (bm, bn)
    a_words, buffer_words = bk * a_pitch, bk * (a_pitch + b_pitch)
    shared_words = max(2 * buffer_words, half_m * b_pitch)
    by_taps, transposed = int(form == "taps"), int(form == "transposed")
    by_channels, width = int(form in ("channels", "transposed")), 4 if form == "wide" else 1
    a_quads, b_columns = bm // 4, bn // width
    a_rows, a_loads = threads // a_quads, bk * a_quads // threads
    b_rows, b_loads = threads // b_columns, bk * b_columns // threads
    out_width = 4 if wide else 1
    out_columns = bn // out_width
    out_rows = threads // out_columns
    table_words = 2 * MAX_TABLE if by_taps else 2

    activate = build_activation(activation)
    sums, nothing = Sums(bm, bn, bk, a_pitch, b_pitch, tensor), zeros(4)
    begin, new, multiply, keep, keep_four = sums.begin, sums.new, sums.multiply, sums.keep, sums.keep_four
    store_upper, store_lower = sums.store_upper, sums.store_lower

    @device
    def place(tap, taps, origin, at, size):
        """Where the tap's pixel lies in x, and how many channels to read there: none in the padding."""
        move = load4_i32(taps, 4 * tap)
        d, h, w = int32(at[0] + move[0]), int32(at[1] + move[1]), int32(at[2] + move[2])
        inside = within(d, size[0]) & within(h, size[1]) & within(w, size[2])
        return int32(origin + (d * size[1] + h) * size[2] + w), int32(size[3] if inside else 0)

    @device
    def fetch_quads(n, x, table, where, rest, stride, k, mask):
        return load4_below(x, where + n * stride, n * b_rows, rest)

    @device
    def fetch_channels(n, x, table, where, rest, stride, k, mask):
        return load_below(x, where + n * stride, n * b_rows, rest)

    @device
    def fetch_taps(n, x, table, where, rest, stride, k, mask):
        entry = load2_i32(table, 2 * (k + n * b_rows))
        return load_below(x, where + entry[0], entry[1] & ~mask, 1)

    @device
    def put_one(n, s, at, v):
        store(s, at + n * b_rows * b_pitch, keep(v))

    @device
    def put_quad(n, s, at, v):
        store4(s, at + n * b_rows * b_pitch, keep_four(v))

    fetch_a = unroll(a_loads, device(lambda n, w, at, pitch: load4(w, at + n * a_rows * pitch)))
    put_a = unroll(a_loads, device(lambda n, s, at, v: store4(s, at + n * a_rows * a_pitch, v)), each=("v",))
    fetch_b = unroll(b_loads, fetch_quads if form == "wide" else fetch_taps if by_taps else fetch_channels)
    put_b = unroll(b_loads, put_quad if form == "wide" else put_one, each=("v",))

    @device
    def read_table(table, taps, t, k, in_h, in_w, plane):
        """Entries of the table: a distance in x, and the bits that a mask must have."""
        for n in range(t, k, threads):
            entry = load4_i32(taps, 4 * n)
            store2_i32(table, 2 * n, (int32(entry[0] * plane + (entry[1] * in_h + entry[2]) * in_w + entry[3]),
                                      int32(taps[4 * k + n])))

    @device
    def read_mask(taps, k, bits, at, size):
        """A bit for each step along an axis that stays inside the image."""
        mask = int32(0)
        for bit in range(bits):
            axis, move = taps[5 * k + 2 * bit], taps[5 * k + 2 * bit + 1]
            along = at[0] if axis == 0 else at[1] if axis == 1 else at[2]
            extent = size[0] if axis == 0 else size[1] if axis == 1 else size[2]
            if within(int32(along + move), extent):
                mask = int32(mask | 1 << bit)
        return mask

    @device
    def finish_quad(n, v, shift, r, p, q):
        return activate(v + shift + r, p, q)

    finish_four = unroll(4, finish_quad, each=("v", "r"))

    @device
    def finish_wide(s, i, bias, channel, add, y, scratch, at, part, p, q):
        v = load4(s, i)
        if split:
            store4(scratch, part + at, v)
        else:
            store4(y, at, finish_four(v, bias[channel], load4(add, at) if residual else nothing(), p, q))

    @device
    def finish_narrow(s, i, bias, channel, add, y, scratch, at, part, p, q):
        if split:
            scratch[part + at] = load(s, i)
        else:
            value = load(s, i) + bias[channel]
            if residual:
                value += add[at]
            y[at] = activate(value, p, q)

    finish = finish_wide if wide else finish_narrow

    def conv(x, w, bias, add, taps, y, scratch, channels, plane, image, in_d, in_h, in_w, grid_h, grid_w, pixels, total,
             stride_d, stride_h, stride_w, channel_steps, steps, split_steps, splits, groups, out_channels, w_pitch,
             w_group, out_d, out_h, out_w, y_plane, y_image, y_size, bits, y_first, p, q):
        s = cuda.shared.array(shared_words, float32, 16)
        table = cuda.shared.array(table_words, int32, 16)
        t = int32(cuda.threadIdx.x)
        m0, n0 = int32(cuda.blockIdx.y * bm), int32(cuda.blockIdx.x * bn)
        z, part = divide(int32(cuda.blockIdx.z), splits)
        phase, group = divide(z, groups)
        first = int32(part * split_steps)
        last = int32(first + split_steps if first + split_steps < steps else steps)
        if transposed:
            first = int32(taps[8 * phase] * channel_steps)
            last = int32(first + taps[8 * phase + 1] * channel_steps)
            taps_at = int32(2 * (cuda.gridDim.z // (groups * splits)))
        else:
            taps_at = int32(0)

        # what this thread fetches: rows a_row, a_row + a_rows, ... of weights, b_row, ... of one column of inputs
        a_row, a_quad = divide(t, int32(a_quads))
        b_row, b_column = divide(t, int32(b_columns))
        column = int32(n0 + b_column * width)
        n, pixel = divide(column, pixels)
        row, ow = divide(pixel, grid_w)
        od, oh = divide(row, grid_h)
        at = (od, oh, ow) if transposed else (int32(od * stride_d), int32(oh * stride_h), int32(ow * stride_w))
        size = (in_d, in_h, in_w, int32(channels if column < total else 0))
        origin = int32(n * image + group * channels * plane)
        where, rest, mask, stride = origin, size[3], int32(0), int32(b_rows * plane)
        tap, c = divide(first, channel_steps)
        c = int32(c * bk)
        if by_taps:
            where = int32(where + (at[0] * in_h + at[1]) * in_w + at[2])
            read_table(table, taps, t, int32(steps * bk), in_h, in_w, plane)
            if column < total:
                mask = read_mask(taps, int32(steps * bk), bits, at, size)
            cuda.syncthreads()
        elif by_channels:
            where, rest = place(int32(taps_at + tap), taps, origin, at, size)
        else:
            where = int32(where + pixel)
        where = int32(where + (0 if by_taps else (c + b_row) * plane))
        rest = int32(rest - c - b_row)
        w_at = int32(group * w_group + (first * bk + a_row) * w_pitch + m0 + 4 * a_quad)
        a_put, b_put = int32(a_row * a_pitch + 4 * a_quad), int32(a_words + b_row * b_pitch + b_column * width)

        a_from, b_from, sums_at = begin(t)
        acc = new()
        a = fetch_a(w, w_at, w_pitch)
        b = fetch_b(x, table, where, rest, stride, int32(c + b_row), mask)
        put_a(s, a_put, a)
        put_b(s, b_put, b)
        cuda.syncthreads()
        current, step = int32(0), first
        while step < last:
            step = int32(step + 1)
            more = step < last
            if more:
                w_at = int32(w_at + bk * w_pitch)
                c = int32(c + bk)
                if not by_taps:
                    where = int32(where + bk * plane)
                    rest = int32(rest - bk)
                if by_channels and c >= channels:
                    c = int32(0)
                    tap = int32(tap + 1)
                    where, rest = place(int32(taps_at + tap), taps, origin, at, size)
                    where = int32(where + b_row * plane)
                    rest = int32(rest - b_row)
                a = fetch_a(w, w_at, w_pitch)
                b = fetch_b(x, table, where, rest, stride, int32(c + b_row), mask)
            acc = multiply(acc, s, int32(current + a_from), s, int32(current + a_words + b_from))
            if more:
                current = int32(buffer_words - current)
                put_a(s, int32(current + a_put), a)
                put_b(s, int32(current + b_put), b)
                cuda.syncthreads()

        out_row, out_column = divide(t, int32(out_columns))
        out_at = int32(out_column * out_width)
        n, pixel = divide(int32(n0 + out_at), pixels)
        valid = int32(n0 + out_at) < total
        if transposed:
            row, ow = divide(pixel, grid_w)
            od, oh = divide(row, grid_h)
            od = int32(od * stride_d + taps[8 * phase + 2])
            oh = int32(oh * stride_h + taps[8 * phase + 3])
            ow = int32(ow * stride_w + taps[8 * phase + 4])
            valid = valid & (od < out_d) & (oh < out_h) & (ow < out_w)
            pixel = int32((od * out_h + oh) * out_w + ow)
        y_at = int32(y_first + n * y_image + group * out_channels * y_plane + pixel)
        for half in range(2):
            cuda.syncthreads()
            if half == 0:
                store_upper(acc, s, sums_at)
            else:
                store_lower(acc, s, sums_at)
            cuda.syncthreads()
            if valid:
                for row in range(out_row, half_m, out_rows):
                    channel = int32(m0 + half * half_m + row)
                    if channel < out_channels:
                        finish(s, int32(row * b_pitch + out_at), bias, int32(group * w_pitch + channel), add, y,
                               scratch, int32(y_at + channel * y_plane), int32(part * y_size), p, q)

    return conv


KERNEL = Kernel("conv_direct", OPERANDS, DIMS, build, ("p", "q"), lambda **params: {"taps": "i32"},
                threads=lambda bm, bn, tensor, **params: threads_of(bm, bn, tensor),
                blocks=lambda form, bm, bn, tensor, split, **params:  # two would have too few registers for these
                1 if form == "transposed" or (form == "channels" and split) else blocks_of(bm, bn, tensor))
