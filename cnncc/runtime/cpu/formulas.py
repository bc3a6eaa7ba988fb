"""The formula of every elementwise operation, as LLVM code for vectors of any element type it is defined on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cnncc.records import record
from cnncc.runtime.cpu import emit, vmath
from cnncc.runtime.cpu.elements import SIZES, is_float, limits
from cnncc.runtime.cpu.epilogue import ACTIVATIONS, build_activation

__all__ = ["FORMULAS", "Code"]


@record
class Code:
    """Where a formula writes its code, and for which types: ``types`` of the operands, ``result``, ``lanes``.

    ``p`` and ``q`` are float32 parameters of the step (an activation's).
    """

    context: Any
    b: Any
    types: tuple[str, ...]
    result: str
    lanes: int
    p: Any
    q: Any

    @property
    def real(self) -> bool:
        return is_float(self.types[0])

    @property
    def unsigned(self) -> bool:
        return self.types[0].startswith(("u", "b"))

    def number(self, value: float) -> Any:
        """A constant of the operands' type."""
        return emit.number(self.types[0], self.lanes, value)

    def call(self, name: str, *values: Any) -> Any:
        return emit.call(self.b, name, *values)

    def compare(self, symbol: str, x: Any, y: Any) -> Any:
        return emit.compare(self.b, symbol, self.types[0], x, y)

    def compiled(self, function: Callable[..., Any], *values: Any) -> Any:
        return emit.compiled(self.context, self.b, function, *values)

    def flag(self, mask: Any) -> Any:
        """A mask as booleans."""
        return self.b.zext(mask, emit.value_type("bool", self.lanes))


def _either(real: str, whole: str) -> Callable[..., Any]:
    return lambda c, x, y: getattr(c.b, real if c.real else whole)(x, y)


def _fold(formula: Callable[..., Any]) -> Callable[..., Any]:
    """Of two operands or more, from the left."""

    def folded(c: Code, x: Any, *others: Any) -> Any:
        for y in others:
            x = formula(c, x, y)
        return x

    return folded


_add, _subtract, _multiply = _either("fadd", "add"), _either("fsub", "sub"), _either("fmul", "mul")


def _extreme(kind: str) -> Callable[..., Any]:
    def formula(c: Code, x: Any, y: Any) -> Any:
        return emit.extreme(c.b, kind, c.types[0], x, y)

    return formula


def _mean(c: Code, *values: Any) -> Any:
    return c.b.fdiv(_fold(_add)(c, *values), c.number(len(values)))


def _safe_divisor(c: Code, y: Any) -> tuple[Any, Any]:
    """A divisor that cannot trap, and where the given one is -1 (signed types only): x / -1 may overflow."""
    zero = c.b.icmp_signed("==", y, c.number(0))
    if c.unsigned:
        return c.b.select(zero, c.number(1), y), None
    minus = c.b.icmp_signed("==", y, c.number(-1))
    return c.b.select(c.b.or_(zero, minus), c.number(1), y), minus


def _divide(c: Code, x: Any, y: Any) -> Any:
    """Integers are truncated; x / 0 is x."""
    if c.real:
        return c.b.fdiv(x, y)
    divisor, minus = _safe_divisor(c, y)
    if c.unsigned:
        return c.b.udiv(x, divisor)
    return c.b.select(minus, c.b.neg(x), c.b.sdiv(x, divisor))


def _remainder(c: Code, x: Any, y: Any) -> Any:
    """Of the truncated quotient: x's sign; integers modulo 0 give 0."""
    if c.real:
        return c.b.frem(x, y)
    divisor, _ = _safe_divisor(c, y)
    return c.b.urem(x, divisor) if c.unsigned else c.b.srem(x, divisor)


def _modulo(c: Code, x: Any, y: Any) -> Any:
    """Of the quotient rounded down: y's sign."""
    rest, zero = _remainder(c, x, y), c.number(0)
    if c.unsigned:
        return rest
    crossed = c.b.xor(c.compare("<", rest, zero), c.compare("<", y, zero))
    wrong = c.b.and_(crossed, c.compare("!=", rest, zero))
    return c.b.select(wrong, _add(c, rest, y), rest)


def _shift(left: bool) -> Callable[..., Any]:
    def formula(c: Code, x: Any, y: Any) -> Any:
        beyond = c.b.icmp_unsigned(">=", y, c.number(8 * SIZES[c.types[0]]))
        amount = c.b.select(beyond, c.number(0), y)
        nothing = c.number(0) if left or c.unsigned else c.b.ashr(x, c.number(8 * SIZES[c.types[0]] - 1))
        shifted = c.b.shl(x, amount) if left else c.b.lshr(x, amount) if c.unsigned else c.b.ashr(x, amount)
        return c.b.select(beyond, nothing, shifted)

    return formula


def _compared(symbol: str) -> Callable[..., Any]:
    return lambda c, x, y: c.flag(c.compare(symbol, x, y))


def _set(c: Code, flags: Any) -> Any:
    """Booleans as a mask."""
    return c.b.icmp_unsigned("!=", flags, emit.number("bool", c.lanes, 0))


def _where(c: Code, condition: Any, x: Any, y: Any) -> Any:
    return c.b.select(_set(c, condition), x, y)


def _absolute(c: Code, x: Any) -> Any:
    return emit.absolute(c.b, c.types[0], x)


def _sign(c: Code, x: Any) -> Any:
    zero, one = c.number(0), c.number(1)
    up = c.b.select(c.compare(">", x, zero), one, x)
    return up if c.unsigned else c.b.select(c.compare("<", x, zero), c.number(-1), up)


def _infinite(*signs: float) -> Callable[..., Any]:
    def formula(c: Code, x: Any) -> Any:
        found = [c.compare("==", x, c.number(s * float("inf"))) for s in signs]
        return c.flag(found[0] if len(found) == 1 else c.b.or_(*found))

    return formula


def _above(c: Code, x: Any, low: Any) -> Any:
    return c.b.select(c.compare("<", x, low), low, x)


def _below(c: Code, x: Any, high: Any) -> Any:
    return c.b.select(c.compare(">", x, high), high, x)


def _prelu(c: Code, x: Any, slope: Any) -> Any:
    return c.b.select(c.compare("<", x, c.number(0)), _multiply(c, x, slope), x)


def _affine(c: Code, x: Any, scale: Any, shift: Any) -> Any:
    return c.call("fmuladd", x, scale, shift)


def _power(c: Code, x: Any, y: Any) -> Any:
    """x^y, y being converted to x's type (of floats)."""
    return c.call("pow", x, emit.convert(c.b, y, c.types[1], c.types[0], c.lanes))


def _square(c: Code, x: Any) -> Any:
    return _multiply(c, x, x)


def _cast(c: Code, x: Any) -> Any:
    return emit.convert(c.b, x, c.types[0], c.result, c.lanes)


def _math(single: str, double: str | None = None) -> Callable[..., Any]:
    """A function of vmath for single precision, and LLVM's of the name ``double`` otherwise."""

    def formula(c: Code, x: Any) -> Any:
        if c.types[0] == "f64":
            return c.call(double or single, x)
        return c.compiled(getattr(vmath, single), x)

    return formula


def _activation(kind: str) -> Callable[..., Any]:
    def formula(c: Code, x: Any) -> Any:
        return c.compiled(build_activation(kind), x, c.p, c.q)

    return formula


def _after_affine(kind: str) -> Callable[..., Any]:
    activate = _activation(kind)
    return lambda c, x, scale, shift: activate(c, _affine(c, x, scale, shift))


def _relu(c: Code, x: Any) -> Any:
    return c.b.select(c.compare("<", x, c.number(0)), c.number(0), x)


def _parameter(c: Code, value: Any) -> Any:
    return emit.spread(c.b, value, c.lanes)


def _thresholded(c: Code, x: Any) -> Any:
    return c.b.select(c.compare("<=", x, _parameter(c, c.p)), c.number(0), x)


def _softsign(c: Code, x: Any) -> Any:
    return c.b.fdiv(x, c.b.fadd(_absolute(c, x), c.number(1)))


def _swish(c: Code, x: Any) -> Any:
    return c.b.fmul(x, _math("sigmoid")(c, c.b.fmul(x, _parameter(c, c.p))))


def _celu(c: Code, x: Any) -> Any:
    alpha, zero = _parameter(c, c.p), c.number(0)
    scaled = c.b.fdiv(x, alpha)
    curve = c.b.fmul(alpha, _math("expm1")(c, c.b.select(c.compare("<", scaled, zero), scaled, zero)))
    return c.b.select(c.compare("<", x, zero), c.b.select(c.compare("<", scaled, zero), curve, scaled), x)


def _real(c: Code, x: Any, dtype: str) -> Any:
    return emit.convert(c.b, x, dtype, "f32", c.lanes)


def _quantized(c: Code, x: Any, zero: Any) -> Any:
    """saturate(round(x) + zero) in the result's type of at most 16 bits, zero being an i32. A NaN gives the zero point.

    Adding 1.5 * 2^23 rounds to even, and leaves the integer in the low bits.
    """
    shift = _real(c, zero, "i32")
    low, high = (c.b.fsub(emit.number("f32", c.lanes, end), shift) for end in limits(c.result))
    x = c.b.select(c.b.fcmp_unordered("uno", x, x), emit.number("f32", c.lanes, 0), x)
    x = c.b.select(c.b.fcmp_ordered("<", x, low), low, x)
    x = c.b.select(c.b.fcmp_ordered(">", x, high), high, x)
    magic = 12582912
    bits = c.b.bitcast(c.b.fadd(x, emit.number("f32", c.lanes, magic)), emit.value_type("i32", c.lanes))
    whole = c.b.add(c.b.sub(bits, emit.number("i32", c.lanes, 0x4B400000)), zero)
    return emit.convert(c.b, whole, "i32", c.result, c.lanes)


def _quantize(c: Code, x: Any, scale: Any, zero: Any = None) -> Any:
    none = zero is None
    at = emit.number("i32", c.lanes, 0) if none else emit.convert(c.b, zero, c.types[2], "i32", c.lanes)
    return _quantized(c, c.b.fdiv(x, scale), at)


def _dequantize(c: Code, x: Any, scale: Any, zero: Any = None) -> Any:
    return _dequantized(c, x, c.types[0], scale, zero)


def _dequantized(c: Code, x: Any, dtype: str, scale: Any, zero: Any) -> Any:
    whole = emit.convert(c.b, x, dtype, "i32", c.lanes)
    if zero is not None:
        whole = c.b.sub(whole, emit.convert(c.b, zero, dtype, "i32", c.lanes))
    return c.b.fmul(_real(c, whole, "i32"), scale)


def _quantized_pair(method: str) -> Callable[..., Any]:
    """Of two quantised operands, each with scale and zero point; then those of the result."""

    def formula(c: Code, a: Any, a_scale: Any, a_zero: Any, b: Any, b_scale: Any, b_zero: Any, scale: Any,
                zero: Any) -> Any:
        left, right = _dequantized(c, a, c.types[0], a_scale, a_zero), _dequantized(c, b, c.types[3], b_scale, b_zero)
        at = emit.convert(c.b, zero, c.types[7], "i32", c.lanes)
        return _quantized(c, c.b.fdiv(getattr(c.b, method)(left, right), scale), at)

    return formula


FORMULAS: dict[str, Callable[..., Any]] = {
    "abs": _absolute,
    "above": _above,
    "add": _fold(_add),
    "affine": _affine,
    "and": lambda c, x, y: c.b.and_(x, y),
    "below": _below,
    "between": lambda c, x, low, high: _below(c, _above(c, x, low), high),
    "cast": _cast,
    "ceil": lambda c, x: c.call("ceil", x),
    "celu": _celu,
    "copy": lambda c, x: x,
    "cos": lambda c, x: c.call("cos", x),
    "cube": lambda c, x: _multiply(c, _square(c, x), x),
    "dequantize": _dequantize,
    "dequantize_from_zero": _dequantize,
    "div": _divide,
    "equal": _compared("=="),
    "erf": _math("erf"),
    "exp": _math("exp", "exp"),
    "floor": lambda c, x: c.call("floor", x),
    "greater": _compared(">"),
    "greater_or_equal": _compared(">="),
    "is_inf": _infinite(1, -1),
    "is_minus_inf": _infinite(-1),
    "is_nan": lambda c, x: c.flag(c.compare("!=", x, x)),
    "is_plus_inf": _infinite(1),
    "less": _compared("<"),
    "less_or_equal": _compared("<="),
    "log": _math("log", "log"),
    "max": _fold(_extreme("max")),
    "mean": _mean,
    "min": _fold(_extreme("min")),
    "modulo": _modulo,
    "mul": _fold(_multiply),
    "neg": lambda c, x: c.b.fneg(x) if c.real else c.b.neg(x),
    "not": lambda c, x: c.b.xor(x, c.number(1)),
    "not_bits": lambda c, x: c.b.not_(x),
    "or": lambda c, x, y: c.b.or_(x, y),
    "pow": _power,
    "prelu": _prelu,
    "quantize": _quantize,
    "quantize_from_zero": _quantize,
    "quantized_add": _quantized_pair("fadd"),
    "quantized_mul": _quantized_pair("fmul"),
    "reciprocal": lambda c, x: c.b.fdiv(c.number(1), x),
    "relu": _relu,
    "remainder": _remainder,
    "round": lambda c, x: c.call("roundeven", x),
    "shift_left": _shift(True),
    "shift_right": _shift(False),
    "sign": _sign,
    "sin": lambda c, x: c.call("sin", x),
    "softsign": _softsign,
    "sqrt": lambda c, x: c.call("sqrt", x),
    "square": _square,
    "sub": _subtract,
    "swish": _swish,
    "thresholded": _thresholded,
    "where": _where,
    "xor": lambda c, x, y: c.b.xor(x, y),
    **{kind: _activation(kind) for kind in ACTIVATIONS},
    **{f"affine_{kind}": _after_affine(kind) for kind in ACTIVATIONS},
}
