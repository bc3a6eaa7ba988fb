"""simplify_reshapes: chains of Reshape and Transpose become one, or none."""

from __future__ import annotations

from ..ir import Graph, Node, Value
from ..ops.shape import Transpose
from .matching import replace_value
from .reshaping import reshape_into

__all__ = ["simplify_reshapes"]


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
    return (merged or computed) and reshape_into(graph, node, source) is not None


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
    if moved == sorted(moved) and reshape_into(graph, node, source) is not None:
        return True
    if merged:
        graph.replace_node(node, Transpose(perm), [source])
    return merged


def _perm(node: Node) -> tuple[int, ...]:
    assert isinstance(node.op, Transpose)
    return node.op.permutation(node.output.type.rank)
