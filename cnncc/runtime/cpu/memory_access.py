"""Scalar memory, atomics, stack space and indirect calls for compiled kernels; addresses are ``int64`` bytes."""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import signature
from numba.extending import intrinsic

from cnncc.runtime.cpu.simd import F16, F32, F64, I32, I64, constant, pointer


def _loader(name: str, kind: types.Type, memory: ir.Type, align: int, widen=None):
    def typer(typingctx, address):
        def codegen(context, builder, sig, args):
            value = builder.load(pointer(builder, args[0], memory), align=align)
            return widen(builder, value) if widen else value

        return signature(kind, types.int64), codegen

    typer.__name__ = name
    typer.__doc__ = f"Read one {name.removeprefix('load_')} at ``address``."
    return intrinsic(typer)


def _storer(name: str, kind: types.Type, memory: ir.Type, align: int, narrow=None):
    def typer(typingctx, address, value):
        def codegen(context, builder, sig, args):
            value = narrow(builder, args[1]) if narrow else args[1]
            builder.store(value, pointer(builder, args[0], memory), align=align)
            return context.get_dummy_value()

        return signature(types.void, types.int64, kind), codegen

    typer.__name__ = name
    typer.__doc__ = f"Write one {name.removeprefix('store_')} at ``address``."
    return intrinsic(typer)


def emit_prefetch(builder: ir.IRBuilder, address: ir.Value, write: bool = False, near: bool = False) -> None:
    """Ask for the cache line at ``address``: in the second-level cache, in the first if ``near`` or to ``write`` to."""
    place = pointer(builder, address, ir.IntType(8))
    kind = ir.FunctionType(ir.VoidType(), [place.type, I32, I32, I32])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    locality, data = 3 if write or near else 2, 1
    builder.call(function, [place, I32(int(write)), I32(locality), I32(data)])


def _asker(name: str, text: str, write: bool = False, near: bool = False):
    def typer(typingctx, address):
        def codegen(context, builder, sig, args):
            emit_prefetch(builder, args[0], write, near)
            return context.get_dummy_value()

        return signature(types.void, types.int64), codegen

    typer.__name__ = name
    typer.__doc__ = f"Ask for the cache line at ``address`` (any address will do){text}."
    return intrinsic(typer)


prefetch = _asker("prefetch", "")
prefetch_near = _asker("prefetch_near", " in the first-level cache", near=True)
prefetch_to_write = _asker("prefetch_to_write", " before it is written to: a store that does not find it in the "
                           "first-level cache holds up those behind it", write=True)
load_f32, store_f32 = _loader("load_f32", types.float32, F32, 4), _storer("store_f32", types.float32, F32, 4)
load_f64, store_f64 = _loader("load_f64", types.float64, F64, 8), _storer("store_f64", types.float64, F64, 8)
load_f16 = _loader("load_f16", types.float32, F16, 2, lambda b, v: b.fpext(v, F32))
store_f16 = _storer("store_f16", types.float32, F16, 2, lambda b, v: b.fptrunc(v, F16))


def _signed(bits: int):
    memory = ir.IntType(bits)
    widen = None if bits == 64 else lambda b, v: b.sext(v, I64)
    narrow = None if bits == 64 else lambda b, v: b.trunc(v, memory)
    return (
        _loader(f"load_i{bits}", types.int64, memory, bits // 8, widen),
        _storer(f"store_i{bits}", types.int64, memory, bits // 8, narrow),
    )


def _unsigned(bits: int):
    memory = ir.IntType(bits)
    return _loader(f"load_u{bits}", types.int64, memory, bits // 8, lambda b, v: b.zext(v, I64))


load_i64, store_i64 = _signed(64)
load_i32, store_i32 = _signed(32)
load_i16, store_i16 = _signed(16)
load_i8, store_i8 = _signed(8)
load_u32, load_u16, load_u8 = _unsigned(32), _unsigned(16), _unsigned(8)


@intrinsic(prefer_literal=True)
def load_words(typingctx, address, count):
    """``count`` consecutive int64 as a tuple: a step's argument words."""
    size = constant(count)
    kind = types.UniTuple(types.int64, size)

    def codegen(context, builder, sig, args):
        places = (pointer(builder, builder.add(args[0], I64(8 * i)), I64) for i in range(size))
        return context.make_tuple(builder, kind, [builder.load(place, align=8) for place in places])

    return signature(kind, types.int64, count), codegen


@intrinsic
def word_float(typingctx, word):
    """The float32 whose bits are the low half of an argument word."""

    def codegen(context, builder, sig, args):
        return builder.bitcast(builder.trunc(args[0], I32), F32)

    return signature(types.float32, types.int64), codegen


@intrinsic
def select(typingctx, condition, a, b):
    """``a if condition else b`` for int64, without a branch."""

    def codegen(context, builder, sig, args):
        return builder.select(args[0], args[1], args[2])

    return signature(types.int64, types.boolean, types.int64, types.int64), codegen


@intrinsic
def outside(typingctx, index, size):
    """``index < 0 or index >= size`` as one unsigned comparison."""

    def codegen(context, builder, sig, args):
        return builder.icmp_unsigned(">=", args[0], args[1])

    return signature(types.boolean, types.int64, types.int64), codegen


@intrinsic(prefer_literal=True)
def stack(typingctx, size):
    """The address of ``size`` bytes (a constant) of this call's stack, 64-byte aligned, not cleared."""
    count = constant(size)

    def codegen(context, builder, sig, args):
        with builder.goto_entry_block():
            space = builder.alloca(ir.ArrayType(ir.IntType(8), count))
            space.align = 64
        return builder.ptrtoint(space, I64)

    return signature(types.int64, size), codegen


@intrinsic
def fetch_add(typingctx, address, value):
    """Add to the int64 at ``address`` atomically (sequentially consistent); the old value."""

    def codegen(context, builder, sig, args):
        return builder.atomic_rmw("add", pointer(builder, args[0], I64), args[1], "seq_cst")

    return signature(types.int64, types.int64, types.int64), codegen


@intrinsic
def load_acquire(typingctx, address):
    """Read an int64 that another thread publishes."""

    def codegen(context, builder, sig, args):
        return builder.load_atomic(pointer(builder, args[0], I64), "acquire", 8)

    return signature(types.int64, types.int64), codegen



@intrinsic
def pause(typingctx):
    """Tell the core that this thread spins."""

    def codegen(context, builder, sig, args):
        machine = builder.module.triple.split("-")[0]
        if machine == "x86_64":
            kind = ir.FunctionType(ir.VoidType(), [])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.sse2.pause"), [])
        elif machine in ("aarch64", "arm64"):
            kind = ir.FunctionType(ir.VoidType(), [I32])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.aarch64.hint"), [I32(1)])
        return context.get_dummy_value()

    return signature(types.void), codegen


def _caller(name: str, arity: int):
    def typer(typingctx, address, *kinds):
        def codegen(context, builder, sig, args):
            kind = ir.FunctionType(ir.VoidType(), [I64] * arity)
            builder.call(builder.inttoptr(args[0], kind.as_pointer()), list(args[1:]))
            return context.get_dummy_value()

        return signature(types.void, *[types.int64] * (arity + 1)), codegen

    names = ", ".join("abcdefgh"[:arity])
    scope = {"typer": typer}
    exec(f"def {name}(typingctx, address{', ' if names else ''}{names}):\n    return typer(typingctx, address)", scope)
    return intrinsic(scope[name])


call_0, call_1, call_2, call_3 = (_caller(f"call_{n}", n) for n in range(4))
call_4, call_8 = _caller("call_4", 4), _caller("call_8", 8)
