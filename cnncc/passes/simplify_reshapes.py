"""simplify_reshapes: chains of Reshape and Transpose become one, or none."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import OpError
from ..ir import DimLike, DType, Graph, Node, Operand, TensorType, Value
from ..ops.shape import Reshape, Transpose
from .matching import replace_value

__all__ = ["simplify_reshapes"]

Array = np.ndarray[Any, Any]


def simplify_reshapes(graph: Graph) -> bool:
    """Reshape, Flatten, Squeeze and Unsqueeze keep the order of elements: of a chain only the last shape matters.

        %0 = Unsqueeze(%x, %axes)             %0 = Transpose(%x) {perm=[0,2,3,1]}
        %1 = Reshape(%0, %shape)              %1 = Transpose(%0) {perm=[0,3,1,2]}
        %2 = Relu(%1)                         %2 = Relu(%1)
    becomes
        %1 = Reshape(%x, const [...])         %2 = Relu(%x)
        %2 = Relu(%1)

    A Transpose that only moves axes of size 1 becomes a Reshape, too. A Reshape to a shape that is computed from other
    shapes gets a constant one where 0 (the size in the same place) and one -1 (what is left) can express it.
    """
    changed = False
    for node in graph.nodes:
        if isinstance(node.op, Transpose):
            changed |= _simplify_transpose(graph, node)
        elif node.op.alias and len(node.outputs) == 1:
            changed |= _simplify_reshape(graph, node)
    if changed:
        graph.drop_unused_constants()
    return changed


def _simplify_reshape(graph: Graph, node: Node) -> bool:
    source = node.inputs[0]
    assert source is not None
    merged = False
    while (before := _unchanged_by(source)) is not None:
        source, merged = before, True
    if merged and source.type == node.output.type:
        replace_value(graph, node, source)
        return True
    computed = any(v is not None and not v.is_constant for v in node.inputs[1:])
    return (merged or computed) and _reshape(graph, node, source)


def _unchanged_by(value: Value) -> Value | None:
    """The input whose elements, in order, an operator like Reshape gave `value`; None where another computes it."""
    node = value.producer
    return node.inputs[0] if node is not None and node.op.alias and value.index == 0 else None


def _simplify_transpose(graph: Graph, node: Node) -> bool:
    source = node.inputs[0]
    assert source is not None
    perm, merged = _perm(node), False
    while source.producer is not None and isinstance(source.producer.op, Transpose):
        first = _perm(source.producer)
        perm, merged = tuple(first[p] for p in perm), True
        assert source.producer.inputs[0] is not None
        source = source.producer.inputs[0]
    if perm == tuple(range(len(perm))):
        replace_value(graph, node, source)
        return True
    moved = [p for p in perm if source.type.shape[p] != 1]
    if moved == sorted(moved) and _reshape(graph, node, source):
        return True
    if merged:
        graph.replace_node(node, Transpose(perm), [source])
    return merged


def _perm(node: Node) -> tuple[int, ...]:
    assert isinstance(node.op, Transpose)
    return node.op.permutation(node.output.type.rank)


def _reshape(graph: Graph, node: Node, source: Value) -> bool:
    """Replaces the node by a Reshape of `source` to the same type, if a constant can express its shape."""
    shape = _shape_operand(source.type.shape, node.output.type.shape)
    if shape is None:
        return False
    reshape = Reshape()
    try:
        types = reshape.infer(source.operand, Operand(TensorType(DType.I64, shape.shape), shape))
    except OpError:
        return False
    if types != (node.output.type,):
        return False
    constant = graph.add_constant(shape, f"{node.output.name}.shape")
    graph.replace_node(node, reshape, [source, constant])
    return True


def _shape_operand(source: tuple[DimLike, ...], target: tuple[DimLike, ...]) -> Array | None:
    """Reshape's operand that gives `target`: sizes, 0 for the size of the same axis, -1 for what is left, once."""
    shape: list[int] = []
    for axis, size in enumerate(target):
        if isinstance(size, int):
            shape.append(size)
        else:
            shape.append(0 if axis < len(source) and source[axis] == size else -1)
    # A size of 0 cannot be told from the 0 that copies a size.
    return None if 0 in target or shape.count(-1) > 1 else np.array(shape, np.int64)
