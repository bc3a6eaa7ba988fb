"""Register tiles (see tile.py) to and from memory, where their vectors lie at even distances and not all of them need
be there, and what is done to them before they are stored."""

from llvmlite import ir
from numba import types
from numba.core.typing.templates import signature
from numba.extending import intrinsic

from cnncc.runtime.cpu.simd import I64, Vec, constant, pointer, vector
from cnncc.runtime.cpu.tile import Tile, pack, unpack


@intrinsic(prefer_literal=True)
def tile_load(typingctx, address, row_step, vector_step, rows_valid, vectors_valid, rows, vectors, lanes):
    """Read vector (r, v) at ``address + r * row_step + v * vector_step``; those outside the valid ranges are zero."""
    kind = Tile(constant(rows), constant(vectors), constant(lanes))
    kinds = (types.int64,) * 5

    def codegen(context, builder, sig, args):
        address, row_step, vector_step, rows_valid, vectors_valid = args[:5]
        nothing = ir.Constant(vector(kind.lanes), None)
        out = []
        for r, v in _places(kind):
            place = builder.add(address, builder.add(builder.mul(row_step, I64(r)), builder.mul(vector_step, I64(v))))
            wanted = builder.and_(
                builder.icmp_signed("<", I64(r), rows_valid), builder.icmp_signed("<", I64(v), vectors_valid)
            )
            before = builder.block
            with builder.if_then(wanted):
                value = builder.load(pointer(builder, place, vector(kind.lanes)), align=4)
                inside = builder.block
            phi = builder.phi(vector(kind.lanes))
            phi.add_incoming(nothing, before)
            phi.add_incoming(value, inside)
            out.append(phi)
        return pack(builder, out, kind)

    return signature(kind, *kinds, rows, vectors, lanes), codegen


def _places(kind: Tile):
    return ((r, v) for r in range(kind.rows) for v in range(kind.vectors))


@intrinsic
def tile_store(typingctx, tile, address, row_step, vector_step, rows_valid, vectors_valid):
    """Write vector (r, v) at ``address + r * row_step + v * vector_step`` where r and v are in the valid ranges."""
    if not isinstance(tile, Tile):
        return None

    def codegen(context, builder, sig, args):
        value, address, *rest = args

        def one(r, v, place):
            builder.store(value_at[r * tile.vectors + v], pointer(builder, place, vector(tile.lanes)), align=4)

        value_at = unpack(builder, value, tile)
        _for_valid(builder, tile, address, *rest, one)
        return context.get_dummy_value()

    return signature(types.void, tile, *(types.int64,) * 5), codegen


def _for_valid(builder, kind: Tile, address, row_step, vector_step, rows_valid, vectors_valid, one):
    """Emit ``one(r, v, place)`` for the whole tile, straight if all of it is valid, else guarded one by one."""

    def place(r, v):
        return builder.add(address, builder.add(builder.mul(row_step, I64(r)), builder.mul(vector_step, I64(v))))

    all_rows = builder.icmp_signed(">=", rows_valid, I64(kind.rows))
    whole = builder.and_(all_rows, builder.icmp_signed(">=", vectors_valid, I64(kind.vectors)))
    with builder.if_else(whole) as (all_valid, some_valid):
        with all_valid:
            for r, v in _places(kind):
                one(r, v, place(r, v))
        with some_valid:
            for r in range(kind.rows):
                with builder.if_then(builder.icmp_signed("<", I64(r), rows_valid)):
                    for v in range(kind.vectors):
                        with builder.if_then(builder.icmp_signed("<", I64(v), vectors_valid)):
                            one(r, v, place(r, v))


def _add_valid(builder, kind: Tile, values, add, place, row_step, vector_step, rows_valid, vectors_valid):
    """``values`` plus the tile at ``add + place``, unless ``add`` is 0 or nothing is valid; where a vector is not
    valid, that of the last valid row and column is added instead."""

    def clamped(index, valid):
        last = builder.sub(valid, I64(1))
        return builder.select(builder.icmp_signed("<", I64(index), last), I64(index), last)

    present = builder.icmp_signed("!=", add, I64(0))
    for valid in (rows_valid, vectors_valid):
        present = builder.and_(present, builder.icmp_signed(">", valid, I64(0)))
    before = builder.block
    with builder.if_then(present):
        start = builder.add(add, place)
        rows = [builder.add(start, builder.mul(row_step, clamped(r, rows_valid))) for r in range(kind.rows)]
        columns = [builder.mul(vector_step, clamped(v, vectors_valid)) for v in range(kind.vectors)]
        places = [pointer(builder, builder.add(rows[r], columns[v]), vector(kind.lanes)) for r, v in _places(kind)]
        sums = [builder.fadd(value, builder.load(place, align=4)) for value, place in zip(values, places, strict=True)]
        inside = builder.block
    out = []
    for value, total in zip(values, sums, strict=True):
        out.append(builder.phi(vector(kind.lanes)))
        out[-1].add_incoming(value, before)
        out[-1].add_incoming(total, inside)
    return out


def store_through(activate):
    """An intrinsic ``(tile, y, add, place, row_step, vector_step, rows_valid, vectors_valid, a, b)``.

    It writes ``activate(value + residual, a, b)`` for each valid vector, ``activate`` being an ordinary Python function
    over vectors that is compiled in place. The result lies at ``y + place`` and the residual likewise at ``add +
    place``; there is none if ``add`` is 0. ``a`` and ``b`` are float32.
    """

    @intrinsic
    def tile_finish(typingctx, tile, y, add, place, row_step, vector_step, rows_valid, vectors_valid, a, b):
        if not isinstance(tile, Tile):
            return None
        inner = signature(Vec(tile.lanes), Vec(tile.lanes), types.float32, types.float32)

        def codegen(context, builder, sig, args):
            value, y, add, start, *where, a, b = args
            values = _add_valid(builder, tile, unpack(builder, value, tile), add, start, *where)

            def one(r, v, place):
                result = context.compile_internal(builder, activate, inner, [values[r * tile.vectors + v], a, b])
                builder.store(result, pointer(builder, place, vector(tile.lanes)), align=4)

            _for_valid(builder, tile, builder.add(y, start), *where, one)
            return context.get_dummy_value()

        return signature(types.void, tile, *(types.int64,) * 7, types.float32, types.float32), codegen

    return tile_finish
