"""A constant matrix times a line of vectors, as straight-line code: the transforms of Winograd's algorithm.

    y[i] = sum over j of matrix[i][j] * x[j]

Where columns differ in signs only, the sums and differences of their x are formed first; where rows do, what they have
in common is. A zero costs nothing, a one an addition, any other number an FMA.
"""

import itertools
from collections.abc import Sequence

from llvmlite import ir
from numba import types
from numba.core.typing.templates import signature
from numba.extending import intrinsic

from cnncc.runtime.cpu.simd import I64, Vec, emit_fma, pointer, splat_constant, vector

Matrix = Sequence[Sequence[float]]


def emit_linear(builder: ir.IRBuilder, matrix: Matrix, x: list[ir.Value]) -> list[ir.Value]:
    """The vectors ``matrix`` times ``x``."""
    columns = [list(column) for column in zip(*matrix, strict=True)]
    for j, k in _pairs(columns):
        a, b = x[j], x[k]
        x = [*x[:j], builder.fadd(a, b), *x[j + 1 : k], builder.fsub(a, b), *x[k + 1 :]]
        columns[j], columns[k] = _halves(columns[j], columns[k])
    rows = [list(row) for row in zip(*columns, strict=True)]
    y: list[ir.Value] = [None] * len(rows)
    for i, k in _pairs(rows):
        even, odd = (_combination(builder, half, x) for half in _halves(rows[i], rows[k]))
        y[i], y[k] = builder.fadd(even, odd), builder.fsub(even, odd)
    return [_combination(builder, row, x) if done is None else done for row, done in zip(rows, y, strict=True)]


def _pairs(lines: list[list[float]]) -> list[tuple[int, int]]:
    """Disjoint pairs of lines that differ in signs only, and whose halves are not empty."""
    found: list[tuple[int, int]] = []
    for i, a in enumerate(lines):
        for k in range(i + 1, len(lines)):
            same = [abs(p) for p in a] == [abs(q) for q in lines[k]]
            if same and all(any(half) for half in _halves(a, lines[k])) and not {i, k} & {n for p in found for n in p}:
                found.append((i, k))
    return found


def _halves(a: list[float], b: list[float]) -> tuple[list[float], list[float]]:
    """(s, d) with a = s + d and b = s - d."""
    return [(p + q) / 2 for p, q in zip(a, b, strict=True)], [(p - q) / 2 for p, q in zip(a, b, strict=True)]


def _combination(builder: ir.IRBuilder, factors: list[float], x: list[ir.Value]) -> ir.Value:
    """The sum of factor times x, beginning with a factor of one, if there is any."""
    terms = sorted(((f, v) for f, v in zip(factors, x, strict=True) if f), key=lambda term: term[0] != 1)
    (factor, value), *rest = terms
    total = value if factor == 1 else builder.fmul(value, splat_constant(value.type, float(factor)))
    for factor, value in rest:
        if factor in (1, -1):
            total = builder.fadd(total, value) if factor == 1 else builder.fsub(total, value)
        else:
            total = emit_fma(builder, value, splat_constant(value.type, float(factor)), total)
    return total


def emit_linear_2d(builder: ir.IRBuilder, down: Matrix, across: Matrix, x: list[ir.Value]) -> list[list[ir.Value]]:
    """The rows of ``down`` X ``across``^T, where X is ``x`` in C order."""
    count = len(across[0])
    columns = [emit_linear(builder, down, x[j::count]) for j in range(count)]
    return [emit_linear(builder, across, list(row)) for row in zip(*columns, strict=True)]


def _load_patch(builder: ir.IRBuilder, source, steps, counts: tuple[int, int], lanes: int) -> list[ir.Value]:
    found = []
    for i, j in itertools.product(*map(range, counts)):
        place = builder.add(source, builder.add(builder.mul(steps[0], I64(i)), builder.mul(steps[1], I64(j))))
        found.append(builder.load(pointer(builder, place, vector(lanes)), align=4))
    return found


def map_patch(down: Matrix, across: Matrix, lanes: int):
    """An intrinsic ``(source, row_step, column_step, target, target_row, target_column)``: the patch of vectors at
    ``source`` is read and transformed along both axes, and the results are written to ``target + i * target_row + j *
    target_column``."""

    @intrinsic
    def apply(typingctx, source, row_step, column_step, target, target_row, target_column):
        def codegen(context, builder, sig, args):
            source, row_step, column_step, target, target_row, target_column = args
            x = _load_patch(builder, source, (row_step, column_step), (len(down[0]), len(across[0])), lanes)
            values = emit_linear_2d(builder, down, across, x)
            for i, j in itertools.product(range(len(down)), range(len(across))):
                step = builder.add(builder.mul(target_row, I64(i)), builder.mul(target_column, I64(j)))
                builder.store(values[i][j], pointer(builder, builder.add(target, step), vector(lanes)), align=4)
            return context.get_dummy_value()

        return signature(types.void, *(types.int64,) * 6), codegen

    return apply


def finish_patch(down: Matrix, across: Matrix, finish, lanes: int, factor: float = 1.0):
    """An intrinsic ``(source, row_step, column_step, bias, target, target_row, target_column, rows_valid,
    columns_valid, shift, a, b)``: as ``map_patch``, but what is written is ``finish(factor * value + bias, place +
    shift, a, b)`` at ``place = target + i * target_row + j * target_column``, and of it only the valid rows and
    columns."""
    inner = signature(Vec(lanes), Vec(lanes), types.int64, types.float32, types.float32)

    @intrinsic
    def apply(typingctx, source, row_step, column_step, bias, target, target_row, target_column, rows_valid,
              columns_valid, shift, a, b):
        def codegen(context, builder, sig, args):
            source, row_step, column_step, bias, target, target_row, target_column = args[:7]
            rows_valid, columns_valid, shift, a, b = args[7:]
            x = _load_patch(builder, source, (row_step, column_step), (len(down[0]), len(across[0])), lanes)
            values = emit_linear_2d(builder, down, across, x)

            def put(i, j):
                step = builder.add(builder.mul(target_row, I64(i)), builder.mul(target_column, I64(j)))
                place = builder.add(target, step)
                value = _combination(builder, [1.0, factor], [bias, values[i][j]])
                operands = [value, builder.add(place, shift), a, b]
                result = context.compile_internal(builder, finish, inner, operands)
                builder.store(result, pointer(builder, place, vector(lanes)), align=4)

            places = list(itertools.product(range(len(down)), range(len(across))))
            whole = builder.and_(builder.icmp_signed(">=", rows_valid, I64(len(down))),
                                 builder.icmp_signed(">=", columns_valid, I64(len(across))))
            with builder.if_else(whole) as (all_valid, some_valid):
                with all_valid:
                    for i, j in places:
                        put(i, j)
                with some_valid:
                    for i, j in places:
                        wanted = builder.and_(builder.icmp_signed("<", I64(i), rows_valid),
                                              builder.icmp_signed("<", I64(j), columns_valid))
                        with builder.if_then(wanted):
                            put(i, j)
            return context.get_dummy_value()

        kinds = (*(types.int64,) * 3, Vec(lanes), *(types.int64,) * 6, types.float32, types.float32)
        return signature(types.void, *kinds), codegen

    return apply
