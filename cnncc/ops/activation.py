"""Activations as operators. Their formulas stand in ir/activation.py, which fused fields use too."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from ..errors import OpError
from ..ir import ACTIVATIONS, Activation, DType, Op, Operand, TensorType
from ..records import record
from .dtypes import FLOATS, NUMERIC, SIGNED, check_dtype
from .elementwise import broadcast_shapes

__all__ = [
    "ACTIVATION_OPS", "ActivationOp", "Celu", "Clip", "Elu", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Mish",
    "PRelu", "Relu", "Selu", "Sigmoid", "Softplus", "Softsign", "Swish", "Tanh", "ThresholdedRelu",
]

Array = np.ndarray[Any, Any]


@record
class ActivationOp(Op):
    """A function of every element of the first input.

    `kind` names its row in ACTIVATIONS, whose parameters are the operator's attributes.
    """

    kind: ClassVar[str]
    accepted: ClassVar[tuple[DType, ...]] = FLOATS

    def as_activation(self, *operands: Operand | None) -> Activation | None:
        """The operator as what another one may carry fused, or None where it is none for these operands."""
        return Activation(self.kind, tuple(getattr(self, name) for name in ACTIVATIONS[self.kind]))

    def infer(self, x: Operand, *others: Operand | None) -> tuple[TensorType, ...]:
        check_dtype(self.op_type, "the input", x, self.accepted)
        return (x.type,)

    def reference(self, x: Array, *others: Array | None) -> tuple[Array, ...]:
        activation = self.as_activation()
        assert activation is not None  # a subclass that may have none has a reference of its own
        return (activation.apply(x),)


@record
class Relu(ActivationOp):
    """ONNX Relu-14: max(x, 0)."""

    since = 14
    kind = "relu"
    accepted = SIGNED


@record
class LeakyRelu(ActivationOp):
    """ONNX LeakyRelu-16: alpha * x where x < 0, else x."""

    since = 16
    kind = "leaky_relu"
    alpha: float = 0.01


@record
class Elu(ActivationOp):
    """ONNX Elu-22: alpha * (e^x - 1) where x < 0, else x."""

    since = 22
    kind = "elu"
    alpha: float = 1.0


@record
class Selu(ActivationOp):
    """ONNX Selu-22: gamma * Elu(x)."""

    since = 22
    kind = "selu"
    alpha: float = ACTIVATIONS["selu"]["alpha"]
    gamma: float = ACTIVATIONS["selu"]["gamma"]


@record
class Sigmoid(ActivationOp):
    """ONNX Sigmoid-13: 1 / (1 + e^-x)."""

    since = 13
    kind = "sigmoid"


@record
class Tanh(ActivationOp):
    """ONNX Tanh-13."""

    since = 13
    operands = ("input",)
    kind = "tanh"


@record
class HardSigmoid(ActivationOp):
    """ONNX HardSigmoid-22: alpha * x + beta, kept within 0 and 1."""

    since = 22
    kind = "hard_sigmoid"
    alpha: float = 0.2
    beta: float = 0.5


@record
class HardSwish(ActivationOp):
    """ONNX HardSwish-22: x * HardSigmoid(x) with alpha 1/6 and beta 1/2."""

    since = 22
    kind = "hard_swish"


@record
class Softplus(ActivationOp):
    """ONNX Softplus-22: log(1 + e^x)."""

    since = 22
    kind = "softplus"


@record
class Mish(ActivationOp):
    """ONNX Mish-22: x * tanh(Softplus(x))."""

    since = 22
    kind = "mish"


@record
class Gelu(ActivationOp):
    """ONNX Gelu-20: x / 2 * (1 + erf(x / sqrt(2))), or with approximate="tanh" its tanh form."""

    since = 20
    approximate: str = "none"

    def check(self) -> None:
        if self.approximate not in ("none", "tanh"):
            raise OpError(f"Gelu: approximate must be none or tanh, not '{self.approximate}'")

    def as_activation(self, *operands: Operand | None) -> Activation | None:
        return Activation("gelu" if self.approximate == "none" else "gelu_tanh")


@record
class Clip(ActivationOp):
    """ONNX Clip-13: min(max(x, min), max), of any numbers; min and max are scalars of the input's type."""

    since = 13
    operands = ("input", "min?", "max?")
    accepted = NUMERIC

    def as_activation(self, *operands: Operand | None) -> Activation | None:
        """clip(min,max) for floating-point inputs whose bounds are known."""
        x, low, high = (*operands, None, None)[:3]
        if x is None or not x.type.dtype.is_float or any(b is not None and b.value is None for b in (low, high)):
            return None
        return _clip(None if low is None else low.value, None if high is None else high.value)

    def infer(self, x: Operand, low: Operand | None = None,  # type: ignore[override]  # its operands have names
              high: Operand | None = None) -> tuple[TensorType, ...]:
        (out,) = super().infer(x)
        for name, bound in (("min", low), ("max", high)):
            if bound is not None and (bound.type.dtype != x.type.dtype or bound.type.size != 1):
                raise OpError(f"Clip: {name} must be one number of type {x.type.dtype.value}, not {bound.type}")
        return (out,)

    def reference(self, x: Array, low: Array | None = None,  # type: ignore[override]
                  high: Array | None = None) -> tuple[Array, ...]:
        if x.dtype.kind == "f":
            return (_clip(low, high).apply(x),)
        x = x if low is None else np.maximum(x, low.reshape(()))
        return (x if high is None else np.minimum(x, high.reshape(())),)


def _clip(low: Array | None, high: Array | None) -> Activation:
    return Activation("clip", (-math.inf if low is None else low.item(), math.inf if high is None else high.item()))


@record
class PRelu(ActivationOp):
    """ONNX PRelu-16: slope * x where x < 0, else x; slope is broadcast to X."""

    since = 16
    operands = ("X", "slope")

    def as_activation(self, *operands: Operand | None) -> Activation | None:
        """leaky_relu where the slope is known and everywhere the same."""
        slope = operands[1].value if len(operands) > 1 and operands[1] is not None else None
        if slope is None or slope.size == 0 or np.any(slope != slope.flat[0]):
            return None
        return Activation("leaky_relu", (slope.flat[0].item(),))

    def infer(self, x: Operand, slope: Operand) -> tuple[TensorType, ...]:  # type: ignore[override]
        (out,) = super().infer(x)
        if slope.type.dtype != x.type.dtype:
            raise OpError(f"PRelu: X and slope must have one type, not {x.type} and {slope.type}")
        if broadcast_shapes("PRelu", (x.type.shape, slope.type.shape)) != x.type.shape:
            raise OpError(f"PRelu: the slope {slope.type} cannot be broadcast to X {x.type}")
        return (out,)

    def reference(self, x: Array, slope: Array) -> tuple[Array, ...]:  # type: ignore[override]
        return (np.where(x < 0, slope * x, x),)


@record
class Swish(ActivationOp):
    """ONNX Swish-24: x * Sigmoid(alpha * x)."""

    since = 24
    alpha: float = 1.0

    def as_activation(self, *operands: Operand | None) -> Activation | None:
        return Activation("silu") if self.alpha == 1 else None

    def reference(self, x: Array, *others: Array | None) -> tuple[Array, ...]:
        return (x * Activation("sigmoid").apply(x.dtype.type(self.alpha) * x),)


@record
class Celu(ActivationOp):
    """ONNX Celu-28: alpha * (e^(x / alpha) - 1) where x < 0, else x."""

    since = 28
    alpha: float = 1.0

    def check(self) -> None:
        if self.alpha == 0:
            raise OpError("Celu: alpha must not be 0")

    def as_activation(self, *operands: Operand | None) -> Activation | None:
        return Activation("elu") if self.alpha == 1 else None

    def reference(self, x: Array, *others: Array | None) -> tuple[Array, ...]:
        return (np.where(x < 0, Activation("elu", (self.alpha,)).apply(x / x.dtype.type(self.alpha)), x),)


@record
class ThresholdedRelu(ActivationOp):
    """ONNX ThresholdedRelu-22: x where x > alpha, else 0."""

    since = 22
    alpha: float = 1.0

    def as_activation(self, *operands: Operand | None) -> Activation | None:
        return None

    def reference(self, x: Array, *others: Array | None) -> tuple[Array, ...]:
        return (np.where(x <= self.alpha, x.dtype.type(0), x),)


@record
class Softsign(ActivationOp):
    """ONNX Softsign-22: x / (1 + abs(x))."""

    since = 22
    operands = ("input",)

    def as_activation(self, *operands: Operand | None) -> Activation | None:
        return None

    def reference(self, x: Array, *others: Array | None) -> tuple[Array, ...]:
        return (x / (1 + np.abs(x)),)


ACTIVATION_OPS = (Celu, Clip, Elu, Gelu, HardSigmoid, HardSwish, LeakyRelu, Mish, PRelu, Relu, Selu, Sigmoid, Softplus,
                  Softsign, Swish, Tanh, ThresholdedRelu)
