"""SIMD vocabulary for kernels written in Python: vector values, raw-address memory, atomics.

Every function here is a Numba intrinsic usable only inside compiled code. Addresses are ``int64`` bytes. Vector
values have the type ``Vec(lanes)``, LLVM's ``<lanes x float>``; ``lanes`` arguments must be compile-time constants
(a closure variable of the kernel's ``build`` is one). A machine with shorter registers splits longer vectors, so
every lane count runs everywhere.

Arithmetic accepts a scalar in place of any vector (it is broadcast as float32). NaN rules: ``a < b`` is false if
either is NaN; ``maximum(lo, v)`` and ``minimum(hi, v)`` return ``v`` when it is NaN (the SECOND operand wins), which
makes ReLU and Clip propagate NaN as ONNX and NumPy do, in one machine instruction.
"""

import operator
from functools import cache

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, models, register_model

F16, F32, F64 = ir.HalfType(), ir.FloatType(), ir.DoubleType()
I1, I32, I64 = ir.IntType(1), ir.IntType(32), ir.IntType(64)


class Vec(types.Type):
    """``lanes`` float32 values in a register."""

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        super().__init__(name=f"f32x{lanes}")


class Mask(types.Type):
    """``lanes`` booleans: what comparing two vectors gives."""

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        super().__init__(name=f"i1x{lanes}")


class Ints(types.Type):
    """``lanes`` int32 values in a register."""

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        super().__init__(name=f"i32x{lanes}")


def vector(lanes: int) -> ir.VectorType:
    return ir.VectorType(F32, lanes)


def _register(kind: type, element: ir.Type) -> None:
    @register_model(kind)
    class Model(models.PrimitiveModel):
        def __init__(self, manager, kind) -> None:
            super().__init__(manager, kind, ir.VectorType(element, kind.lanes))


for _kind, _element in ((Vec, F32), (Mask, I1), (Ints, I32)):
    _register(_kind, _element)


def constant(kind: types.Type) -> int:
    """The value of a compile-time constant argument."""
    if not isinstance(kind, types.IntegerLiteral):
        raise TypeError(f"a compile-time integer is needed, not {kind}")
    return kind.literal_value


def pointer(builder: ir.IRBuilder, address: ir.Value, pointee: ir.Type) -> ir.Value:
    return builder.inttoptr(address, pointee.as_pointer())


def splat_value(builder: ir.IRBuilder, value: ir.Value, lanes: int) -> ir.Value:
    """Broadcast a scalar LLVM value over a vector."""
    empty = ir.Constant(ir.VectorType(value.type, lanes), ir.Undefined)
    first = builder.insert_element(empty, value, I32(0))
    return builder.shuffle_vector(first, empty, splat_constant(ir.VectorType(I32, lanes), 0))


@cache
def splat_constant(kind: ir.VectorType, number: float) -> ir.Constant:
    """A number in every lane; 0.0 and -0.0 are one. A constant keeps its text, which is long."""
    return ir.Constant(kind, [number] * kind.count)


def _as_vector(context, builder, value, kind, lanes: int) -> ir.Value:
    if isinstance(kind, Vec):
        return value
    return splat_value(builder, context.cast(builder, value, kind, types.float32), lanes)


def _lanes(kinds) -> int | None:
    found = {k.lanes for k in kinds if isinstance(k, Vec)}
    if len(found) != 1 or not all(isinstance(k, (Vec, types.Number)) for k in kinds):
        return None
    return found.pop()


def vector_op(name: str, arity: int, emit, result=Vec):
    """An intrinsic over ``arity`` vectors or scalars, at least one of them a vector."""

    def typer(typingctx, *kinds):
        lanes = _lanes(kinds)
        if lanes is None:
            return None

        def codegen(context, builder, sig, args):
            pairs = zip(args, sig.args, strict=True)
            return emit(builder, *(_as_vector(context, builder, a, k, lanes) for a, k in pairs))

        return signature(result(lanes), *kinds), codegen

    names = ", ".join("abcd"[:arity])
    scope = {"typer": typer}
    exec(f"def {name}(typingctx, {names}):\n    return typer(typingctx, {names})", scope)
    return intrinsic(scope[name])


def _call(name: str):
    def emit(builder, *values):
        kind = values[0].type
        fn = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(kind, [v.type for v in values]), f"llvm.{name}.v{kind.count}f32"
        )
        return builder.call(fn, values)

    return emit


def emit_fma(builder: ir.IRBuilder, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
    return _call("fmuladd")(builder, a, b, c)


def _minimum(builder, hi, v):
    return builder.select(builder.fcmp_ordered("<", hi, v), hi, v)


def _maximum(builder, lo, v):
    return builder.select(builder.fcmp_ordered(">", lo, v), lo, v)


fma = vector_op("fma", 3, emit_fma)
minimum = vector_op("minimum", 2, _minimum)
maximum = vector_op("maximum", 2, _maximum)
sqrt = vector_op("sqrt", 1, _call("sqrt"))
absolute = vector_op("absolute", 1, _call("fabs"))
floor = vector_op("floor", 1, _call("floor"))
ceil = vector_op("ceil", 1, _call("ceil"))
round_even = vector_op("round_even", 1, _call("roundeven"))
copysign = vector_op("copysign", 2, _call("copysign"))
is_nan = vector_op("is_nan", 1, lambda b, v: b.fcmp_unordered("uno", v, v), Mask)


def _operator(symbol, emit, result=Vec) -> None:
    @infer_global(symbol)
    class Template(AbstractTemplate):
        def generic(self, args, kws):
            lanes = _lanes(args)
            return None if lanes is None else signature(result(lanes), *args)

    def lower(context, builder, sig, args):
        lanes = _lanes(sig.args)
        return emit(builder, *(_as_vector(context, builder, a, k, lanes) for a, k in zip(args, sig.args, strict=True)))

    for pair in ((Vec, Vec), (Vec, types.Number), (types.Number, Vec)):
        lower_builtin(symbol, *pair)(lower)


_operator(operator.add, lambda b, x, y: b.fadd(x, y))
_operator(operator.sub, lambda b, x, y: b.fsub(x, y))
_operator(operator.mul, lambda b, x, y: b.fmul(x, y))
_operator(operator.truediv, lambda b, x, y: b.fdiv(x, y))
for _symbol, _text in ((operator.lt, "<"), (operator.le, "<="), (operator.gt, ">"), (operator.ge, ">=")):
    _operator(_symbol, lambda b, x, y, text=_text: b.fcmp_ordered(text, x, y), Mask)
_operator(operator.eq, lambda b, x, y: b.fcmp_ordered("==", x, y), Mask)
_operator(operator.ne, lambda b, x, y: b.fcmp_unordered("!=", x, y), Mask)


@intrinsic
def where(typingctx, mask, a, b):
    """``a`` where the mask is set, else ``b``."""
    if not isinstance(mask, Mask):
        return None

    def codegen(context, builder, sig, args):
        chosen = (_as_vector(context, builder, v, k, mask.lanes) for v, k in zip(args[1:], sig.args[1:], strict=True))
        return builder.select(args[0], *chosen)

    return signature(Vec(mask.lanes), mask, a, b), codegen


@intrinsic(prefer_literal=True)
def splat(typingctx, value, lanes):
    """A vector with ``value`` in every lane."""
    count = constant(lanes)

    def codegen(context, builder, sig, args):
        return _as_vector(context, builder, args[0], sig.args[0], count)

    return signature(Vec(count), types.unliteral(value), lanes), codegen


# --- vectors and memory -------------------------------------------------------------------------------------------


@intrinsic(prefer_literal=True)
def load(typingctx, address, lanes):
    """``lanes`` float32 from ``address`` (4-byte alignment is enough)."""
    count = constant(lanes)

    def codegen(context, builder, sig, args):
        return builder.load(pointer(builder, args[0], vector(count)), align=4)

    return signature(Vec(count), types.int64, lanes), codegen


@intrinsic
def store(typingctx, address, value):
    """Write all lanes of ``value`` at ``address``."""
    if not isinstance(value, Vec):
        return None

    def codegen(context, builder, sig, args):
        builder.store(args[1], pointer(builder, args[0], vector(value.lanes)), align=4)
        return context.get_dummy_value()

    return signature(types.void, types.int64, value), codegen


def emit_mask(builder: ir.IRBuilder, count: ir.Value, lanes: int) -> ir.Value:
    """<lanes x i1>: lane < count."""
    numbers = ir.Constant(ir.VectorType(I64, lanes), list(range(lanes)))
    return builder.icmp_signed("<", numbers, splat_value(builder, count, lanes))


def emit_masked_load(builder: ir.IRBuilder, address: ir.Value, mask: ir.Value, lanes: int) -> ir.Value:
    """Lanes outside the mask are not touched in memory and read as zero."""
    kind, place = vector(lanes), pointer(builder, address, vector(lanes))
    fn = cgutils.get_or_insert_function(
        builder.module,
        ir.FunctionType(kind, [place.type, I32, mask.type, kind]),
        f"llvm.masked.load.v{lanes}f32.p0",
    )
    return builder.call(fn, [place, I32(4), mask, ir.Constant(kind, None)])


@intrinsic(prefer_literal=True)
def load_first(typingctx, address, count, lanes):
    """The first ``count`` (0..lanes) float32; the other lanes are zero and their memory is not touched."""
    width = constant(lanes)

    def codegen(context, builder, sig, args):
        return emit_masked_load(builder, args[0], emit_mask(builder, args[1], width), width)

    return signature(Vec(width), types.int64, types.int64, lanes), codegen


def emit_masked_store(builder: ir.IRBuilder, value: ir.Value, address: ir.Value, mask: ir.Value) -> None:
    """Lanes outside the mask are not touched in memory."""
    kind, place = value.type, pointer(builder, address, value.type)
    fn = cgutils.get_or_insert_function(
        builder.module,
        ir.FunctionType(ir.VoidType(), [kind, place.type, I32, mask.type]),
        f"llvm.masked.store.v{kind.count}f32.p0",
    )
    builder.call(fn, [value, place, I32(4), mask])


@intrinsic
def store_first(typingctx, address, value, count):
    """Write the first ``count`` lanes only."""
    if not isinstance(value, Vec):
        return None

    def codegen(context, builder, sig, args):
        emit_masked_store(builder, args[1], args[0], emit_mask(builder, args[2], value.lanes))
        return context.get_dummy_value()

    return signature(types.void, types.int64, value, types.int64), codegen



@intrinsic(prefer_literal=True)
def gather(typingctx, address, stride, lanes):
    """``lanes`` float32, ``stride`` bytes apart."""
    count = constant(lanes)

    def codegen(context, builder, sig, args):
        value, place = ir.Constant(vector(count), ir.Undefined), args[0]
        for lane in range(count):
            value = builder.insert_element(value, builder.load(pointer(builder, place, F32), align=4), I32(lane))
            place = builder.add(place, args[1])
        return value

    return signature(Vec(count), types.int64, types.int64, lanes), codegen


# --- lanes ----------------------------------------------------------------------------------------------------------


def _reduce(name: str, combine):
    """Fold the halves of a vector onto each other: log2(lanes) steps."""

    def typer(typingctx, value):
        if not isinstance(value, Vec):
            return None

        def codegen(context, builder, sig, args):
            v, lanes = args[0], value.lanes
            while lanes > 1:
                lanes //= 2
                low, high = (
                    builder.shuffle_vector(v, v, ir.Constant(ir.VectorType(I32, lanes), list(range(at, at + lanes))))
                    for at in (0, lanes)
                )
                v = combine(builder, low, high)
            return builder.extract_element(v, I32(0))

        return signature(types.float32, value), codegen

    typer.__name__ = name
    return intrinsic(typer)


horizontal_sum = _reduce("horizontal_sum", lambda b, x, y: b.fadd(x, y))
horizontal_max = _reduce("horizontal_max", _maximum)
horizontal_min = _reduce("horizontal_min", _minimum)


@intrinsic(prefer_literal=True)
def group_sum(typingctx, value, group):
    """Each lane becomes the sum of the ``group`` neighbouring lanes (a power of 2) to which it belongs."""
    if not isinstance(value, Vec):
        return None
    size = constant(group)

    def codegen(context, builder, sig, args):
        v, step = args[0], 1
        while step < size:
            order = ir.Constant(ir.VectorType(I32, value.lanes), [lane ^ step for lane in range(value.lanes)])
            v = builder.fadd(v, builder.shuffle_vector(v, v, order))
            step *= 2
        return v

    return signature(value, value, group), codegen



@intrinsic
def bits_of(typingctx, value):
    """The float32 lanes reinterpreted as int32."""
    if not isinstance(value, Vec):
        return None
    kind = Ints(value.lanes)
    return signature(kind, value), lambda c, b, s, a: b.bitcast(a[0], ir.VectorType(I32, value.lanes))


@intrinsic
def from_bits(typingctx, value):
    """int32 lanes reinterpreted as float32."""
    if not isinstance(value, Ints):
        return None
    return signature(Vec(value.lanes), value), lambda c, b, s, a: b.bitcast(a[0], vector(value.lanes))



@intrinsic
def to_floats(typingctx, value):
    """int32 lanes to float32."""
    if not isinstance(value, Ints):
        return None
    return signature(Vec(value.lanes), value), lambda c, b, s, a: b.sitofp(a[0], vector(value.lanes))


def _ints_op(name: str, method: str):
    def typer(typingctx, a, b):
        if not isinstance(a, Ints) or not isinstance(b, (Ints, types.Integer)):
            return None

        def codegen(context, builder, sig, args):
            right = args[1]
            if not isinstance(b, Ints):
                right = splat_value(builder, context.cast(builder, right, b, types.int32), a.lanes)
            return getattr(builder, method)(args[0], right)

        return signature(a, a, b), codegen

    typer.__name__ = name
    return intrinsic(typer)


ints_add, ints_sub = _ints_op("ints_add", "add"), _ints_op("ints_sub", "sub")
ints_shift_left, ints_shift_right = _ints_op("ints_shift_left", "shl"), _ints_op("ints_shift_right", "ashr")
ints_and, ints_or = _ints_op("ints_and", "and_"), _ints_op("ints_or", "or_")
