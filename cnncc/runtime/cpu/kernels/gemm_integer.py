"""Products of matrices of bytes, plain in memory: exact int32 sums, scaled or quantised again as in conv_integer.

    s[m, n] = sum over k of (A[m, k] - zero) * (B[k, n] - b_zero[n])

A is u8 or i8, its rows contiguous in k; B is packed as bytes [panels, groups of 4 rows k, vectors + sums, lanes, 4].
Results are y [M, N] in C order. The last K % 4 bytes of a row are put together apart, so that none beyond it is read.
"""

import math

import numpy as np

from cnncc.runtime.cpu.elements import SIZES
from cnncc.runtime.cpu.kernel import Kernel, Launch, ceil_div, float_word, make_params
from cnncc.runtime.cpu.kernels import conv_integer

OPERANDS = ("a", "zero", "b", "bias", "weight_sums", "zeros", "scale", "shift", "factor", "y")
DIMS = ("m", "n", "k", "panels", "panel_bytes", "chunks", "chunk_rows", "low", "high", "y_zero", "flip")
TASK_MACS, MANY_PANELS = 4e6, 16
# (rows of A, vectors of B) by lanes, without and with a column of sums
TILES: dict[int, tuple[tuple[tuple[int, int], ...], tuple[tuple[int, int], ...]]] = {
    16: (((1, 4), (1, 1), (6, 4), (12, 2)), ((1, 4), (6, 3))),
    8: (((1, 4), (6, 2)), ((1, 4), (4, 2))),
    4: (((1, 4), (6, 4)), ((1, 4), (6, 3))),
}


def tile_of(m: int, n: int, lanes: int, sums: bool) -> tuple[int, int]:
    """(rows, vectors) with the least padded work, loads counted beside multiplications."""

    def cost(tile: tuple[int, int]) -> float:
        rows, vectors = tile
        padded = ceil_div(max(m, 1), rows) * rows * ceil_div(max(n, 1), vectors * lanes) * vectors
        return padded * (1 + 0.5 * (1 / rows + 1 / vectors))

    return min(TILES[lanes][int(sums)], key=cost)


def launch(
    m: int, n: int, k: int, lanes: int, tile: tuple[int, int], source: str, result: str, sums: bool = False,
    activation: str = "clip", a: float = -math.inf, b: float = math.inf, y_zero: int = 0, vnni: bool = True,
) -> Launch:  # fmt: skip
    """The step of a product; parameters are those of conv_integer.launch."""
    rows, vectors = tile
    columns = vectors * lanes
    panels = ceil_div(n, columns)
    panel_bytes = ceil_div(k, 4) * (vectors + sums) * lanes * 4
    wanted = max(4 * rows, round(TASK_MACS / max(1, k * columns)))
    if panels >= MANY_PANELS:
        wanted = max(wanted, 256)
    chunk_rows = ceil_div(min(max(m, 1), wanted), rows) * rows
    chunks = ceil_div(m, chunk_rows)
    per_channel = (0, 4 * panels * columns)
    reads = {"a": (0, m * k), "zero": (0, 1), "b": (0, panels * panel_bytes), "bias": per_channel,
             "weight_sums": per_channel}  # fmt: skip
    reads |= {"zeros": per_channel} if sums else {}
    reads |= {"scale": per_channel, "factor": (0, 4)} if result != "i32" else {}
    reads |= {"shift": per_channel} if result == "f32" else {}
    params = make_params(
        lanes=lanes, rows=rows, vectors=vectors, sums=int(sums), signed=int(source == "i8"), result=result,
        activation=activation if result == "f32" else "clip", vnni=int(vnni),
    )  # fmt: skip
    dims = (m, n, k, panels, panel_bytes, chunks, chunk_rows, float_word(a), float_word(b), y_zero,
            conv_integer.FLIP)  # fmt: skip
    return Launch(KERNEL, params, dims, panels * chunks if m and n else 0, reads=reads,
                  writes={"y": (0, m * n * SIZES[result])})  # fmt: skip


def pack_weights(b: np.ndarray, lanes: int, vectors: int, sums: bool) -> np.ndarray:
    """B [K, N] i8, packed; surplus is zero."""
    return conv_integer.pack_weights(np.ascontiguousarray(b.T)[..., None], 1, lanes, vectors, sums)


def build(lanes: int, rows: int, vectors: int, sums: int, signed: int, result: str, activation: str, vnni: int):
    from numba.extending import register_jitable

    from cnncc.runtime.cpu.epilogue import build_activation
    from cnncc.runtime.cpu.integer_results import row_store
    from cnncc.runtime.cpu.memory_access import load_f32, load_i64, load_u8, stack, store_i8, store_i64, word_float
    from cnncc.runtime.cpu.tile_integer import dot_rows, dot_start

    finish = row_store(result, build_activation(activation), sums)
    real, item, columns, row_bytes = int(result != "i32"), SIZES[result], vectors * lanes, 8 * rows
    tail_bytes, step_bytes = 4 * rows, 4 * (vectors + sums) * lanes
    word = {name: 8 * i for i, name in enumerate(OPERANDS + DIMS)}
    M, N, K, PANEL_BYTES = (word[n] for n in ("m", "n", "k", "panel_bytes"))
    CHUNKS, CHUNK_ROWS, LOW, HIGH, Y_ZERO, FLIP = (
        word[n] for n in ("chunks", "chunk_rows", "low", "high", "y_zero", "flip")
    )
    A, ZERO, B, FACTOR, Y = (word[n] for n in ("a", "zero", "b", "factor", "y"))
    BIAS, SUMS, ZEROS, SCALE, SHIFT = (word[n] for n in ("bias", "weight_sums", "zeros", "scale", "shift"))
    flip, block = 128 if signed else 0, lanes

    @register_jitable
    def last_bytes(a_at, tails, k, rest):
        """The ``rest`` bytes at the end of each row, as groups of four."""
        for r in range(rows):
            row = load_i64(a_at + 8 * r) + k - rest
            for i in range(rest):
                store_i8(tails + 4 * r + i, load_u8(row + i))
            store_i64(a_at + 8 * r, tails + 4 * r)

    def gemm_integer(args, begin, end):
        a_at, steps, tails = stack(row_bytes), stack(row_bytes), stack(tail_bytes)
        k, n, y = load_i64(args + K), load_i64(args + N), load_i64(args + Y)
        zero = load_u8(load_i64(args + ZERO)) ^ flip
        low, high = word_float(load_i64(args + LOW)), word_float(load_i64(args + HIGH))
        factor = load_f32(load_i64(args + FACTOR)) if real else low
        chunks, chunk_rows, y_zero = load_i64(args + CHUNKS), load_i64(args + CHUNK_ROWS), load_i64(args + Y_ZERO)
        fours, rest, four_flips = k // 4, k % 4, load_i64(args + FLIP)
        blocks, tail = fours // (block // 4), fours % (block // 4)
        for r in range(rows):
            store_i64(steps + 8 * r, block)
            for i in range(4):
                store_i8(tails + 4 * r + i, 0)
        for task in range(begin, end):
            panel, first = task // chunks, task % chunks * chunk_rows
            last = min(first + chunk_rows, load_i64(args + M))
            at = 4 * panel * columns
            b = load_i64(args + B) + panel * load_i64(args + PANEL_BYTES)
            bias, weight_sums = load_i64(args + BIAS) + at, load_i64(args + SUMS) + at
            start = dot_start(bias, weight_sums, zero, rows, vectors, lanes, sums)
            scale, shift, zeros = load_i64(args + SCALE), load_i64(args + SHIFT), load_i64(args + ZEROS)
            for m in range(first, last, rows):
                for r in range(rows):
                    store_i64(a_at + 8 * r, load_i64(args + A) + min(m + r, last - 1) * k)
                acc = dot_rows(start, a_at, steps, b, blocks, tail, four_flips, signed, vnni)
                if rest > 0:
                    last_bytes(a_at, tails, k, rest)
                    acc = dot_rows(acc, a_at, steps, b + fours * step_bytes, 0, 1, four_flips, signed, vnni)
                place = y + (m * n + panel * columns) * item
                finish(acc, place, n * item, last - m, n - panel * columns, scale + at, shift + at, zeros + at,
                       factor, low, high, y_zero)  # fmt: skip

    return gemm_integer


KERNEL = Kernel("gemm_integer", OPERANDS, DIMS, build)
