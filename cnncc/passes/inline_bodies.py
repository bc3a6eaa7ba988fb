"""inline_bodies: a body that runs a known number of times becomes nodes of the graph around it."""

from __future__ import annotations

import numpy as np

from ..ir import Graph, Node, Value
from ..ir.inline import inline_graph
from ..ops.concat import Concat
from ..ops.control import If, Loop, Scan, trip_count
from ..ops.gather import Gather
from ..ops.shape import Unsqueeze

__all__ = ["UNROLLED_NODES", "inline_bodies"]

# Nodes that the bodies of one Loop or Scan may become.
UNROLLED_NODES = 128


def inline_bodies(graph: Graph) -> bool:
    """An If whose condition is known becomes its branch, a Loop or Scan that runs a few times its body as often.

        %y = If(%true, %x)                              %y = Relu(%x)
          then_branch = graph @a(%v: ...) {
            %0 = Relu(%v)                     becomes
            return %0
          }
          else_branch = ...

    What a loop stacks is concatenated, and the elements of a sequence are gathered. Not where the nodes would be more
    than UNROLLED_NODES, nor where nothing would be stacked.
    """
    changed = False
    for node in graph.nodes:
        results = _results(graph, node)
        if results is not None:
            for old, new in zip(node.outputs, results, strict=False):
                graph.replace_uses(old, new)
            graph.remove_node(node)
            changed = True
    if changed:
        graph.reinfer()
    return changed


def _results(graph: Graph, node: Node) -> list[Value] | None:
    """What takes the place of the node's outputs; None where it stays."""
    if isinstance(node.op, If):
        cond = node.inputs[0]
        known = None if cond is None else cond.operand.value
        if known is None:
            return None
        body: Graph = node.op.then_branch if known.item() else node.op.else_branch
        return inline_graph(graph, body, _present(node.inputs[1:]), before=node, prefix=f"{node.name}.")
    if isinstance(node.op, Loop):
        m, holds = (*(None if v is None else v.operand for v in node.inputs[:2]), None, None)[:2]
        count = trip_count(node.op, m, holds)
        return _loop(graph, node, node.op, count) if isinstance(count, int) and _is_small(count, node.op.body) else None
    if isinstance(node.op, Scan):
        first = _present(node.inputs)[node.op.states]
        axis = node.op.scan_input_axes[0] if node.op.scan_input_axes else 0
        count = first.type.shape[axis]
        return _scan(graph, node, node.op, count) if isinstance(count, int) and _is_small(count, node.op.body) else None
    return None


def _is_small(count: int, body: Graph) -> bool:
    return count > 0 and count * _size(body) <= UNROLLED_NODES


def _size(body: Graph) -> int:
    return 1 + len(body) + sum(_size(inner) for inner in body.bodies())


def _present(values: tuple[Value | None, ...]) -> list[Value]:
    return [v for v in values if v is not None]


def _loop(graph: Graph, node: Node, op: Loop, count: int) -> list[Value]:
    rest = _present(node.inputs[2:])
    values, captures, stacks = rest[:op.carried], rest[op.carried:], []
    step, flag = (v.type for v in op.body.inputs[:2])
    holds = graph.add_constant(np.full((1,) * flag.rank, True), f"{node.name}.holds")
    for number in range(count):
        now = graph.add_constant(np.full((1,) * step.rank, number, np.int64), f"{node.name}.{number}.number")
        found = inline_graph(graph, op.body, [now, holds, *values, *captures], before=node,
                             prefix=f"{node.name}.{number}.")
        values = found[1:1 + op.carried]
        stacks.append(found[1 + op.carried:])
    return [*values, *(_stack(graph, node, list(parts), 0) for parts in zip(*stacks, strict=True))]


def _scan(graph: Graph, node: Node, op: Scan, count: int) -> list[Value]:
    operands = _present(node.inputs)
    ends = op.states + op.num_scan_inputs
    values, sequences, captures = operands[:op.states], operands[op.states:ends], operands[ends:]
    axes = op.input_axes([s.type.rank for s in sequences])
    stacks = []
    for number in range(count):
        elements = []
        for sequence, axis, back in zip(sequences, axes, op.scan_input_directions or [0] * len(axes), strict=True):
            at = graph.add_constant(np.array(count - 1 - number if back else number), f"{node.name}.{number}.at")
            elements.append(graph.add_node(Gather(axis=axis), [sequence, at], name=f"{node.name}.{number}.element",
                                           before=node).output)
        found = inline_graph(graph, op.body, [*values, *elements, *captures], before=node,
                             prefix=f"{node.name}.{number}.")
        values = found[:op.states]
        stacks.append(found[op.states:])
    results = [list(parts) for parts in zip(*stacks, strict=True)]
    places = op.output_axes([parts[0].type.rank for parts in results])
    backwards = op.scan_output_directions or [0] * len(results)
    return [*values, *(_stack(graph, node, parts[::-1] if back else parts, axis)
                       for parts, axis, back in zip(results, places, backwards, strict=True))]


def _stack(graph: Graph, node: Node, parts: list[Value], axis: int) -> Value:
    axes = graph.add_constant(np.array([axis]), f"{node.name}.axes")
    rows = [graph.add_node(Unsqueeze(), [part, axes], name=f"{node.name}.row", before=node).output for part in parts]
    if len(rows) == 1:
        return rows[0]
    return graph.add_node(Concat(axis=axis), rows, name=f"{node.name}.stack", before=node).output
