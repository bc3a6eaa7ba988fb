"""Writing LLVM code for inner loops: loops with values carried around, memory of any element type, LLVM's functions.

What is emitted here compiles many times faster than the same loop written for Numba, and serves every element type: a
value is a vector of ``lanes`` elements or, with lanes 1, a scalar. f16 is computed as float32, booleans are bytes 0 or
1, and all else is computed as it is stored.
"""

from collections.abc import Callable, Sequence

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import signature
from numba.extending import intrinsic

from cnncc.records import record
from cnncc.runtime.cpu.elements import SIZES, is_float
from cnncc.runtime.cpu.simd import F16, F32, F64, I32, I64, Vec, emit_mask, pointer, splat_value

Value = ir.Value
BLOCK = 64
_FLOATS = {"f16": F16, "f32": F32, "f64": F64}


def stored_type(dtype: str, lanes: int) -> ir.Type:
    """The type in memory."""
    element = _FLOATS.get(dtype) or ir.IntType(8 * SIZES[dtype])
    return ir.VectorType(element, lanes) if lanes > 1 else element


def value_type(dtype: str, lanes: int) -> ir.Type:
    """The type in registers."""
    return stored_type("f32" if dtype == "f16" else dtype, lanes)


def number(dtype: str, lanes: int, value: float | int) -> ir.Constant:
    """A constant in every lane."""
    kind = value_type(dtype, 1)
    one = ir.Constant(kind, float(value) if is_float(dtype) else int(value))
    return one if lanes == 1 else ir.Constant(ir.VectorType(kind, lanes), [one] * lanes)


def spread(builder: ir.IRBuilder, value: Value, lanes: int) -> Value:
    """A scalar in every lane."""
    return value if lanes == 1 else splat_value(builder, value, lanes)


def element_of(kind: ir.Type) -> tuple[ir.Type, int]:
    return (kind.element, kind.count) if isinstance(kind, ir.VectorType) else (kind, 1)


def call(builder: ir.IRBuilder, name: str, *values: Value, fastmath: Sequence[str] = ()) -> Value:
    """LLVM's own function of this name (say ``sqrt``) for the type of the first value."""
    kind = values[0].type
    element, lanes = element_of(kind)
    letter = {"float": "f32", "double": "f64", "half": "f16"}.get(str(element), str(element))
    full = f"llvm.{name}.{f'v{lanes}' if lanes > 1 else ''}{letter}"
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [v.type for v in values]), full)
    return builder.call(function, values, fastmath=fastmath)


@record
class Whole:
    """An int64 of the code being written, with Python's operators; quotients and remainders are those of numbers that
    are not negative."""

    b: ir.IRBuilder
    v: Value

    def _with(self, other: "Whole | Value | int", emit: Callable[[Value, Value], Value]) -> "Whole":
        right = other.v if isinstance(other, Whole) else I64(other) if isinstance(other, int) else other
        return Whole(self.b, emit(self.v, right))

    def __add__(self, other: "Whole | Value | int") -> "Whole":
        return self._with(other, self.b.add)

    def __sub__(self, other: "Whole | Value | int") -> "Whole":
        return self._with(other, self.b.sub)

    def __rsub__(self, other: int) -> "Whole":
        return Whole(self.b, self.b.sub(I64(other), self.v))

    def __mul__(self, other: "Whole | Value | int") -> "Whole":
        return self._with(other, self.b.mul)

    def __floordiv__(self, other: "Whole | Value | int") -> "Whole":
        return self._with(other, self.b.udiv if isinstance(other, int) else self._quotient)

    def _quotient(self, x: Value, y: Value) -> Value:
        """Strides and dilations are mostly 1, and a division takes as long as twenty additions."""
        before = self.b.block
        with self.b.if_then(self.b.icmp_signed("!=", y, I64(1))):
            divided = self.b.udiv(x, y)
            inside = self.b.block
        result = self.b.phi(I64)
        result.add_incoming(x, before)
        result.add_incoming(divided, inside)
        return result

    def __mod__(self, other: "Whole | Value | int") -> "Whole":
        return self._with(other, self.b.urem)

    __radd__, __rmul__ = __add__, __mul__

    def at_most(self, other: "Whole | Value | int") -> "Whole":
        return self._with(other, lambda x, y: self.b.select(self.b.icmp_signed("<", x, y), x, y))

    def at_least(self, other: "Whole | Value | int") -> "Whole":
        return self._with(other, lambda x, y: self.b.select(self.b.icmp_signed(">", x, y), x, y))


def words(builder: ir.IRBuilder, args: Value, names: Sequence[str]) -> Callable[[str], Whole]:
    """Reads argument words by name."""
    place = {name: 8 * i for i, name in enumerate(names)}

    def word(name: str) -> Whole:
        return Whole(builder, builder.load(pointer(builder, builder.add(args, I64(place[name])), I64), align=8))

    return word


def extreme(builder: ir.IRBuilder, kind: str, dtype: str, a: Value, x: Value) -> Value:
    """The ``max`` or ``min`` of two; NaN if one is NaN. Of zeros of both signs either is given."""
    symbol = ">" if kind == "max" else "<"
    if not is_float(dtype):
        return builder.select(compare(builder, symbol, dtype, a, x), a, x)
    return call(builder, f"{kind}imum", a, x, fastmath=("nsz",))


def compare(builder: ir.IRBuilder, symbol: str, dtype: str, a: Value, x: Value) -> Value:
    """A mask; false where one is NaN, except for ``!=``."""
    if is_float(dtype):
        return (builder.fcmp_unordered if symbol == "!=" else builder.fcmp_ordered)(symbol, a, x)
    unsigned = dtype.startswith(("u", "b"))
    return (builder.icmp_unsigned if unsigned else builder.icmp_signed)(symbol, a, x)


def absolute(builder: ir.IRBuilder, dtype: str, x: Value) -> Value:
    if is_float(dtype):
        return call(builder, "fabs", x)
    if dtype.startswith("u"):
        return x
    negative = builder.neg(x)
    return builder.select(builder.icmp_signed(">", negative, x), negative, x)


def convert(builder: ir.IRBuilder, value: Value, source: str, target: str, lanes: int) -> Value:
    """A value of the type ``source`` as one of ``target``: integers keep their low bits, and what is not 0 is true.

    Floats lose their fraction in integers; out of range (undefined in ONNX) gives the nearest of 32 or 64 bits, of
    which narrower types keep the low ones, and NaN gives 0.
    """
    old, new = value.type, value_type(target, lanes)
    if source == target:
        return value
    if target == "bool":
        return builder.zext(compare(builder, "!=", source, value, number(source, lanes, 0)), new)
    if is_float(source) and is_float(target):
        if target == "f16":
            single = _to_odd(builder, value, lanes) if source == "f64" else value
            return builder.fpext(builder.fptrunc(single, stored_type("f16", lanes)), new)
        return builder.fpext(value, new) if target == "f64" else value if old == new else builder.fptrunc(value, new)
    if is_float(target):
        return (builder.uitofp if source.startswith(("u", "b")) else builder.sitofp)(value, new)
    if is_float(source):
        value = _to_integer(builder, value, target, lanes)
        return builder.trunc(value, new) if value.type != new else value
    if SIZES[source] == SIZES[target]:
        return value
    if SIZES[source] > SIZES[target]:
        return builder.trunc(value, new)
    return (builder.zext if source.startswith(("u", "b")) else builder.sext)(value, new)


def _to_odd(builder: ir.IRBuilder, value: Value, lanes: int) -> Value:
    """f64 as f32 such that rounding that to f16 rounds once: cut off, and odd if anything was. (Machines without the
    direct conversion would call a library that is not there.)"""
    single = builder.fptrunc(value, value_type("f32", lanes))
    back = builder.fpext(single, value.type)
    bits = builder.bitcast(single, value_type("i32", lanes))
    one = number("i32", lanes, 1)
    beyond = builder.fcmp_ordered(">", call(builder, "fabs", back), call(builder, "fabs", value))
    cut = builder.or_(builder.select(beyond, builder.sub(bits, one), bits), one)
    exact = builder.fcmp_unordered("==", back, value)
    return builder.bitcast(builder.select(exact, bits, cut), single.type)


def _to_integer(builder: ir.IRBuilder, value: Value, target: str, lanes: int) -> Value:
    wide = "i32" if SIZES[target] < 4 or target == "i32" else "i64"
    kind = value_type(wide, lanes)
    way = "fptoui" if target == "u64" else "fptosi"
    element, _ = element_of(value.type)
    letter = "f32" if element == F32 else "f64"
    shape = f"v{lanes}" if lanes > 1 else ""
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(kind, [value.type]), f"llvm.{way}.sat.{shape}{wide}.{shape}{letter}"
    )
    return builder.call(function, [value])


def compiled(context, builder: ir.IRBuilder, function: Callable, *values: Value) -> Value:
    """A function written for Numba (say of vmath) of float32 vectors and, behind them, float32 scalars."""
    kinds = [Vec(v.type.count) if isinstance(v.type, ir.VectorType) else types.float32 for v in values]
    return context.compile_internal(builder, function, signature(kinds[0], *kinds), list(values))


def loop(builder: ir.IRBuilder, start: Value, stop: Value, step: Value | int, values: Sequence[Value],
         body: Callable[[Value, list[Value]], Sequence[Value]]) -> list[Value]:
    """``for i in range(start, stop, step): values = body(i, values)``; the values after it. The step is positive.

    LLVM does not unroll the loop: most are short, or long enough to be limited by memory.
    """
    before, head = builder.block, builder.append_basic_block("loop.head")
    inside, after = builder.append_basic_block("loop.body"), builder.append_basic_block("loop.end")
    builder.branch(head)
    builder.position_at_end(head)
    index = builder.phi(I64)
    carried = [builder.phi(v.type) for v in values]
    builder.cbranch(builder.icmp_signed("<", index, stop), inside, after)
    builder.position_at_end(inside)
    results = body(index, list(carried))
    following = builder.add(index, I64(step) if isinstance(step, int) else step)
    builder.branch(head).set_metadata("llvm.loop", _no_unroll(builder.module))
    for phi, first, again in zip([index, *carried], [start, *values], [following, *results], strict=True):
        phi.add_incoming(first, before)
        phi.add_incoming(again, builder.block)
    builder.position_at_end(after)
    return carried


def loop_in_blocks(builder: ir.IRBuilder, times: Value, start: Value, totals: Sequence[Value], merge: Callable,
                   each: Callable[[Value, list[Value]], Sequence[Value]]) -> list[Value]:
    """``totals = each(i, totals)`` for i in range(times), in blocks that begin with ``start`` and whose totals are
    merged: a sum of n numbers errs like one of n / BLOCK + BLOCK."""

    def block(first: Value, merged: list[Value]) -> list[Value]:
        stop = builder.add(first, I64(BLOCK))
        stop = builder.select(builder.icmp_signed("<", stop, times), stop, times)
        found = loop(builder, first, stop, 1, [start] * len(totals), each)
        return [merge(builder, m, f) for m, f in zip(merged, found, strict=True)]

    return loop(builder, I64(0), times, BLOCK, totals, block)


def fold_lanes(builder: ir.IRBuilder, value: Value, merge: Callable) -> Value:
    """The lanes of a vector merged into one: halves are laid over each other."""
    _, lanes = element_of(value.type)
    while lanes > 1:
        lanes //= 2
        low, high = (
            builder.shuffle_vector(value, value, ir.Constant(ir.VectorType(I32, lanes), list(range(at, at + lanes))))
            for at in (0, lanes)
        )
        value = merge(builder, low, high)
    return builder.extract_element(value, I32(0))


def _no_unroll(module: ir.Module) -> ir.MDValue:
    """Loop metadata; LLVM heeds it only if its first operand is the node itself."""
    disable = module.add_metadata([ir.MetaDataString(module, "llvm.loop.unroll.disable")])
    node = module.add_metadata([disable])
    node.operands = (node, disable)
    return node


def load(builder: ir.IRBuilder, address: Value, dtype: str, lanes: int, mask: Value | None = None) -> Value:
    """What lies at ``address``; lanes outside the mask are zero and their memory is not touched."""
    kind = stored_type(dtype, lanes)
    place = pointer(builder, address, kind)
    if mask is None:
        value = builder.load(place, align=SIZES[dtype])
    else:
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(kind, [place.type, I32, mask.type, kind]),
            f"llvm.masked.load.v{lanes}{_suffix(dtype)}.p0",
        )  # fmt: skip
        value = builder.call(function, [place, I32(SIZES[dtype]), mask, ir.Constant(kind, None)])
    return builder.fpext(value, value_type(dtype, lanes)) if dtype == "f16" else value


def store(builder: ir.IRBuilder, address: Value, value: Value, dtype: str, lanes: int,
          mask: Value | None = None) -> None:
    """Write ``value``; memory of lanes outside the mask is not touched."""
    kind = stored_type(dtype, lanes)
    if dtype == "f16":
        value = builder.fptrunc(value, kind)
    place = pointer(builder, address, kind)
    if mask is None:
        builder.store(value, place, align=SIZES[dtype])
        return
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(ir.VoidType(), [kind, place.type, I32, mask.type]),
        f"llvm.masked.store.v{lanes}{_suffix(dtype)}.p0",
    )  # fmt: skip
    builder.call(function, [value, place, I32(SIZES[dtype]), mask])


def _suffix(dtype: str) -> str:
    return dtype if is_float(dtype) else f"i{8 * SIZES[dtype]}"


def unravel(builder: ir.IRBuilder, number: Value, sizes: Sequence[Value]) -> list[Value]:
    """The index along each axis of element ``number``, the first axis having any size and the others ``sizes``; axes of
    size 1, which are common, cost no division."""
    found: list[Value] = []
    rest = number
    for size in reversed(sizes):
        before = builder.block
        with builder.if_then(builder.icmp_signed("!=", size, I64(1))):
            index, above = builder.urem(rest, size), builder.udiv(rest, size)
            inside = builder.block
        index_phi, rest_phi = builder.phi(I64), builder.phi(I64)
        index_phi.add_incoming(I64(0), before)
        index_phi.add_incoming(index, inside)
        rest_phi.add_incoming(rest, before)
        rest_phi.add_incoming(above, inside)
        found.insert(0, index_phi)
        rest = rest_phi
    return [rest, *found]


def copy_bytes(builder: ir.IRBuilder, target: Value, source: Value, count: Value, lanes: int) -> None:
    """``count`` bytes, by vectors; what is left is copied by the vector that ends where they end."""
    width = 4 * lanes

    def move(at: Value, size: int) -> None:
        kind = ir.VectorType(ir.IntType(8), size) if size > 1 else ir.IntType(8)
        value = builder.load(pointer(builder, builder.add(source, at), kind), align=1)
        builder.store(value, pointer(builder, builder.add(target, at), kind), align=1)

    with builder.if_else(builder.icmp_signed(">=", count, I64(width))) as (long, short):
        with long:
            last = builder.sub(count, I64(width))

            def body(at: Value, _: list[Value]) -> list[Value]:
                move(at, width)
                return []

            loop(builder, I64(0), last, width, [], body)
            move(last, width)
        with short:
            at: Value = I64(0)
            size = width // 2
            while size:
                some = builder.and_(count, I64(size))
                with builder.if_then(builder.icmp_signed("!=", some, I64(0))):
                    move(at, size)
                at = builder.add(at, some)
                size //= 2


def first_lanes(builder: ir.IRBuilder, count: Value, lanes: int) -> Value:
    """The mask of the lanes below ``count``."""
    return emit_mask(builder, count, lanes)


def emitted(name: str, operands: int, emit: Callable[..., Value | None], result: types.Type = types.void) -> Callable:
    """An intrinsic of int64 operands: ``emit(context, builder, *operands)`` writes its code and gives its value."""

    def typer(typingctx, *kinds):
        def codegen(context, builder, sig, args):
            value = emit(context, builder, *args)
            return context.get_dummy_value() if value is None else value

        return signature(result, *(types.int64,) * operands), codegen

    names = ", ".join(f"a{i}" for i in range(operands))
    scope = {"typer": typer}
    exec(f"def {name}(typingctx, {names}):\n    return typer(typingctx, {names})", scope)
    return intrinsic(scope[name])


def _binary(name: str, method: str) -> Callable:
    return emitted(name, 2, lambda context, builder, a, b: getattr(builder, method)(a, b), types.int64)


# Of integers that are not negative (and a divisor that is positive), without Python's rules for the others.
quotient, remainder = _binary("quotient", "udiv"), _binary("remainder", "urem")


def _choose(name: str, symbol: str) -> Callable:
    def emit(context, builder, a, b):
        return builder.select(builder.icmp_signed(symbol, a, b), a, b)

    return emitted(name, 2, emit, types.int64)


smaller, larger = _choose("smaller", "<"), _choose("larger", ">")
