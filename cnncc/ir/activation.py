"""Activations: the functions that stand alone as operators and that other operators carry, fused, as a field.

One table gives each kind its parameters, their ONNX defaults and its formula. All propagate NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import OpError
from ..records import record

__all__ = ["ACTIVATIONS", "Activation", "erf"]

Array = np.ndarray[Any, Any]

_erf = np.vectorize(math.erf, otypes=[np.float64])


def erf(x: Array) -> Array:
    """The error function of every element, in double precision."""
    return np.asarray(_erf(x))


def _clip(x: Array, lo: float, hi: float) -> Array:
    x = np.where(x < x.dtype.type(lo), x.dtype.type(lo), x)
    return np.where(x > x.dtype.type(hi), x.dtype.type(hi), x)


def _sigmoid(x: Array) -> Array:
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-x))


def _softplus(x: Array) -> Array:
    with np.errstate(invalid="ignore"):  # NumPy flags a NaN that passes through
        return np.asarray(np.logaddexp(x.dtype.type(0), x))


def _expm1(x: Array) -> Array:
    return np.expm1(np.minimum(x, 0))


_KINDS: dict[str, tuple[dict[str, float], Callable[..., Array]]] = {
    "relu": ({}, lambda x: np.where(x < 0, 0, x)),
    "clip": ({"min": -math.inf, "max": math.inf}, _clip),
    "leaky_relu": ({"alpha": 0.01}, lambda x, alpha: np.where(x < 0, alpha * x, x)),
    "elu": ({"alpha": 1.0}, lambda x, alpha: np.where(x < 0, alpha * _expm1(x), x)),
    "selu": ({"alpha": 1.67326319217681884765625, "gamma": 1.05070102214813232421875},
             lambda x, alpha, gamma: gamma * np.where(x < 0, alpha * _expm1(x), x)),
    "sigmoid": ({}, _sigmoid),
    "tanh": ({}, np.tanh),
    "hard_sigmoid": ({"alpha": 0.2, "beta": 0.5}, lambda x, alpha, beta: _clip(alpha * x + beta, 0.0, 1.0)),
    "hard_swish": ({}, lambda x: x * _clip(x / 6 + 0.5, 0.0, 1.0)),
    "silu": ({}, lambda x: x * _sigmoid(x)),
    "softplus": ({}, _softplus),
    "mish": ({}, lambda x: x * np.tanh(_softplus(x))),
    "gelu": ({}, lambda x: 0.5 * x * (1 + erf(x / math.sqrt(2)))),
    "gelu_tanh": ({}, lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))),
}

# kind -> names and defaults of its parameters
ACTIVATIONS: dict[str, dict[str, float]] = {kind: defaults for kind, (defaults, _) in _KINDS.items()}


@record
class Activation:
    """A kind of ACTIVATIONS with values for its parameters, in order; `str` gives `relu` or `clip(0.0,6.0)`."""

    kind: str
    parameters: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in ACTIVATIONS:
            raise OpError(f"'{self.kind}' is not an activation; there are {', '.join(ACTIVATIONS)}")
        defaults = tuple(ACTIVATIONS[self.kind].values())
        if len(self.parameters) > len(defaults):
            raise OpError(f"the activation {self.kind} takes {len(defaults)} parameters, not {len(self.parameters)}")
        given = tuple(float(p) for p in self.parameters)
        object.__setattr__(self, "parameters", given + defaults[len(given):])

    def apply(self, x: Array) -> Array:
        """The activation of every element, in x's own precision."""
        return np.asarray(_KINDS[self.kind][1](x, *self.parameters)).astype(x.dtype, copy=False)

    def __str__(self) -> str:
        if not self.parameters:
            return self.kind
        return f"{self.kind}({','.join(repr(p) for p in self.parameters)})"
