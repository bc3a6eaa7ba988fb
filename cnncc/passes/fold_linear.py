"""fold_linear: multiplying and adding constants is part of the matrix product before it."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ir import Graph, Node, Value
from ..ops.gemm import MatMul
from .matching import constant_of, is_private, renew_constant

__all__ = ["fold_linear"]

Array = np.ndarray[Any, Any]


def fold_linear(graph: Graph) -> bool:
    """Mul, Div, Add and Sub of constants, one a column, go into the weights and the bias of the MatMul before.

        %0 = MatMul(%x, %w)                   (%w a constant [K,N])
        %1 = Mul(%0, %s)                      s: [N], [1,1,N] or one number
        %2 = Add(%1, %t)                      t: likewise
    becomes
        %2 = MatMul(%x, %w', %t)              w' = w * s, along the columns

    A sum goes into C where B is computed, too; so does one of what is computed, if it is [N]. Not where %0 is read
    twice or is an output, where the constant varies along another axis or widens the shape, where a weight would not be
    finite, or where the MatMul already has an activation or a residual.
    """
    changed = False
    for node in graph.nodes:
        if node.op.op_type in ("Add", "Sub", "Mul", "Div"):
            changed |= _fold(graph, node)
    if changed:
        graph.drop_unused_constants()
    return changed


def _fold(graph: Graph, node: Node) -> bool:
    a, b = node.inputs
    assert a is not None and b is not None
    for x, other in ((a, b), (b, a)):
        product = _open_product(graph, x)
        if product is None or x.type != node.output.type or (x is b and node.op.op_type == "Div"):
            continue
        inputs = _inputs(graph, node, product, other, negated=x is b)
        if inputs is not None:
            graph.replace_node(node, product.op, inputs, name=product.name)
            graph.remove_node(product)
            return True
    return False


def _open_product(graph: Graph, value: Value) -> Node | None:
    """The MatMul that computes `value` for one reader, if a bias can still be added and it has columns."""
    node = value.producer
    if (node is None or not isinstance(node.op, MatMul) or node.op.activation is not None or len(node.inputs) > 3
            or not is_private(graph, value) or not value.type.dtype.is_float):
        return None
    b = node.inputs[1]
    return node if b is not None and b.type.rank > 1 else None


def _inputs(graph: Graph, node: Node, product: Node, other: Value, *, negated: bool) -> list[Value | None] | None:
    """The MatMul's operands once `other` has been added or multiplied; None where that is not possible. `negated`: a
    Sub takes the product away from `other`."""
    x, w, bias = (*product.inputs, None)[:3]
    assert w is not None
    kind, columns = node.op.op_type, product.output.type.shape[-1]
    if kind == "Add" and bias is None and other.type.shape == (columns,) and other.type.dtype == w.type.dtype:
        return [x, w, other]
    vector, constant, old = _column_vector(other, product.output), constant_of(w), constant_of(bias)
    if vector is None or (bias is not None and old is None):
        return None
    shift = np.zeros(len(vector)) if old is None else old.astype(np.float64)
    if kind == "Add" or (kind == "Sub" and not negated):
        return [x, w, _renewed(graph, product, bias, shift + (vector if kind == "Add" else -vector))]
    if constant is None or w.type.rank != 2:
        return None
    with np.errstate(all="ignore"):  # a division by zero gives infinity, which is refused
        scale = -np.ones(len(vector)) if kind == "Sub" else vector if kind == "Mul" else 1 / vector
        scaled = (constant * scale).astype(constant.dtype)
        shift = shift * scale + (vector if kind == "Sub" else 0)
        if not np.isfinite(scaled).all() or not np.isfinite(shift.astype(constant.dtype)).all():
            return None
    weights = renew_constant(graph, w, scaled)
    return [x, weights, _renewed(graph, product, bias, shift)] if bias is not None or kind == "Sub" else [x, weights]


def _column_vector(value: Value, product: Value) -> Array | None:
    """A constant as float64 [N], if it holds one number for each of the product's N columns, or one for all."""
    contents, columns = constant_of(value), product.type.shape[-1]
    if contents is None or not isinstance(columns, int) or contents.ndim > product.type.rank:
        return None
    if contents.size != 1 and (contents.size != columns or contents.shape[-1:] != (columns,)):
        return None
    return np.broadcast_to(contents.astype(np.float64).reshape(-1), (columns,))


def _renewed(graph: Graph, product: Node, bias: Value | None, contents: Array) -> Value:
    contents = contents.astype(product.output.type.dtype.numpy)
    if bias is not None:
        return renew_constant(graph, bias, contents)
    return graph.add_constant(contents, f"{product.name or product.output.name}.bias")
