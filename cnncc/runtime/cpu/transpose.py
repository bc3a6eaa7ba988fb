"""Transposition of square tiles of float32 or bytes in registers, for use inside kernels."""

from llvmlite import ir
from numba import types
from numba.core.typing.templates import signature
from numba.extending import intrinsic

from cnncc.runtime.cpu import emit
from cnncc.runtime.cpu.simd import I32, I64, constant, emit_mask


def _transposed(builder: ir.IRBuilder, rows: list[ir.Value]) -> list[ir.Value]:
    """Rows become columns: for s = 1, 2, 4, ... the off-diagonal s x s blocks of every 2s x 2s block change places."""
    lanes = len(rows)
    s = 1
    while s < lanes:
        low = [j if not j & s else lanes + j - s for j in range(lanes)]
        high = [j + s if not j & s else lanes + j for j in range(lanes)]
        masks = [ir.Constant(ir.VectorType(I32, lanes), order) for order in (low, high)]
        swapped = list(rows)
        for i in (i for i in range(lanes) if not i & s):
            swapped[i], swapped[i + s] = (builder.shuffle_vector(rows[i], rows[i + s], mask) for mask in masks)
        rows = swapped
        s *= 2
    return rows


def emit_transpose(builder, source, source_step, rows, width, target, target_step, depth, size: int,
                   dtype: str = "f32") -> None:  # fmt: skip
    """The code of ``transpose_tile`` for tiles of ``size`` rows and columns."""

    def place(base, step, index):
        return builder.add(base, builder.mul(step, index))

    def whole():
        values = [emit.load(builder, place(source, source_step, I64(r)), dtype, size) for r in range(size)]
        for c, value in enumerate(_transposed(builder, values)):
            emit.store(builder, place(target, target_step, I64(c)), value, dtype, size)

    def partial():
        inside, last = emit_mask(builder, width, size), builder.sub(rows, I64(1))
        values = []
        for r in range(size):
            row = builder.select(builder.icmp_signed("<", I64(r), rows), I64(r), last)
            values.append(emit.load(builder, place(source, source_step, row), dtype, size, inside))
        written = emit_mask(builder, depth, size)
        for c, value in enumerate(_transposed(builder, values)):
            with builder.if_then(builder.icmp_signed("<", I64(c), width)):
                emit.store(builder, place(target, target_step, I64(c)), value, dtype, size, written)

    full = builder.and_(builder.icmp_signed("==", rows, I64(size)), builder.icmp_signed("==", width, I64(size)))
    with builder.if_else(full) as (all_valid, some_valid):
        with all_valid:
            whole()
        with some_valid:
            partial()


def _transposer(name: str, dtype: str):
    def typer(typingctx, source, source_step, rows, width, target, target_step, depth, lanes):
        size = constant(lanes)

        def codegen(context, builder, sig, args):
            emit_transpose(builder, *args[:7], size, dtype)
            return context.get_dummy_value()

        return signature(types.void, *(types.int64,) * 7, lanes), codegen

    typer.__name__ = name
    typer.__doc__ = f"""Write the transpose of ``rows x width`` {dtype} (1..lanes each): ``width`` rows of ``depth``.

    Steps are the bytes from one row to the next. ``depth`` is at least ``rows``: the columns in between repeat the
    last source row. Nothing else is read or written. The count ``lanes`` is a constant; whole tiles take no masks.
    """
    return intrinsic(prefer_literal=True)(typer)


transpose_tile, transpose_bytes = _transposer("transpose_tile", "f32"), _transposer("transpose_bytes", "u8")
