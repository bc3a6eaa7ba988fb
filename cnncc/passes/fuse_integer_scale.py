"""fuse_integer_scale: integer sums become real numbers before they are stored."""

from __future__ import annotations

import dataclasses

import numpy as np

from ..ir import DType, Graph, Node, Value
from ..ops.cast import Cast
from ..ops.integer_conv import ConvInteger
from ..ops.integer_matmul import MatMulInteger, MatMulIntegerToFloat
from .matching import activation_of, channel_vector, is_private
from .quantization import next_node

__all__ = ["fuse_integer_scale"]


def fuse_integer_scale(graph: Graph) -> bool:
    """Integer sums become real numbers before they are stored.

        %0 = ConvInteger(%x, %w, %xz, %wz)
        %1 = Cast(%0) {to=f32}
        %2 = Mul(%1, %s)                    (%s one number)
        %3 = Add(%2, %b)                    (%b a constant, one number a channel)
        %4 = Relu(%3)
    becomes
        %4 = ConvInteger(%x, %w, %xz, %wz, %s, %b) {activation=relu}

    as far as the chain goes, and MatMulInteger becomes MatMulIntegerToFloat in the same way (without the activation).
    The operations are the same in the same order, so no number changes. Not where a value in between is read elsewhere.
    """
    changed = False
    for node in graph.nodes:
        if isinstance(node.op, ConvInteger) and len(node.inputs) <= 4:
            changed |= _conv(graph, node)
        elif isinstance(node.op, MatMulInteger):
            changed |= _matmul(graph, node)
    return changed


def _other(node: Node, value: Value) -> Value | None:
    """The second operand of a node of two."""
    a, b = node.inputs
    return b if a is value else a


def _reader(graph: Graph, value: Value, op_type: str) -> Node | None:
    """The node of this type that alone reads the value, at either side."""
    if not is_private(graph, value):
        return None
    node = next(iter(value.uses)).node
    return node if node.op.op_type == op_type and len(node.inputs) == 2 and node.output.type == value.type else None


def _scaled(graph: Graph, node: Node) -> tuple[Node, Node, Value] | None:
    """The Cast behind the sums, the Mul behind that, and the scale: one number."""
    cast = next_node(graph, node.output)
    if cast is None or not isinstance(cast.op, Cast) or cast.op.to is not DType.F32:
        return None
    multiply = _reader(graph, cast.output, "Mul")
    scale = None if multiply is None else _other(multiply, cast.output)
    if multiply is None or scale is None or scale.type.shape not in ((), (1,)):
        return None
    return cast, multiply, scale


def _conv(graph: Graph, node: Node) -> bool:
    found = _scaled(graph, node)
    if found is None:
        return False
    cast, last, scale = found
    assert isinstance(node.op, ConvInteger)
    op, gone = node.op, [node, cast]
    inputs: list[Value | None] = [*[*node.inputs, None, None][:4], scale]
    add = _reader(graph, last.output, "Add")
    bias = None if add is None else _other(add, last.output)
    if add is not None and bias is not None and bias.constant is not None:
        vector = channel_vector(bias.constant, add.output.type)
        if vector is not None:
            inputs.append(graph.add_constant(vector.astype(bias.constant.dtype), bias.name))
            gone, last = [*gone, last], add
    following = next_node(graph, last.output)
    activation = activation_of(following)
    if following is not None and activation is not None:
        op, gone, last = dataclasses.replace(op, activation=activation), [*gone, last], following
    graph.replace_node(last, op, inputs, name=node.name)
    for old in reversed(gone):
        graph.remove_node(old)
    return True


def _matmul(graph: Graph, node: Node) -> bool:
    found = _scaled(graph, node)
    b = node.inputs[1]
    assert b is not None
    if found is None or any(v is not None and v.type.shape not in ((), (1,)) for v in node.inputs[2:3]):
        return False
    cast, last, scale = found
    gone = [node, cast]
    a, b, a_zero, b_zero = [*node.inputs, None, None][:4]
    one = graph.add_constant(np.ones((), np.float32), f"{node.name}.one")
    inputs: list[Value | None] = [a, b, scale, one, a_zero, b_zero]
    add = _reader(graph, last.output, "Add")
    bias = None if add is None else _other(add, last.output)
    if add is not None and bias is not None and bias.constant is not None and b is not None and b.type.rank > 1:
        shape = bias.type.static_shape
        if shape and shape[-1] == b.type.shape[-1] and all(d == 1 for d in shape[:-1]):
            inputs.append(graph.add_constant(bias.constant.reshape(-1), bias.name))
            gone, last = [*gone, last], add
    while inputs[-1] is None:
        inputs.pop()
    graph.replace_node(last, MatMulIntegerToFloat(), inputs, name=node.name)
    for old in reversed(gone):
        graph.remove_node(old)
    return True
