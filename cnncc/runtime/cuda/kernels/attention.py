"""Attention on float32: y = softmax(scale * q k^T [bounded by softcap] [+ mask]) v, for every head.

A block of four warps has sixteen queries of a head, four to a warp, and goes through the keys 32 at a time: keys and
values lie in shared memory (of large heads, values stay where they are, and two warps are a block). A lane computes the
scores of the warp's queries with one of the keys, then adds up some of the columns of the values, weighted by what all
lanes found. The largest score and the sum of powers of each query are carried on ("online softmax"; Milakov and
Gimelshein, "Online normalizer calculation for softmax", 2018), so the matrix of scores never exists. A query that no
key is allowed to gives 0.
"""

from __future__ import annotations

import math

import numpy as np

from cnncc.runtime.cpu.kernels.attention import AttentionShape, Steps, reach
from cnncc.runtime.cuda.kernel import Kernel, Launch, Work, ceil_div, make_params, simple
from cnncc.runtime.cuda.team import WARP

__all__ = ["KERNEL", "form_for", "launch"]

EACH = 4  # queries of a warp
FORMS = ((4, 1), (4, 0), (2, 0))  # (warps of a block, are values staged in shared memory?), the best first
SHARED = 48 << 10  # bytes that every GPU gives a block without being asked
NAMES = ("q", "k", "v", "mask", "y")
DIMS = ("heads", "group", "queries", "keys", "size", "v_size", "tiles",
        *(f"{name}_{step}" for name in NAMES for step in ("batch", "head", "row")))


def _shared_bytes(warps: int, staged: int, size: int, v_size: int) -> int:
    """What a block needs for its queries, 32 keys (a number more each: no two begin in one bank), their values, and the
    powers of the scores."""
    return 4 * (warps * EACH * (size + WARP) + WARP * (size + 1) + staged * WARP * v_size)


def form_for(size: int, v_size: int) -> tuple[int, int] | None:
    """The row of FORMS for heads of such sizes; None where they are too large for the shared memory of a block."""
    return next((form for form in FORMS if _shared_bytes(*form, size, v_size) <= SHARED), None)


def launch(shape: AttentionShape, scale: float, causal: bool = False, softcap: float = 0.0) -> Launch:
    """The step; ``causal``: query i sees the keys up to i."""
    form, mask = form_for(shape.size, shape.v_size), shape.mask or Steps(0, 0, 0)
    if form is None:
        raise ValueError(f"attention of heads of {shape.size} and {shape.v_size} numbers")
    warps, staged = form
    tiles = ceil_div(shape.queries, warps * EACH)
    dims = (shape.heads, shape.group, shape.queries, shape.keys, shape.size, shape.v_size, tiles,
            *(n for s in (shape.q, shape.k, shape.v, mask, shape.y) for n in (s.batch, s.head, s.row)))
    params = make_params(columns=max(1, ceil_div(shape.v_size, WARP)), masked=int(shape.mask is not None),
                         causal=int(causal), capped=int(softcap > 0), warps=warps, staged=staged)
    kv_heads, rows = shape.heads // shape.group, shape.batch * shape.heads * shape.queries
    reads = {"q": reach(shape, shape.q, shape.heads, shape.queries, shape.size),
             "k": reach(shape, shape.k, kv_heads, shape.keys, shape.size),
             "v": reach(shape, shape.v, kv_heads, shape.keys, shape.v_size)}
    if shape.mask is not None:
        reads["mask"] = reach(shape, shape.mask, shape.heads, shape.queries, shape.keys)
    moved = rows * (shape.size + shape.v_size) + shape.batch * kv_heads * shape.keys * (shape.size + shape.v_size)
    grid = shape.batch * shape.heads * tiles if shape.v_size else 0
    return simple(KERNEL, params, dims, (grid, 1, 1), (WARP, warps, 1), floats=(scale, softcap),
                  shared=_shared_bytes(*form, shape.size, shape.v_size), reads=reads,
                  work=Work(2 * rows * shape.keys * (shape.size + shape.v_size), 4 * moved),
                  writes={"y": reach(shape, shape.y, shape.heads, shape.queries, shape.v_size)})


def build(columns: int, masked: int, causal: int, capped: int, warps: int, staged: int):
    from cnncc.runtime.cuda.indexing import quotient, remainder, whole
    from cnncc.runtime.cuda.language import cuda, device, float32
    from cnncc.runtime.cuda.team import build_combine

    zero, one, lowest = float32(0), float32(1), float32(-np.inf)
    largest = build_combine(WARP, float32, device(lambda a, b: a if a > b or a != a else b))
    total = build_combine(WARP, float32, device(lambda a, b: a + b))
    threads, accumulators, block_queries = WARP * warps, EACH * columns, warps * EACH

    @device
    def fill(target, first, stride, source, place, row, rows, size, me):
        """Rows of `size` elements, `row` apart in the source, into shared memory; what is not there is 0."""
        for i in range(me, rows * size, threads):
            r, c = quotient(i, size), remainder(i, size)
            target[first + r * stride + c] = source[place + r * row + c]

    def attention(q, k, v, mask, y, heads, group, queries, keys, size, v_size, tiles, q_batch, q_head, q_row,
                  k_batch, k_head, k_row, v_batch, v_head, v_row, mask_batch, mask_head, mask_row,
                  y_batch, y_head, y_row, scale, softcap):
        shared = cuda.shared.array(0, float32)
        lane, warp = whole(cuda.threadIdx.x), whole(cuda.threadIdx.y)
        me = whole(warp * WARP + lane)
        top, rest = whole(remainder(cuda.blockIdx.x, tiles) * block_queries), quotient(cuda.blockIdx.x, tiles)
        head, batch = remainder(rest, heads), quotient(rest, heads)
        kv_head = quotient(head, group)
        here = min(block_queries, queries - top)
        key_at, value_at = whole(block_queries * size), whole(block_queries * size + WARP * (size + 1))
        power_at = whole(value_at + staged * WARP * v_size)
        fill(shared, 0, size, q, whole(batch * q_batch + head * q_head + top * q_row), q_row, here, size, me)
        mine = whole(warp * EACH)
        sums = cuda.local.array(accumulators, float32)
        most, weight, scores = (cuda.local.array(EACH, float32), cuda.local.array(EACH, float32),
                                cuda.local.array(EACH, float32))
        for i in range(EACH):
            most[i], weight[i] = lowest, zero
            for c in range(columns):
                sums[i * columns + c] = zero
        stop = min(keys, top + here) if causal else keys
        for start in range(0, stop, WARP):
            there = min(WARP, stop - start)
            cuda.syncthreads()  # before keys and values are overwritten
            fill(shared, key_at, size + 1, k, whole(batch * k_batch + kv_head * k_head + start * k_row), k_row, there,
                 size, me)
            value_place = whole(batch * v_batch + kv_head * v_head + start * v_row)
            if staged:
                fill(shared, value_at, v_size, v, value_place, v_row, there, v_size, me)
            cuda.syncthreads()
            for i in range(EACH):
                scores[i] = zero
            if lane < there:
                for c in range(size):
                    key = shared[key_at + lane * (size + 1) + c]
                    for i in range(EACH):
                        if mine + i < here:
                            scores[i] += shared[(mine + i) * size + c] * key
            for i in range(EACH):
                query, score = top + mine + i, scores[i] * scale
                if capped:
                    score = softcap * float32(math.tanh(score / softcap))
                if lane >= there or mine + i >= here or (causal and start + lane > query):
                    score = lowest
                elif masked:
                    score += mask[batch * mask_batch + head * mask_head + query * mask_row + start + lane]
                peak = largest(score)
                peak = most[i] if most[i] > peak else peak
                shift = zero if peak == lowest else peak
                power, before = float32(math.exp(score - shift)), float32(math.exp(most[i] - shift))
                most[i], weight[i] = peak, weight[i] * before + total(power)
                for c in range(columns):
                    sums[i * columns + c] *= before
                shared[power_at + (mine + i) * WARP + lane] = power
            cuda.syncwarp()
            for c in range(columns):
                column = lane + c * WARP
                if column < v_size:
                    for j in range(there):
                        value = (shared[value_at + j * v_size + column] if staged
                                 else v[value_place + j * v_row + column])
                        for i in range(EACH):
                            sums[i * columns + c] += shared[power_at + (mine + i) * WARP + j] * value
        for i in range(EACH):
            if mine + i < here:
                share = one / weight[i] if weight[i] != zero else zero
                for c in range(columns):
                    column = lane + c * WARP
                    if column < v_size:
                        at = batch * y_batch + head * y_head + (top + mine + i) * y_row + column
                        y[at] = sums[i * columns + c] * share

    return attention


KERNEL = Kernel("attention", (*NAMES,), DIMS, build, ("scale", "softcap"), threads=lambda warps, **_: WARP * warps)
