"""Register tiles of int32 sums of products of bytes.

A tile is a Tile whose vectors hold int32 (their bits are those of float32 values, so that it can be kept, loaded and
stored like any other). The reduction adds, for each row r and vector v, groups of four products a lane:

    tile[r, v][l] += sum over j < 4 of x_r[4 i + j] * w_v[i][l][j]      i = 0 .. count-1

with x unsigned and w signed bytes. Where the CPU has VNNI that is one instruction; elsewhere bytes are widened to 16
bits and multiplied in pairs, which is exact too: no sum saturates.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import signature
from numba.extending import intrinsic

from cnncc.runtime.cpu.simd import I32, I64, constant, pointer, splat_constant, splat_value, vector
from cnncc.runtime.cpu.tile import Tile, emit_loop, load_addresses, load_word, pack, unpack

I8, I16 = ir.IntType(8), ir.IntType(16)


def whole(lanes: int) -> ir.VectorType:
    return ir.VectorType(I32, lanes)


def has_vnni(lanes: int) -> bool:
    """Whether this machine multiplies and adds bytes in vectors of ``lanes`` int32."""
    from cnncc.runtime.cpu.native import has_features

    if has_features("avx512vnni", "avx512vl", "avx512bw"):
        return True
    return has_features("avxvnni") and lanes < 16


def _function(builder: ir.IRBuilder, name: str, result: ir.Type, *operands: ir.Value) -> ir.Value:
    kind = ir.FunctionType(result, [v.type for v in operands])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), operands)


def _pairs(builder: ir.IRBuilder, x: ir.Value, w: ir.Value, lanes: int) -> ir.Value:
    """Products of the neighbouring int16 of x and w, added up in int32."""
    from cnncc.runtime.cpu.native import has_features

    halves = ir.VectorType(I16, 2 * lanes)
    name = {16: "avx512.pmaddw.d.512", 8: "avx2.pmadd.wd", 4: "sse2.pmadd.wd"}[lanes]
    x, w = builder.bitcast(x, halves), builder.bitcast(w, halves)
    if has_features(*{16: ("avx512bw",), 8: ("avx2",), 4: ()}[lanes]):
        return _function(builder, f"llvm.x86.{name}", whole(lanes), x, w)
    wide = ir.VectorType(I32, 2 * lanes)
    products = builder.mul(builder.sext(x, wide), builder.sext(w, wide))
    even, odd = (ir.Constant(whole(lanes), list(range(start, 2 * lanes, 2))) for start in (0, 1))
    return builder.add(*(builder.shuffle_vector(products, products, order) for order in (even, odd)))


class Dots:
    """Writes sums of four products a lane, on the machine's own instruction or, with ``vnni`` 0, without it."""

    def __init__(self, builder: ir.IRBuilder, lanes: int, vnni: int) -> None:
        self.b, self.lanes = builder, lanes
        self.own = bool(vnni) and has_vnni(lanes)

    def _all(self, value: int) -> ir.Constant:
        return splat_constant(whole(self.lanes), value)

    def prepare_x(self, x: ir.Value) -> list[ir.Value]:
        """Four unsigned bytes a lane, in the form that ``add`` takes."""
        if self.own:
            return [x]
        low = self._all(0x00FF00FF)
        return [self.b.and_(x, low), self.b.and_(self.b.lshr(x, self._all(8)), low)]

    def prepare_w(self, w: ir.Value) -> list[ir.Value]:
        """Four signed bytes a lane, likewise."""
        if self.own:
            return [w]
        halves = ir.VectorType(I16, 2 * self.lanes)
        eight = splat_constant(halves, 8)
        both = self.b.bitcast(w, halves)
        return [self.b.ashr(self.b.shl(both, eight), eight), self.b.ashr(both, eight)]

    def add(self, total: ir.Value, x: list[ir.Value], w: list[ir.Value]) -> ir.Value:
        if self.own:
            return _function(self.b, f"llvm.x86.avx512.vpdpbusd.{32 * self.lanes}", total.type, total, x[0], w[0])
        for left, right in zip(x, w, strict=True):
            total = self.b.add(total, _pairs(self.b, left, right, self.lanes))
        return total


def load_whole(builder: ir.IRBuilder, address: ir.Value, lanes: int) -> ir.Value:
    return builder.load(pointer(builder, address, whole(lanes)), align=4)


def as_ints(builder: ir.IRBuilder, values: list[ir.Value], lanes: int) -> list[ir.Value]:
    return [builder.bitcast(v, whole(lanes)) for v in values]


def pack_ints(builder: ir.IRBuilder, values: list[ir.Value], kind: Tile) -> ir.Value:
    return pack(builder, [builder.bitcast(v, vector(kind.lanes)) for v in values], kind)


def _update(builder, dots: Dots, kind: Tile, acc, places, flip, w, offset: int):
    """One group: four bytes at ``places[r] + offset`` times the weights at ``w``."""
    weights = [dots.prepare_w(load_whole(builder, builder.add(w, I64(4 * kind.lanes * v)), kind.lanes))
               for v in range(kind.vectors)]  # fmt: skip
    out = list(acc)
    for r, place in enumerate(places):
        four = builder.load(pointer(builder, builder.add(place, I64(offset)), I32), align=1)
        x = splat_value(builder, four, kind.lanes)
        if flip is not None:
            x = builder.xor(x, flip)
        x = dots.prepare_x(x)
        for v in range(kind.vectors):
            at = r * kind.vectors + v
            out[at] = dots.add(out[at], x, weights[v])
    return out


def spread_flip(builder: ir.IRBuilder, flip: ir.Value, lanes: int, signed: int) -> ir.Value | None:
    return splat_value(builder, builder.trunc(flip, I32), lanes) if signed else None


def _blocks(builder, kind: Tile, tile, vnni: int, flip, rows, steps, w, count, tail):
    """``count`` blocks of ``lanes`` bytes of each row, ``steps[r]`` bytes apart, then ``tail`` groups of four."""
    dots, groups, width = Dots(builder, kind.lanes, vnni), kind.lanes // 4, 4 * kind.lanes * kind.vectors
    n = kind.rows

    def block(_, values):
        places, at, acc = values[:n], values[n], values[n + 1 :]
        for g in range(groups):
            acc = _update(builder, dots, kind, acc, places, flip, builder.add(at, I64(g * width)), 4 * g)
        places = [builder.add(place, step) for place, step in zip(places, steps, strict=True)]
        return [*places, builder.add(at, I64(groups * width)), *acc]

    def group(_, values):
        places, at, acc = values[:n], values[n], values[n + 1 :]
        acc = _update(builder, dots, kind, acc, places, flip, at, 0)
        return [*(builder.add(place, I64(4)) for place in places), builder.add(at, I64(width)), *acc]

    acc = as_ints(builder, unpack(builder, tile, kind), kind.lanes)
    values = emit_loop(builder, I64(0), count, 1, [*rows, w, *acc], block)
    values = emit_loop(builder, I64(0), tail, 1, values, group)
    return pack_ints(builder, values[n + 1 :], kind)


@intrinsic(prefer_literal=True)
def dot_rows(typingctx, tile, rows_at, steps_at, w, count, tail, flip, signed, vnni):
    """The reduction over ``count`` blocks of ``lanes`` bytes, then ``tail`` groups of four bytes.

    ``rows_at`` and ``steps_at``: addresses of ``rows`` int64: where each row begins, and its bytes from one block to
    the next. ``w``: the weights, vector v of group i at w + (i * vectors + v) * lanes * 4. With ``signed`` x holds
    signed bytes, to which 128 is added by exclusive or with ``flip``, which must be 0x80808080 (LLVM's code generator
    does not come to an end on a constant here).
    """
    if not isinstance(tile, Tile):
        return None
    flags = constant(signed), constant(vnni)

    def codegen(context, builder, sig, args):
        value, rows_at, steps_at, w, count, tail, flip = args[:7]
        rows = load_addresses(builder, rows_at, tile.rows)
        steps = [load_word(builder, steps_at, I64(r)) for r in range(tile.rows)]
        flip = spread_flip(builder, flip, tile.lanes, flags[0])
        return _blocks(builder, tile, value, flags[1], flip, rows, steps, w, count, tail)

    return signature(tile, tile, *(types.int64,) * 6, signed, vnni), codegen


@intrinsic(prefer_literal=True)
def dot_even(typingctx, tile, x, row_step, step, w, count, tail, flip, signed, vnni):
    """As ``dot_rows`` with row r at x + r * row_step (a constant) and blocks ``step`` bytes apart."""
    if not isinstance(tile, Tile):
        return None
    between, flags = constant(row_step), (constant(signed), constant(vnni))

    def codegen(context, builder, sig, args):
        value, x, _, step, w, count, tail, flip = args[:8]
        dots, groups, width = Dots(builder, tile.lanes, flags[1]), tile.lanes // 4, 4 * tile.lanes * tile.vectors
        flip = spread_flip(builder, flip, tile.lanes, flags[0])

        def update(acc, place, at, g):
            places = [builder.add(place, I64(r * between)) for r in range(tile.rows)]
            return _update(builder, dots, tile, acc, places, flip, builder.add(at, I64(g * width)), 4 * g)

        def block(_, values):
            place, at, acc = values[0], values[1], values[2:]
            for g in range(groups):
                acc = update(acc, place, at, g)
            return [builder.add(place, step), builder.add(at, I64(groups * width)), *acc]

        def group(_, values):
            return [builder.add(values[0], I64(4)), builder.add(values[1], I64(width)),
                    *update(values[2:], values[0], values[1], 0)]  # fmt: skip

        acc = as_ints(builder, unpack(builder, value, tile), tile.lanes)
        values = emit_loop(builder, I64(0), count, 1, [x, w, *acc], block)
        values = emit_loop(builder, I64(0), tail, 1, values, group)
        return pack_ints(builder, values[2:], tile)

    kinds = (types.int64, row_step, *(types.int64,) * 5)
    return signature(tile, tile, *kinds, signed, vnni), codegen


@intrinsic(prefer_literal=True)
def dot_list(typingctx, tile, rows_at, offsets_at, w, count, flip, signed, vnni):
    """The reduction over ``count`` groups that lie anywhere: group i of row r at rows_at[r] + offsets_at[i], both
    tables of int64. For the rest see dot_rows."""
    if not isinstance(tile, Tile):
        return None
    flags = constant(signed), constant(vnni)

    def codegen(context, builder, sig, args):
        value, rows_at, offsets_at, w, count, flip = args[:6]
        rows, width = load_addresses(builder, rows_at, tile.rows), 4 * tile.lanes * tile.vectors
        dots, flip = Dots(builder, tile.lanes, flags[1]), spread_flip(builder, flip, tile.lanes, flags[0])

        def group(i, values):
            offset = load_word(builder, offsets_at, i)
            places = [builder.add(row, offset) for row in rows]
            acc = _update(builder, dots, tile, values[1:], places, flip, values[0], 0)
            return [builder.add(values[0], I64(width)), *acc]

        acc = as_ints(builder, unpack(builder, value, tile), tile.lanes)
        values = emit_loop(builder, I64(0), count, 1, [w, *acc], group)
        return pack_ints(builder, values[1:], tile)

    return signature(tile, tile, *(types.int64,) * 5, signed, vnni), codegen


@intrinsic(prefer_literal=True)
def dot_start(typingctx, bias, weight_sums, zero, rows, vectors, lanes, sums):
    """Every row is bias - zero * weight_sums, ``vectors`` vectors of int32 each; with ``sums`` one of zeros follows."""
    count, extra = constant(vectors), constant(sums)
    kind = Tile(constant(rows), count + extra, constant(lanes))

    def codegen(context, builder, sig, args):
        zeros = splat_value(builder, builder.trunc(args[2], I32), kind.lanes)
        row = []
        for v in range(count):
            start, total = (load_whole(builder, builder.add(a, I64(4 * kind.lanes * v)), kind.lanes) for a in args[:2])
            row.append(builder.sub(start, builder.mul(zeros, total)))
        row += [ir.Constant(whole(kind.lanes), None)] * extra
        return pack_ints(builder, row * kind.rows, kind)

    return signature(kind, *(types.int64,) * 3, rows, vectors, lanes, sums), codegen
