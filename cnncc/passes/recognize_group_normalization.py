"""recognize_group_normalization: GroupNormalization that is written as an InstanceNormalization between Reshapes."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ir import Graph, Node, Value
from ..ops.normalization import GroupNormalization, InstanceNormalization
from .eliminate_dead_nodes import eliminate_dead_nodes
from .matching import channel_vector, constant_of, is_private

__all__ = ["recognize_group_normalization"]

Array = np.ndarray[Any, Any]


def recognize_group_normalization(graph: Graph) -> bool:
    """The groups are made channels for InstanceNormalization, and scale and bias follow.

        %0 = Reshape(%x, const [0,groups,-1])                 %x: [N,C,H,W]
        %1 = InstanceNormalization(%0, %scale, %bias)
        %2 = Reshape(%1, shape of %x)
        %3 = Mul(%2, %gamma)                                  %gamma, %beta: constants, one number a channel
        %y = Add(%3, %beta)
    becomes
        %y = GroupNormalization(%x, %gamma', %beta') {num_groups=groups}

    where %scale and %bias, one number a group, are part of %gamma' and %beta'. The product and the sum may be absent.
    Not where values in between are read by others, or where channels or groups are not fixed.
    """
    changed = False
    for node in graph.nodes:
        if not isinstance(node.op, InstanceNormalization):
            continue
        found = _found(graph, node)
        if found is None:
            continue
        last, x, groups, scale, bias = found
        parameters: list[Value | None] = [x]
        for vector, name in ((scale, "scale"), (bias, "bias")):
            parameters.append(graph.add_constant(vector.astype(x.type.dtype.numpy), f"{last.output.name}.{name}"))
        graph.replace_node(last, GroupNormalization(num_groups=groups, epsilon=node.op.epsilon), parameters)
        changed = True
    if changed:
        eliminate_dead_nodes(graph)
    return changed


def _found(graph: Graph, node: Node) -> tuple[Node, Value, int, Array, Array] | None:
    """(the last node, x, groups, scale [C], bias [C])."""
    grouped, *parameters = node.inputs
    scale, bias = (constant_of(v) for v in parameters)
    before = None if grouped is None else grouped.producer
    after = _reader(graph, node)
    if grouped is None or before is None or after is None or scale is None or bias is None:
        return None
    x = before.inputs[0]
    if not before.op.alias or not after.op.alias or x is None or after.output.type != x.type or x.type.rank < 3:
        return None
    channels, groups = x.type.shape[1], grouped.type.shape[1]
    if not isinstance(channels, int) or not isinstance(groups, int) or channels % groups \
            or grouped.type.shape[0] != x.type.shape[0]:
        return None
    factor, shift = (np.repeat(v.astype(np.float64), channels // groups) for v in (scale, bias))
    last = after
    for kind in ("Mul", "Add"):
        following = _reader(graph, last)
        vector = None if following is None or following.op.op_type != kind else _other(following, last)
        if following is None or vector is None or following.output.type != x.type:
            continue
        factor, shift = (factor * vector, shift * vector) if kind == "Mul" else (factor, shift + vector)
        last = following
    return last, x, groups, factor, shift


def _reader(graph: Graph, node: Node) -> Node | None:
    """The one node that reads the output."""
    return next(iter(node.output.uses)).node if is_private(graph, node.output) else None


def _other(node: Node, source: Node) -> Array | None:
    """The other operand of a Mul or Add, as one number a channel."""
    other = next((v for v in node.inputs if v is not source.output), None)
    contents = constant_of(other)
    return None if contents is None else channel_vector(contents, node.output.type)
