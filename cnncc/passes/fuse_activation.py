"""fuse_activation: an activation is applied where its operand is computed."""

from __future__ import annotations

import dataclasses

from ..ir import Graph
from .matching import activation_of, is_private

__all__ = ["fuse_activation"]


def fuse_activation(graph: Graph) -> bool:
    """An activation of what a Conv, Gemm or other operator with a field `activation` computes becomes that field.

        %0 = Conv(%x, %w)
        %1 = Relu(%0)
    becomes
        %1 = Conv(%x, %w) {activation=relu}

    Not where %0 is read twice or is an output, nor where it has an activation already.
    """
    changed = False
    for node in graph.nodes:
        activation = activation_of(node)
        if activation is None or node.inputs[0] is None:
            continue
        anchor = node.inputs[0].producer
        if (anchor is None or getattr(anchor.op, "activation", activation) is not None
                or len(anchor.outputs) != 1 or not is_private(graph, anchor.output)):
            continue
        op = dataclasses.replace(anchor.op, activation=activation)  # type: ignore[call-arg]  # it has that field
        graph.replace_node(node, op, anchor.inputs, name=anchor.name)
        graph.remove_node(anchor)
        changed = True
    return changed
