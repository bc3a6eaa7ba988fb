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

from cnncc.runtime.cpu.simd import F32, I32, I64, Vec, constant, pointer, splat_value, vector
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
        return ir.Constant(whole(self.lanes), [value] * self.lanes)

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
        eight = ir.Constant(halves, [8] * (2 * self.lanes))
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


class Finish:
    """What becomes of the sums of a column of a tile: ``result`` is u8 or i8 (quantised again), f32 or i32.

    Sums are corrected by the weights' zero points, where there is a column of sums of x; converted to float32 and
    multiplied by ``scale`` times ``factor``. For bytes they are then limited to a .. b, rounded to even, and ``zero``
    is added; for f32 ``shift`` is added and the activation of the parameters a and b applied.
    """

    def __init__(self, builder: ir.IRBuilder, context, result: str, activation, lanes: int, sums: int, args) -> None:
        self.b, self.context, self.result, self.activation = builder, context, result, activation
        self.lanes, self.sums, self.args = lanes, sums, args
        self.parameters: dict[tuple[str, int], ir.Value] = {}

    def _read(self, name: str, v: int, kind: ir.Type) -> ir.Value:
        place = self.b.add(self.args[name], I64(4 * self.lanes * v))
        return self.b.load(pointer(self.b, place, ir.VectorType(kind, self.lanes)), align=4)

    def _all(self, value: ir.Value) -> ir.Value:
        return splat_value(self.b, value, self.lanes)

    def column(self, v: int) -> dict[str, ir.Value]:
        """The parameters of vector v."""
        found = {}
        if self.sums:
            found["zeros"] = self._read("zeros", v, I32)
        if self.result != "i32":
            found["scale"] = self.b.fmul(self._read("scale", v, F32), self._all(self.args["factor"]))
        if self.result == "f32":
            found["shift"] = self._read("shift", v, F32)
        return found

    def value(self, total: ir.Value, sum_x: ir.Value | None, column: dict[str, ir.Value]) -> ir.Value:
        b = self.b
        if sum_x is not None:
            total = b.sub(total, b.mul(column["zeros"], sum_x))
        if self.result == "i32":
            return total
        real = b.fmul(b.sitofp(total, vector(self.lanes)), column["scale"])
        low, high = self.args["a"], self.args["b"]
        if self.result == "f32":
            from cnncc.runtime.cpu.emit import compiled

            return compiled(self.context, b, self.activation, b.fadd(real, column["shift"]), low, high)
        return self.rounded(real, low, high)

    def rounded(self, real: ir.Value, low: ir.Value, high: ir.Value) -> ir.Value:
        """Bytes. Adding 1.5 * 2^23 rounds to even and leaves the integer in the low bits."""
        b = self.b
        low, high = self._all(low), self._all(high)
        real = b.select(b.fcmp_ordered(">", real, low), real, low)
        real = b.select(b.fcmp_ordered("<", real, high), real, high)
        bits = b.bitcast(b.fadd(real, ir.Constant(vector(self.lanes), [12582912.0] * self.lanes)), whole(self.lanes))
        zero = self._all(b.trunc(self.args["zero"], I32))
        return b.trunc(b.add(bits, zero), ir.VectorType(I8, self.lanes))


FINISH = ("scale", "shift", "zeros", "factor", "a", "b", "zero")
_FINISH_KINDS = (types.int64, types.int64, types.int64, types.float32, types.float32, types.float32, types.int64)


def blocked_store(result: str, activation, sums: int):
    """An intrinsic ``(tile, address, row_step, vector_step, rows_valid, vectors_valid, *FINISH)``.

    It writes vector (r, v) of results at address + r * row_step + v * vector_step where r and v are valid.
    """

    @intrinsic
    def store_blocks(typingctx, tile, address, row_step, vector_step, rows_valid, vectors_valid, scale, shift, zeros,
                     factor, a, b, zero):  # fmt: skip
        if not isinstance(tile, Tile):
            return None

        def codegen(context, builder, sig, args):
            value, address, row_step, vector_step, rows_valid, vectors_valid = args[:6]
            finish = Finish(builder, context, result, activation, tile.lanes, sums,
                            dict(zip(FINISH, args[6:], strict=True)))  # fmt: skip
            values, vectors = as_ints(builder, unpack(builder, value, tile), tile.lanes), tile.vectors - sums
            for v in range(vectors):
                with builder.if_then(builder.icmp_signed("<", I64(v), vectors_valid)):
                    column, base = finish.column(v), builder.add(address, builder.mul(vector_step, I64(v)))
                    for r in range(tile.rows):
                        with builder.if_then(builder.icmp_signed("<", I64(r), rows_valid)):
                            sum_x = values[r * tile.vectors + vectors] if sums else None
                            out = finish.value(values[r * tile.vectors + v], sum_x, column)
                            place = builder.add(base, builder.mul(row_step, I64(r)))
                            builder.store(out, pointer(builder, place, out.type), align=1)
            return context.get_dummy_value()

        return signature(types.void, tile, *(types.int64,) * 5, *_FINISH_KINDS), codegen

    return store_blocks


def row_store(result: str, activation, sums: int):
    """An intrinsic ``(tile, address, row_step, rows_valid, columns_valid, *FINISH)``: rows of plain results."""

    @intrinsic
    def store_rows(typingctx, tile, address, row_step, rows_valid, columns_valid, scale, shift, zeros, factor, a, b,
                   zero):  # fmt: skip
        if not isinstance(tile, Tile):
            return None

        def codegen(context, builder, sig, args):
            from cnncc.runtime.cpu import emit

            value, address, row_step, rows_valid, columns_valid = args[:5]
            finish = Finish(builder, context, result, activation, tile.lanes, sums,
                            dict(zip(FINISH, args[5:], strict=True)))  # fmt: skip
            values, vectors = as_ints(builder, unpack(builder, value, tile), tile.lanes), tile.vectors - sums
            item = 1 if result in ("u8", "i8") else 4
            for v in range(vectors):
                left = builder.sub(columns_valid, I64(v * tile.lanes))
                with builder.if_then(builder.icmp_signed(">", left, I64(0))):
                    column, mask = finish.column(v), emit.first_lanes(builder, left, tile.lanes)
                    base = builder.add(address, I64(v * tile.lanes * item))
                    for r in range(tile.rows):
                        with builder.if_then(builder.icmp_signed("<", I64(r), rows_valid)):
                            sum_x = values[r * tile.vectors + vectors] if sums else None
                            out = finish.value(values[r * tile.vectors + v], sum_x, column)
                            place = builder.add(base, builder.mul(row_step, I64(r)))
                            emit.store(builder, place, out, result, tile.lanes, mask)
            return context.get_dummy_value()

        return signature(types.void, tile, *(types.int64,) * 4, *_FINISH_KINDS), codegen

    return store_rows


@intrinsic
def store_rounded(typingctx, address, value, a, b, zero, count):
    """Write the first ``count`` lanes of a vector, limited to a .. b, rounded to even, plus ``zero``, as bytes."""
    if not isinstance(value, Vec):
        return None

    def codegen(context, builder, sig, args):
        from cnncc.runtime.cpu import emit

        address, real, low, high, zero, count = args
        finish = Finish(builder, context, "u8", None, value.lanes, 0, {"zero": zero})
        emit.store(builder, address, finish.rounded(real, low, high), "u8", value.lanes,
                   emit.first_lanes(builder, count, value.lanes))  # fmt: skip
        return context.get_dummy_value()

    kinds = (types.int64, value, types.float32, types.float32, types.int64, types.int64)
    return signature(types.void, *kinds), codegen


@intrinsic(prefer_literal=True)
def bytes_sum(typingctx, address, step, count, signed, lanes):
    """The sums of ``count`` vectors of bytes, ``step`` bytes apart, as the bits of int32: each lane's own."""
    width, negative = constant(lanes), constant(signed)

    def codegen(context, builder, sig, args):
        address, step, count = args[:3]

        def body(i, totals):
            place = builder.add(address, builder.mul(i, step))
            part = builder.load(pointer(builder, place, ir.VectorType(I8, width)), align=1)
            wide = builder.sext(part, whole(width)) if negative else builder.zext(part, whole(width))
            return [builder.add(totals[0], wide)]

        [total] = emit_loop(builder, I64(0), count, 1, [ir.Constant(whole(width), None)], body)
        return builder.bitcast(total, vector(width))

    return signature(Vec(width), *(types.int64,) * 3, signed, lanes), codegen
