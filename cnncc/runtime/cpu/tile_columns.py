"""Integer tiles for depthwise convolutions: groups of four taps that lie above each other.

The bytes of four input rows at one column are interleaved lane by lane, so that one group of four products a lane does
four taps of every channel. A row of the tile is a pixel, whose one vector holds the sums of a block of channels.
"""

from llvmlite import ir
from numba import types
from numba.core.typing.templates import signature
from numba.extending import intrinsic

from cnncc.runtime.cpu.simd import I32, I64, constant, pointer, splat_constant
from cnncc.runtime.cpu.tile import Tile, load_word, unpack
from cnncc.runtime.cpu.tile_integer import I8, Dots, as_ints, load_whole, pack_ints, spread_flip, whole


def _column(builder: ir.IRBuilder, lines, padding, column, width, lanes: int, flip):
    """The bytes at one column of four input rows, interleaved lane by lane; those outside are the padding's."""
    inside = builder.icmp_unsigned("<", column, width)
    offset = builder.mul(column, I64(lanes))
    kind = ir.VectorType(I8, lanes)
    parts = []
    for line in lines:
        there = builder.and_(inside, builder.icmp_signed("!=", line, I64(0)))
        place = builder.select(there, builder.add(line, offset), padding)
        parts.append(builder.load(pointer(builder, place, kind), align=1))

    def order(numbers):
        return ir.Constant(ir.VectorType(I32, len(numbers)), numbers)

    low, high = (builder.shuffle_vector(*parts[i : i + 2], order(list(range(2 * lanes)))) for i in (0, 2))
    mixed = builder.shuffle_vector(low, high, order([i % 4 * lanes + i // 4 for i in range(4 * lanes)]))
    x = builder.bitcast(mixed, whole(lanes))
    return x if flip is None else builder.xor(x, flip)


def _ones(lanes: int) -> ir.Constant:
    return splat_constant(whole(lanes), 0x01010101)


def _lines(builder: ir.IRBuilder, table: ir.Value) -> list[ir.Value]:
    return [load_word(builder, table, I64(q)) for q in range(4)]


@intrinsic(prefer_literal=True)
def column_dots(typingctx, tile, lines, first, step, width, padding, w, flip, signed, vnni, sums):
    """One tap along the row: ``tile[r]`` gains the products of the column first + r * step with the weights at ``w``.

    ``lines``: where the four input rows begin (0 where there is none); ``width`` their columns. With ``sums`` every row
    has a second vector, which gains the sum of the four bytes. For the rest see dot_rows.
    """
    if not isinstance(tile, Tile):
        return None
    flags = constant(signed), constant(vnni), constant(sums)

    def codegen(context, builder, sig, args):
        value, table, first, step, width, padding, w, flip = args[:8]
        dots, acc = Dots(builder, tile.lanes, flags[1]), as_ints(builder, unpack(builder, value, tile), tile.lanes)
        flip, lines = spread_flip(builder, flip, tile.lanes, flags[0]), _lines(builder, table)
        weights = dots.prepare_w(load_whole(builder, w, tile.lanes))
        ones, each = dots.prepare_w(_ones(tile.lanes)), tile.vectors
        for r in range(tile.rows):
            column = builder.add(first, builder.mul(step, I64(r)))
            x = dots.prepare_x(_column(builder, lines, padding, column, width, tile.lanes, flip))
            acc[r * each] = dots.add(acc[r * each], x, weights)
            if flags[2]:
                acc[r * each + 1] = dots.add(acc[r * each + 1], x, ones)
        return pack_ints(builder, acc, tile)

    return signature(tile, tile, *(types.int64,) * 7, signed, vnni, sums), codegen


@intrinsic(prefer_literal=True)
def sliding_dots(typingctx, tile, lines, first, width, padding, w, flip, taps, stride, signed, vnni, sums):
    """All ``taps`` along the row, without dilation: each column is read once for all the pixels that need it. Pixel r
    begins at column first + r * ``stride``; for the rest see column_dots."""
    if not isinstance(tile, Tile):
        return None
    count, step, flags = constant(taps), constant(stride), (constant(signed), constant(vnni), constant(sums))

    def codegen(context, builder, sig, args):
        value, table, first, width, padding, w, flip = args[:7]
        dots, acc = Dots(builder, tile.lanes, flags[1]), as_ints(builder, unpack(builder, value, tile), tile.lanes)
        flip, lines = spread_flip(builder, flip, tile.lanes, flags[0]), _lines(builder, table)
        weights = [dots.prepare_w(load_whole(builder, builder.add(w, I64(4 * tile.lanes * t)), tile.lanes))
                   for t in range(count)]  # fmt: skip
        ones, each = dots.prepare_w(_ones(tile.lanes)), tile.vectors
        for at in range((tile.rows - 1) * step + count):
            column = builder.add(first, I64(at))
            x = dots.prepare_x(_column(builder, lines, padding, column, width, tile.lanes, flip))
            for r in range(tile.rows):
                if 0 <= at - r * step < count:
                    acc[r * each] = dots.add(acc[r * each], x, weights[at - r * step])
                    if flags[2]:
                        acc[r * each + 1] = dots.add(acc[r * each + 1], x, ones)
        return pack_ints(builder, acc, tile)

    return signature(tile, tile, *(types.int64,) * 6, taps, stride, signed, vnni, sums), codegen
