"""Matrix products of 8-bit integers, exact, as real numbers, and quantised again."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import OpError
from ..ir import Activation, DType, Op, Operand, TensorType
from ..records import record
from .dtypes import check_dtype
from .elementwise import broadcast_shapes
from .integer_conv import centred, check_clip, check_scales, check_zero_points, requantized, to_i32
from .quantize import BYTES, MICROSOFT, DynamicQuantizeLinear, check_parameter
from .sizes import agree

__all__ = ["MATRIX_PRODUCTS", "DynamicQuantizeMatMul", "MatMulInteger", "MatMulIntegerToFloat", "QGemm",
           "QLinearMatMul"]

Array = np.ndarray[Any, Any]
_DYNAMIC = DynamicQuantizeLinear()


def _product_shape(op_type: str, a: Operand, b: Operand) -> tuple[Any, ...]:
    """The shape of numpy.matmul's result."""
    check_dtype(op_type, "A", a, BYTES)
    check_dtype(op_type, "B", b, BYTES)
    if a.type.rank == 0 or b.type.rank == 0:
        raise OpError(f"{op_type}: A and B must have an axis, not {a.type} and {b.type}")
    if agree((a.type.shape[-1], b.type.shape[-2:][0])) is None:
        raise OpError(f"{op_type}: A {a.type} has {a.type.shape[-1]} columns, but B {b.type} has "
                      f"{b.type.shape[-2:][0]} rows")
    batch = broadcast_shapes(op_type, (a.type.shape[:-2], b.type.shape[:-2]))
    return (*batch, *a.type.shape[-2:-1], *(b.type.shape[-1:] if b.type.rank > 1 else ()))


def _rows(parameter: Array, rank: int) -> Array:
    """One number, one a row of A ([M]), or as many axes as A has."""
    if parameter.size == 1:
        return parameter.reshape(())
    return parameter.reshape(-1, 1) if parameter.ndim == 1 and rank > 1 else parameter


def _columns(parameter: Array) -> Array:
    """One number, one a column of B ([N]), or as many axes as B has."""
    return parameter.reshape(()) if parameter.size == 1 else parameter


def _matmul(a: Array, b: Array, a_zero_point: Array | None, b_zero_point: Array | None) -> Array:
    """The sums as i32."""
    left = centred(a, None if a_zero_point is None else _rows(a_zero_point, a.ndim))
    right = centred(b, None if b_zero_point is None else _columns(b_zero_point))
    return to_i32(np.asarray(np.matmul(left, right)))


def _check_along(op_type: str, name: str, operand: Operand | None, matrix: Operand, axis: int) -> None:
    """Raises OpError unless the parameter is one number, one for each index of the matrix' axis -2 (rows) or -1
    (columns), or that with all the matrix' axes, the other of the two being 1."""
    if operand is None or operand.type.shape in ((), (1,)):
        return
    shape, whole = operand.type.shape, matrix.type.shape
    if matrix.type.rank > 1:
        lone = (*whole[:-2], *((whole[-2], 1) if axis == -2 else (1, whole[-1])))
        if (len(shape) == 1 and agree((shape[0], whole[axis])) is not None) or (
                len(shape) == len(lone) and all(agree(p) is not None for p in zip(shape, lone, strict=True))):
            return
    raise OpError(f"{op_type}: {name} must hold one number, or one for each {'row' if axis == -2 else 'column'} of "
                  f"{matrix.type}, not {operand.type}")


@record
class MatMulInteger(Op):
    """ONNX MatMulInteger-10: numpy.matmul of A - a_zero_point and B - b_zero_point, as i32. Zero points are one number,
    or one for each row of A, each column of B."""

    since = 10
    operands = ("A", "B", "a_zero_point?", "b_zero_point?")

    def infer(self, a: Operand, b: Operand, a_zero_point: Operand | None = None,
              b_zero_point: Operand | None = None) -> tuple[TensorType, ...]:
        shape = _product_shape("MatMulInteger", a, b)
        _check_along("MatMulInteger", "a_zero_point", a_zero_point, a, -2)
        _check_along("MatMulInteger", "b_zero_point", b_zero_point, b, -1)
        check_zero_points("MatMulInteger", (a, a_zero_point), (b, b_zero_point))
        return (TensorType(DType.I32, shape),)

    def reference(self, a: Array, b: Array, a_zero_point: Array | None = None,
                  b_zero_point: Array | None = None) -> tuple[Array, ...]:
        return (_matmul(a, b, a_zero_point, b_zero_point),)


@record
class QLinearMatMul(Op):
    """ONNX QLinearMatMul-21: MatMulInteger, quantised again: multiplied by a_scale * b_scale / y_scale, computed from
    the left (see `requantized`)."""

    since = 21
    operands = ("a", "a_scale", "a_zero_point", "b", "b_scale", "b_zero_point", "y_scale", "y_zero_point")
    results = ("y",)

    def infer(self, a: Operand, a_scale: Operand, a_zero_point: Operand, b: Operand, b_scale: Operand,
              b_zero_point: Operand, y_scale: Operand, y_zero_point: Operand) -> tuple[TensorType, ...]:
        shape = _product_shape("QLinearMatMul", a, b)
        for name, operand in (("a_scale", a_scale), ("a_zero_point", a_zero_point)):
            _check_along("QLinearMatMul", name, operand, a, -2)
        for name, operand in (("b_scale", b_scale), ("b_zero_point", b_zero_point)):
            _check_along("QLinearMatMul", name, operand, b, -1)
        check_parameter("QLinearMatMul", "y_scale", y_scale)
        check_parameter("QLinearMatMul", "y_zero_point", y_zero_point)
        check_scales("QLinearMatMul", a_scale, b_scale, y_scale)
        check_dtype("QLinearMatMul", "y_zero_point", y_zero_point, BYTES)
        check_zero_points("QLinearMatMul", (a, a_zero_point), (b, b_zero_point))
        return (TensorType(y_zero_point.type.dtype, shape),)

    def reference(self, a: Array, a_scale: Array, a_zero_point: Array, b: Array, b_scale: Array, b_zero_point: Array,
                  y_scale: Array, y_zero_point: Array) -> tuple[Array, ...]:
        total = _matmul(a, b, a_zero_point, b_zero_point)
        multiplier = _rows(a_scale, a.ndim) * _columns(b_scale) / y_scale.reshape(())
        return (requantized(total, multiplier, y_zero_point.reshape(()), y_zero_point.dtype),)


@record
class MatMulIntegerToFloat(Op):
    """com.microsoft MatMulIntegerToFloat-1: MatMulInteger times a_scale * b_scale, plus `bias` [N]."""

    domain = MICROSOFT
    operands = ("A", "B", "a_scale", "b_scale", "a_zero_point?", "b_zero_point?", "bias?")

    def infer(self, a: Operand, b: Operand, a_scale: Operand, b_scale: Operand, a_zero_point: Operand | None = None,
              b_zero_point: Operand | None = None, bias: Operand | None = None) -> tuple[TensorType, ...]:
        shape = _product_shape(self.op_type, a, b)
        check_parameter(self.op_type, "a_scale", a_scale)
        check_parameter(self.op_type, "a_zero_point", a_zero_point)
        _check_along(self.op_type, "b_scale", b_scale, b, -1)
        _check_along(self.op_type, "b_zero_point", b_zero_point, b, -1)
        check_scales(self.op_type, a_scale, b_scale)
        check_zero_points(self.op_type, (a, a_zero_point), (b, b_zero_point))
        _check_bias(self.op_type, a_scale, b, bias)
        return (TensorType(a_scale.type.dtype, shape),)

    def reference(self, a: Array, b: Array, a_scale: Array, b_scale: Array, a_zero_point: Array | None = None,
                  b_zero_point: Array | None = None, bias: Array | None = None) -> tuple[Array, ...]:
        total = _matmul(a, b, a_zero_point, b_zero_point)
        y = total.astype(a_scale.dtype) * (a_scale.reshape(()) * _columns(b_scale))
        return (y if bias is None else y + bias,)


def _check_bias(op_type: str, scale: Operand, b: Operand, bias: Operand | None) -> None:
    if bias is None:
        return
    if b.type.rank < 2 or bias.type.dtype != scale.type.dtype or bias.type.shape != b.type.shape[-1:]:
        raise OpError(f"{op_type}: the bias {bias.type} must hold one {scale.type.dtype.value} for each column of "
                      f"{b.type}")


@record
class DynamicQuantizeMatMul(Op):
    """com.microsoft DynamicQuantizeMatMul-1: A quantised as DynamicQuantizeLinear does, then MatMulIntegerToFloat."""

    domain = MICROSOFT
    operands = ("A", "B", "b_scale", "b_zero_point?", "bias?")

    def infer(self, a: Operand, b: Operand, b_scale: Operand, b_zero_point: Operand | None = None,
              bias: Operand | None = None) -> tuple[TensorType, ...]:
        check_dtype(self.op_type, "A", a, (DType.F32,))
        levels, scale, zero_point = _DYNAMIC.infer(a)
        return MatMulIntegerToFloat().infer(Operand(levels), b, Operand(scale), b_scale, Operand(zero_point),
                                            b_zero_point, bias)

    def reference(self, a: Array, b: Array, b_scale: Array, b_zero_point: Array | None = None,
                  bias: Array | None = None) -> tuple[Array, ...]:
        levels, scale, zero_point = _DYNAMIC.reference(a)
        return MatMulIntegerToFloat().reference(levels, b, scale, b_scale, zero_point, b_zero_point, bias)


@record
class QGemm(Op):
    """com.microsoft QGemm-1: alpha * a_scale * b_scale * ((A' - a_zero_point) (B' - b_zero_point) + C), quantised by
    y_scale and y_zero_point where these are given.

    A' and B' are A and B or, with transA and transB, their transposes. C (i32) is broadcast to [M, N]. b_scale and
    b_zero_point are one number, or one for each column of B'.
    """

    domain = MICROSOFT
    operands = ("A", "a_scale", "a_zero_point", "B", "b_scale", "b_zero_point", "C?", "y_scale?", "y_zero_point?")

    alpha: float = 1.0
    transA: bool = False
    transB: bool = False
    activation: Activation | None = None

    def check(self) -> None:
        check_clip("QGemm", self.activation)

    def infer(self, a: Operand, a_scale: Operand, a_zero_point: Operand, b: Operand, b_scale: Operand,
              b_zero_point: Operand, c: Operand | None = None, y_scale: Operand | None = None,
              y_zero_point: Operand | None = None) -> tuple[TensorType, ...]:
        if a.type.rank != 2 or b.type.rank != 2:
            raise OpError(f"QGemm: A and B must be matrices, not {a.type} and {b.type}")
        left, right = (Operand(TensorType(t.type.dtype, t.type.shape[::-1] if flip else t.type.shape))
                       for t, flip in ((a, self.transA), (b, self.transB)))
        shape = _product_shape("QGemm", left, right)
        for name, operand in (("a_scale", a_scale), ("a_zero_point", a_zero_point), ("y_scale", y_scale),
                              ("y_zero_point", y_zero_point)):
            check_parameter("QGemm", name, operand)
        _check_along("QGemm", "b_scale", b_scale, right, -1)
        _check_along("QGemm", "b_zero_point", b_zero_point, right, -1)
        check_scales("QGemm", a_scale, b_scale, y_scale)
        check_zero_points("QGemm", (a, a_zero_point), (b, b_zero_point))
        if c is not None and (c.type.dtype is not DType.I32 or c.type.rank > 2
                              or broadcast_shapes("QGemm", (shape, c.type.shape)) != shape):
            raise OpError(f"QGemm: C {c.type} must be i32 that broadcasts to [{shape[0]},{shape[1]}]")
        if (y_scale is None) != (y_zero_point is None):
            raise OpError("QGemm: y_scale and y_zero_point go together; give both or none")
        if y_zero_point is None:
            return (TensorType(a_scale.type.dtype, shape),)
        check_dtype("QGemm", "y_zero_point", y_zero_point, BYTES)
        return (TensorType(y_zero_point.type.dtype, shape),)

    def reference(self, a: Array, a_scale: Array, a_zero_point: Array, b: Array, b_scale: Array, b_zero_point: Array,
                  c: Array | None = None, y_scale: Array | None = None,
                  y_zero_point: Array | None = None) -> tuple[Array, ...]:
        left, right = a.T if self.transA else a, b.T if self.transB else b
        total = _matmul(left, right, a_zero_point.reshape(()), b_zero_point)
        if c is not None:
            total = to_i32(total.astype(np.int64) + c)
        scale = a_scale.dtype.type(self.alpha) * a_scale.reshape(()) * _columns(b_scale)
        if y_scale is None or y_zero_point is None:
            y = total.astype(scale.dtype) * scale
            return (y if self.activation is None else self.activation.apply(y),)
        y_scale = y_scale.reshape(())
        return (requantized(total, scale / y_scale, y_zero_point.reshape(()), y_zero_point.dtype, self.activation,
                            y_scale),)


MATRIX_PRODUCTS = (MatMulInteger, QLinearMatMul, MatMulIntegerToFloat, DynamicQuantizeMatMul, QGemm)
