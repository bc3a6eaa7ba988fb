"""Activations in registers against float64."""

import math

import numpy as np
import pytest

from cnncc.runtime.cpu.conv_shape import ConvShape
from cnncc.runtime.cpu.epilogue import ACTIVATIONS
from cnncc.runtime.cpu.kernels import conv_depthwise
from tests.runtime.cpu.harness import run, to_blocked

_erf = np.vectorize(math.erf)


def reference(kind: str, x: np.ndarray, a: float, b: float) -> np.ndarray:
    with np.errstate(all="ignore"):
        sigmoid = 1 / (1 + np.exp(-x))
        elu = np.where(x < 0, a * np.expm1(x), x)
        return {
            "clip": lambda: np.clip(x, a, b), "leaky": lambda: np.where(x < 0, a * x, x), "sigmoid": lambda: sigmoid,
            "silu": lambda: x * sigmoid, "tanh": lambda: np.tanh(x), "hardsigmoid": lambda: np.clip(a * x + b, 0, 1),
            "hardswish": lambda: x * np.clip(x / 6 + 0.5, 0, 1), "elu": lambda: elu, "selu": lambda: elu * b,
            "gelu": lambda: x / 2 * (1 + _erf(x / math.sqrt(2))),
            "gelu_tanh": lambda: x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
            "softplus": lambda: np.logaddexp(0, x), "mish": lambda: x * np.tanh(np.logaddexp(0, x)),
        }[kind]()  # fmt: skip


@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_activation(kind: str) -> None:
    """An identity convolution shows the activation alone. Errors are a few ulp of the result or of x times ulp."""
    rng = np.random.default_rng(0)
    special = [0.0, -0.0, 1e-30, -1e-30, 1e-6, -1e-6, 0.62, 0.63, 80.0, -80.0, 1e4, -1e4, np.inf, -np.inf, np.nan]
    x = np.concatenate([special, rng.uniform(-12, 12, 2000), rng.standard_normal(500)]).astype(np.float32)
    a, b = (-0.5, 2.0) if kind == "clip" else (0.25, 0.5)
    shape = ConvShape(1, 1, 1, (1, 1, x.size), (1, 1, x.size), (1, 1, 1))
    y = to_blocked(np.zeros((1, 1, x.size)), 16)
    operands = {
        "x": to_blocked(x.reshape(1, 1, -1), 16), "w": conv_depthwise.pack_weights(np.ones((1, 1, 1)), 16),
        "bias": np.zeros(16, np.float32), "y": y,
    }  # fmt: skip
    run(conv_depthwise.launch(shape, 16, activation=kind, a=a, b=b), operands)
    got, want = y[0, 0, :, 0], reference(kind, x.astype(np.float64), a, b)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
    finite = np.isfinite(want)
    np.testing.assert_array_equal(got[~finite & ~np.isnan(want)], want[~finite & ~np.isnan(want)])
    got, want, x = got[finite].astype(np.float64), want[finite], x[finite]
    cancelling = kind in ("gelu", "gelu_tanh", "hardswish")
    scale = np.maximum(abs(want), abs(x) if cancelling else 1e-30) + 1e-30
    assert np.max(abs(got - want) / scale) <= 8 * 2.0**-23
