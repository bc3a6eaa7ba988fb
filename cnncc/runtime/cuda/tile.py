"""Tuples that stay in registers: unrolled calls, tiles of sums, tensor cores; compiled and in the simulator.

Numba keeps an array in memory where an index is not a constant; a tuple of numbers is registers. Each function here
makes a device function; only ``build`` functions import this module.
"""

from __future__ import annotations

import inspect

import numpy as np

from cnncc.runtime.cuda.integers import divide
from cnncc.runtime.cuda.language import SIMULATED, device, float32, int32

__all__ = ["fold", "lie_in_tile", "map_patch", "store_rows", "tile_fma", "unroll", "zeros"]


def zeros(count):
    """A function of nothing that gives a tuple of `count` zeros."""
    return _zeros(count)


def unroll(count, function, each=()):
    """A function that gives the tuple function(0, ...), ..., function(count - 1, ...), the numbers being constants to
    `function`, a device function. A pair (rows, columns) for count gives two numbers, in C order.

    Parameters named in `each` are tuples, of which a call gets the element with its number.
    """
    indices = list(np.ndindex(count)) if isinstance(count, tuple) else [(n,) for n in range(count)]
    names = _parameters(function)[len(indices[0]):]
    calls = [_call(index, n, names, each) for n, index in enumerate(indices)]
    return _write_out(function, names, f"return ({', '.join(calls)},)")


def fold(count, function, each=()):
    """A function (value, ...) that puts function(n, value, ...) in the place of value, for n from 0 to count - 1.
    `each` is as for `unroll`."""
    names = _parameters(function)[1:]
    steps = [f"{names[0]} = {_call((n,), n, names, each)}" for n in range(count)]
    return _write_out(function, names, "; ".join([*steps, f"return {names[0]}"]))


def map_patch(matrix):
    """A function of a patch [n, n], a tuple in C order, that gives matrix @ patch @ matrix.T. Elements of the matrix
    are exact in single precision; there is no code for zeros."""
    size, rows, space, lines = len(matrix[0]), range(len(matrix)), {}, []

    def combine(row, names):
        terms = []
        for factor, name in zip(matrix[row], names, strict=True):
            if abs(factor) == 1:
                terms.append(f"{'-' if factor < 0 else '+'} {name}")
            elif factor:
                space[f"f{len(space)}"] = float32(factor)
                terms.append(f"+ f{len(space) - 1} * {name}")
        return " ".join(terms).removeprefix("+ ")

    for row in rows:
        lines += [f"t{row}_{j} = {combine(row, [f'v[{i * size + j}]' for i in range(size)])}" for j in range(size)]
    results = [combine(column, [f"t{row}_{j}" for j in range(size)]) for row in rows for column in rows]
    body = "; ".join([*lines, f"return ({', '.join(results)},)"])
    exec(f"def mapped(v):\n    {body}", space)
    return device(space["mapped"])


def _parameters(function):
    return list(inspect.signature(getattr(function, "py_func", function)).parameters)


def _call(index, n, names, each):
    given = [*map(str, index), *(f"{name}[{n}]" if name in each else name for name in names)]
    return f"function({', '.join(given)})"


def _write_out(function, names, body):
    """A device function of this body, which calls `function`. It is text because numba unrolls nothing by itself."""
    space = {"function": function}
    exec(f"def written_out({', '.join(names)}):\n    {body}", space)
    return device(space["written_out"])


def lie_in_tile(m, n):
    """A function of the thread's number that gives row and column of its 8x8 sums in a tile of m x n, in units of 4.

    A warp has 4 x 8 threads where that fits, so that its operands are few.
    """
    columns = n // 8

    @device
    def in_warps(t):
        lane, warp = t & 31, t >> 5
        row, column = divide(warp, int32(columns // 8))
        return int32(4 * row + (lane >> 3)), int32(8 * column + (lane & 7))

    @device
    def in_rows(t):
        return divide(t, int32(columns))

    return in_warps if m >= 32 and n >= 64 else in_rows


def tile_fma(depth, a_groups, b_groups, a_pitch, b_pitch, a_step, b_step):
    """A function (acc, a, i, b, j) that gives acc plus `depth` outer products of a thread's register tile.

    acc has 4 * a_groups rows of 4 * b_groups numbers. For each k below `depth`, row 4 g + r multiplies
    a[i + k * a_pitch + g * a_step + r], column 4 h + c multiplies b[j + k * b_pitch + h * b_step + c]. a and b are in
    shared memory and read in accesses of 128 bits.
    """
    return _tile_fma(depth, a_groups, b_groups, a_pitch, b_pitch, a_step, b_step)


def store_rows(group, b_groups, pitch, b_step):
    """A function (acc, s, i) that stores rows 4 * group + r of a register tile, r below 4, to shared memory.

    Numbers 4 h .. 4 h + 3 of row r go to s[i + r * pitch + h * b_step] and on.
    """
    return _store_rows(group, b_groups, pitch, b_step)


if SIMULATED:

    def _zeros(count):
        return lambda: (float32(0),) * count

    def _tile_fma(depth, a_groups, b_groups, a_pitch, b_pitch, a_step, b_step):
        def fma(acc, a, i, b, j):
            sums = list(acc)
            for k in range(depth):
                left = [a[i + k * a_pitch + g * a_step + r] for g in range(a_groups) for r in range(4)]
                right = [b[j + k * b_pitch + h * b_step + c] for h in range(b_groups) for c in range(4)]
                n = 0
                for x in left:
                    for y in right:
                        sums[n] += x * y
                        n += 1
            return tuple(sums)

        return fma

    def _store_rows(group, b_groups, pitch, b_step):
        from cnncc.runtime.cuda.memory_access import store4

        def store(acc, s, i):
            for r in range(4):
                for h in range(b_groups):
                    first = (4 * group + r) * 4 * b_groups + 4 * h
                    store4(s, i + r * pitch + h * b_step, acc[first:first + 4])

        return store

else:
    from llvmlite import ir
    from numba.cuda import types
    from numba.cuda.extending import intrinsic
    from numba.cuda.typing import signature

    from cnncc.runtime.cuda.memory_access import F32, I32, address, emit_load4, emit_store4

    def _zeros(count):
        @intrinsic
        def all_zero(typingctx):
            def codegen(context, builder, sig, args):
                return ir.Constant(context.get_value_type(sig.return_type), [F32(0.0)] * count)

            return signature(types.UniTuple(types.float32, count)), codegen

        return all_zero

    def _tile_fma(depth, a_groups, b_groups, a_pitch, b_pitch, a_step, b_step):
        columns = 4 * b_groups

        def fragment(builder, base, offset, groups, step):
            at = [builder.gep(base, [I32(offset + g * step)], inbounds=True) for g in range(groups)]
            return [value for pointer in at for value in emit_load4(builder, pointer)]

        @intrinsic
        def fma(typingctx, acc, a, i, b, j):
            def codegen(context, builder, sig, args):
                acc, a, i, b, j = args
                a, b = address(context, builder, sig.args[1], a, i), address(context, builder, sig.args[3], b, j)
                sums = [builder.extract_value(acc, n) for n in range(4 * a_groups * columns)]
                for k in range(depth):
                    left = fragment(builder, a, k * a_pitch, a_groups, a_step)
                    right = fragment(builder, b, k * b_pitch, b_groups, b_step)
                    for r, x in enumerate(left):
                        for c, y in enumerate(right):
                            sums[r * columns + c] = builder.fma(x, y, sums[r * columns + c])
                return context.make_tuple(builder, sig.return_type, sums)

            return signature(acc, acc, a, types.int32, b, types.int32), codegen

        return fma

    def _store_rows(group, b_groups, pitch, b_step):
        @intrinsic
        def store(typingctx, acc, s, i):
            def codegen(context, builder, sig, args):
                acc, s, i = args
                base = address(context, builder, sig.args[1], s, i)
                for r in range(4):
                    for h in range(b_groups):
                        first = (4 * group + r) * 4 * b_groups + 4 * h
                        pointer = builder.gep(base, [I32(r * pitch + h * b_step)], inbounds=True)
                        emit_store4(builder, pointer, [builder.extract_value(acc, first + n) for n in range(4)])
                return context.get_dummy_value()

            return signature(types.none, acc, s, types.int32), codegen

        return store
