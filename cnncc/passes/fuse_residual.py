"""fuse_residual: a convolution adds the residual branch before it stores its result."""

from __future__ import annotations

from ..ir import Graph, Node, Value
from ..ops.conv import Conv
from .matching import is_private

__all__ = ["fuse_residual"]

_R = 3  # Conv's operand


def fuse_residual(graph: Graph) -> bool:
    """An Add of a convolution's result and another value of the same type becomes the convolution's operand R.

        %0 = Conv(%x, %w, %b)
        %1 = Add(%0, %y)
    becomes
        %1 = Conv(%x, %w, %b, %y)

    The new Conv stands at the Add's place, where both operands are computed, so no cycle can arise. Of two
    convolutions the later one takes the other's result. Not where %0 is read twice or is an output, nor where the
    Conv has an activation or a residual already, nor where the Add broadcasts.
    """
    changed = False
    position = {node: i for i, node in enumerate(graph.walk())}
    for node in graph.nodes:
        if node.op.op_type != "Add":
            continue
        a, b = node.inputs
        assert a is not None and b is not None
        sides = [(conv, residual) for value, residual in ((a, b), (b, a))
                 if (conv := _open_conv(graph, value)) is not None and residual.type == value.type == node.output.type]
        if sides:
            conv, residual = max(sides, key=lambda side: position[side[0]])
            inputs = [*conv.inputs, None, None][:_R]
            new = graph.replace_node(node, conv.op, [*inputs, residual], name=conv.name)
            graph.remove_node(conv)
            position[new] = position[node]
            changed = True
    return changed


def _open_conv(graph: Graph, value: Value) -> Node | None:
    """The Conv that computes `value` for one reader, if it can still take a residual."""
    node = value.producer
    if (node is not None and isinstance(node.op, Conv) and node.op.activation is None
            and all(v is None for v in node.inputs[_R:]) and is_private(graph, value)):
        return node
    return None
