"""Register tiles for products of rows: each accumulator is the vector of partial sums of one dot product."""

from llvmlite import ir
from numba import types
from numba.core.typing.templates import signature
from numba.extending import intrinsic

from cnncc.runtime.cpu.memory_access import emit_prefetch
from cnncc.runtime.cpu.simd import F32, I32, I64, emit_fma, emit_mask, emit_masked_load, pointer, vector
from cnncc.runtime.cpu.tile import Tile, emit_loop, pack, unpack

AHEAD = 1024  # bytes: what memory delivers in the time of its latency, shared among the rows of a tile


def _table(builder: ir.IRBuilder, at: ir.Value, count: int) -> list[ir.Value]:
    return [builder.load(pointer(builder, builder.add(at, I64(8 * i)), I64), align=8) for i in range(count)]


@intrinsic
def tile_dot(typingctx, tile, a_rows_at, b_rows_at, count, following):
    """``tile[r, v][lane] += sum over i of a_r[i] * b_v[i]`` with i going to lane i % lanes, i < count.

    a_r and b_v are contiguous float32 at the addresses in two tables. Nothing beyond ``count`` is read. What lies AHEAD
    in a row b_v is asked for, and at its end the beginning of the row ``following`` bytes after b_v.
    """
    if not isinstance(tile, Tile):
        return None
    lanes = tile.lanes

    def codegen(context, builder, sig, args):
        value, a_at, b_at, count, following = args
        a_rows, b_rows = _table(builder, a_at, tile.rows), _table(builder, b_at, tile.vectors)

        wrapped = builder.add(I64(AHEAD), builder.sub(following, builder.mul(count, I64(4))))

        def multiply(acc, load):
            right = [load(row) for row in b_rows]
            out = list(acc)
            for r in range(tile.rows):
                left = load(a_rows[r])
                for v in range(tile.vectors):
                    out[r * tile.vectors + v] = emit_fma(builder, left, right[v], out[r * tile.vectors + v])
            return out

        def body(i, acc):
            offset = builder.mul(i, I64(4))
            inside = builder.icmp_signed("<", builder.add(i, I64(AHEAD // 4)), count)
            later = builder.add(offset, builder.select(inside, I64(AHEAD), wrapped))
            for row in b_rows:
                emit_prefetch(builder, builder.add(row, later))
            return multiply(
                acc, lambda row: builder.load(pointer(builder, builder.add(row, offset), vector(lanes)), align=4)
            )

        whole = builder.and_(count, I64(-lanes))
        acc = emit_loop(builder, I64(0), whole, lanes, unpack(builder, value, tile), body)
        mask, tail = emit_mask(builder, builder.sub(count, whole), lanes), builder.mul(whole, I64(4))
        acc = multiply(acc, lambda row: emit_masked_load(builder, builder.add(row, tail), mask, lanes))
        return pack(builder, acc, tile)

    return signature(tile, tile, *(types.int64,) * 4), codegen


@intrinsic
def tile_sums(typingctx, tile, address, row_step):
    """Write the sum of the lanes of vector (r, v) as one float32 at ``address + r * row_step + 4 * v``."""
    if not isinstance(tile, Tile):
        return None

    def codegen(context, builder, sig, args):
        value, address, row_step = args
        for i, total in enumerate(unpack(builder, value, tile)):
            lanes = tile.lanes
            while lanes > 1:
                lanes //= 2
                low, high = (
                    builder.shuffle_vector(
                        total, total, ir.Constant(ir.VectorType(I32, lanes), list(range(at, at + lanes)))
                    )
                    for at in (0, lanes)
                )
                total = builder.fadd(low, high)
            r, v = divmod(i, tile.vectors)
            place = builder.add(builder.add(address, builder.mul(row_step, I64(r))), I64(4 * v))
            builder.store(builder.extract_element(total, I32(0)), pointer(builder, place, F32), align=4)
        return context.get_dummy_value()

    return signature(types.void, tile, types.int64, types.int64), codegen
