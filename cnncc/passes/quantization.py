"""Questions that the passes about quantised tensors ask."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ir import DType, Graph, Node, Value
from ..ops.quantize import DequantizeLinear, QuantizeLinear
from ..records import record
from .matching import is_private

__all__ = ["Quantized", "constant_array", "dequantized", "next_node", "quantizer", "same_parameters", "zero_point"]

Array = np.ndarray[Any, Any]


@record
class Quantized:
    """What a value is the dequantised form of: integers, their scale and zero point. `axis` is that along which scale
    and zero point are given where there is more than one."""

    x: Value
    scale: Value
    zero: Value | None
    axis: int | None
    node: Node


def dequantized(value: Value | None) -> Quantized | None:
    """The integers of which DequantizeLinear computes the value in f32, with constant positive finite scales."""
    node = None if value is None else value.producer
    if node is None or not isinstance(node.op, DequantizeLinear) or node.op.block_size:
        return None
    x, scale, zero = [*node.inputs, None][:3]
    assert x is not None and scale is not None
    numbers = scale.constant
    if node.output.type.dtype is not DType.F32 or not _usable(numbers) or (zero is not None and zero.constant is None):
        return None
    single = scale.type.shape in ((), (1,))
    return Quantized(x, scale, zero, None if single else node.op.axis % x.type.rank, node)


def _usable(scale: Array | None) -> bool:
    return scale is not None and bool(np.all(np.isfinite(scale) & (scale > 0)))


def quantizer(node: Node | None) -> Quantized | None:
    """The QuantizeLinear to 8 bits by one constant scale and zero point, of which `x` is the operand."""
    if node is None or not isinstance(node.op, QuantizeLinear) or node.op.block_size or node.op.precision is not None:
        return None
    x, scale, zero = [*node.inputs, None][:3]
    assert x is not None and scale is not None
    if (node.output.type.dtype not in (DType.I8, DType.U8) or x.type.dtype is not DType.F32
            or scale.type.shape not in ((), (1,)) or scale.type.dtype is not DType.F32 or not _usable(scale.constant)
            or (zero is not None and zero.constant is None)):
        return None
    return Quantized(x, scale, zero, None, node)


def next_node(graph: Graph, value: Value) -> Node | None:
    """The node that alone reads the value, as its first operand."""
    if not is_private(graph, value):
        return None
    use = next(iter(value.uses))
    return use.node if use.index == 0 else None


def zero_point(graph: Graph, x: Value, zero: Value | None, name: str) -> Value:
    """The zero point, a constant 0 of x's type where it is absent."""
    return zero if zero is not None else graph.add_constant(np.zeros((), x.type.dtype.numpy), f"{name}.zero")


def constant_array(value: Value | None) -> Array | None:
    """The contents of a constant, or of what a few nodes compute from constants only."""
    if value is None or value.constant is not None or value.producer is None:
        return None if value is None else value.constant
    operands = [None if v is None else constant_array(v) for v in value.producer.inputs]
    if any(v is not None and o is None for v, o in zip(value.producer.inputs, operands, strict=True)):
        return None
    return np.asarray(value.producer.op.reference(*operands)[value.index])


def same_parameters(a: tuple[Value | None, Value | None], b: tuple[Value | None, Value | None]) -> bool:
    """Whether two pairs of scale and zero point are the same constants, an absent zero point being 0."""
    return all(_same(left, right) for left, right in zip(a, b, strict=True))


def _same(a: Value | None, b: Value | None) -> bool:
    if a is b:
        return True
    x, y = (np.zeros(1) if v is None else v.constant for v in (a, b))
    return x is not None and y is not None and np.array_equal(x.reshape(-1), y.reshape(-1))
