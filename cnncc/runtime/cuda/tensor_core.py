"""Tiles of sums on tensor cores, whose operands are TF32: float32 with 10 explicit bits of its significand.

A warp computes 64 rows by half of the tile's columns with the instruction mma.m16n8k8, whose operands and results lie
across its lanes (PTX ISA, "Matrix fragments for mma.m16n8k8"): lane 4 g + t holds of A the rows g, g + 8 and the
columns t, t + 4, of B the rows t, t + 4 and the column g, of the sums the rows g, g + 8 and the columns 2 t, 2 t + 1.
Which row of a tile and which k each of these stands for is free. Here columns t, t + 4 of A are k = 2 t, 2 t + 1, and
its rows g, g + 8 are two in a row. So what an instruction wants in consecutive registers comes from consecutive words,
and lanes ask each bank of shared memory once where its rows are 4 words longer than a multiple of 16.

Each function here makes a device function; only ``build`` functions import this module.
"""

from __future__ import annotations

from itertools import product

import numpy as np

from cnncc.runtime.cuda.language import SIMULATED, cuda, device, float32, int32
from cnncc.runtime.cuda.tf32 import KEPT, round_tf32

__all__ = ["lie_in_warps", "store_warp_rows", "tile_mma", "to_tf32"]

ROW_TILES = 4      # of 16 rows that a warp has, two in each half of the tile
FULL = 0xFFFFFFFF  # all lanes


def lie_in_warps(columns, a_pitch, b_pitch):
    """A function of the thread's number that gives where its operands begin in a and b, and its sums in rows of
    `b_pitch`. Warps lie in two columns, each of so many columns of the tile."""

    @device
    def lie(t):
        g, k, warp = (t & 31) >> 2, 2 * (t & 3), t >> 5
        row, column = int32(32 * (warp >> 1) + 2 * g), int32(columns * (warp & 1))
        return int32(row + k * a_pitch), int32(column + g + k * b_pitch), int32(row * b_pitch + column + k)

    return lie


def tile_mma(depth, columns, a_pitch, b_pitch, half_m):
    """A function (acc, a, i, b, j) that gives acc plus the product of `depth` columns of A and rows of B, which lie as
    for tile.tile_fma, i and j being where the thread's operands begin. All lanes of a warp call it.

    acc has, for each of 4 instructions of 16 rows and columns / 8 of 8 columns, the four sums of a lane.
    """
    a_tiles = [half_m * (n // 2) + 16 * (n % 2) for n in range(ROW_TILES)]
    return _tile_mma(depth, a_pitch, b_pitch, a_tiles, range(0, columns, 8))


def store_warp_rows(half, columns, pitch):
    """A function (acc, s, i) that stores the lane's rows of a half of the tile, i being where its sums begin."""
    places = [(16 * (n % 2) * pitch + 8 * m, 4 * (n * columns // 8 + m))
              for n in (2 * half, 2 * half + 1) for m in range(columns // 8)]
    return _store_pairs([(at + r * pitch, n + 2 * r) for at, n in places for r in (0, 1)])


if SIMULATED:
    def to_tf32(x):
        return round_tf32(x)[()]

    def _toward_zero(x):
        """float64 numbers as float32, rounded as tensor cores are taken to, at worst."""
        rounded = x.astype(float32)
        return np.where(np.isfinite(rounded) & (abs(rounded) > abs(x)), np.nextafter(rounded, float32(0)), rounded)

    def _from_all_lanes(value):
        """The values of all lanes, by their number."""
        found = {cuda.laneid: value}
        for step in (1, 2, 4, 8, 16):
            found = found | cuda.shfl_xor_sync(FULL, found, step)
        return [found[lane] for lane in range(32)]

    def _multiply(acc, lane, fragments):
        """acc [rows / 16, columns / 8, 4] of a lane plus the products of what all lanes brought: the fragments of A
        [rows / 16, 4] and B [columns / 8, 2]. Bits that TF32 has not are not read."""
        a, b = ((np.array([f[n] for f in fragments], float32).view(np.uint32) & KEPT).view(float32).astype(np.float64)
                for n in (0, 1))
        rows, columns, k = np.array([lane // 4, lane // 4 + 8]), 2 * (lane % 4) + np.arange(2), np.arange(8)
        left = a[4 * (rows[:, None] % 8) + k % 4, :, rows[:, None] // 8 + 2 * (k // 4)]
        right = b[4 * columns[:, None] + k % 4, :, k // 4]
        return _toward_zero(acc + np.einsum("rkm,ckn->mnrc", left, right).reshape(acc.shape))

    def _tile_mma(depth, a_pitch, b_pitch, a_tiles, b_tiles):
        def load2(s, i):
            if i % 2:
                raise IndexError(f"an access of 64 bits to element {i}, which is odd")
            return s[i], s[i + 1]

        def mma(acc, a, i, b, j):
            brought = []
            for k in range(0, depth, 8):
                left = [load2(a, i + k * a_pitch + n) + load2(a, i + (k + 1) * a_pitch + n) for n in a_tiles]
                right = [(b[j + k * b_pitch + n], b[j + (k + 1) * b_pitch + n]) for n in b_tiles]
                brought.append((left, right))
            lanes, lane = _from_all_lanes(brought), cuda.laneid
            sums = np.array(acc, float32).reshape(len(a_tiles), len(b_tiles), 4)
            for n in range(len(brought)):
                sums = _multiply(sums, lane, [each[n] for each in lanes])
            return tuple(sums.reshape(-1))

        return mma

    def _store_pairs(places):
        def store(acc, s, i):
            for at, n in places:
                s[i + at], s[i + at + 1] = acc[n], acc[n + 1]

        return store

else:
    from llvmlite import ir
    from numba.cuda import types
    from numba.cuda.extending import intrinsic
    from numba.cuda.typing import signature

    from cnncc.runtime.cuda.memory_access import F32, I32, address, emit_load4, emit_store4

    ROUND = ir.InlineAsm(ir.FunctionType(F32, [F32]), "{ .reg .b32 r; cvt.rna.tf32.f32 r, $1; mov.b32 $0, r; }", "=f,f")
    MMA = ir.InlineAsm(
        ir.FunctionType(ir.LiteralStructType([F32] * 4), [I32] * 6 + [F32] * 4),
        "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
        "{$0, $1, $2, $3}, {$4, $5, $6, $7}, {$8, $9}, {$10, $11, $12, $13};",
        "=f,=f,=f,=f,r,r,r,r,r,r,f,f,f,f", side_effect=True)  # or it might be moved to where not all lanes come

    @intrinsic
    def to_tf32(typingctx, x):
        def codegen(context, builder, sig, args):
            return builder.call(ROUND, args)

        return signature(types.float32, types.float32), codegen

    def _tile_mma(depth, a_pitch, b_pitch, a_tiles, b_tiles):
        def fragments(builder, base, k, pitch, tiles, count):
            """Of each tile `count` words that follow each other, at k and at k + 1."""
            at = [[builder.gep(base, [I32(n * pitch + tile)], inbounds=True) for n in (k, k + 1)] for tile in tiles]
            return [[word for pointer in pair for word in emit_load4(builder, pointer, I32, count)] for pair in at]

        @intrinsic
        def mma(typingctx, acc, a, i, b, j):
            def codegen(context, builder, sig, args):
                acc, a, i, b, j = args
                a, b = address(context, builder, sig.args[1], a, i), address(context, builder, sig.args[3], b, j)
                sums = [builder.extract_value(acc, n) for n in range(sig.return_type.count)]
                for k in range(0, depth, 8):
                    left = fragments(builder, a, k, a_pitch, a_tiles, 2)
                    right = fragments(builder, b, k, b_pitch, b_tiles, 1)
                    for n, (x, y) in enumerate(product(left, right)):
                        found = builder.call(MMA, [*x, *y, *sums[4 * n:4 * n + 4]])
                        sums[4 * n:4 * n + 4] = [builder.extract_value(found, lane) for lane in range(4)]
                return context.make_tuple(builder, sig.return_type, sums)

            return signature(acc, acc, a, types.int32, b, types.int32), codegen

        return mma

    def _store_pairs(places):
        @intrinsic
        def store(typingctx, acc, s, i):
            def codegen(context, builder, sig, args):
                acc, s, i = args
                base = address(context, builder, sig.args[1], s, i)
                for at, n in places:
                    pointer = builder.gep(base, [I32(at)], inbounds=True)
                    emit_store4(builder, pointer, [builder.extract_value(acc, n + lane) for lane in (0, 1)])
                return context.get_dummy_value()

            return signature(types.none, acc, s, types.int32), codegen

        return store
