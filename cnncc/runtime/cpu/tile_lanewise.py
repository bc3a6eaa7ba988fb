"""Register tiles of ``rows x 1`` vectors updated lane by lane: depthwise and narrow grouped convolutions."""

from llvmlite import ir
from numba import types
from numba.core.typing.templates import signature
from numba.extending import intrinsic

from cnncc.runtime.cpu.simd import I32, I64, constant, emit_fma, pointer, vector
from cnncc.runtime.cpu.tile import Tile, pack, unpack


def _load(builder: ir.IRBuilder, address: ir.Value, lanes: int) -> ir.Value:
    return builder.load(pointer(builder, address, vector(lanes)), align=4)


def _emit_slide(builder: ir.IRBuilder, tile: Tile, value: ir.Value, w: ir.Value, count: int, step: int, pixel_at):
    """``value[r] += sum over t < count of x[r * step + t] * w[t]``; ``pixel_at`` gives a vector of x by its index."""
    acc = unpack(builder, value, tile)
    weights = [_load(builder, builder.add(w, I64(t * tile.lanes * 4)), tile.lanes) for t in range(count)]
    for column in range((tile.rows - 1) * step + count):
        users = [(r, column - r * step) for r in range(tile.rows) if 0 <= column - r * step < count]
        pixel = pixel_at(column) if users else None
        for r, t in users:
            acc[r] = emit_fma(builder, pixel, weights[t], acc[r])
    return pack(builder, acc, tile)


@intrinsic(prefer_literal=True)
def tile_slide(typingctx, tile, x, w, taps, stride):
    """``tile[r] += sum over t < taps of x[r * stride + t] * w[t]``: one kernel row over one image row.

    x and w are addresses of consecutive vectors. Each vector of x is read once. ``taps`` and ``stride`` are constants.
    """
    if not isinstance(tile, Tile) or tile.vectors != 1:
        return None
    count, step, width = constant(taps), constant(stride), tile.lanes * 4

    def codegen(context, builder, sig, args):
        value, x, w = args[:3]

        def pixel_at(column):
            return _load(builder, builder.add(x, I64(column * width)), tile.lanes)

        return _emit_slide(builder, tile, value, w, count, step, pixel_at)

    return signature(tile, tile, types.int64, types.int64, taps, stride), codegen


@intrinsic(prefer_literal=True)
def tile_slide_within(typingctx, tile, x, first, limit, zeros, w, taps, stride):
    """As ``tile_slide`` from pixel ``first`` on; an index of x outside 0 .. limit-1 reads the vector at ``zeros``.
    """
    if not isinstance(tile, Tile) or tile.vectors != 1:
        return None
    count, step, width = constant(taps), constant(stride), tile.lanes * 4

    def codegen(context, builder, sig, args):
        value, x, first, limit, zeros, w = args[:6]
        start = builder.add(x, builder.mul(first, I64(width)))

        def pixel_at(column):
            missing = builder.icmp_unsigned(">=", builder.add(first, I64(column)), limit)
            place = builder.select(missing, zeros, builder.add(start, I64(column * width)))
            return _load(builder, place, tile.lanes)

        return _emit_slide(builder, tile, value, w, count, step, pixel_at)

    return signature(tile, tile, *(types.int64,) * 5, taps, stride), codegen


@intrinsic(prefer_literal=True)
def tile_lanewise(typingctx, tile, rows_at, w):
    """``tile[r] += x_r * w``: one tap. x_r is the vector at rows_at[r] (an address table), w a vector."""
    if not isinstance(tile, Tile) or tile.vectors != 1:
        return None

    def codegen(context, builder, sig, args):
        value, rows_at, w = args
        acc, weights = unpack(builder, value, tile), _load(builder, w, tile.lanes)
        for r in range(tile.rows):
            place = builder.load(pointer(builder, builder.add(rows_at, I64(8 * r)), I64), align=8)
            acc[r] = emit_fma(builder, _load(builder, place, tile.lanes), weights, acc[r])
        return pack(builder, acc, tile)

    return signature(tile, tile, types.int64, types.int64), codegen


@intrinsic(prefer_literal=True)
def store_pairs(typingctx, address, step, value, group):
    """Each pair p of a group's channels, repeated over the lanes of its group, at ``address + p * step``.

    Lane l of vector p is lane ``l // group * group + 2 * p + l % 2`` of ``value``; ``group`` is an even constant.
    """
    size = constant(group)

    def codegen(context, builder, sig, args):
        address, step, value, _ = args
        lanes = sig.args[2].lanes
        for p in range(size // 2):
            order = [lane // size * size + 2 * p + lane % 2 for lane in range(lanes)]
            mixed = builder.shuffle_vector(value, value, ir.Constant(ir.VectorType(I32, lanes), order))
            place = builder.add(address, builder.mul(step, I64(p)))
            builder.store(mixed, pointer(builder, place, vector(lanes)), align=4)
        return context.get_dummy_value()

    return signature(types.void, types.int64, types.int64, value, group), codegen


@intrinsic(prefer_literal=True)
def tile_slide_pairs(typingctx, tile, x, x_step, w, odd, pairs, taps, stride):
    """``tile[r][l] += sum over p < pairs, t < taps of x[p][r * stride + t][l // 2 * 2 + odd] * w[p][t][l]``.

    x[p] and w are addresses of consecutive vectors, x[p] = x + p * x_step. Each vector of x is read once, by an
    instruction that doubles its lanes on the way. ``odd``, ``pairs``, ``taps`` and ``stride`` are constants.
    """
    if not isinstance(tile, Tile) or tile.vectors != 1:
        return None
    parity, count, width, step, lanes = constant(odd), constant(pairs), constant(taps), constant(stride), tile.lanes

    def codegen(context, builder, sig, args):
        value, x, x_step, w = args[:4]
        acc = unpack(builder, value, tile)
        order = ir.Constant(ir.VectorType(I32, lanes), [lane // 2 * 2 + parity for lane in range(lanes)])
        for p in range(count):
            weights = [_load(builder, builder.add(w, I64((p * width + t) * lanes * 4)), lanes) for t in range(width)]
            start, pixels = builder.add(x, builder.mul(x_step, I64(p))), {}
            for r, t in _by_taps(tile.rows, width, step, lanes):
                at = r * step + t
                if at not in pixels:
                    pixel = _load(builder, builder.add(start, I64(at * lanes * 4)), lanes)
                    pixels[at] = builder.shuffle_vector(pixel, pixel, order)
                acc[r] = emit_fma(builder, pixels[at], weights[t], acc[r])
        return pack(builder, acc, tile)

    return signature(tile, tile, *(types.int64,) * 3, odd, pairs, taps, stride), codegen


def _by_taps(rows: int, taps: int, stride: int, lanes: int):
    """All (row, tap), tap by tap for as many rows as have registers for their pixels (at most 7): an FMA waits for that
    of its row and the tap before."""
    registers = 16 if lanes == 8 else 32
    some = min(7, max(1, (registers - 1 - rows - taps) // stride))
    for first in range(0, rows, some):
        yield from ((r, t) for t in range(taps) for r in range(first, min(first + some, rows)))
