"""Operators of com.microsoft on quantised tensors: each is DequantizeLinear, the operator of real numbers,
QuantizeLinear. ONNX Runtime's tools write them, and passes put them in the place of such chains."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar

import numpy as np

from ..errors import OpError
from ..ir import Activation, Op, Operand, TensorType
from ..records import record
from .dtypes import FLOATS, check_dtype
from .elementwise import broadcast_shapes
from .pool import AveragePool, GlobalAveragePool
from .quantize import BYTES, MICROSOFT, check_parameter, dequantized, quantized, saturated
from .sizes import agree, resolve_axis
from .softmax import Softmax

__all__ = ["QLINEAR", "QLinearActivation", "QLinearAdd", "QLinearAveragePool", "QLinearBinary", "QLinearConcat",
           "QLinearGlobalAveragePool", "QLinearLeakyRelu", "QLinearMul", "QLinearSigmoid", "QLinearSoftmax",
           "QLinearUnary"]

Array = np.ndarray[Any, Any]


def _output(op_type: str, x: Operand, zero_point: Operand | None, *parameters: Operand | None) -> TensorType:
    """A tensor like x, of the zero point's type; all scales and zero points must be single numbers."""
    check_dtype(op_type, "X", x, BYTES)
    accepted = ((FLOATS, "a scale"), ((x.type.dtype,), "the zero point of X"), (FLOATS, "a scale"))
    for parameter, (dtypes, name) in (*zip(parameters, accepted, strict=False), (zero_point, (BYTES, "a zero point"))):
        check_parameter(op_type, name, parameter)
        if parameter is not None:
            check_dtype(op_type, name, parameter, dtypes)
    return TensorType(x.type.dtype if zero_point is None else zero_point.type.dtype, x.type.shape)


def _one(parameter: Array | None) -> Array | None:
    """The single number as a scalar, so that it broadcasts without adding an axis."""
    return None if parameter is None else parameter.reshape(())


@record
class QLinearUnary(Op):
    """Base of quantised functions of one tensor: X, its scale and zero point, those of the result Y."""

    domain = MICROSOFT
    operands = ("X", "X_scale", "X_zero_point?", "Y_scale", "Y_zero_point?")

    def infer(self, x: Operand, x_scale: Operand, x_zero_point: Operand | None, y_scale: Operand,
              y_zero_point: Operand | None = None) -> tuple[TensorType, ...]:
        return (_output(self.op_type, x, y_zero_point, x_scale, x_zero_point, y_scale),)

    def reference(self, x: Array, x_scale: Array, x_zero_point: Array | None, y_scale: Array,
                  y_zero_point: Array | None = None) -> tuple[Array, ...]:
        dtype = x.dtype if y_zero_point is None else y_zero_point.dtype
        with np.errstate(all="ignore"):
            real = self.real(dequantized(x, x_scale.reshape(()), _one(x_zero_point)))
            return (quantized(real, y_scale.reshape(()), _one(y_zero_point), dtype),)

    def real(self, x: Array) -> Array:
        """The function of real numbers."""
        raise NotImplementedError(self.op_type)  # abstract


@record
class QLinearActivation(QLinearUnary):
    """Of cnncc's own: `activation` (or nothing, where only scale and zero point change) of a quantised tensor."""

    domain = "cnncc"

    activation: Activation | None = None

    def real(self, x: Array) -> Array:
        return x if self.activation is None else self.activation.apply(x)


@record
class QLinearSigmoid(QLinearUnary):
    """com.microsoft QLinearSigmoid-1."""

    def real(self, x: Array) -> Array:
        return Activation("sigmoid").apply(x)


@record
class QLinearLeakyRelu(QLinearUnary):
    """com.microsoft QLinearLeakyRelu-1."""

    alpha: float = 0.01

    def real(self, x: Array) -> Array:
        return Activation("leaky_relu", (self.alpha,)).apply(x)


@record
class QLinearSoftmax(QLinearUnary):
    """com.microsoft QLinearSoftmax-1: Softmax along `axis`; for an `opset` below 13, over all axes from that one on."""

    operands = ("X", "X_scale", "x_zero_point?", "y_scale", "y_zero_point?")

    opset: int
    axis: int = -1

    def infer(self, x: Operand, *parameters: Operand | None) -> tuple[TensorType, ...]:
        resolve_axis(self.op_type, self.axis, x.type.rank)
        return super().infer(x, *parameters)  # type: ignore[arg-type]

    def real(self, x: Array) -> Array:
        if self.opset >= 13:
            return Softmax(self.axis).reference(x)[0]
        rows = x.reshape(math.prod(x.shape[:self.axis % x.ndim]), -1)
        return Softmax(-1).reference(rows)[0].reshape(x.shape)


@record
class QLinearBinary(Op):
    """Base of QLinearAdd and QLinearMul: A and B are broadcast to each other."""

    domain = MICROSOFT
    operands = ("A", "A_scale", "A_zero_point?", "B", "B_scale", "B_zero_point?", "C_scale", "C_zero_point?")
    results = ("C",)

    def infer(self, a: Operand, a_scale: Operand, a_zero_point: Operand | None, b: Operand, b_scale: Operand,
              b_zero_point: Operand | None, c_scale: Operand,
              c_zero_point: Operand | None = None) -> tuple[TensorType, ...]:
        if a.type.dtype != b.type.dtype:
            raise OpError(f"{self.op_type}: A and B must have one element type, not {a.type} and {b.type}")
        left = _output(self.op_type, a, c_zero_point, a_scale, a_zero_point, c_scale)
        _output(self.op_type, b, None, b_scale, b_zero_point)
        return (TensorType(left.dtype, broadcast_shapes(self.op_type, (a.type.shape, b.type.shape))),)

    def reference(self, a: Array, a_scale: Array, a_zero_point: Array | None, b: Array, b_scale: Array,
                  b_zero_point: Array | None, c_scale: Array, c_zero_point: Array | None = None) -> tuple[Array, ...]:
        dtype = a.dtype if c_zero_point is None else c_zero_point.dtype
        with np.errstate(all="ignore"):
            left = dequantized(a, a_scale.reshape(()), _one(a_zero_point))
            right = dequantized(b, b_scale.reshape(()), _one(b_zero_point))
            return (quantized(type(self).formula(left, right), c_scale.reshape(()), _one(c_zero_point), dtype),)

    formula: ClassVar[Any]


@record
class QLinearAdd(QLinearBinary):
    """com.microsoft QLinearAdd-1: saturate(round((A + B) / C_scale) + C_zero_point) of the real numbers A and B."""

    formula = staticmethod(np.add)


@record
class QLinearMul(QLinearBinary):
    """com.microsoft QLinearMul-1: saturate(round(A * B / C_scale) + C_zero_point) of the real numbers A and B."""

    formula = staticmethod(np.multiply)


@record
class QLinearConcat(Op):
    """com.microsoft QLinearConcat-1: the inputs (each a tensor, its scale and its zero point) one behind the other
    along `axis`, quantised by Y_scale and Y_zero_point; one that has these already stays as it is."""

    domain = MICROSOFT
    operands = ("Y_scale", "Y_zero_point", "inputs*")

    axis: int

    def infer(self, y_scale: Operand, y_zero_point: Operand, *inputs: Operand) -> tuple[TensorType, ...]:
        if not inputs or len(inputs) % 3:
            raise OpError("QLinearConcat: each input is a tensor, a scale and a zero point, but there are "
                          f"{len(inputs)} operands behind Y_zero_point")
        parts = [_output("QLinearConcat", inputs[i], y_zero_point, *inputs[i + 1:i + 3], y_scale)
                 for i in range(0, len(inputs), 3)]
        shapes = [p.shape for p in parts]
        if len({len(s) for s in shapes}) > 1:
            raise OpError(f"QLinearConcat: all inputs must be of one rank, not {' and '.join(map(str, parts))}")
        axis = resolve_axis("QLinearConcat", self.axis, len(shapes[0]))
        out = []
        for i, sizes in enumerate(zip(*shapes, strict=True)):
            size = sum(sizes[1:], sizes[0]) if i == axis else agree(sizes)
            if size is None:
                raise OpError(f"QLinearConcat: the inputs {' and '.join(map(str, parts))} differ in size along axis "
                              f"{i}, but may along axis {axis} only")
            out.append(size)
        return (TensorType(y_zero_point.type.dtype, tuple(out)),)

    def reference(self, y_scale: Array, y_zero_point: Array, *inputs: Array) -> tuple[Array, ...]:
        same = QLinearActivation()
        parts = [same.reference(inputs[i], inputs[i + 1], inputs[i + 2], y_scale, y_zero_point)[0]
                 for i in range(0, len(inputs), 3)]
        return (np.concatenate(parts, self.axis),)


@record
class QLinearAveragePool(AveragePool):
    """com.microsoft QLinearAveragePool-1: AveragePool of a quantised tensor."""

    domain = MICROSOFT
    since = 1
    operands = ("X", "x_scale", "x_zero_point?", "y_scale", "y_zero_point?")

    def infer(self, x: Operand, x_scale: Operand, x_zero_point: Operand | None, y_scale: Operand,  # type: ignore[override]
              y_zero_point: Operand | None = None) -> tuple[TensorType, ...]:
        y = _output(self.op_type, x, y_zero_point, x_scale, x_zero_point, y_scale)
        [real] = self.plain().infer(Operand(TensorType(x_scale.type.dtype, x.type.shape)))
        return (TensorType(y.dtype, real.shape),)

    def plain(self) -> AveragePool:
        """The pool of real numbers."""
        return AveragePool(**{f.name: getattr(self, f.name) for f in dataclasses.fields(AveragePool)})

    def reference(self, x: Array, x_scale: Array, x_zero_point: Array | None, y_scale: Array,  # type: ignore[override]
                  y_zero_point: Array | None = None) -> tuple[Array, ...]:
        dtype = x.dtype if y_zero_point is None else y_zero_point.dtype
        [y] = self.plain().reference(dequantized(x, x_scale.reshape(()), _one(x_zero_point)))
        return (quantized(y, y_scale.reshape(()), _one(y_zero_point), dtype),)


@record
class QLinearGlobalAveragePool(Op):
    """com.microsoft QLinearGlobalAveragePool-1: the exact sum of X - x_zero_point over the pixels, multiplied by
    x_scale / (y_scale * pixels), rounded to even, plus y_zero_point."""

    domain = MICROSOFT
    operands = ("X", "x_scale", "x_zero_point", "y_scale", "y_zero_point")

    def infer(self, x: Operand, x_scale: Operand, x_zero_point: Operand, y_scale: Operand,
              y_zero_point: Operand) -> tuple[TensorType, ...]:
        y = _output(self.op_type, x, y_zero_point, x_scale, x_zero_point, y_scale)
        [real] = GlobalAveragePool().infer(Operand(TensorType(x_scale.type.dtype, x.type.shape)))
        return (TensorType(y.dtype, real.shape),)

    def reference(self, x: Array, x_scale: Array, x_zero_point: Array, y_scale: Array,
                  y_zero_point: Array) -> tuple[Array, ...]:
        axes = tuple(range(2, x.ndim))
        total = (x.astype(np.int64) - int(x_zero_point.reshape(()))).sum(axes, keepdims=True)
        number = x_scale.dtype.type
        with np.errstate(all="ignore"):
            factor = x_scale.reshape(()) / (y_scale.reshape(()) * number(math.prod(x.shape[2:])))
            return (saturated(total.astype(number) * factor, y_zero_point.reshape(()), y_zero_point.dtype),)


QLINEAR = (QLinearActivation, QLinearAdd, QLinearAveragePool, QLinearConcat, QLinearGlobalAveragePool, QLinearLeakyRelu,
           QLinearMul, QLinearSigmoid, QLinearSoftmax)
