"""Accesses of 128 bits and guarded loads, compiled and in the simulator.

Pointers are operands or arrays in shared memory; indices count elements. Only ``build`` functions import this module.

    load(s, i)                   s[i] of an array in shared memory, where a negative i has no meaning of its own
    store(s, i, v)               the float32 v to s[i], likewise
    load4(p, i)                  p[i], ..., p[i + 3], a tuple, in one access; i is a multiple of 4, p of 16 bytes
    store4(p, i, v)              the tuple v to p[i], ..., p[i + 3], likewise
    load_below(p, i, n, limit)   p[i] where n < limit (int32 numbers), else 0 without an access; p is an operand, and no
                                 kernel writes to it while this one runs
    load4_below(p, i, n, limit)  load4 likewise
    load_within(p, i, n, limit)  load_below where 0 <= n, too; limit is not negative
    load4_i32(p, i)              load4 of int32; load2_i32 and store2_i32 are two of them, where i is even
"""

from __future__ import annotations

from cnncc.runtime.cuda.language import SIMULATED, float32

__all__ = ["load", "load2_i32", "load4", "load4_below", "load4_i32", "load_below", "load_within", "store", "store2_i32",
           "store4"]

if SIMULATED:

    def _check(p, i):
        if i % 4 or i < 0:
            raise IndexError(f"an access of 128 bits to element {i}, which is no multiple of 4")

    def load(s, i):
        return s[i]

    def store(s, i, v):
        s[i] = v

    def load4(p, i):
        _check(p, i)
        return p[i], p[i + 1], p[i + 2], p[i + 3]

    def store4(p, i, v):
        _check(p, i)
        for lane in range(4):
            p[i + lane] = v[lane]

    def load_below(p, i, n, limit):
        return p[i] if n < limit else float32(0)

    def load_within(p, i, n, limit):
        return p[i] if 0 <= n < limit else float32(0)

    def load4_below(p, i, n, limit):
        return load4(p, i) if n < limit else (float32(0),) * 4

    load4_i32 = load4

    def load2_i32(p, i):
        return p[i], p[i + 1]

    def store2_i32(p, i, v):
        p[i], p[i + 1] = v

else:
    from llvmlite import ir
    from numba.cuda import types
    from numba.cuda.extending import intrinsic
    from numba.cuda.typing import signature

    F32, I32 = ir.FloatType(), ir.IntType(32)
    FOUR_FLOATS = types.UniTuple(types.float32, 4)

    def address(context, builder, kind, p, i):
        """The LLVM pointer to element i of an operand or of an array."""
        base = p if isinstance(kind, types.CPointer) else context.make_array(kind)(context, builder, p).data
        return builder.gep(base, [i], inbounds=True)

    def emit_load4(builder, pointer, element=F32, count=4):
        vector = builder.load(builder.bitcast(pointer, ir.VectorType(element, count).as_pointer()), align=4 * count)
        return [builder.extract_element(vector, I32(lane)) for lane in range(count)]

    def emit_store4(builder, pointer, values):
        vector = ir.Constant(ir.VectorType(values[0].type, len(values)), ir.Undefined)
        for lane, value in enumerate(values):
            vector = builder.insert_element(vector, value, I32(lane))
        builder.store(vector, builder.bitcast(pointer, vector.type.as_pointer()), align=4 * len(values))

    def emit_guarded(builder, pointer, n, limit, count=1, compare="lt.s32"):
        """A predicated load through the read-only cache. It is PTX because LLVM would make a branch of it."""
        results = [f"${i}" for i in range(count)]
        target = results[0] if count == 1 else "{" + ", ".join(results) + "}"
        clear = " ".join(f"mov.f32 {r}, 0f00000000;" for r in results)
        text = (f"{{ .reg .pred p; .reg .b64 g; setp.{compare} p, ${count + 1}, ${count + 2}; "
                f"cvta.to.global.u64 g, ${count}; {clear} "
                f"@p ld.global.nc{'.v4' if count == 4 else ''}.f32 {target}, [g]; }}")
        result = F32 if count == 1 else ir.LiteralStructType([F32] * count)
        kind = ir.FunctionType(result, [ir.IntType(64), I32, I32])
        code = ir.InlineAsm(kind, text, ",".join(["=&f"] * count + ["l", "r", "r"]))
        value = builder.call(code, [builder.ptrtoint(pointer, ir.IntType(64)), n, limit])
        return [value] if count == 1 else [builder.extract_value(value, i) for i in range(count)]

    @intrinsic
    def load(typingctx, s, i):
        def codegen(context, builder, sig, args):
            return builder.load(address(context, builder, sig.args[0], *args))

        return signature(types.float32, s, types.int32), codegen

    @intrinsic
    def store(typingctx, s, i, v):
        def codegen(context, builder, sig, args):
            builder.store(args[2], address(context, builder, sig.args[0], *args[:2]))
            return context.get_dummy_value()

        return signature(types.none, s, types.int32, types.float32), codegen

    @intrinsic
    def load4(typingctx, p, i):
        def codegen(context, builder, sig, args):
            values = emit_load4(builder, address(context, builder, sig.args[0], *args))
            return context.make_tuple(builder, sig.return_type, values)

        return signature(FOUR_FLOATS, p, types.int32), codegen

    @intrinsic
    def load4_i32(typingctx, p, i):
        def codegen(context, builder, sig, args):
            values = emit_load4(builder, address(context, builder, sig.args[0], *args), I32)
            return context.make_tuple(builder, sig.return_type, values)

        return signature(types.UniTuple(types.int32, 4), p, types.int32), codegen

    @intrinsic
    def load2_i32(typingctx, p, i):
        def codegen(context, builder, sig, args):
            values = emit_load4(builder, address(context, builder, sig.args[0], *args), I32, 2)
            return context.make_tuple(builder, sig.return_type, values)

        return signature(types.UniTuple(types.int32, 2), p, types.int32), codegen

    @intrinsic
    def store2_i32(typingctx, p, i, v):
        def codegen(context, builder, sig, args):
            pointer = address(context, builder, sig.args[0], *args[:2])
            emit_store4(builder, pointer, [builder.extract_value(args[2], lane) for lane in range(2)])
            return context.get_dummy_value()

        return signature(types.none, p, types.int32, types.UniTuple(types.int32, 2)), codegen

    @intrinsic
    def store4(typingctx, p, i, v):
        def codegen(context, builder, sig, args):
            pointer = address(context, builder, sig.args[0], *args[:2])
            emit_store4(builder, pointer, [builder.extract_value(args[2], lane) for lane in range(4)])
            return context.get_dummy_value()

        return signature(types.none, p, types.int32, FOUR_FLOATS), codegen

    @intrinsic
    def load_below(typingctx, p, i, n, limit):
        def codegen(context, builder, sig, args):
            return emit_guarded(builder, address(context, builder, sig.args[0], *args[:2]), *args[2:])[0]

        return signature(types.float32, p, types.int32, types.int32, types.int32), codegen

    @intrinsic
    def load_within(typingctx, p, i, n, limit):
        def codegen(context, builder, sig, args):
            pointer = address(context, builder, sig.args[0], *args[:2])
            return emit_guarded(builder, pointer, *args[2:], compare="lo.u32")[0]

        return signature(types.float32, p, types.int32, types.int32, types.int32), codegen

    @intrinsic
    def load4_below(typingctx, p, i, n, limit):
        def codegen(context, builder, sig, args):
            values = emit_guarded(builder, address(context, builder, sig.args[0], *args[:2]), *args[2:], 4)
            return context.make_tuple(builder, sig.return_type, values)

        return signature(FOUR_FLOATS, p, types.int32, types.int32, types.int32), codegen
