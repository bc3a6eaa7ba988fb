"""Elementary functions over vectors, for use inside kernels: a few ulp, right for NaN and infinities."""

from llvmlite import ir
from numba.core import cgutils
from numba.extending import register_jitable

from cnncc.runtime.cpu.simd import (
    I32,
    absolute,
    bits_of,
    copysign,
    fma,
    from_bits,
    ints_and,
    ints_or,
    ints_shift_right,
    ints_sub,
    maximum,
    minimum,
    to_floats,
    vector_op,
    where,
)
from cnncc.runtime.cpu.target import target

LOG2_E, LOG2_E_LOW = 1.442695021629333, 1.92596299e-8
LN2_HIGH, LN2_LOW = 0.693359375, -2.12194440e-4
ROUNDER, ROUNDER_BITS = 12582912.0, 0x4B400000  # 1.5 * 2^23: adding it rounds to an integer kept in the low bits


def _times_power(builder, value, power):
    """value * 2^power of integers -252 <= power <= 254 as float32: overflows to infinity, underflows gradually."""
    if value.type.count == target().lanes == 16:  # AVX-512
        kinds = [value.type] * 3 + [ir.IntType(16), I32]
        scale = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(value.type, kinds), "llvm.x86.avx512.mask.scalef.ps.512"
        )
        return builder.call(scale, [value, power, value, ir.IntType(16)(-1), I32(4)])  # rounding as MXCSR says
    ints = ir.VectorType(I32, value.type.count)
    # A sum of 1.5 * 2^23 and the power has it in its low bits, for NaN too, of which a conversion makes anything.
    shifted = builder.bitcast(builder.fadd(power, power.type(ROUNDER)), ints)
    whole = builder.sub(shifted, ints(ROUNDER_BITS))
    half = builder.ashr(whole, ints(1))
    for part in (half, builder.sub(whole, half)):
        value = builder.fmul(value, builder.bitcast(builder.shl(builder.add(part, ints(127)), ints(23)), value.type))
    return value


times_power = vector_op("times_power", 2, _times_power)


@register_jitable
def exp(x):
    """e^x. Underflows gradually to 0 and overflows to infinity."""
    return power_of_2(minimum(89.0, maximum(-104.0, x)), LOG2_E, LOG2_E_LOW)


@register_jitable
def exp_of_negative(x):
    """e^-x, likewise."""
    return power_of_2(minimum(104.0, maximum(-89.0, x)), -LOG2_E, -LOG2_E_LOW)


@register_jitable
def power_of_2(x, high, low):
    """2^(x * (high + low)) for products between -252 and 254, where ``low`` is below half an ulp of ``high``: the power
    of the nearest integer times a minimax polynomial over [-0.5, 0.5], good for 0.04 * 2^-24."""
    n = fma(x, high, ROUNDER) - ROUNDER
    f = fma(x, low, fma(x, high, 0.0 - n))
    p = fma(f, 1.5353362e-4, 1.33988750e-3)
    p = fma(p, f, 9.6184369e-3)
    p = fma(p, f, 5.55033237e-2)
    p = fma(p, f, 2.402264774e-1)
    p = fma(p, f, 6.931471825e-1)
    return times_power(fma(p, f, 1.0), n)


@register_jitable
def log(x):
    """Natural logarithm; subnormal arguments count as zero."""
    positive = x >= 1.17549435e-38
    bits = bits_of(maximum(1.17549435e-38, x))
    m = from_bits(ints_or(ints_and(bits, 0x007FFFFF), 0x3F000000))
    n = to_floats(ints_sub(ints_shift_right(bits, 23), 126))
    low = m < 0.707106781186547524
    n = where(low, n - 1.0, n)
    m = where(low, m + m, m) - 1.0
    z = m * m
    p = fma(m, 7.0376836292e-2, -1.1514610310e-1)
    p = fma(p, m, 1.1676998740e-1)
    p = fma(p, m, -1.2420140846e-1)
    p = fma(p, m, 1.4249322787e-1)
    p = fma(p, m, -1.6668057665e-1)
    p = fma(p, m, 2.0000714765e-1)
    p = fma(p, m, -2.4999993993e-1)
    p = fma(p, m, 3.3333331174e-1)
    y = fma(z, -0.5, fma(n, LN2_LOW, p * m * z))
    y = fma(n, LN2_HIGH, m + y)
    y = where(positive, y, where(x >= 0.0, x * 0.0 - float("inf"), (x - x) / (x - x)))
    return where(x == float("inf"), x, y)


@register_jitable
def sigmoid(x):
    """1 / (1 + e^-x)."""
    return 1.0 / (exp_of_negative(x) + 1.0)


@register_jitable
def silu(x):
    """x / (1 + e^-x)."""
    return x / (exp_of_negative(x) + 1.0)


@register_jitable
def tanh(x):
    """Hyperbolic tangent: an odd polynomial below 0.625, else 1 - 2 / (e^2|x| + 1)."""
    size = absolute(x)
    z = x * x
    p = fma(z, -5.70498872745e-3, 2.06390887954e-2)
    p = fma(p, z, -5.37397155531e-2)
    p = fma(p, z, 1.33314422036e-1)
    p = fma(p, z, -3.33332819422e-1)
    small = fma(p * z, x, x)
    large = copysign(1.0 - 2.0 / (exp(size + size) + 1.0), x)
    return where(size < 0.625, small, large)


@register_jitable
def erf(x):
    """The error function, about 1 ulp (two minimax polynomials split at 475/512)."""
    t = absolute(x)
    s = x * x
    r = fma(t, -1.72853470e-5, 3.83197126e-4)
    u = fma(t, -3.88396438e-3, 2.42546219e-2)
    r = fma(r, s, u)
    r = fma(r, t, -1.06777877e-1)
    r = fma(r, t, -6.34846687e-1)
    r = fma(r, t, -1.28717512e-1)
    r = fma(r, t, 0.0 - t)
    large = where(t > 4.0, copysign(t * 0.0 + 1.0, x), copysign(1.0 - exp(r), x))
    p = fma(s, -5.96761703e-4, 4.99119423e-3)
    p = fma(p, s, -2.67681349e-2)
    p = fma(p, s, 1.12819925e-1)
    p = fma(p, s, -3.76125336e-1)
    p = fma(p, s, 1.28379166e-1)
    infinite = t == float("inf")
    return where(infinite, copysign(1.0, x), where(t > 0.927734375, large, fma(p, x, x)))


@register_jitable
def expm1(x):
    """e^x - 1 for x <= 0 (what ELU needs): tanh(x/2) * (e^x + 1) is exact to a few ulp near zero."""
    return tanh(x * 0.5) * (exp(x) + 1.0)


@register_jitable
def softplus(x):
    """log(1 + e^x) = max(x, 0) + log1p(e^-|x|); log1p(u) = log(w) * u / (w - 1) with w = 1 + u."""
    u = exp(0.0 - absolute(x))
    w = u + 1.0
    rest = w - 1.0
    return maximum(0.0, x) + where(rest == 0.0, u, log(w) * u / where(rest == 0.0, 1.0 + rest, rest))


@register_jitable
def mish(x):
    """x * tanh(softplus(x)) = x * (e^2 + 2e) / (e^2 + 2e + 2), e = e^x (1 to float32 above 20)."""
    e = exp(minimum(20.0, x))
    n = fma(e, e, e + e)
    return x * (n / (n + 2.0))
