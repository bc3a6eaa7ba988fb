"""Putting the nodes of one graph into another."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from .graph import Graph, Node, Value
from .op import Op

__all__ = ["copy_graph", "inline_graph"]


def inline_graph(graph: Graph, body: Graph, arguments: Sequence[Value], *, before: Node | None = None,
                 prefix: str = "") -> list[Value]:
    """Adds a copy of each of the body's nodes to `graph`, with `arguments` for its inputs; the values that are its
    outputs there. Types are inferred anew. Names are those of the body behind `prefix`, made unique."""
    values: dict[Value, Value] = dict(zip(body.inputs, arguments, strict=True))

    def value_of(value: Value) -> Value:
        if value not in values:
            assert value.constant is not None
            values[value] = graph.add_constant(value.constant, prefix + value.name)
        return values[value]

    for node in body.walk():
        inputs = [None if v is None else value_of(v) for v in node.inputs]
        copy = graph.add_node(_copied(node.op), inputs, name=node.name and prefix + node.name,
                              outputs=[prefix + v.name for v in node.outputs], before=before)
        values.update(zip(node.outputs, copy.outputs, strict=True))
    return [value_of(v) for v in body.outputs]


def copy_graph(graph: Graph) -> Graph:
    """A graph of its own with equal nodes; constants are shared."""
    copy = Graph(graph.name)
    inputs = [copy.add_input(v.name, v.type) for v in graph.inputs]
    copy.set_outputs(inline_graph(copy, graph, inputs), graph.output_names)
    return copy


def _copied(op: Op) -> Op:
    """The operator with bodies of its own."""
    return dataclasses.replace(op, **{name: copy_graph(body) for name, body in op.bodies.items()}) if op.bodies else op
