"""fuse_residual: a convolution or a matrix product adds the residual branch before it stores its result."""

from __future__ import annotations

from ..ir import Graph, Node, Value
from ..ops.conv import Conv
from ..ops.gemm import Gemm, MatMul
from .matching import is_private

__all__ = ["fuse_residual"]

_R = 3  # the operand, of all of these
_ANCHORS = (Conv, Gemm, MatMul)


def fuse_residual(graph: Graph) -> bool:
    """An Add of a Conv's, Gemm's or MatMul's result and another value of the same type becomes its operand R.

        %0 = Conv(%x, %w, %b)
        %1 = Add(%0, %y)
    becomes
        %1 = Conv(%x, %w, %b, %y)

    The new Conv stands at the Add's place, where both operands are computed, so no cycle can arise. Of two such
    operators the later one takes the other's result. Not where %0 is read twice or is an output, nor where the
    Conv has an activation or a residual already, nor where the Add broadcasts.
    """
    changed = False
    position = {node: i for i, node in enumerate(graph.walk())}
    for node in graph.nodes:
        if node.op.op_type != "Add":
            continue
        a, b = node.inputs
        assert a is not None and b is not None
        sides = [(anchor, residual) for value, residual in ((a, b), (b, a))
                 if residual.type == value.type == node.output.type
                 and (anchor := _open_anchor(graph, value)) is not None]
        if sides:
            anchor, residual = max(sides, key=lambda side: position[side[0]])
            inputs = [*anchor.inputs, None, None][:_R]
            new = graph.replace_node(node, anchor.op, [*inputs, residual], name=anchor.name)
            graph.remove_node(anchor)
            position[new] = position[node]
            changed = True
    return changed


def _open_anchor(graph: Graph, value: Value) -> Node | None:
    """The operator that computes `value` for one reader, if it can still take a residual."""
    node = value.producer
    if (node is not None and isinstance(node.op, _ANCHORS) and node.op.activation is None
            and value.type.dtype.is_float and all(v is None for v in node.inputs[_R:]) and is_private(graph, value)):
        return node
    return None
