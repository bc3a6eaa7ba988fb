"""Attention on plain float32: y = softmax(scale * q k^T [bounded by softcap] [+ mask]) v, for every head.

A task computes a block of queries of one head against all keys, which are taken in blocks, too: of a block of keys the
transpose is packed, the scores of all queries with them lie in scratch memory, and the largest score and the sum of
powers of each query are carried from block to block ("online softmax"; Milakov and Gimelshein, "Online normalizer
calculation for softmax", 2018). The whole matrix of scores never exists. A query that no key is allowed to gives 0.

With ``lengths`` [batch] (int64) the keys of a batch from there on do not count, and its queries are the last ones of
those that do, which matters where causal.

Operands are addressed by distances between batches, heads and rows, so that heads may lie one behind the other or side
by side. ``group`` queries' heads share a head of keys and values.
"""

import math

from cnncc.records import record
from cnncc.runtime.cpu.kernel import Kernel, Launch, ceil_div, float_word, make_params
from cnncc.runtime.cpu.kernels.gemm import choose_tile

OPERANDS = ("q", "k", "v", "mask", "lengths", "y", "scratch")
DIMS = (
    "heads", "group", "queries", "keys", "size", "v_size", "blocks", "block_rows", "key_block", "causal", "scale",
    "softcap", *(f"{name}_{step}" for name in ("q", "k", "v", "mask", "y") for step in ("batch", "head", "row")),
)  # fmt: skip
SCORE_TILES = {16: (6, 4), 8: (4, 3), 4: (6, 4)}  # (queries, vectors of keys) by lanes
MOST_ROWS = 192  # queries of a block
LEAST_ROWS = 48  # as long as that makes fewer tasks than WANTED_TASKS
WANTED_TASKS = 16
KEY_BLOCK = 512  # keys of a block, at most


@record
class Steps:
    """Distances in ELEMENTS between batches, heads and rows, 0 where broadcast."""

    batch: int
    head: int
    row: int


@record
class AttentionShape:
    """q [batch, heads, queries, size], k [batch, heads / group, keys, size], v [.., keys, v_size], y as q with v_size;
    mask, if there is one, [batch, heads, queries, keys]."""

    batch: int
    heads: int
    group: int
    queries: int
    keys: int
    size: int
    v_size: int
    q: Steps
    k: Steps
    v: Steps
    y: Steps
    mask: Steps | None = None


def launch(shape: AttentionShape, lanes: int, scale: float, causal: bool = False, softcap: float = 0.0,
           lengths: bool = False) -> Launch:  # fmt: skip
    """The step; ``causal``: query i sees the keys up to i. ``lengths``: whether there are any."""
    rows, vectors = SCORE_TILES[lanes]
    v_rows, v_vectors = choose_tile("rows", max(shape.queries, 1), max(shape.v_size, 1), lanes)
    wanted = max(1, ceil_div(WANTED_TASKS, max(1, shape.batch * shape.heads)))
    block = min(max(shape.queries, 1), MOST_ROWS, max(LEAST_ROWS, ceil_div(shape.queries, wanted)))
    blocks = ceil_div(shape.queries, block)
    block = ceil_div(shape.queries, max(1, blocks))
    columns = vectors * lanes
    key_block = ceil_div(min(max(shape.keys, 1), KEY_BLOCK), columns) * columns
    padded_rows = max(ceil_div(block, rows) * rows, ceil_div(block, v_rows) * v_rows)
    padded_size = ceil_div(shape.v_size, v_vectors * lanes) * v_vectors * lanes
    floats = padded_rows * (key_block + padded_size + 2) + shape.size * key_block
    mask = shape.mask or Steps(0, 0, 0)
    dims = (
        shape.heads, shape.group, shape.queries, shape.keys, shape.size, shape.v_size, blocks, block, key_block,
        int(causal), float_word(scale), float_word(softcap),
        *(4 * n for s in (shape.q, shape.k, shape.v, mask, shape.y) for n in (s.batch, s.head, s.row)),
    )  # fmt: skip
    params = make_params(
        lanes=lanes, v_rows=v_rows, v_vectors=v_vectors, whole=int(shape.v_size % (v_vectors * lanes) == 0),
        masked=int(shape.mask is not None), capped=int(softcap > 0),
    )  # fmt: skip
    tasks = shape.batch * shape.heads * blocks if shape.v_size else 0
    kv_heads = shape.heads // shape.group
    reads = {
        "q": reach(shape, shape.q, shape.heads, shape.queries, shape.size),
        "k": reach(shape, shape.k, kv_heads, shape.keys, shape.size),
        "v": reach(shape, shape.v, kv_heads, shape.keys, shape.v_size),
    }
    if shape.mask is not None:
        reads["mask"] = reach(shape, shape.mask, shape.heads, shape.queries, shape.keys)
    if lengths:
        reads["lengths"] = (0, 8 * shape.batch)
    writes = {"y": reach(shape, shape.y, shape.heads, shape.queries, shape.v_size)}
    return Launch(KERNEL, params, dims, tasks, scratch=ceil_div(4 * floats, 64) * 64, reads=reads, writes=writes)


def reach(shape: AttentionShape, steps: Steps, heads: int, rows: int, size: int) -> tuple[int, int]:
    """The bytes from the operand's address to the end of its last row."""
    if 0 in (shape.batch, heads, rows, size):
        return 0, 0
    return 0, 4 * ((shape.batch - 1) * steps.batch + (heads - 1) * steps.head + (rows - 1) * steps.row + size)


def build(lanes: int, v_rows: int, v_vectors: int, whole: int, masked: int, capped: int):
    """``whole``: the size of values is a multiple of the tile's."""
    import numpy as np
    from numba.extending import register_jitable

    from cnncc.runtime.cpu import vmath
    from cnncc.runtime.cpu.memory_access import load_f32, load_i64, stack, store_f32, store_i64, word_float
    from cnncc.runtime.cpu.simd import (
        horizontal_max,
        horizontal_sum,
        load,
        load_first,
        maximum,
        splat,
        store,
        store_first,
    )  # fmt: skip
    from cnncc.runtime.cpu.tile import tile_fma, tile_fma_masked, tile_zero
    from cnncc.runtime.cpu.tile_memory import tile_load, tile_store
    from cnncc.runtime.cpu.transpose import transpose_tile

    rows, vectors = SCORE_TILES[lanes]
    width, columns, v_columns = 4 * lanes, vectors * lanes, v_vectors * lanes
    key_row, v_panel, table, ends_bytes = 4 * columns, 4 * v_columns, 8 * max(rows, v_rows), 2 * width
    word = {name: 8 * (len(OPERANDS) + i) for i, name in enumerate(DIMS)}
    HEADS, GROUP, QUERIES, KEYS, SIZE, V_SIZE = (word[n] for n in DIMS[:6])
    BLOCKS, BLOCK_ROWS, KEY_BLOCK_WORD, CAUSAL, SCALE, SOFTCAP = (word[n] for n in DIMS[6:12])
    Q, K, V, MASK, Y = (word[f"{n}_batch"] for n in ("q", "k", "v", "mask", "y"))
    LENGTHS, MOST_KEYS = 8 * OPERANDS.index("lengths"), 1 << 40
    exp, tanh, lowest = vmath.exp, vmath.tanh, np.float32(-math.inf)

    @register_jitable
    def place(args, operand, steps, batch, head):
        """The address of a head of an operand."""
        return load_i64(args + 8 * operand) + batch * load_i64(args + steps) + head * load_i64(args + steps + 8)

    @register_jitable
    def pack_keys(k, k_row, count, size, packed):
        """Keys [count, size] as panels [size, columns]; surplus columns repeat a key."""
        for n in range(0, count, lanes):
            to = packed + n // columns * size * key_row + n % columns * 4
            for d in range(0, size, lanes):
                transpose_tile(k + n * k_row + d * 4, k_row, min(lanes, count - n), min(lanes, size - d),
                               to + d * key_row, key_row, lanes, lanes)

    @register_jitable
    def multiply_keys(q, q_row, m, packed, count, size, scores, pitch, rows_at):
        """scores[m, count] = q k^T, in whole tiles."""
        for n in range(0, count, columns):
            panel = packed + n * size * 4
            for first in range(0, m, rows):
                for r in range(rows):
                    store_i64(rows_at + 8 * r, q + min(first + r, m - 1) * q_row)
                acc = tile_fma(tile_zero(rows, vectors, lanes), rows_at, 4, panel, key_row, size, 2)
                tile_store(acc, scores + first * pitch + n * 4, pitch, width, rows, vectors)

    @register_jitable
    def powers(scores, mask, count, pitch, before, scale, cap, ends):
        """Scores of one query become their powers, those behind the first ``count`` 0; (largest score, sum)."""
        peak, stop = splat(lowest, lanes), (count + lanes - 1) // lanes * lanes
        for at in range(0, stop, lanes):
            value = load(scores + 4 * at, lanes) * scale
            if capped:
                value = tanh(value / cap) * cap
            if masked:
                value = value + load_first(mask + 4 * at, count - at, lanes)
            if at + lanes > count:
                value = value + load(ends + 4 * (lanes - count + at), lanes)
            store(scores + 4 * at, value)
            peak = maximum(peak, value)
        top = max(before, horizontal_max(peak))
        base = np.float32(0.0) if top == lowest else top
        total = splat(0.0, lanes)
        for at in range(0, stop, lanes):
            value = exp(load(scores + 4 * at, lanes) - base)
            store(scores + 4 * at, value)
            total = total + value
        for at in range(stop, pitch // 4, lanes):
            store(scores + 4 * at, splat(0.0, lanes))
        return top, horizontal_sum(total)

    @register_jitable
    def multiply_values(scores, pitch, m, v, v_row, count, v_size, fresh, sums, sums_row, rows_at):
        """sums[m, v_size] (+)= powers v, in whole tiles."""
        for at in range(0, v_size, v_columns):
            for first in range(0, m, v_rows):
                for r in range(v_rows):
                    store_i64(rows_at + 8 * r, scores + (first + r) * pitch)
                to = sums + first * sums_row + at * 4
                if fresh:
                    acc = tile_zero(v_rows, v_vectors, lanes)
                else:
                    acc = tile_load(to, sums_row, width, v_rows, v_vectors, v_rows, v_vectors, lanes)
                if whole:
                    acc = tile_fma(acc, rows_at, 4, v + at * 4, v_row, count, 2)
                else:
                    acc = tile_fma_masked(acc, rows_at, 4, v + at * 4, v_row, count, v_size - at)
                tile_store(acc, to, sums_row, width, v_rows, v_vectors)

    @register_jitable
    def rescale(sums, sums_row, before, top):
        """The sums of one query for a new largest score; the factor."""
        factor = exp(splat(before - (np.float32(0.0) if top == lowest else top), lanes))
        for at in range(0, sums_row, width):
            store(sums + at, load(sums + at, lanes) * factor)
        return horizontal_max(factor)

    @register_jitable
    def finish(sums, sums_row, totals, m, y, y_row, v_size):
        for r in range(m):
            total = load_f32(totals + 4 * r)
            factor = splat(np.float32(0.0) if total == 0.0 else np.float32(1.0) / total, lanes)
            for at in range(0, v_size, lanes):
                value = load(sums + r * sums_row + 4 * at, lanes) * factor
                store_first(y + r * y_row + 4 * at, value, v_size - at)

    def attention(args, begin, end):
        rows_at, ends = stack(table), stack(ends_bytes)
        store(ends, splat(0.0, lanes))
        store(ends + width, splat(lowest, lanes))
        heads, blocks, size, v_size = load_i64(args + HEADS), load_i64(args + BLOCKS), load_i64(args + SIZE), \
            load_i64(args + V_SIZE)
        block, key_block, causal = load_i64(args + BLOCK_ROWS), load_i64(args + KEY_BLOCK_WORD), load_i64(args + CAUSAL)
        scale, cap = word_float(load_i64(args + SCALE)), word_float(load_i64(args + SOFTCAP))
        q_row, k_row, v_row = load_i64(args + Q + 16), load_i64(args + K + 16), load_i64(args + V + 16)
        mask_row, y_row, pitch = load_i64(args + MASK + 16), load_i64(args + Y + 16), 4 * key_block
        padded = max((block + rows - 1) // rows * rows, (block + v_rows - 1) // v_rows * v_rows)
        sums_row = (v_size + v_columns - 1) // v_columns * v_panel
        scores = load_i64(args + 8 * (len(OPERANDS) - 1))
        sums = scores + padded * pitch
        peaks = sums + padded * sums_row
        totals = peaks + 4 * padded
        packed = totals + 4 * padded
        for task in range(begin, end):
            head, first = task // blocks % heads, task % blocks * block
            batch, m = task // blocks // heads, min(block, load_i64(args + QUERIES) - first)
            shared = head // load_i64(args + GROUP)
            q, y = place(args, 0, Q, batch, head) + first * q_row, place(args, 5, Y, batch, head) + first * y_row
            k, v = place(args, 1, K, batch, shared), place(args, 2, V, batch, shared)
            mask = place(args, 3, MASK, batch, head) + first * mask_row
            keys, offset = load_i64(args + KEYS), 0
            if load_i64(args + LENGTHS) != 0:
                length = load_i64(load_i64(args + LENGTHS) + 8 * batch)
                length = min(max(length, 0), MOST_KEYS)
                keys, offset = min(keys, length), length - load_i64(args + QUERIES)
            if causal:
                keys = min(keys, first + m + offset)
            keys = max(keys, 0)
            for r in range(m):
                store_f32(peaks + 4 * r, lowest)
                store_f32(totals + 4 * r, np.float32(0.0))
            at = 0
            while at < max(keys, 1):
                count = min(key_block, keys - at)
                pack_keys(k + at * k_row, k_row, count, size, packed)
                multiply_keys(q, q_row, m, packed, count, size, scores, pitch, rows_at)
                for r in range(m):
                    before, seen = load_f32(peaks + 4 * r), count
                    if causal:
                        seen = max(0, min(count, first + r + 1 + offset - at))
                    top, total = powers(scores + r * pitch, mask + r * mask_row + 4 * at, seen, pitch, before, scale,
                                        cap, ends)
                    if at > 0:
                        total += load_f32(totals + 4 * r) * rescale(sums + r * sums_row, sums_row, before, top)
                    store_f32(peaks + 4 * r, top)
                    store_f32(totals + 4 * r, total)
                multiply_values(scores, pitch, m, v + at * v_row, v_row, count, v_size, at == 0, sums, sums_row,
                                rows_at)
                at += key_block
            finish(sums, sums_row, totals, m, y, y_row, v_size)

    return attention


KERNEL = Kernel("attention", OPERANDS, DIMS, build)
