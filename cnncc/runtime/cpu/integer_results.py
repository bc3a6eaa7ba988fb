"""What becomes of tiles of int32 sums, and of vectors, before they are stored: bytes, float32 or int32."""

from llvmlite import ir
from numba import types
from numba.core.typing.templates import signature
from numba.extending import intrinsic

from cnncc.runtime.cpu.simd import F32, I32, I64, Vec, constant, pointer, splat_constant, splat_value, vector
from cnncc.runtime.cpu.tile import Tile, emit_loop, unpack
from cnncc.runtime.cpu.tile_integer import I8, as_ints, whole


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
        bits = b.bitcast(b.fadd(real, splat_constant(vector(self.lanes), 12582912.0)), whole(self.lanes))
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
