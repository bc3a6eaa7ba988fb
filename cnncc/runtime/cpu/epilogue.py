"""What a kernel does to an output vector in registers before it is stored: residual, then activation.

``ACTIVATIONS`` is the one list of kinds; each uses up to two float words ``a`` and ``b``.
"""

ACTIVATIONS = {
    "clip": "min(b, max(a, x)): covers none (-inf, inf), relu (0, inf), relu6 (0, 6)",
    "leaky": "x if x >= 0 else a * x",
    "sigmoid": "1 / (1 + e^-x)",
    "silu": "x * sigmoid(x)",
    "tanh": "tanh(x)",
    "hardsigmoid": "clip(a * x + b, 0, 1)",
    "hardswish": "x * clip(x / 6 + 0.5, 0, 1)",
    "elu": "x if x >= 0 else a * (e^x - 1)",
    "selu": "b * (x if x >= 0 else a * (e^x - 1))",
    "gelu": "x / 2 * (1 + erf(x / sqrt(2)))",
    "gelu_tanh": "x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))",
    "softplus": "log(1 + e^x)",
    "mish": "x * tanh(softplus(x))",
}


def build_activation(kind: str):
    """The compiled-code function ``(x: Vec, a: float32, b: float32) -> Vec`` of an activation."""
    from numba.extending import register_jitable

    from cnncc.runtime.cpu import vmath
    from cnncc.runtime.cpu.simd import fma, maximum, minimum, where

    sigmoid, silu, tanh, erf, expm1 = vmath.sigmoid, vmath.silu, vmath.tanh, vmath.erf, vmath.expm1
    softplus, mish = vmath.softplus, vmath.mish
    table = {
        "clip": lambda x, a, b: minimum(b, maximum(a, x)),
        "leaky": lambda x, a, b: where(x < 0.0, x * a, x),
        "sigmoid": lambda x, a, b: sigmoid(x),
        "silu": lambda x, a, b: silu(x),
        "tanh": lambda x, a, b: tanh(x),
        "hardsigmoid": lambda x, a, b: minimum(1.0, maximum(0.0, fma(x, a, b))),
        "hardswish": lambda x, a, b: x * minimum(1.0, maximum(0.0, fma(x, 1.0 / 6.0, 0.5))),
        "elu": lambda x, a, b: where(x < 0.0, expm1(minimum(0.0, x)) * a, x),
        "selu": lambda x, a, b: where(x < 0.0, expm1(minimum(0.0, x)) * a, x) * b,
        "gelu": lambda x, a, b: x * 0.5 * (erf(x * 0.70710678118654752) + 1.0),
        "gelu_tanh": lambda x, a, b: x * 0.5 * (tanh(fma(x * x * x, 0.044715, x) * 0.79788456080286536) + 1.0),
        "softplus": lambda x, a, b: softplus(x),
        "mish": lambda x, a, b: mish(x),
    }
    if set(table) != set(ACTIVATIONS):
        raise AssertionError("activation table and list differ")
    return register_jitable(table[kind])


def build_finish(activation: str, residual: int, lanes: int):
    """``finish(value, place, a, b)``: value [+ the vector at ``place`` if residual], then the activation."""
    from cnncc.runtime.cpu.simd import load

    activate = build_activation(activation)
    if residual:

        def finish(value, place, a, b):
            return activate(value + load(place, lanes), a, b)

    else:

        def finish(value, place, a, b):
            return activate(value, a, b)

    return finish
