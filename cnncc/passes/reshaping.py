"""Reshapes that passes put in: to shapes that a constant can express, sizes unknown or not."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import OpError
from ..ir import DimLike, DType, Graph, Node, Operand, TensorType, Value
from ..ops.shape import Reshape

__all__ = ["reshape_into", "reshape_operand", "reshaped"]

Array = np.ndarray[Any, Any]


def reshape_operand(x: Value, target: tuple[DimLike, ...]) -> Array | None:
    """Reshape's operand that gives x the shape `target`: sizes, 0 for the size of the same axis, -1 for what is left,
    once. None where that cannot express it."""
    source = x.type.shape
    sizes: list[int] = []
    for axis, size in enumerate(target):
        if isinstance(size, int):
            sizes.append(size)
        else:
            sizes.append(0 if axis < len(source) and source[axis] == size else -1)
    # A size of 0 cannot be told from the 0 that copies a size.
    if 0 in target or sizes.count(-1) > 1:
        return None
    operand = np.array(sizes, np.int64)
    try:
        types = Reshape().infer(x.operand, Operand(TensorType(DType.I64, operand.shape), operand))
    except OpError:
        return None
    return operand if types == (TensorType(x.type.dtype, target),) else None


def reshaped(graph: Graph, before: Node, x: Value, shape: tuple[DimLike, ...], name: str) -> Value | None:
    """x in another shape, computed before a node; None where a constant cannot express it."""
    if x.type.shape == shape:
        return x
    operand = reshape_operand(x, shape)
    if operand is None:
        return None
    constant = graph.add_constant(operand, f"{name}.shape")
    return graph.add_node(Reshape(), [x, constant], name=name, before=before).output


def reshape_into(graph: Graph, node: Node, x: Value) -> Node | None:
    """Replaces the node by a Reshape of x to its own type, if a constant can express the shape."""
    operand = reshape_operand(x, node.output.type.shape)
    if operand is None or x.type.dtype != node.output.type.dtype:
        return None
    return graph.replace_node(node, Reshape(), [x, graph.add_constant(operand, f"{node.output.name}.shape")])
