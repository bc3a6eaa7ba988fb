"""Scaling and shifting the channels of what an operator with weights (the table below) computes, through these.

All of them compute Y[n, c, ...] = (something linear in their weights for channel c) + bias[c], so that
Y * scale[c] + shift[c] is the same operator with other weights. These are computed in float64 and rounded once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from ..ir import Graph, Node, Op, Value
from .matching import channel_vector, constant_of, is_private, renew_constant

__all__ = ["fold_affine"]

Array = np.ndarray[Any, Any]
# The operator to use instead, and its new constants by operand: of their own type, or float64.
Weights = tuple[Op, dict[int, Array]]


def fold_affine(graph: Graph, node: Node, source: Value, scale: Array, shift: Array) -> bool:
    """Replaces `node`, which computes source * scale[c] + shift[c], by source's producer with other weights.

    `scale` and `shift` are float64 [C]. Returns False, with nothing changed, where source's producer is not such an
    operator with constant weights, where somebody else sees source, and where a weight would overflow.
    """
    anchor = source.producer
    if (anchor is None or anchor.op.op_type not in _FOLDS or len(anchor.outputs) != 1 or len(node.outputs) != 1
            or node.output.type != source.type or not is_private(graph, source)):
        return False
    if any(getattr(n.op, "activation", None) is not None for n in (anchor, node)):  # not linear in the weights
        return False
    with np.errstate(all="ignore"):
        folded = _FOLDS[anchor.op.op_type](anchor, scale, shift)
        if folded is None:
            return False
        op, weights = folded
        rounded = {i: array.astype(_dtype(anchor, i), copy=False) for i, array in weights.items()}
    if not all(np.isfinite(array).all() for array in rounded.values()):
        return False
    inputs = list(anchor.inputs) + [None] * (max(weights) + 1 - len(anchor.inputs))
    for i, array in rounded.items():
        old = inputs[i]
        inputs[i] = (renew_constant(graph, old, array) if old is not None
                     else graph.add_constant(array, f"{anchor.name or anchor.output.name}.bias"))
    graph.replace_node(node, op, inputs, name=anchor.name)
    graph.remove_node(anchor)
    return True


def _conv(node: Node, scale: Array, shift: Array) -> Weights | None:
    """W [OC, C/group, *kernel] is scaled along its first axis."""
    w, b, r = _operands(node, 1, 2, 3)
    weights, bias = constant_of(w), _bias(b, len(scale))
    if weights is None or bias is None or r is not None:
        return None
    along = scale.reshape(-1, *(1,) * (weights.ndim - 1))
    return node.op, {1: _scaled(weights, along), 2: bias * scale + shift}


def _conv_transpose(node: Node, scale: Array, shift: Array) -> Weights | None:
    """W [C, OC/group, *kernel]: group g of the C has the output channels from g * OC/group on."""
    op: Any = node.op
    w, b = _operands(node, 1, 2)
    weights, bias = constant_of(w), _bias(b, len(scale))
    if weights is None or bias is None:
        return None
    channels, *rest = weights.shape
    grouped = weights.reshape(op.group, channels // op.group, *rest)
    along = scale.reshape(op.group, 1, -1, *(1,) * (weights.ndim - 2))
    return op, {1: _scaled(grouped, along).reshape(weights.shape), 2: bias * scale + shift}


def _gemm(node: Node, scale: Array, shift: Array) -> Weights | None:
    """Y = alpha * A B + beta * C, with the columns of B scaled; alpha and beta move into B and C."""
    op: Any = node.op
    b, c = _operands(node, 1, 2)
    weights = constant_of(b)
    if weights is None:
        return None
    bias: Array | None = np.zeros(len(scale))
    if c is not None:
        contents = constant_of(c)
        bias = None if contents is None else channel_vector(contents, node.output.type)
    if bias is None:
        return None
    along = op.alpha * (scale[:, None] if op.transB else scale[None, :])
    return dataclasses.replace(op, alpha=1.0, beta=1.0), {1: _scaled(weights, along), 2: op.beta * bias * scale + shift}


def _batch_norm(node: Node, scale: Array, shift: Array) -> Weights | None:
    """Y = (X - mean) / sqrt(var + epsilon) * gamma + B, with gamma and B scaled."""
    gamma, bias = (constant_of(v) for v in _operands(node, 1, 2))
    if gamma is None or bias is None:
        return None
    return node.op, {1: gamma * scale, 2: bias * scale + shift}


_FOLDS: dict[str, Callable[[Node, Array, Array], Weights | None]] = {
    "BatchNormalization": _batch_norm,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
}


def _scaled(weights: Array, along: Array) -> Array:
    """The products, in the weights' type; NumPy computes them piece by piece, so that no array of float64 is made."""
    return np.multiply(weights, along, out=np.empty_like(weights), dtype=np.float64, casting="same_kind")


def _operands(node: Node, *indices: int) -> list[Value | None]:
    return [node.inputs[i] if i < len(node.inputs) else None for i in indices]


def _dtype(node: Node, index: int) -> np.dtype[Any]:
    """The element type of the operand, which for an absent one is that of the output."""
    value = _operands(node, index)[0]
    return (node.output if value is None else value).type.dtype.numpy


def _bias(value: Value | None, channels: int) -> Array | None:
    """The contents of an optional bias, zeros where it is absent, None where it is not constant."""
    return np.zeros(channels) if value is None else constant_of(value)
