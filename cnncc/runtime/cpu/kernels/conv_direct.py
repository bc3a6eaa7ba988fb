"""Direct convolution in NCHWc: register tiles of output pixels x output channels, no copies of the input.

A tile is ``rows`` output pixels (consecutive in OD*OH*OW, so tiles cross row ends) times ``vectors`` blocks of
``lanes`` output channels. It stays in registers over the whole reduction

    y[p, o] = act(bias[o] + add[p, o] + sum over ic, kd, kh, kw of x[ic, pixel(p, kd, kh, kw)] * w[o, ic, kd, kh, kw])

The addresses of the ``rows`` input pixels of each tap are computed once a tile, a pixel in the padding being replaced
by a row of zeros; from one block of ``lanes`` input channels to the next they move by a distance, which is 0 for zeros.
With one tap and strides ("sampled") a thread first copies the pixels of a group together, for all its tiles of
channels.

Layouts (float32): x is [N, IC/c, D*H*W, c]; y and add are [N, OC/c, OD*OH*OW, c]; bias is
[G, tiles, vectors * c]; weights are [G, tiles, IC/c, KD*KH*KW, c, vectors * c], the last input block being as short as
the channels are (so surplus lanes of x are never read) and surplus output channels being zero. Scratch: for each
tap ``rows`` addresses and ``rows`` distances (int64), or sampled pixels as [IC/c, group_pixels, c]; at ``sums``, where
the input channels are gone over in chunks, partial sums as [group_pixels, vectors * c].
"""

import math
from collections.abc import Mapping

import numpy as np

from cnncc.runtime.cpu.conv_shape import ConvShape
from cnncc.runtime.cpu.kernel import Kernel, Launch, ask_every, ceil_div, float_word, make_params

OPERANDS = ("x", "w", "bias", "add", "y", "scratch")
DIMS = (
    "x_image", "x_block", "in_d", "in_h", "in_w", "out_d", "out_h", "out_w", "k_d", "k_h", "k_w",
    "stride_d", "stride_h", "stride_w", "dilation_d", "dilation_h", "dilation_w", "pad_d", "pad_h", "pad_w",
    "channels", "groups", "out_blocks", "tiles", "pixel_groups", "group_pixels", "chunk", "oc_outer", "images",
    "sums", "in_scratch", "a", "b",
)  # fmt: skip
PANEL_BYTES = 384 << 10  # weights that a task goes over again for each of its pixel tiles: part of a 1 MiB L2
# From this size on, weights of one tap are gone over in parts that stay in L1, of so much for each of ``vectors``: that
# pays for partial sums, unless no more than FEW_PASSES tiles of pixels go over them.
WIDE_PANEL_BYTES, CHUNK_BYTES, FEW_PASSES = 64 << 10, 8 << 10, 2
NEAR_BYTES = 1 << 20  # pixels of all images that stay in the caches while all weights are gone over
TASK_FLOPS, MANY_TASKS, FEW_TASKS = 4e6, 64, 8
LEAVING = 4  # bytes for each of ``rows``, with each input channel: the pixels that are read next, all of them
SAMPLED_BYTES = 256 << 10  # pixels that a thread copies together, to read them for each tile of output channels
# (rows, vectors) by lanes: what fits 32 registers (16 and 4 lanes) or 16 registers (8 lanes), with measured merit
TILES = {
    16: {
        (6, 4): 1.0, (5, 4): 0.99, (4, 4): 0.95, (7, 3): 1.0, (8, 3): 1.0, (8, 2): 0.95, (12, 2): 0.98, (10, 2): 0.97,
        (12, 1): 0.85,
    },
    8: {(6, 2): 1.0, (4, 3): 1.0, (5, 2): 0.97, (10, 1): 0.9},
    4: {(6, 4): 1.0, (5, 4): 0.99, (8, 3): 1.0, (7, 3): 0.98, (10, 2): 0.97, (12, 1): 0.85},
}


def choose_tile(
    shape: ConvShape, lanes: int, tiles: Mapping[int, Mapping[tuple[int, int], float]] = TILES
) -> tuple[int, int]:
    """(rows, vectors) with the least padded work; wide panels of weights that overflow a cache count as more."""
    blocks = ceil_div(shape.out_channels // shape.groups, lanes)

    def cost(tile: tuple[int, int]) -> float:
        rows, vectors = tile
        padded = ceil_div(shape.pixels, rows) * rows * ceil_div(blocks, vectors) * vectors
        panel = 4 * lanes * vectors * shape.channels // shape.groups * shape.taps
        return padded / tiles[lanes][tile] * (1 + min(0.25, max(0.0, 0.12 * (panel / PANEL_BYTES - 1))))

    return min(tiles[lanes], key=cost)


def supports(shape: ConvShape, lanes: int) -> bool:
    """Groups must not cut a block of channels."""
    per_group = (shape.channels // shape.groups, shape.out_channels // shape.groups)
    return shape.groups == 1 or all(n % lanes == 0 for n in per_group)


def launch(
    shape: ConvShape, lanes: int, tile: tuple[int, int] | None = None, residual: bool = False,
    activation: str = "clip", a: float = -math.inf, b: float = math.inf,
) -> Launch:  # fmt: skip
    """The step of a convolution; ``a`` and ``b`` belong to the activation (see epilogue.py)."""
    rows, vectors = tile or choose_tile(shape, lanes)
    if not supports(shape, lanes):
        raise ValueError(f"groups of {shape} cut blocks of {lanes} channels")
    width = lanes * 4
    groups, channels = shape.groups, shape.channels // shape.groups
    blocks = ceil_div(shape.out_channels // groups, lanes)
    tiles = ceil_div(blocks, vectors)
    in_pixels = math.prod(shape.size)
    in_blocks = ceil_div(channels, lanes)
    x_block = in_pixels * width
    x_image = x_block * groups * in_blocks
    y_bytes = shape.images * groups * blocks * shape.pixels * width
    w_bytes = groups * tiles * channels * shape.taps * vectors * width
    form = "pointwise" if shape.is_pointwise else "sampled" if shape.is_sampling else "general"
    sampled = SAMPLED_BYTES // (in_blocks * width) if form == "sampled" else 0
    group_pixels = _group_pixels(shape, rows, vectors * lanes, shape.images * groups * tiles, sampled)
    pixel_groups = ceil_div(shape.pixels, group_pixels)
    panel = channels * shape.taps * vectors * width
    near = form != "general" and panel >= WIDE_PANEL_BYTES and group_pixels > FEW_PASSES * rows
    part = vectors * CHUNK_BYTES if near else PANEL_BYTES
    chunk = in_blocks if group_pixels <= rows else ceil_div(in_blocks, ceil_div(panel, part))
    scratch = {"pointwise": 0, "sampled": in_blocks * group_pixels * width, "general": 16 * rows * shape.taps}[form]
    scratch = ceil_div(scratch, 64) * 64
    sums = group_pixels * vectors * width if chunk < in_blocks else 0
    # One operand is read once, the other once per tile (or pixel group). That costs less if it stays in a cache, which
    # for pixels is often another core's. Weights may come from beyond it, since they are asked for in time.
    pixel_bytes = shape.images * x_image // groups
    rereading = tiles * _way(pixel_bytes, 2), pixel_groups * shape.images * _way(w_bytes // groups, 8)
    oc_outer = form != "sampled" and rereading[0] < rereading[1] and pixel_bytes <= NEAR_BYTES
    dims = (
        x_image, x_block, *shape.size, *shape.out_size, *shape.kernel, *shape.stride, *shape.dilation, *shape.pad,
        channels, groups, blocks, tiles, pixel_groups, group_pixels, chunk, int(oc_outer), shape.images,
        scratch, -1, float_word(a), float_word(b),
    )  # fmt: skip
    reads = {"x": (0, shape.images * x_image), "w": (0, w_bytes), "bias": (0, groups * tiles * vectors * width)}
    if residual:
        reads["add"] = (0, y_bytes)
    passes = ceil_div(shape.pixels if oc_outer and chunk == in_blocks else group_pixels, rows)
    step = max(vectors * width // passes, 0 if oc_outer or form != "pointwise" else LEAVING * rows)
    params = make_params(
        lanes=lanes, rows=rows, vectors=vectors, activation=activation, form=form, every=ask_every(step)
    )  # fmt: skip
    sources = shape.images * groups * pixel_groups
    return Launch(KERNEL, params, dims, sources * tiles, 1, scratch + sums, reads, {"y": (0, y_bytes)})


def _group_pixels(shape: ConvShape, rows: int, columns: int, panels: int, sampled: int) -> int:
    """Pixels of a task: enough work to be worth claiming and to read the weights for, a multiple of ``rows``.

    Smaller, down to 48 pixels, where that leaves fewer than MANY_TASKS; down to two tiles where fewer than FEW_TASKS.
    ``sampled``, if not 0, is how many are copied together.
    """
    flops = 2 * columns * shape.taps * shape.channels // shape.groups
    many, few = (ceil_div(shape.pixels, ceil_div(tasks, max(1, panels))) for tasks in (MANY_TASKS, FEW_TASKS))
    wanted = min(192, max(48, min(many, round(TASK_FLOPS / flops))))
    if sampled:
        wanted = ceil_div(shape.pixels, ceil_div(shape.pixels, sampled))
    return ceil_div(min(wanted, max(2 * rows, few)), rows) * rows


def _way(size: int, nearer: int) -> int:
    """Bytes to read anew, as if all came from beyond the caches."""
    return size if size > 2 * PANEL_BYTES else size // nearer


def pack_weights(w: np.ndarray, groups: int, lanes: int, vectors: int) -> np.ndarray:
    """[OC, IC/G, *kernel] as [G, tiles, (IC/c, taps, c), vectors * c] float32, flattened."""
    out_channels, channels = w.shape[0] // groups, w.shape[1]
    taps, columns = math.prod(w.shape[2:]), vectors * lanes
    tiles = ceil_div(ceil_div(out_channels, lanes), vectors)
    padded = np.zeros((groups, tiles * columns, channels, taps), np.float32)
    padded[:, :out_channels] = w.reshape(groups, out_channels, channels, taps)
    ordered = padded.reshape(groups, tiles, columns, channels, taps).transpose(0, 1, 4, 3, 2)
    out = np.empty((groups, tiles, taps * channels, columns), np.float32)
    for start in range(0, channels, lanes):
        part = ordered[:, :, :, start : start + lanes]
        stop = start + part.shape[3]
        out[:, :, start * taps : stop * taps] = part.reshape(groups, tiles, -1, columns)
    return out.reshape(-1)


def pack_bias(bias: np.ndarray | None, out_channels: int, groups: int, lanes: int, vectors: int) -> np.ndarray:
    """[OC] as [G, tiles, vectors * c] float32, flattened; zeros for None."""
    per_group = out_channels // groups
    tiles = ceil_div(ceil_div(per_group, lanes), vectors)
    out = np.zeros((groups, tiles * vectors * lanes), np.float32)
    if bias is not None:
        out[:, :per_group] = bias.reshape(groups, per_group)
    return out.reshape(-1)


def build(lanes: int, rows: int, vectors: int, activation: str, form: str, every: int):
    """Compile-time constants are the tile, the epilogue, how input addresses are found (``form``) and how many updates
    of the tile there are to one that asks for a cache line."""
    from numba.extending import register_jitable

    from cnncc.runtime.cpu.epilogue import build_activation
    from cnncc.runtime.cpu.memory_access import (
        load_i64,
        load_words,
        outside,
        prefetch_near,
        select,
        stack,
        store_i64,
        word_float,
    )
    from cnncc.runtime.cpu.simd import load, splat, store
    from cnncc.runtime.cpu.tile import tile_fma, tile_fma_ahead, tile_fma_even_ahead, tile_of_row
    from cnncc.runtime.cpu.tile_memory import store_through, tile_load, tile_store

    tile_finish = store_through(build_activation(activation))
    width, columns = 4 * lanes, 4 * lanes * vectors
    word = {name: i for i, name in enumerate(OPERANDS + DIMS)}
    IN_D, IN_H, IN_W, OUT_D, OUT_H, OUT_W = (word[f"{n}_{axis}"] for n in ("in", "out") for axis in "dhw")
    K_D, K_H, K_W, STRIDE_D, STRIDE_H, STRIDE_W = (word[f"{n}_{axis}"] for n in ("k", "stride") for axis in "dhw")
    DILATION_D, DILATION_H, DILATION_W, PAD_D, PAD_H, PAD_W = (
        word[f"{n}_{axis}"] for n in ("dilation", "pad") for axis in "dhw"
    )
    X_BLOCK, X_IMAGE, CHANNELS, GROUPS = (word[n] for n in ("x_block", "x_image", "channels", "groups"))
    OUT_BLOCKS, TILES_, CHUNK, IMAGES = (word[n] for n in ("out_blocks", "tiles", "chunk", "images"))
    PIXEL_GROUPS, GROUP_PIXELS, OC_OUTER = (word[n] for n in ("pixel_groups", "group_pixels", "oc_outer"))
    A, B, SUMS, IN_SCRATCH = word["a"], word["b"], word["sums"], 8 * word["in_scratch"]
    word_count, (X, W, BIAS, ADD, Y, SCRATCH) = len(word), range(6)
    sampled, place_bytes, row_bytes = form == "sampled", 32 * rows, 8 * rows
    even = form == "pointwise"  # pixels are read where they lie, one after the other
    pointwise = sampled or even

    @register_jitable
    def locate(words, places, x, p, last):
        """Where tap (0, 0, 0) of each pixel p .. p+rows-1 (held at ``last``) lies: d, h, w and the address in x."""
        out_h, out_w, in_h, in_w = words[OUT_H], words[OUT_W], words[IN_H], words[IN_W]
        q = min(p, last)
        w = q % out_w
        q = q // out_w
        h, d = q % out_h, q // out_h
        for r in range(rows):
            place = places + 32 * r
            z, y, c = d * words[STRIDE_D], h * words[STRIDE_H] - words[PAD_H], w * words[STRIDE_W] - words[PAD_W]
            z -= words[PAD_D]
            store_i64(place, z)
            store_i64(place + 8, y)
            store_i64(place + 16, c)
            store_i64(place + 24, x + ((z * in_h + y) * in_w + c) * width)
            if p + r < last:
                w += 1
                if w == out_w:
                    w = 0
                    h += 1
                    if h == out_h:
                        h = 0
                        d += 1

    @register_jitable
    def sample(words, x, blocks, start, stop):
        """The input pixels of output pixels start .. stop-1 to scratch [blocks, group_pixels, c]."""
        out_h, out_w, in_h, in_w = words[OUT_H], words[OUT_W], words[IN_H], words[IN_W]
        across, x_block, step = words[STRIDE_W] * width, words[X_BLOCK], words[GROUP_PIXELS] * width
        p = start
        while p < stop:
            q = p // out_w
            some = min((q + 1) * out_w, stop) - p
            d, h, w = q // out_h * words[STRIDE_D], q % out_h * words[STRIDE_H], p - q * out_w
            source = x + (d * in_h + h) * in_w * width + w * across
            target = words[SCRATCH] + (p - start) * width
            for block in range(blocks):
                for i in range(some):
                    store(target + block * step + i * width, load(source + block * x_block + i * across, lanes))
            p += some

    @register_jitable
    def aim(words, places, missing_at, zeros):
        """Addresses and distances of the tile's input pixels for each tap."""
        in_d, in_h, in_w, x_block = words[IN_D], words[IN_H], words[IN_W], words[X_BLOCK]
        k_w, at, across = words[K_W], words[SCRATCH], words[DILATION_W]
        for i in range(words[K_D]):
            d = i * words[DILATION_D]
            for j in range(words[K_H]):
                h = j * words[DILATION_H]
                for r in range(rows):
                    place = places + 32 * r
                    outer = outside(load_i64(place) + d, in_d) | outside(load_i64(place + 8) + h, in_h)
                    store_i64(missing_at + 8 * r, select(outer, 1, 0))
                shift = (d * in_h + h) * in_w * width
                for t in range(k_w):
                    for r in range(rows):
                        c = load_i64(places + 32 * r + 16) + t * across
                        missing = outside(c, in_w) | (load_i64(missing_at + 8 * r) != 0)
                        store_i64(at + 8 * r, select(missing, zeros, load_i64(places + 32 * r + 24) + shift))
                        store_i64(at + row_bytes + 8 * r, select(missing, 0, x_block))
                    shift += across * width
                    at += 2 * row_bytes

    @register_jitable
    def multiply(acc, words, w, n, taps, more, ahead, step):
        """All taps of one block of ``n`` input channels; the addresses move on to the next, if there is one."""
        at = words[SCRATCH]
        for _ in range(taps):
            acc = tile_fma_ahead(acc, at, 4, w, columns, n, 4, ahead, step, every)
            w += n * columns
            ahead += n * step
            if more:
                for r in range(rows):
                    store_i64(at + 8 * r, load_i64(at + 8 * r) + load_i64(at + row_bytes + 8 * r))
            at += 2 * row_bytes
        return acc

    @register_jitable
    def multiply_pointwise(acc, rows_at, x, w, n, p, last, ahead, step):
        if p + (rows - 1) <= last:
            return tile_fma_even_ahead(acc, x + p * width, width, 4, w, columns, n, 4, ahead, step, every)
        for r in range(rows):
            store_i64(rows_at + 8 * r, x + min(p + r, last) * width)
        return tile_fma(acc, rows_at, 4, w, columns, n, 1)

    @register_jitable
    def task_of(words, task):
        """(image, group, tile of channels, group of pixels); the innermost is what the next task changes."""
        pixel_groups, tiles, groups, images = words[PIXEL_GROUPS], words[TILES_], words[GROUPS], words[IMAGES]
        if words[OC_OUTER] != 0:
            panel = task // (pixel_groups * images)
            return task // pixel_groups % images, panel // tiles, panel % tiles, task % pixel_groups
        source = task // (tiles * groups)
        return source // pixel_groups, task // tiles % groups, task % tiles, source % pixel_groups

    @register_jitable
    def reduce(acc, words, rows_at, places, zeros, x, w, begin, end, p, last, ahead, move, step):
        """Input blocks begin .. end-1 for the tile at pixel p; each of them meanwhile asks for the cache lines at
        ``ahead`` and so on in steps of ``step`` bytes; from one to the next, that moves by ``move``. With one tap they
        also ask for the pixels that are read next."""
        channels, taps = words[CHANNELS], words[K_D] * words[K_H] * words[K_W]
        x_block = words[GROUP_PIXELS] * width if sampled else words[X_BLOCK]
        if not pointwise:
            locate(words, places, x + begin * x_block, p, last)
            aim(words, places, rows_at, zeros)
        for block in range(begin, end):
            n = min(lanes, channels - block * lanes)
            w_block = w + block * lanes * taps * columns
            if pointwise:
                near = select(block + 1 < end, (block + 1) * x_block, begin * x_block + rows * width)
                for r in range(rows):
                    prefetch_near(x + near + (p + r) * width)
                acc = multiply_pointwise(acc, rows_at, x + block * x_block, w_block, n, p, last, ahead, step)
            else:
                acc = multiply(acc, words, w_block, n, taps, block + 1 < end, ahead, step)
            ahead += move
        return acc

    def conv_direct(args, begin, end):
        words = load_words(args, word_count)
        zeros, rows_at, places = stack(64), stack(row_bytes), stack(place_bytes)
        store(zeros, splat(0.0, lanes))
        channels, x_block = words[CHANNELS], words[X_BLOCK]
        taps = words[K_D] * words[K_H] * words[K_W]
        pixels = words[OUT_D] * words[OUT_H] * words[OUT_W]
        in_blocks = (channels + (lanes - 1)) // lanes
        out_blocks, tiles, groups = words[OUT_BLOCKS], words[TILES_], words[GROUPS]
        chunk, group_pixels = words[CHUNK], words[GROUP_PIXELS]
        a, b = word_float(words[A]), word_float(words[B])
        plane = pixels * width
        for task in range(begin, end):
            image, group, tile, part = task_of(words, task)
            x = words[X] + image * words[X_IMAGE] + group * x_block * in_blocks
            panel = group * tiles + tile
            w = words[W] + panel * channels * taps * columns
            bias = words[BIAS] + panel * columns
            at = ((image * groups + group) * out_blocks + tile * vectors) * plane
            valid = out_blocks - tile * vectors
            start = part * group_pixels
            stop = min(start + group_pixels, pixels)
            if sampled and task // tiles != load_i64(args + IN_SCRATCH):
                sample(words, x, in_blocks, start, stop)
                store_i64(args + IN_SCRATCH, task // tiles)
            if sampled:
                x = words[SCRATCH] - start * width
            # What follows of the weights is asked for in equal parts by the tiles that use these.
            whole = (words[OC_OUTER] != 0) & (chunk == in_blocks)
            first = 0 if whole else start
            step = columns // (((pixels if whole else stop) - first + (rows - 1)) // rows)
            # The last to use a group of pixels asks for the next group instead.
            leaves = even & (words[OC_OUTER] == 0) & (tile == tiles - 1)
            later = select(stop < pixels, stop - start, words[X_IMAGE] // width - start) * width
            step, move = select(leaves, LEAVING * rows, step), select(leaves, x_block, lanes * taps * step)
            block = 0
            while block < in_blocks:
                until = min(block + chunk, in_blocks)
                for p in range(start, stop, rows):
                    sums = words[SCRATCH] + words[SUMS] + (p - start) * columns
                    if block == 0:
                        acc = tile_of_row(bias, width, rows, vectors, lanes)
                    else:
                        acc = tile_load(sums, columns, width, rows, vectors, rows, vectors, lanes)
                    size = (until - block) * lanes * taps
                    ahead = w + (block * lanes * taps + size) * columns + (p - first) // rows * size * step
                    ahead = select(leaves, x + later + block * x_block + p * width, ahead)
                    acc = reduce(acc, words, rows_at, places, zeros, x, w, block, until, p, stop - 1, ahead, move, step)
                    if until == in_blocks:
                        tile_finish(acc, words[Y], words[ADD], at + p * width, width, plane, stop - p, valid, a, b)
                    else:
                        tile_store(acc, sums, columns, width, rows, vectors)
                block = until

    return conv_direct


KERNEL = Kernel("conv_direct", OPERANDS, DIMS, build)
