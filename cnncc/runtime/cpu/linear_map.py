"""A constant matrix times a line of vectors, as straight-line code: the transforms of Winograd's algorithm.

    y[i] = sum over j of matrix[i][j] * x[j]

Where columns differ in signs only, the sums and differences of their x are formed first; where rows do, what they have
in common is. A zero costs nothing, a one an addition, any other number an FMA.
"""

from collections.abc import Sequence

from llvmlite import ir
from numba import types
from numba.core.typing.templates import signature
from numba.extending import intrinsic

from cnncc.runtime.cpu.simd import I64, Vec, emit_fma, pointer, vector

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
    total = value if factor == 1 else builder.fmul(value, _splat(value.type, factor))
    for factor, value in rest:
        if factor in (1, -1):
            total = builder.fadd(total, value) if factor == 1 else builder.fsub(total, value)
        else:
            total = emit_fma(builder, value, _splat(value.type, factor), total)
    return total


def _splat(kind: ir.VectorType, number: float) -> ir.Constant:
    return ir.Constant(kind, [float(number)] * kind.count)


def _line(builder: ir.IRBuilder, matrix: Matrix, source, step, lanes: int) -> list[ir.Value]:
    places = (builder.add(source, builder.mul(step, I64(j))) for j in range(len(matrix[0])))
    return emit_linear(builder, matrix, [builder.load(pointer(builder, p, vector(lanes)), align=4) for p in places])


def map_line(matrix: Matrix, lanes: int):
    """An intrinsic ``(source, step, target, target_step)``: the vectors at ``source``, ``step`` bytes apart, are read,
    and what they become is written to ``target``, ``target_step`` bytes apart."""

    @intrinsic
    def apply(typingctx, source, step, target, target_step):
        def codegen(context, builder, sig, args):
            source, step, target, target_step = args
            for i, value in enumerate(_line(builder, matrix, source, step, lanes)):
                place = builder.add(target, builder.mul(target_step, I64(i)))
                builder.store(value, pointer(builder, place, vector(lanes)), align=4)
            return context.get_dummy_value()

        return signature(types.void, *(types.int64,) * 4), codegen

    return apply


def finish_line(matrix: Matrix, finish, lanes: int):
    """An intrinsic ``(source, step, bias, target, target_step, valid, shift, a, b)``: as ``map_line``, but what is
    written is ``finish(value + bias, place + shift, a, b)``, and of it only the first ``valid`` vectors."""
    inner = signature(Vec(lanes), Vec(lanes), types.int64, types.float32, types.float32)

    @intrinsic
    def apply(typingctx, source, step, bias, target, target_step, valid, shift, a, b):
        def codegen(context, builder, sig, args):
            source, step, bias, target, target_step, valid, shift, a, b = args

            def put(i, value):
                place = builder.add(target, builder.mul(target_step, I64(i)))
                operands = [builder.fadd(value, bias), builder.add(place, shift), a, b]
                result = context.compile_internal(builder, finish, inner, operands)
                builder.store(result, pointer(builder, place, vector(lanes)), align=4)

            values = _line(builder, matrix, source, step, lanes)
            with builder.if_else(builder.icmp_signed(">=", valid, I64(len(values)))) as (all_valid, some_valid):
                with all_valid:
                    for i, value in enumerate(values):
                        put(i, value)
                with some_valid:
                    for i, value in enumerate(values[:-1]):
                        with builder.if_then(builder.icmp_signed("<", I64(i), valid)):
                            put(i, value)
            return context.get_dummy_value()

        kinds = (types.int64, types.int64, Vec(lanes), *(types.int64,) * 4, types.float32, types.float32)
        return signature(types.void, *kinds), codegen

    return apply
