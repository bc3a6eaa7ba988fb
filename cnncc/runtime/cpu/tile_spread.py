"""Reductions of register tiles whose terms lie anywhere: their distances from the first are a table of int64."""

from numba import types
from numba.core.typing.templates import signature
from numba.extending import intrinsic

from cnncc.runtime.cpu.simd import F32, I64, constant, pointer, splat_value, vector
from cnncc.runtime.cpu.tile import (
    Tile,
    emit_loop,
    emit_reduction,
    emit_update,
    emit_weights,
    load_addresses,
    load_word,
    pack,
    unpack,
)


@intrinsic(prefer_literal=True)
def tile_fma_strips(typingctx, tile, x, row_step, tap_step, offsets_at, strips, taps, w, w_step):
    """``tile[r, v] += x_r[s, t] * w_v[s * taps + t]`` for s < strips, t < taps.

    x_r[s, t] is at x + r * row_step + offsets_at[s] + t * tap_step, with a table of int64 offsets; w_v[i] is at
    w + i * w_step + v * lanes * 4. All but the addresses and ``strips`` are constants.
    """
    if not isinstance(tile, Tile):
        return None
    row, across, times, step = (constant(number) for number in (row_step, tap_step, taps, w_step))
    kinds = (types.int64, row_step, tap_step, types.int64, types.int64, taps, types.int64, w_step)

    def codegen(context, builder, sig, args):
        value, x, _, _, offsets_at, strips, _, w, _ = args

        def body(strip, acc):
            start = builder.add(x, load_word(builder, offsets_at, strip))
            load_weights = emit_weights(builder, tile, builder.add(w, builder.mul(strip, I64(times * step))), I64(step))
            for t in range(times):
                places = [builder.add(start, I64(t * across + r * row)) for r in range(tile.rows)]
                scalars = [builder.load(pointer(builder, place, F32), align=4) for place in places]
                acc = emit_update(builder, tile, acc, lambda r, found=scalars: found[r], load_weights(I64(0), t))
            return acc

        return pack(builder, emit_loop(builder, I64(0), strips, 1, unpack(builder, value, tile), body), tile)

    return signature(tile, tile, *kinds), codegen


@intrinsic(prefer_literal=True)
def tile_fma_pixels(typingctx, tile, rows_at, x, offsets_at, count, unroll):
    """``tile[r, v] += w_r[i] * x_v[i]``: the scalars are weights, w_r = rows_at[r] + 4 * i, the vectors are pixels,
    x_v[i] at x + offsets_at[i] + v * lanes * 4."""
    if not isinstance(tile, Tile):
        return None
    times = constant(unroll)
    kinds = (types.int64, types.int64, types.int64, types.int64, unroll)

    def codegen(context, builder, sig, args):
        value, rows_at, x, offsets_at, count, _ = args
        rows = load_addresses(builder, rows_at, tile.rows)

        def row_address(r, index):
            return builder.add(rows[r], builder.mul(index, I64(4)))

        def load_pixels(i, u):
            place = builder.add(x, load_word(builder, offsets_at, builder.add(i, I64(u))))
            places = (builder.add(place, I64(4 * tile.lanes * v)) for v in range(tile.vectors))
            return [builder.load(pointer(builder, at, vector(tile.lanes)), align=4) for at in places]

        return emit_reduction(builder, tile, value, count, times, row_address, load_pixels)

    return signature(tile, tile, *kinds), codegen


@intrinsic(prefer_literal=True)
def tile_of_rows(typingctx, rows_at, rows, vectors, lanes):
    """Row r holds the float32 at rows_at[r] in every lane: a bias of each row."""
    kind = Tile(constant(rows), constant(vectors), constant(lanes))

    def codegen(context, builder, sig, args):
        values = []
        for place in load_addresses(builder, args[0], kind.rows):
            values += [splat_value(builder, builder.load(pointer(builder, place, F32), align=4), kind.lanes)]
        return pack(builder, [v for v in values for _ in range(kind.vectors)], kind)

    return signature(kind, types.int64, rows, vectors, lanes), codegen
