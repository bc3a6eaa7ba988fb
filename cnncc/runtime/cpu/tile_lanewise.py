"""Register tiles of ``rows x 1`` vectors updated lane by lane: depthwise and narrow grouped convolutions."""

from llvmlite import ir
from numba import types
from numba.core.typing.templates import signature
from numba.extending import intrinsic

from cnncc.runtime.cpu.simd import I32, I64, constant, emit_fma, pointer, vector
from cnncc.runtime.cpu.tile import Tile, pack, unpack


def _load(builder: ir.IRBuilder, address: ir.Value, lanes: int) -> ir.Value:
    return builder.load(pointer(builder, address, vector(lanes)), align=4)


@intrinsic(prefer_literal=True)
def tile_slide(typingctx, tile, x, first, limit, zeros, w, taps, stride):
    """``tile[r] += sum over t < taps of x[first + r * stride + t] * w[t]``: one kernel row over one image row.

    x and w are addresses of consecutive vectors; an index of x outside 0 .. limit-1 reads the vector at ``zeros``.
    Each vector of x is read once. ``taps`` and ``stride`` are constants.
    """
    if not isinstance(tile, Tile) or tile.vectors != 1:
        return None
    count, step, width = constant(taps), constant(stride), tile.lanes * 4

    def codegen(context, builder, sig, args):
        value, x, first, limit, zeros, w = args[:6]
        acc = unpack(builder, value, tile)
        weights = [_load(builder, builder.add(w, I64(t * width)), tile.lanes) for t in range(count)]
        start = builder.add(x, builder.mul(first, I64(width)))
        for column in range((tile.rows - 1) * step + count):
            users = [(r, column - r * step) for r in range(tile.rows) if 0 <= column - r * step < count]
            if not users:
                continue
            missing = builder.icmp_unsigned(">=", builder.add(first, I64(column)), limit)
            place = builder.select(missing, zeros, builder.add(start, I64(column * width)))
            pixel = _load(builder, place, tile.lanes)
            for r, t in users:
                acc[r] = emit_fma(builder, pixel, weights[t], acc[r])
        return pack(builder, acc, tile)

    return signature(tile, tile, *(types.int64,) * 5, taps, stride), codegen


@intrinsic(prefer_literal=True)
def tile_lanewise(typingctx, tile, rows_at, w, group):
    """``tile[r][l] += sum over j < group of x_r[l // group * group + j] * w[j][l]``.

    x_r is the vector at rows_at[r] (an address table), w ``group`` consecutive vectors. With group 1 this is a
    depthwise tap; larger groups (constants dividing the lanes) mix the channels within each group.
    """
    if not isinstance(tile, Tile) or tile.vectors != 1:
        return None
    count, lanes = constant(group), tile.lanes

    def codegen(context, builder, sig, args):
        value, rows_at, w = args[:3]
        acc, pixels = unpack(builder, value, tile), []
        for r in range(tile.rows):
            place = builder.load(pointer(builder, builder.add(rows_at, I64(8 * r)), I64), align=8)
            pixels.append(_load(builder, place, lanes))
        for j in range(count):
            weights = _load(builder, builder.add(w, I64(j * lanes * 4)), lanes)
            order = ir.Constant(ir.VectorType(I32, lanes), [lane // count * count + j for lane in range(lanes)])
            for r in range(tile.rows):
                mixed = pixels[r] if count == 1 else builder.shuffle_vector(pixels[r], pixels[r], order)
                acc[r] = emit_fma(builder, mixed, weights, acc[r])
        return pack(builder, acc, tile)

    return signature(tile, tile, types.int64, types.int64, group), codegen
