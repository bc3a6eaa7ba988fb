"""Pointwise convolution by one level of Strassen's algorithm, in Winograd's form: 7 half products instead of 8.

Pixels are taken in pairs: ``rows`` of them and the next ``rows``, paired one by one. The halves of input channels,
output channels and paired pixels make four quarters of x (A), of the weights (B) and of y (C):

    C11 = A11 B11 + A12 B21     C12 = A11 B12 + A12 B22     (first pixels)
    C21 = A21 B11 + A22 B21     C22 = A21 B12 + A22 B22     (second pixels)

With S1 = A21 + A22, S2 = S1 - A11, S3 = A11 - A21, S4 = A12 - S2 and T1 = B12 - B11, T2 = B22 - T1, T3 = B22 - B12,
T4 = T2 - B21 the products and what they are added to are, in this order (Winograd 1971)

    U = A11 B11      C11 = U + A12 B21      U += S2 T2            V = U + S3 T3
                     C21 = V - A22 T4       C22 = V + S1 T1       C12 = U + S1 T1 + S4 B22

Weights are summed beforehand, S by a thread for the pixels of a task during its second product, unless it has it from
its task before. A product goes over all pairs of the task, so that its weights, a seventh of a panel, stay in the
nearest caches; U and V wait in scratch memory.

The weights of an output channel are divided by a power of 2 near their mean, which results are multiplied by in the
end: channels of different sizes would otherwise get each other's rounding errors.

Layouts (float32): x is [N, IC/c, D*H*W, c]; y and add are [N, OC/c, pixels, c]; bias is [panels, 2, vectors * c];
weights are panels of [2, vectors * c] factors and [7, IC/2, vectors * c] weights, surplus output channels being zero.
Scratch of a thread, for pairs of tiles: A [pairs, IC/c, 2 * rows, c] of a pair that reaches beyond the image, or with
strides of all of them, S [4, pairs, IC/2c, rows, c], U and V [pairs, 2, rows, vectors * c].
"""

import math

import numpy as np

from cnncc.runtime.cpu.conv_shape import ConvShape
from cnncc.runtime.cpu.kernel import Kernel, Launch, ask_every, ceil_div, float_word, make_params

OPERANDS = ("x", "w", "bias", "add", "y", "scratch")
DIMS = (
    "pixels", "half_in", "half_out", "panels", "pairs", "groups", "parts", "in_pixels", "out_h", "out_w", "step_d",
    "step_h", "step_w", "in_scratch", "a", "b",
)  # fmt: skip
VECTORS = {16: 4, 8: 2, 4: 4}  # of a tile, by lanes
# Rows of a tile, with measured merit: where there are 7, its registers do not hold all weights of an update.
ROWS = {16: {6: 1.0, 7: 0.995}, 8: {6: 1.0}, 4: {6: 1.0}}
REGISTERS = 32  # that a tile of 7 rows is for
PRODUCTS = 7
PAIRS, PIXEL_BYTES = 12, 640 << 10  # of a task, at most: what a product's weights are read for; x and S in L2
MIN_TASKS, MIN_PAIRS = 8, 4  # of all images, unless tasks would be of fewer pairs
# Weights that come anew for each group of pixels: then few of them, and a task for each panel.
WIDE_BYTES, WIDE_PIXEL_BYTES, MIN_WIDE_TASKS = 1 << 20, 900 << 10, 4


def supports(shape: ConvShape, lanes: int) -> bool:
    """One tap, one group, channels that can be halved between two vectors."""
    counts = shape.channels, shape.out_channels
    return shape.is_sampling and shape.groups == 1 and all(count % (2 * lanes) == 0 for count in counts)


def choose_rows(pixels: int, lanes: int) -> int:
    """The rows with the least padded work."""
    return min(ROWS[lanes], key=lambda rows: ceil_div(pixels, 2 * rows) * rows / ROWS[lanes][rows])


def choose_tasks(shape: ConvShape, lanes: int) -> tuple[int, int, int]:
    """(pairs of tiles in an image, groups that they are divided into, tasks of a group)."""
    rows, vectors = choose_rows(shape.pixels, lanes), VECTORS[lanes]
    pairs, each = ceil_div(shape.pixels, 2 * rows), 16 * shape.channels * rows
    panels = ceil_div(shape.out_channels, 2 * lanes * vectors)
    if weight_bytes(shape, lanes) < WIDE_BYTES:
        least = ceil_div(pairs, max(1, min(PAIRS, PIXEL_BYTES // each)))
        return pairs, max(least, min(ceil_div(pairs, MIN_PAIRS), ceil_div(MIN_TASKS, shape.images))), 1
    least = ceil_div(pairs, max(1, WIDE_PIXEL_BYTES // each))
    return pairs, max(least, min(pairs, ceil_div(MIN_WIDE_TASKS, shape.images * panels))), panels


def weight_bytes(shape: ConvShape, lanes: int) -> int:
    columns = VECTORS[lanes] * lanes
    return 4 * columns * ceil_div(shape.out_channels, 2 * columns) * (2 + PRODUCTS * shape.channels // 2)


def launch(
    shape: ConvShape, lanes: int, residual: bool = False, activation: str = "clip", a: float = -math.inf,
    b: float = math.inf,
) -> Launch:  # fmt: skip
    """The step of a convolution; ``a`` and ``b`` belong to the activation (see epilogue.py)."""
    if not supports(shape, lanes):
        raise ValueError(f"{shape} is no convolution for conv_strassen")
    rows, vectors = choose_rows(shape.pixels, lanes), VECTORS[lanes]
    width = 4 * lanes
    half_in, half_out = shape.channels // (2 * lanes), shape.out_channels // (2 * lanes)
    panels = ceil_div(half_out, vectors)
    pairs, groups, parts = choose_tasks(shape, lanes)
    most = ceil_div(pairs, groups)
    (_, in_h, in_w), (_, out_h, out_w), (stride_d, stride_h, stride_w) = shape.size, shape.out_size, shape.stride
    in_pixels = math.prod(shape.size)
    dims = (
        shape.pixels, half_in, half_out, panels, pairs, groups, parts, in_pixels, out_h, out_w, stride_d * in_h * in_w,
        stride_h * in_w, stride_w, -1, float_word(a), float_word(b),
    )  # fmt: skip
    every = ask_every(vectors * width // max(1, pairs // groups))
    params = make_params(lanes=lanes, rows=rows, vectors=vectors, activation=activation, every=every)
    copied = most if in_pixels != shape.pixels else 1
    scratch = rows * width * (4 * half_in * (copied + most) + 2 * vectors * most)
    plane = shape.images * shape.pixels * 4
    reads = {"x": (0, shape.images * in_pixels * 4 * shape.channels), "w": (0, weight_bytes(shape, lanes)),
             "bias": (0, panels * 2 * vectors * width)}
    if residual:
        reads["add"] = (0, plane * shape.out_channels)
    writes = {"y": (0, plane * shape.out_channels)}
    return Launch(KERNEL, params, dims, shape.images * groups * parts, 1, scratch, reads, writes)


def pack_weights(w: np.ndarray, lanes: int) -> np.ndarray:
    """[OC, IC, 1, ...] as panels of factors and sums of weights, which are rounded once; flat."""
    rows, columns = w.reshape(len(w), -1), VECTORS[lanes] * lanes
    half_out, half_in = len(w) // 2, rows.shape[1] // 2
    out = np.zeros((ceil_div(half_out, columns), 2 + PRODUCTS * half_in, columns), np.float32)
    for panel, packed in enumerate(out):
        b = np.zeros((2, 2 * half_in, columns), np.float32)
        for half in range(2):
            part = rows[half * half_out : (half + 1) * half_out][panel * columns : (panel + 1) * columns]
            mean = np.abs(part).mean(1, dtype=np.float64)
            power = np.exp2(np.frexp(mean)[1]).astype(np.float32)
            np.multiply(part.T.copy(), 1 / power, out=b[half, :, : len(part)])
            packed[half, : len(part)] = np.where(mean > 0, power, 0)
        (b11, b21), (b12, b22) = b.reshape(2, 2, half_in, columns)
        t1, t3 = (np.subtract(*pair, dtype=np.float64) for pair in ((b12, b11), (b22, b12)))
        t2 = b22 - t1
        products = packed[2:].reshape(PRODUCTS, half_in, columns)
        for target, weights in zip(products, (b11, b21, t2, t3, b21 - t2, t1, b22), strict=True):
            target[:] = weights
    return out.reshape(-1)


def pack_bias(bias: np.ndarray | None, out_channels: int, lanes: int) -> np.ndarray:
    """[OC] as [panels, 2, vectors * c] float32, flat; zeros for None."""
    half, columns = out_channels // 2, VECTORS[lanes] * lanes
    out = np.zeros((2, ceil_div(half, columns) * columns), np.float32)
    if bias is not None:
        out[:, :half] = bias.reshape(2, half)
    return out.reshape(2, -1, columns).swapaxes(0, 1).reshape(-1)


def _build_intrinsics():
    """Three intrinsics: ``scaled(tile, factors, bias)``, row by row; ``move(tile, old, place)`` adds tile - old to what
    lies at ``place``, vectors one after the other; ``ask(address, rows, lanes)`` has vectors brought to all caches."""
    from numba import types
    from numba.core.typing.templates import signature
    from numba.extending import intrinsic

    from cnncc.runtime.cpu.memory_access import emit_prefetch
    from cnncc.runtime.cpu.simd import I64, constant, emit_fma, pointer, vector
    from cnncc.runtime.cpu.tile import Tile, pack, unpack

    def vectors_at(builder, address, count, lanes):
        places = (builder.add(address, I64(4 * lanes * i)) for i in range(count))
        return [builder.load(pointer(builder, place, vector(lanes)), align=4) for place in places]

    @intrinsic
    def scaled(typingctx, tile, factors, bias):
        if not isinstance(tile, Tile):
            return None

        def codegen(context, builder, sig, args):
            factor, added = (vectors_at(builder, place, tile.vectors, tile.lanes) for place in args[1:])
            values = unpack(builder, args[0], tile)
            out = [emit_fma(builder, value, factor[i % tile.vectors], added[i % tile.vectors])
                   for i, value in enumerate(values)]
            return pack(builder, out, tile)

        return signature(tile, tile, types.int64, types.int64), codegen

    @intrinsic
    def move(typingctx, tile, old, place):
        if not isinstance(tile, Tile):
            return None

        def codegen(context, builder, sig, args):
            for i, value in enumerate(unpack(builder, args[0], tile)):
                minus, target = (pointer(builder, builder.add(at, I64(4 * tile.lanes * i)), vector(tile.lanes))
                                 for at in args[1:])
                difference = builder.fsub(value, builder.load(minus, align=4))
                builder.store(builder.fadd(difference, builder.load(target, align=4)), target, align=4)
            return context.get_dummy_value()

        return signature(types.void, tile, types.int64, types.int64), codegen

    @intrinsic(prefer_literal=True)
    def ask(typingctx, address, rows, lanes):
        count, width = constant(rows), 4 * constant(lanes)

        def codegen(context, builder, sig, args):
            for at in range(0, count * width, 64):
                emit_prefetch(builder, builder.add(args[0], I64(at)), near=True)
            return context.get_dummy_value()

        return signature(types.void, types.int64, rows, lanes), codegen

    return scaled, move, ask


def build(lanes: int, rows: int, vectors: int, activation: str, every: int):
    """Compile-time constants are the tile, the epilogue and how many updates of the tile there are to one that asks for
    a cache line."""
    from numba.extending import register_jitable

    from cnncc.runtime.cpu.epilogue import build_activation
    from cnncc.runtime.cpu.memory_access import load_i64, load_words, select, stack, store_i64, word_float
    from cnncc.runtime.cpu.simd import load, splat, store
    from cnncc.runtime.cpu.tile import tile_fma_even_ahead, tile_fma_even_rereading, tile_zero
    from cnncc.runtime.cpu.tile_memory import store_through, tile_load, tile_store

    finish = store_through(build_activation(activation))
    scaled, move, ask = _build_intrinsics()
    multiply = tile_fma_even_ahead if (rows + 1) * vectors < REGISTERS else tile_fma_even_rereading
    width, columns = 4 * lanes, 4 * lanes * vectors
    side, across, tile_bytes, place_bytes = rows * width, lanes * columns, rows * columns, 16 * rows
    third = ceil_div(2 * rows, 3)  # of a pair's pixels
    word = {name: i for i, name in enumerate(OPERANDS + DIMS)}
    word_count, (X, W, BIAS, ADD, Y, SCRATCH) = len(word), range(6)
    (PIXELS, HALF_IN, HALF_OUT, PANELS, PAIRS_, GROUPS, PARTS, IN_PIXELS, OUT_H, OUT_W, STEP_D, STEP_H, STEP_W,
     IN_SCRATCH, A, B) = (word[name] for name in DIMS)

    @register_jitable
    def place_of(words, p):
        """Where in a block of channels the pixel lies that output pixel ``p`` reads."""
        line, w = p // words[OUT_W], p % words[OUT_W]
        h, d = line % words[OUT_H], line // words[OUT_H]
        return (d * words[STEP_D] + h * words[STEP_H] + w * words[STEP_W]) * width

    @register_jitable
    def copy_pair(words, x, first, places, target):
        """The pixels of a pair from output pixel ``first`` on, zeros for those beyond the image."""
        step, valid = words[IN_PIXELS] * width, min(2 * rows, words[PIXELS] - first)
        for r in range(valid):
            store_i64(places + 8 * r, x + place_of(words, first + r))
        for block in range(2 * words[HALF_IN]):
            for r in range(valid):
                store(target + (block * 2 * rows + r) * width, load(load_i64(places + 8 * r) + block * step, lanes))
            for r in range(valid, 2 * rows):
                store(target + (block * 2 * rows + r) * width, splat(0.0, lanes))

    @register_jitable
    def add_up(a11, a12, s, s_step):
        """S1 .. S4 of a block of channels of a pair."""
        for r in range(rows):
            p, q, target = a11 + r * width, a12 + r * width, s + r * width
            x11 = load(p, lanes)
            x21 = load(p + side, lanes)
            s1 = x21 + load(q + side, lanes)
            s2 = s1 - x11
            store(target, s1)
            store(target + s_step, s2)
            store(target + 2 * s_step, x11 - x21)
            store(target + 3 * s_step, load(q, lanes) - s2)

    @register_jitable
    def operand(k, a11, a12, s, s_step):
        """Where the pixels of product ``k`` lie."""
        if k == 0:
            return a11
        if k == 1:
            return a12
        if k == 4:
            return a12 + side
        return s + s_step * select(k == 5, 0, select(k == 6, 3, k - 1))

    def conv_strassen(args, begin, end):
        words = load_words(args, word_count)
        pixels, half_in, half_out, panels = words[PIXELS], words[HALF_IN], words[HALF_OUT], words[PANELS]
        all_pairs, groups, parts = words[PAIRS_], words[GROUPS], words[PARTS]
        a, b = word_float(words[A]), word_float(words[B])
        in_plane, plane = words[IN_PIXELS] * width, pixels * width
        product_bytes, quarter = half_in * across, half_in * side
        panel_bytes = 2 * columns + 7 * product_bytes
        most = (all_pairs + groups - 1) // groups
        sampled, copies, places = words[IN_PIXELS] != pixels, words[SCRATCH], stack(place_bytes)
        s_at, s_step = copies + 4 * quarter * select(sampled, most, 1), most * quarter
        sums_at = s_at + 4 * s_step
        for task in range(begin, end):
            source, part = task // parts, task % parts
            image, group = source // groups, source % groups
            start, after = all_pairs * group // groups, all_pairs * (group + 1) // groups
            pairs, start, stop = after - start, start * 2 * rows, min(after * 2 * rows, pixels)
            x = words[X] + image * 2 * half_in * in_plane
            whole_pairs = select(sampled, 0, (stop - start) // (2 * rows))  # that are read where they lie
            before = load_i64(args + 8 * IN_SCRATCH)
            fresh, leaves = source != before, (before >= 0) & (panels * panel_bytes < WIDE_BYTES)
            if fresh:
                for t in range(whole_pairs, pairs):
                    copy_pair(words, x, start + t * 2 * rows, places, copies + (t - whole_pairs) * 4 * quarter)
            first, until = panels * part // parts, panels * (part + 1) // parts
            for panel in range(first, until):
                w_at = words[W] + panel * panel_bytes
                y_at = (image * 2 * half_out + panel * vectors) * plane
                for k in range(7):
                    w = w_at + 2 * columns + k * product_bytes
                    ahead = w + product_bytes
                    if k == 6:
                        ahead += 2 * columns if panel + 1 < panels else 2 * columns - panels * panel_bytes
                    # Each update asks for an equal part of the next product's weights. Where a thread has had all of
                    # them before, the last panel's ask for the next group's pixels: two products for a third of each
                    # pair's.
                    leaving = leaves & (panel + 1 == panels)
                    step = select(leaving, 4 * third * words[STEP_W], columns // pairs)
                    block_step = select(leaving, in_plane, lanes * step)
                    second, right = (k == 4) | (k == 5), select(k >= 5, 1, 0)
                    shift = select(second, rows, 0)
                    for t in range(pairs):
                        p = start + t * 2 * rows
                        a11, x_step = x + p * width, in_plane
                        if t >= whole_pairs:
                            a11, x_step = copies + (t - whole_pairs) * 4 * quarter, 2 * side
                        a12, s = a11 + half_in * x_step, s_at + t * quarter
                        at, at_step = operand(k, a11, a12, s, s_step), select((k < 2) | (k == 4), x_step, side)
                        u, v = sums_at + 2 * t * tile_bytes, sums_at + (2 * t + 1) * tile_bytes
                        acc = tile_zero(rows, vectors, lanes)
                        if k > 0:
                            acc = tile_load(select(second, v, u), columns, width, rows, vectors, rows, vectors, lanes)
                        later = ahead + t * half_in * block_step
                        if leaving:
                            later = place_of(words, (after + t) * 2 * rows + k // 2 * third)
                            later += x + k % 2 * half_in * in_plane
                        for block in range(half_in):
                            ask(at + (block + 1) * at_step, rows, lanes)
                            acc = multiply(acc, at + block * at_step, width, 4, w + block * across, columns, lanes, 4,
                                           later + block * block_step, step, every)
                            if fresh and k == 1:
                                add_up(a11 + block * x_step, a12 + block * x_step, s + block * side, s_step)
                        if (k == 0) | (k == 2) | (k == 3):
                            tile_store(acc, select(k == 3, v, u), columns, width, rows, vectors)
                        if k == 5:
                            move(acc, v, u)
                        if (k == 1) | (k > 3):
                            place = y_at + (p + shift) * width + right * half_out * plane
                            whole = scaled(acc, w_at + right * columns, words[BIAS] + (2 * panel + right) * columns)
                            finish(whole, words[Y], words[ADD], place, width, plane, stop - p - shift,
                                   half_out - panel * vectors, a, b)
                fresh = False
            store_i64(args + 8 * IN_SCRATCH, source)

    return conv_strassen


KERNEL = Kernel("conv_strassen", OPERANDS, DIMS, build)
