"""eliminate_dead_nodes: what nobody reads is not computed."""

from __future__ import annotations

from ..ir import Graph, Node

__all__ = ["eliminate_dead_nodes"]


def eliminate_dead_nodes(graph: Graph) -> bool:
    """Removes nodes whose outputs nobody reads, trailing outputs nobody reads, and unused constants.

        %0 = Relu(%x)                         %1, %mask = Dropout(%x)
        %1 = Sigmoid(%x)
        return %1                             return %1
    becomes
        %1 = Sigmoid(%x)                      %1 = Dropout(%x)
        return %1                             return %1
    """
    changed = False
    outputs = set(graph.outputs)
    for node in reversed(graph.nodes):
        used = max((i + 1 for i, v in enumerate(node.outputs) if v.uses or v in outputs), default=0)
        if used == len(node.outputs):
            continue
        if used == 0:
            graph.remove_node(node)
        else:
            _keep_outputs(graph, node, used)
        outputs = set(graph.outputs)
        changed = True
    return graph.drop_unused_constants() or changed


def _keep_outputs(graph: Graph, node: Node, count: int) -> None:
    """The node with its first `count` outputs only; they keep their names."""
    names = [v.name for v in node.outputs]
    new = graph.add_node(node.op, node.inputs, name=node.name, outputs=count, before=node, symbols=node.symbols)
    for was, now in zip(node.outputs, new.outputs, strict=False):
        graph.replace_uses(was, now)
    graph.remove_node(node)
    for value, name in zip(new.outputs, names, strict=False):
        graph.rename(value, name)
