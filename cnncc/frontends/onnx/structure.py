"""What holds of a model's names before any operator is looked at: each defined once, before it is read, no cycle."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence

import onnx

from ...errors import ModelError

__all__ = ["describe", "graphs_of", "names_read", "ordered_nodes"]

_SHOWN = 8


def describe(node: onnx.NodeProto) -> str:
    """The name of a node in errors; an unnamed one is called after its first output."""
    return f"'{node_name(node)}' ({node.op_type})"


def node_name(node: onnx.NodeProto) -> str:
    return node.name or next((name for name in node.output if name), "")


def graphs_of(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    """The graphs that a node's attributes hold."""
    return [g for a in node.attribute for g in ([a.g] if a.type == onnx.AttributeProto.GRAPH else a.graphs)]


def names_read(node: onnx.NodeProto) -> list[str]:
    """What a node reads of the graph it stands in: its inputs, and what its bodies read of what is around them."""
    return [*(name for name in node.input if name), *(name for body in graphs_of(node) for name in _captured(body))]


def _captured(body: onnx.GraphProto) -> list[str]:
    own = {v.name for v in body.input} | {t.name for t in body.initializer}
    own |= {t.values.name for t in body.sparse_initializer} | {name for node in body.node for name in node.output}
    read = [*(name for node in body.node for name in names_read(node)), *(v.name for v in body.output)]
    return list(dict.fromkeys(name for name in read if name not in own))


def ordered_nodes(graph: onnx.GraphProto, nodes: list[onnx.NodeProto],
                  around: Container[str] = ()) -> list[onnx.NodeProto]:
    """The `nodes` of a graph in topological order, as they stand where that is one already. `around` are the names that
    a body sees of the graphs around it.

    Raises ModelError naming values that are defined twice, read but not defined, or in a cycle.
    """
    producer = _producers(graph, nodes)
    defined = {v.name for v in graph.input} | {t.name for t in graph.initializer}
    defined |= {t.values.name for t in graph.sparse_initializer}
    missing = [f"'{name}' of {describe(node)}" for node in nodes for name in names_read(node)
               if name not in defined and name not in producer and name not in around]
    missing += [f"'{v.name}', an output of the model" for v in graph.output
                if v.name not in defined and v.name not in producer and v.name not in around]
    if missing:
        raise ModelError(f"the model reads values that nothing defines: {_some(missing)}; export it again")
    return _sort(nodes, producer)


def _producers(graph: onnx.GraphProto, nodes: Sequence[onnx.NodeProto]) -> dict[str, int]:
    """Output name -> position of its node."""
    inputs = [v.name for v in graph.input]
    weights = [*(t.name for t in graph.initializer), *(t.values.name for t in graph.sparse_initializer)]
    outputs = [name for node in nodes for name in node.output if name]
    # An initialiser may be listed as an input too: that is how older models mark weights.
    for names in (inputs, weights, [*outputs, *dict.fromkeys((*inputs, *weights))], [v.name for v in graph.output]):
        twice = _repeated(names)
        if twice:
            raise ModelError(f"the model defines {_some(map(repr, twice))} more than once; export it again")
    if "" in inputs or "" in weights:
        raise ModelError("the model has an input or an initialiser without a name; export it again")
    return {name: i for i, node in enumerate(nodes) for name in node.output if name}


def _sort(nodes: list[onnx.NodeProto], producer: dict[str, int]) -> list[onnx.NodeProto]:
    """Depth first from each node in turn, so that an order that is topological already stays."""

    def needs(i: int) -> Iterator[int]:
        return (producer[name] for name in names_read(nodes[i]) if name in producer)

    new, on_path, done = range(3)
    state = [new] * len(nodes)
    order: list[onnx.NodeProto] = []
    for start in range(len(nodes)):
        path = [(start, needs(start))] if state[start] == new else []
        while path:
            at, pending = path[-1]
            state[at] = on_path
            need = next((i for i in pending if state[i] != done), None)
            if need is None:
                path.pop()
                state[at] = done
                order.append(nodes[at])
            elif state[need] == on_path:
                positions = [i for i, _ in path]
                cycle = [describe(nodes[i]) for i in positions[positions.index(need):]]
                raise ModelError(f"the model has a cycle through {_some(cycle)}; a network must be acyclic")
            else:
                path.append((need, needs(need)))
    return order


def _repeated(names: Iterable[str]) -> list[str]:
    seen: set[str] = set()
    return list(dict.fromkeys(n for n in names if n in seen or seen.add(n)))  # type: ignore[func-returns-value]


def _some(items: Iterable[str]) -> str:
    """The first few of a list that may be long."""
    listed = list(items)
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return ", ".join(listed[:_SHOWN]) + more
