"""Winograd products whose weights are transformed in registers, between their load and their use.

The points (i, j) of a row i need the weights G_i w G^T: a few additions and FMAs on the taps of an input channel, then
each is used for all ``rows`` tiles. So one row of points of ``rows`` tiles is a register tile, and the taps are read
once a row.
"""

import itertools
from collections.abc import Sequence

from llvmlite import ir
from numba import types
from numba.core.typing.templates import signature
from numba.extending import intrinsic

from cnncc.runtime.cpu.linear_map import Matrix, emit_linear
from cnncc.runtime.cpu.memory_access import emit_prefetch
from cnncc.runtime.cpu.simd import F32, I64, emit_fma, pointer, splat_value, vector
from cnncc.runtime.cpu.tile import emit_loop

LINE = 64


def point_products(down: Matrix, across: Matrix, rows: int, lanes: int):
    """An intrinsic ``(v, w, m, channels, ahead, ahead_step)``:

        M[i, j, t] += sum over c of V[i, c, j, t] * (down_i W[c] across_j^T)

    for the points (i, j), ``rows`` tiles t and the channels c. M is [points, rows, lanes] float32 at ``m``; V is
    [blocks, points, rows, lanes] at ``v``, channels in the lanes; W is [channels, taps, lanes] at ``w``, output
    channels in the lanes. Meanwhile what lies at ``ahead`` is asked for, ``ahead_step`` bytes a channel and row."""
    columns, width = len(across), 4 * lanes
    counts = len(down[0]), len(across[0])
    lines = -(-counts[0] * counts[1] * width // (len(down) * LINE))

    def row_of_points(builder: ir.IRBuilder, i: int, taps: Sequence[ir.Value]) -> list[ir.Value]:
        pressed = [emit_linear(builder, [down[i]], list(taps[j :: counts[1]]))[0] for j in range(counts[1])]
        return emit_linear(builder, across, pressed)

    def load_taps(builder: ir.IRBuilder, place: ir.Value, i: int) -> list[ir.Value]:
        """What row ``i`` needs of them."""
        nothing = ir.Constant(vector(lanes), ir.Undefined)
        return [builder.load(pointer(builder, builder.add(place, I64((k * counts[1] + j) * width)), vector(lanes)),
                             align=4) if down[i][k] else nothing
                for k, j in itertools.product(*map(range, counts))]

    def channel(builder: ir.IRBuilder, i: int, v: ir.Value, w: ir.Value, acc: Sequence[ir.Value]) -> list[ir.Value]:
        out = []
        for j, u in enumerate(row_of_points(builder, i, load_taps(builder, w, i))):
            for t in range(rows):
                place = builder.add(v, I64((j * rows + t) * width))
                x = splat_value(builder, builder.load(pointer(builder, place, F32), align=4), lanes)
                out.append(emit_fma(builder, x, u, acc[j * rows + t]))
        return out

    def one_row(builder: ir.IRBuilder, i: int, v, w, m, count, ahead, ahead_step) -> None:
        places = [pointer(builder, builder.add(m, I64((i * columns * rows + k) * width)), vector(lanes))
                  for k in range(columns * rows)]

        def block(b, acc):
            v_block = builder.add(v, builder.mul(b, I64(len(down) * columns * rows * width)))
            first = builder.mul(b, I64(lanes))

            def one(c, acc):
                number = builder.add(first, c)
                coming = builder.add(ahead, builder.mul(number, ahead_step))
                for line in range(lines):
                    emit_prefetch(builder, builder.add(coming, I64(LINE * line)))
                taps = builder.add(w, builder.mul(number, I64(counts[0] * counts[1] * width)))
                return channel(builder, i, builder.add(v_block, builder.mul(c, I64(4))), taps, acc)

            left = builder.sub(count, first)
            some = builder.select(builder.icmp_signed("<", left, I64(lanes)), left, I64(lanes))
            return emit_loop(builder, I64(0), some, 1, acc, one)

        acc = [builder.load(place, align=4) for place in places]
        blocks = builder.sdiv(builder.add(count, I64(lanes - 1)), I64(lanes))
        acc = emit_loop(builder, I64(0), blocks, 1, acc, block)
        for value, place in zip(acc, places, strict=True):
            builder.store(value, place, align=4)

    @intrinsic
    def apply(typingctx, v, w, m, channels, ahead, ahead_step):
        def codegen(context, builder, sig, args):
            v, w, m, count, ahead, ahead_step = args
            span = builder.mul(count, ahead_step)
            for i in range(len(down)):
                one_row(builder, i, builder.add(v, I64(i * columns * rows * width)), w, m, count,
                        builder.add(ahead, builder.mul(span, I64(i))), ahead_step)
            return context.get_dummy_value()

        return signature(types.void, *(types.int64,) * 6), codegen

    return apply
