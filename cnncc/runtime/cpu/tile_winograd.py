"""Winograd products whose weights are transformed in registers, between their load and their use.

The points (i, j) of a row i need the weights G_i w G^T: a few additions and FMAs on the taps of an input channel, then
each is used for all ``rows`` tiles. So one row of sums of ``rows`` tiles is a register tile, and the taps are read once
for each row of points that it is the sum of.
"""

import itertools
from collections.abc import Sequence

from llvmlite import ir
from numba import types
from numba.core.typing.templates import signature
from numba.extending import intrinsic

from cnncc.runtime.cpu.kernel import LINE
from cnncc.runtime.cpu.linear_map import emit_linear
from cnncc.runtime.cpu.memory_access import emit_prefetch
from cnncc.runtime.cpu.simd import F32, I64, emit_fma, pointer, splat_value, vector
from cnncc.runtime.cpu.tile import emit_loop
from cnncc.runtime.cpu.winograd import Axis


def in_register(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """``value``, which the optimiser cannot see through: an address from it is a register and a constant. With a second
    register in its address, an FMA that reads memory would be two micro-operations instead of one."""
    return builder.asm(ir.FunctionType(I64, [I64]), "", "=r,0", [value], side_effect=False)


def point_products(axis_h: Axis, axis_w: Axis, rows: int, vectors: int, lanes: int):
    """An intrinsic ``(v, w, m, channels, ahead, ahead_step, following)``:

        M[i, j, t] += sum over c and the points (p, q) of sum (i, j) of V[p, q, t, c] * (G_p W[c] G_q^T)

    for ``rows`` tiles t and the channels c, G being the weights of the axes. M is [sums, rows, vectors, lanes] float32
    at ``m``; V is [blocks, points, rows, lanes] at ``v``, channels in the lanes; W is [channels, taps, vectors, lanes]
    at ``w``, output channels in the lanes. Meanwhile what lies at ``ahead`` is asked for, ``ahead_step`` bytes a
    channel and row, and the V that comes next, which after the last is at ``following``."""
    down, across, width, columns = axis_h.weights, axis_w.weights, 4 * lanes, len(axis_w.backward[0])
    counts, points, sums_h = (len(down[0]), len(across[0])), len(axis_w.forward), len(axis_h.backward[0])
    taps_bytes = counts[0] * counts[1] * width
    lines, w_step = -(-taps_bytes // (sums_h * LINE)), taps_bytes * vectors
    # (.., sum, point) of a row, such that additions to a sum are far apart.
    order = sorted((q - first, j, q) for j, (first, last) in enumerate(itertools.pairwise(axis_w.starts))
                   for q in range(first, last))

    # Of V: the bytes of a block, where each row of sums begins, and lines to ask for with each of a block's channels.
    v_bytes = len(axis_h.forward) * points * rows * width
    row_at = [start * points * rows * width for start in axis_h.starts]
    near_lines = -(-max(b - a for a, b in itertools.pairwise(row_at)) // (LINE * lanes))

    def row_of_points(builder: ir.IRBuilder, i: int, taps: Sequence[ir.Value]) -> list[ir.Value]:
        pressed = [emit_linear(builder, [down[i]], list(taps[j :: counts[1]]))[0] for j in range(counts[1])]
        return emit_linear(builder, across, pressed)

    def load_taps(builder: ir.IRBuilder, place: ir.Value, i: int, v: int) -> list[ir.Value]:
        """What row ``i`` needs of them."""
        kind = vector(lanes)
        offsets = {(k, j): I64(((k * counts[1] + j) * vectors + v) * width)
                   for k, j in itertools.product(*map(range, counts))}
        return [builder.load(pointer(builder, builder.add(place, offset), kind), align=4) if down[i][k]
                else ir.Constant(kind, ir.Undefined) for (k, _), offset in offsets.items()]

    def channel(builder: ir.IRBuilder, i: int, v: ir.Value, w: ir.Value, acc: Sequence[ir.Value]) -> list[ir.Value]:
        out = list(acc)
        for p in range(axis_h.starts[i], axis_h.starts[i + 1]):
            taps = axis_h.used[p]
            u = [row_of_points(builder, taps, load_taps(builder, w, taps, k)) for k in range(vectors)]
            for (_, j, q), t in itertools.product(order, range(rows)):
                place = builder.add(v, I64(((p * points + q) * rows + t) * width))
                x = splat_value(builder, builder.load(pointer(builder, place, F32), align=4), lanes)
                for k in range(vectors):
                    at = (j * rows + t) * vectors + k
                    out[at] = emit_fma(builder, x, u[k][axis_w.used[q]], out[at])
        return out

    def one_row(builder: ir.IRBuilder, i: int, v, w, m, count, ahead, ahead_step, following) -> None:
        size = columns * rows * vectors
        places = [pointer(builder, builder.add(m, I64((i * size + k) * width)), vector(lanes)) for k in range(size)]

        def block(b, acc):
            v_block = builder.add(v, builder.mul(b, I64(v_bytes)))
            near = builder.select(builder.icmp_signed("<", builder.add(b, I64(1)), blocks),
                                  builder.add(v_block, I64(v_bytes + row_at[i])), following)
            first = builder.mul(b, I64(lanes))

            def one(c, acc):
                number = builder.add(first, c)
                coming = builder.add(ahead, builder.mul(number, ahead_step))
                for line in range(lines):
                    emit_prefetch(builder, builder.add(coming, I64(LINE * line)))
                for line in range(near_lines):
                    place = builder.add(builder.mul(c, I64(near_lines * LINE)), I64(line * LINE))
                    emit_prefetch(builder, builder.add(near, place), near=True)
                taps = in_register(builder, builder.add(w, builder.mul(number, I64(w_step))))
                place = in_register(builder, builder.add(v_block, builder.mul(c, I64(4))))
                return channel(builder, i, place, taps, acc)

            left = builder.sub(count, first)
            some = builder.select(builder.icmp_signed("<", left, I64(lanes)), left, I64(lanes))
            return emit_loop(builder, I64(0), some, 1, acc, one)

        acc = [builder.load(place, align=4) for place in places]
        blocks = builder.sdiv(builder.add(count, I64(lanes - 1)), I64(lanes))
        acc = emit_loop(builder, I64(0), blocks, 1, acc, block)
        for value, place in zip(acc, places, strict=True):
            builder.store(value, place, align=4)

    @intrinsic
    def apply(typingctx, v, w, m, channels, ahead, ahead_step, following):
        def codegen(context, builder, sig, args):
            v, w, m, count, ahead, ahead_step, following = args
            span = builder.mul(count, ahead_step)
            for i in range(sums_h):
                near = builder.add(v, I64(row_at[i + 1])) if i + 1 < sums_h else following
                one_row(builder, i, v, w, m, count, builder.add(ahead, builder.mul(span, I64(i))), ahead_step, near)
            return context.get_dummy_value()

        return signature(types.void, *(types.int64,) * 7), codegen

    return apply
