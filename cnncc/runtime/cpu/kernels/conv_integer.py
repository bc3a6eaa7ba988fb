"""Direct convolution of bytes in NCHWc: register tiles of output pixels x output channels of exact int32 sums.

    s[p, o] = sum over ic, taps of (x[ic, pixel(p, tap)] - zero) * (w[o, ic, tap] - w_zero[o])

x is u8, or i8 made u8 by adding 128 to it and to its zero point; w is i8, or u8 made i8 by subtracting 128 from both.
Pixels in the padding are the zero point. What the zero points contribute does not depend on x except for the sum of x
under the window, which is needed where w_zero is not 0: a column of weights 1 computes it beside the others (``sums``).

    s = sum x w - zero * (sum w - count * w_zero) - w_zero * sum x

Results, from s + bias: u8 or i8, rounded(scale * s) + zero; f32, act(scale * s + shift); or i32, s.

Layouts: x is [N, IC/c, D*H*W, c] bytes, y [N, OC/c, OD*OH*OW, c]; weights are bytes [G, tiles, taps, groups of 4 input
channels, vectors + sums, c, 4], where blocks of c input channels have ceil(channels / 4) groups; bias, weight_sums,
zeros, scale, shift are [G, tiles, vectors * c]. Scratch: for each tap ``rows`` addresses and distances (int64).
"""

import math
from dataclasses import replace

import numpy as np

from cnncc.runtime.cpu.conv_shape import ConvShape
from cnncc.runtime.cpu.elements import SIZES
from cnncc.runtime.cpu.kernel import Kernel, Launch, ceil_div, float_word, make_params
from cnncc.runtime.cpu.kernels.conv_direct import choose_tile

OPERANDS = ("x", "zero", "w", "bias", "weight_sums", "zeros", "scale", "shift", "factor", "y", "scratch")
DIMS = (
    "x_image", "x_block", "in_d", "in_h", "in_w", "out_d", "out_h", "out_w", "k_d", "k_h", "k_w",
    "stride_d", "stride_h", "stride_w", "dilation_d", "dilation_h", "dilation_w", "pad_d", "pad_h", "pad_w",
    "blocks", "tail", "panel", "groups", "out_blocks", "tiles", "pixel_groups", "group_pixels", "oc_outer", "images",
    "a", "b", "y_zero", "flip",
)  # fmt: skip
FLIP = 0x80808080  # makes unsigned bytes of four signed ones
TASK_MACS, MANY_TASKS = 4e6, 32
# (rows, vectors) by lanes, without and with a column of sums
TILES: dict[int, tuple[dict[tuple[int, int], float], dict[tuple[int, int], float]]] = {
    16: ({(6, 4): 1.0, (5, 4): 0.98, (8, 3): 1.0, (7, 3): 0.98, (12, 2): 0.97, (10, 2): 0.96, (14, 1): 0.85},
         {(6, 3): 1.0, (5, 3): 0.98, (8, 2): 0.98, (12, 1): 0.8}),
    8: ({(6, 2): 1.0, (4, 3): 1.0, (10, 1): 0.9}, {(4, 2): 1.0, (6, 1): 0.9}),
    4: ({(6, 4): 1.0, (8, 3): 1.0, (12, 1): 0.85}, {(6, 3): 1.0, (12, 1): 0.8}),
}  # fmt: skip


def merged(shape: ConvShape, lanes: int) -> ConvShape:
    """The same convolution in fewer groups, of whole blocks of channels, or in one; the weights in between are zero."""
    if shape.groups == 1:
        return shape
    per_group = (shape.channels // shape.groups, shape.out_channels // shape.groups)
    for count in (n for n in range(1, shape.groups) if shape.groups % n == 0):
        if all(n * count % lanes == 0 for n in per_group):
            return replace(shape, groups=shape.groups // count)
    return replace(shape, groups=1)


def merge_weights(w: np.ndarray, zeros: np.ndarray, groups: int, into: int) -> np.ndarray:
    """w [OC, IC/groups, *kernel] for ``into`` groups; what does not belong to a group is its channel's zero point."""
    if groups == into:
        return w
    oc, ic, *kernel = w.shape
    count, per_group = groups // into, oc // groups
    out = np.empty((oc, ic * count, *kernel), w.dtype)
    out[:] = zeros.reshape(-1, *(1,) * (w.ndim - 1))
    for o in range(oc):
        at = o // per_group % count * ic
        out[o, at : at + ic] = w[o]
    return out


def tile_of(shape: ConvShape, lanes: int, sums: bool) -> tuple[int, int]:
    """(rows, vectors) with the least padded work."""
    return choose_tile(shape, lanes, {lanes: TILES[lanes][int(sums)]})


def launch(
    shape: ConvShape, lanes: int, tile: tuple[int, int], source: str, result: str, sums: bool = False,
    activation: str = "clip", a: float = -math.inf, b: float = math.inf, y_zero: int = 0, vnni: bool = True,
) -> Launch:  # fmt: skip
    """The step of a convolution whose groups are whole blocks. ``source`` is u8 or i8, ``result`` u8, i8, f32 or i32.

    ``a`` and ``b`` limit the rounded numbers before ``y_zero`` is added, or are the activation's.
    """
    rows, vectors = tile
    groups, channels = shape.groups, shape.channels // shape.groups
    out_blocks = ceil_div(shape.out_channels // groups, lanes)
    tiles, in_blocks = ceil_div(out_blocks, vectors), ceil_div(channels, lanes)
    x_block = math.prod(shape.size) * lanes
    x_image = x_block * groups * in_blocks
    columns = vectors * lanes
    last = channels - (in_blocks - 1) * lanes
    whole = in_blocks if last > lanes - 4 else in_blocks - 1
    tail = 0 if whole == in_blocks else ceil_div(last, 4)
    panel = shape.taps * (whole * lanes // 4 + tail) * (vectors + sums) * lanes * 4
    group_pixels = _group_pixels(shape, rows, columns, shape.images * groups * tiles)
    pixel_groups = ceil_div(shape.pixels, group_pixels)
    y_bytes = shape.images * groups * out_blocks * shape.pixels * lanes * SIZES[result]
    oc_outer = int(tiles > 1 and panel * tiles > 1 << 20 and x_image < panel * tiles)
    dims = (
        x_image, x_block, *shape.size, *shape.out_size, *shape.kernel, *shape.stride, *shape.dilation, *shape.pad,
        whole, tail, panel, groups, out_blocks, tiles, pixel_groups, group_pixels, oc_outer, shape.images,
        float_word(a), float_word(b), y_zero, FLIP,
    )  # fmt: skip
    per_channel = (0, 4 * groups * tiles * columns)
    reads = {
        "x": (0, shape.images * x_image), "zero": (0, 1), "w": (0, groups * tiles * panel), "bias": per_channel,
        "weight_sums": per_channel,
    }  # fmt: skip
    reads |= {"zeros": per_channel} if sums else {}
    reads |= {"scale": per_channel, "factor": (0, 4)} if result != "i32" else {}
    reads |= {"shift": per_channel} if result == "f32" else {}
    params = make_params(
        lanes=lanes, rows=rows, vectors=vectors, sums=int(sums), signed=int(source == "i8"), result=result,
        activation=activation if result == "f32" else "clip", form="pointwise" if shape.is_pointwise else "general",
        vnni=int(vnni),
    )  # fmt: skip
    scratch = 0 if shape.is_pointwise else 16 * rows * shape.taps
    return Launch(KERNEL, params, dims, shape.images * groups * tiles * pixel_groups, scratch=scratch, reads=reads,
                  writes={"y": (0, y_bytes)})  # fmt: skip


def _group_pixels(shape: ConvShape, rows: int, columns: int, panels: int) -> int:
    """Pixels of a task: enough work to be worth claiming, a multiple of ``rows``."""
    macs = columns * shape.taps * shape.channels // shape.groups
    many = ceil_div(shape.pixels, ceil_div(MANY_TASKS, max(1, panels)))
    wanted = max(2 * rows, min(many, max(48, round(TASK_MACS / macs))))
    return ceil_div(min(wanted, shape.pixels), rows) * rows


def pack_weights(w: np.ndarray, groups: int, lanes: int, vectors: int, sums: bool) -> np.ndarray:
    """[OC, IC/G, *kernel] i8 as [G, tiles, taps, groups of 4, vectors + sums, c, 4], flattened; surplus is zero."""
    out_channels, channels = w.shape[0] // groups, w.shape[1]
    taps, columns = math.prod(w.shape[2:]), vectors * lanes
    tiles = ceil_div(ceil_div(out_channels, lanes), vectors)
    fours = ceil_div(channels, 4)
    padded = np.zeros((groups, tiles * columns, 4 * fours, taps), np.int8)
    padded[:, :out_channels, :channels] = w.reshape(groups, out_channels, channels, taps)
    packed = padded.reshape(groups, tiles, vectors, lanes, fours, 4, taps).transpose(0, 1, 6, 4, 2, 3, 5)
    if sums:
        ones = np.zeros((4 * fours,), np.int8)
        ones[:channels] = 1
        column = np.broadcast_to(ones.reshape(1, 1, 1, fours, 1, 1, 4), (groups, tiles, taps, fours, 1, lanes, 4))
        packed = np.concatenate([packed, column], 4)
    return np.ascontiguousarray(packed).reshape(-1)


def pack_channels(values: np.ndarray, groups: int, lanes: int, vectors: int) -> np.ndarray:
    """[OC] as [G, tiles, vectors * c], flattened, zeros behind."""
    per_group = values.shape[0] // groups
    tiles = ceil_div(ceil_div(per_group, lanes), vectors)
    out = np.zeros((groups, tiles * vectors * lanes), values.dtype)
    out[:, :per_group] = values.reshape(groups, per_group)
    return out.reshape(-1)


def build(lanes: int, rows: int, vectors: int, sums: int, signed: int, result: str, activation: str, form: str,
          vnni: int):
    """Compile-time constants are the tile, the types and how input addresses are found (``form``)."""
    from numba.extending import register_jitable

    from cnncc.runtime.cpu.epilogue import build_activation
    from cnncc.runtime.cpu.integer_results import blocked_store
    from cnncc.runtime.cpu.memory_access import (
        load_f32,
        load_i64,
        load_u8,
        load_words,
        outside,
        select,
        stack,
        store_i64,
        word_float,
    )
    from cnncc.runtime.cpu.tile_integer import dot_even, dot_rows, dot_start

    finish = blocked_store(result, build_activation(activation), sums)
    real, y_width, columns = int(result != "i32"), SIZES[result] * lanes, 4 * lanes * vectors
    word = {name: i for i, name in enumerate(OPERANDS + DIMS)}
    IN_D, IN_H, IN_W, OUT_D, OUT_H, OUT_W = (word[f"{n}_{axis}"] for n in ("in", "out") for axis in "dhw")
    K_D, K_H, K_W, STRIDE_D, STRIDE_H, STRIDE_W = (word[f"{n}_{axis}"] for n in ("k", "stride") for axis in "dhw")
    DILATION_D, DILATION_H, DILATION_W, PAD_D, PAD_H, PAD_W = (
        word[f"{n}_{axis}"] for n in ("dilation", "pad") for axis in "dhw"
    )
    X_BLOCK, X_IMAGE, BLOCKS, TAIL, PANEL = (word[n] for n in ("x_block", "x_image", "blocks", "tail", "panel"))
    GROUPS, OUT_BLOCKS, TILES_, IMAGES = (word[n] for n in ("groups", "out_blocks", "tiles", "images"))
    PIXEL_GROUPS, GROUP_PIXELS, OC_OUTER = (word[n] for n in ("pixel_groups", "group_pixels", "oc_outer"))
    A, B, Y_ZERO, FLIP_ = word["a"], word["b"], word["y_zero"], word["flip"]
    word_count, (X, ZERO, W, BIAS, SUMS, ZEROS, SCALE, SHIFT, FACTOR, Y, SCRATCH) = len(word), range(11)
    pointwise, place_bytes, row_bytes, flip = form == "pointwise", 24 * rows, 8 * rows, 128 if signed else 0
    table_bytes = 2 * row_bytes

    @register_jitable
    def locate(words, places, p, last):
        """Where tap (0, 0, 0) of each pixel p .. p+rows-1 (held at ``last``) lies: (d, h, w) in x."""
        out_h, out_w = words[OUT_H], words[OUT_W]
        q = min(p, last)
        w = q % out_w
        q = q // out_w
        h, d = q % out_h, q // out_h
        for r in range(rows):
            store_i64(places + 24 * r, d * words[STRIDE_D] - words[PAD_D])
            store_i64(places + 24 * r + 8, h * words[STRIDE_H] - words[PAD_H])
            store_i64(places + 24 * r + 16, w * words[STRIDE_W] - words[PAD_W])
            if p + r < last:
                w += 1
                if w == out_w:
                    w = 0
                    h += 1
                    if h == out_h:
                        h = 0
                        d += 1

    @register_jitable
    def aim(words, places, x, padding):
        """Addresses and distances of the tile's input pixels for each tap."""
        in_d, in_h, in_w, x_block = words[IN_D], words[IN_H], words[IN_W], words[X_BLOCK]
        k_d, k_h, k_w, at = words[K_D], words[K_H], words[K_W], words[SCRATCH]
        for i in range(k_d):
            for j in range(k_h):
                for t in range(k_w):
                    d, h, w = i * words[DILATION_D], j * words[DILATION_H], t * words[DILATION_W]
                    for r in range(rows):
                        z, y = load_i64(places + 24 * r) + d, load_i64(places + 24 * r + 8) + h
                        c = load_i64(places + 24 * r + 16) + w
                        missing = outside(z, in_d) | outside(y, in_h) | outside(c, in_w)
                        store_i64(at + 8 * r, select(missing, padding, x + ((z * in_h + y) * in_w + c) * lanes))
                        store_i64(at + row_bytes + 8 * r, select(missing, 0, x_block))
                    at += 2 * row_bytes

    @register_jitable
    def multiply(acc, words, w, taps):
        at, blocks, tail, step = words[SCRATCH], words[BLOCKS], words[TAIL], words[PANEL] // taps
        for _ in range(taps):
            acc = dot_rows(acc, at, at + row_bytes, w, blocks, tail, words[FLIP_], signed, vnni)
            w += step
            at += 2 * row_bytes
        return acc

    @register_jitable
    def multiply_pointwise(acc, words, rows_at, x, w, p, last):
        blocks, tail, x_block = words[BLOCKS], words[TAIL], words[X_BLOCK]
        if p + (rows - 1) <= last:
            return dot_even(acc, x + p * lanes, lanes, x_block, w, blocks, tail, words[FLIP_], signed, vnni)
        for r in range(rows):
            store_i64(rows_at + 8 * r, x + min(p + r, last) * lanes)
            store_i64(rows_at + row_bytes + 8 * r, x_block)
        return dot_rows(acc, rows_at, rows_at + row_bytes, w, blocks, tail, words[FLIP_], signed, vnni)

    @register_jitable
    def task_of(words, task):
        """(image, group, tile of channels, group of pixels); the innermost is what the next task changes."""
        pixel_groups, tiles = words[PIXEL_GROUPS], words[TILES_]
        groups, images = words[GROUPS], words[IMAGES]
        if words[OC_OUTER] != 0:
            part = task % pixel_groups
            task = task // pixel_groups
            image = task % images
            task = task // images
            return image, task // tiles, task % tiles, part
        tile = task % tiles
        task = task // tiles
        group = task % groups
        task = task // groups
        return task // pixel_groups, group, tile, task % pixel_groups

    def conv_integer(args, begin, end):
        words = load_words(args, word_count)
        padding, rows_at, places = stack(64), stack(table_bytes), stack(place_bytes)
        zero = load_u8(words[ZERO])
        for i in range(8):
            store_i64(padding + 8 * i, zero * 0x0101010101010101)
        zero = zero ^ flip
        x_block, group_pixels = words[X_BLOCK], words[GROUP_PIXELS]
        taps = words[K_D] * words[K_H] * words[K_W]
        pixels = words[OUT_D] * words[OUT_H] * words[OUT_W]
        in_blocks = words[BLOCKS] + min(words[TAIL], 1)
        out_blocks, tiles, groups = words[OUT_BLOCKS], words[TILES_], words[GROUPS]
        a, b, y_zero = word_float(words[A]), word_float(words[B]), words[Y_ZERO]
        factor = load_f32(words[FACTOR]) if real else a
        plane = pixels * y_width
        for task in range(begin, end):
            image, group, tile, part = task_of(words, task)
            x = words[X] + image * words[X_IMAGE] + group * x_block * in_blocks
            panel = group * tiles + tile
            w, at = words[W] + panel * words[PANEL], panel * columns
            y = words[Y] + ((image * groups + group) * out_blocks + tile * vectors) * plane
            valid = out_blocks - tile * vectors
            start = dot_start(words[BIAS] + at, words[SUMS] + at, zero, rows, vectors, lanes, sums)
            first = part * group_pixels
            stop = min(first + group_pixels, pixels)
            for p in range(first, stop, rows):
                if pointwise:
                    acc = multiply_pointwise(start, words, rows_at, x, w, p, stop - 1)
                else:
                    locate(words, places, p, stop - 1)
                    aim(words, places, x, padding)
                    acc = multiply(start, words, w, taps)
                finish(acc, y + p * y_width, y_width, plane, stop - p, valid, words[SCALE] + at, words[SHIFT] + at,
                       words[ZEROS] + at, factor, a, b, y_zero)  # fmt: skip

    return conv_integer


KERNEL = Kernel("conv_integer", OPERANDS, DIMS, build)
