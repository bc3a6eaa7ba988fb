"""Questions that several passes ask about a graph, and the replacing of weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ir import Activation, Graph, Node, TensorType, Value
from ..ops.activation import ActivationOp

__all__ = [
    "activation_of", "channel_vector", "constant_of", "is_private", "known_ints", "number_of", "operands_of",
    "renew_constant", "replace_value",
]

Array = np.ndarray[Any, Any]


def activation_of(node: Node | None) -> Activation | None:
    """The activation that the node applies to its first input, if it does that and nothing else."""
    if node is None or not isinstance(node.op, ActivationOp):
        return None
    return node.op.as_activation(*(None if v is None else v.operand for v in node.inputs))


def constant_of(value: Value | None) -> Array | None:
    """The contents of a constant; None for anything else."""
    return None if value is None else value.constant


def known_ints(value: Value | None) -> tuple[int, ...] | None:
    """The contents, flat, of a small integer tensor that is known in full; None where a part of it is symbolic."""
    contents = None if value is None else value.known
    if contents is None or contents.dtype == object:
        return None
    return tuple(int(i) for i in contents.flat)


def number_of(value: Value | None) -> float | None:
    """The one element of a constant, whatever its rank; None for anything else."""
    contents = constant_of(value)
    return float(contents.item()) if contents is not None and contents.size == 1 else None


def operands_of(value: Value | None, op_type: str) -> tuple[Value, Value] | None:
    """The operands of the binary operator `op_type` that computes the value; None where another does."""
    node = None if value is None else value.producer
    if node is None or node.op.op_type != op_type or len(node.inputs) != 2:
        return None
    a, b = node.inputs
    return None if a is None or b is None else (a, b)


def is_private(graph: Graph, value: Value) -> bool:
    """Whether exactly one operand reads the value and the user does not see it, so that it may be merged away."""
    return len(value.uses) == 1 and not graph.is_output(value)


def channel_vector(constant: Array, type_: TensorType) -> Array | None:
    """`constant` as float64 [C], if adding it to a tensor [N, C, ...] of `type_` adds one number a channel.

    None where it varies along another axis or would change the shape.
    """
    channels = type_.shape[1] if type_.rank >= 2 else None
    if not isinstance(channels, int) or constant.ndim > type_.rank:
        return None
    shape = (1,) * (type_.rank - constant.ndim) + constant.shape
    if shape[1] not in (1, channels) or any(d != 1 for axis, d in enumerate(shape) if axis != 1):
        return None
    return np.broadcast_to(constant.astype(np.float64).reshape(-1), (channels,))


def renew_constant(graph: Graph, old: Value, contents: Array) -> Value:
    """A constant for the one node that now reads `old` instead of it; it takes the name over if that node is the only
    reader, for it stands for the same weights. The old one is left for `drop_unused_constants`."""
    name = old.name
    if is_private(graph, old):
        graph.rename(old, f"{name}.before")
    return graph.add_constant(contents, name)


def replace_value(graph: Graph, node: Node, new: Value) -> None:
    """Every reader of the node's first output reads `new` instead, and the node is removed; none of its other outputs
    may be read."""
    graph.replace_uses(node.output, new)
    graph.remove_node(node)
