"""fuse_attention: softmax(Q K^T) V becomes one operator, which never stores the matrix of scores."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import OpError
from ..ir import DimLike, Graph, Node, Value
from ..ops import OPS
from ..ops.attention import Attention
from ..ops.shape import Transpose
from ..records import record
from .eliminate_dead_nodes import eliminate_dead_nodes
from .matching import is_private, number_of, operands_of
from .reshaping import reshape_into, reshaped

__all__ = ["fuse_attention"]

NEVER = -1e9  # a score up to which a key is as good as forbidden


def fuse_attention(graph: Graph) -> bool:
    """The products, scaling, mask and Softmax of attention become one Attention.

        %t = Transpose(%k) {perm=[0,1,3,2]}
        %s = MatMul(%q, %t)                     %q, %k: [batch, heads, length, size]
        %d = Div(%s, 8.0)
        %m = Add(%d, %mask)
        %p = Softmax(%m)
        %y = MatMul(%p, %v)
    becomes
        %y = Attention(%q, %k, %v, %mask) {scale=0.125}

    The scaling may be a Mul, or be done to %q and %k, or be absent; the mask may be absent or be
    Where(%forbidden, -inf, %d). With three dimensions [batch * heads, length, size] the operands are reshaped, and so
    may the scores be around the mask. Not where scores or weights are read by others or are outputs, nor where one of
    the factors is a constant matrix for all heads.
    """
    tried = changed = False
    for node in graph.nodes:
        found = _found(graph, node)
        if found is not None:
            tried = True
            changed |= _replace(graph, node, found)
    if tried:
        eliminate_dead_nodes(graph)
        graph.drop_unused_constants()
    return changed


@record
class _Found:
    """Q, V: [.., length, size]; `turned` is K^T. `heads` are (batch, heads) where the scores are reshaped to those
    around the mask. `forbidden`: the mask is True where a key is not allowed."""

    q: Value
    turned: Value
    v: Value
    scale: float = 1.0
    mask: Value | None = None
    forbidden: bool = False
    heads: tuple[DimLike, DimLike] | None = None


def _found(graph: Graph, node: Node) -> _Found | None:
    if node.op.op_type != "MatMul" or len(node.inputs) != 2 or getattr(node.op, "activation", None) is not None:
        return None
    weights, v = node.inputs
    softmax = None if weights is None else weights.producer
    if v is None or softmax is None or softmax.op.op_type != "Softmax" or not is_private(graph, softmax.output):
        return None
    op: Any = softmax.op
    scores, rank = softmax.inputs[0], softmax.output.type.rank
    if scores is None or op.axis % rank != rank - 1 or rank not in (3, 4) or v.type.rank != rank:
        return None
    found = _scores(graph, scores)
    return None if found is None or found.q.type.rank != rank else replace(found, v=v)


def _scores(graph: Graph, scores: Value) -> _Found | None:
    """What the scores are made of; `v` is still that of the scores."""
    inner, heads = _unreshaped(graph, scores)
    mask, forbidden = None, False
    masked = _masked(inner)
    if masked is not None and is_private(graph, inner):
        inner, mask, forbidden = masked
        inner, again = _unreshaped(graph, inner)
        if heads != again:
            return None
    elif heads is not None:
        return None
    scale = 1.0
    while (scaled := _scaled(inner)) is not None and is_private(graph, inner):
        inner, scale = scaled[0], scale * scaled[1]
    factors = operands_of(inner, "MatMul")
    if factors is None or not is_private(graph, inner) or any(f.is_constant for f in factors):
        return None
    q, turned = factors
    while (scaled := _scaled(q)) is not None:
        q, scale = scaled[0], scale * scaled[1]
    return _Found(q, turned, scores, scale, mask, forbidden, heads) if scale >= 0 else None


def _unreshaped(graph: Graph, value: Value) -> tuple[Value, tuple[DimLike, DimLike] | None]:
    """What a Reshape between [batch * heads, ..] and [batch, heads, ..] was made of, and the (batch, heads)."""
    node = value.producer
    source = node.inputs[0] if node is not None and node.op.alias and is_private(graph, value) else None
    if source is None or sorted((source.type.rank, value.type.rank)) != [3, 4] \
            or source.type.shape[-2:] != value.type.shape[-2:]:
        return value, None
    four = source if source.type.rank == 4 else value
    return source, (four.type.shape[0], four.type.shape[1])


def _masked(value: Value) -> tuple[Value, Value, bool] | None:
    """(scores, mask, forbidden) where the value is scores with a mask added, or replaced where forbidden."""
    node = value.producer
    if node is None:
        return None
    if node.op.op_type == "Add":
        a, b = node.inputs
        assert a is not None and b is not None
        for scores, mask in ((a, b), (b, a)):
            if scores.type == value.type and _leads_to_product(scores):
                return scores, mask, False
    if node.op.op_type == "Where":
        condition, never, other = node.inputs
        number = number_of(never)
        if condition is not None and other is not None and number is not None and number <= NEVER \
                and other.type == value.type:
            return other, condition, True
    return None


def _leads_to_product(value: Value) -> bool:
    """Whether scalings and reshapes of a matrix product give the value."""
    while value.producer is not None and value.producer.op.op_type != "MatMul":
        node = value.producer
        scaled = _scaled(value)
        source = scaled[0] if scaled is not None else node.inputs[0] if node.op.alias else None
        if source is None:
            return False
        value = source
    return value.producer is not None


def _scaled(value: Value) -> tuple[Value, float] | None:
    """(x, factor) where the value is x times a constant."""
    product, quotient = operands_of(value, "Mul"), operands_of(value, "Div")
    for x, c in (product, product[::-1]) if product is not None else ():
        number = number_of(c)
        if number is not None and x.type == value.type:
            return x, number
    if quotient is not None and quotient[0].type == value.type:
        number = number_of(quotient[1])
        return None if not number else (quotient[0], 1 / number)
    return None


# -- the operator ----------------------------------------------------------------------------------------------------

def _replace(graph: Graph, node: Node, found: _Found) -> bool:
    """Puts Attention and what it needs in the node's place; False, with dead nodes added only, where none fits."""
    k, scale = _turned_back(graph, node, found.turned)
    if k is None:
        return False
    heads = None if found.heads is None or found.heads[0] == 1 else found.heads
    operands = [_as_heads(graph, node, x, heads) for x in (found.q, k, found.v)]
    q, k4, v = operands
    if q is None or k4 is None or v is None:
        return False
    op = Attention(scale=float(str(np.float32(found.scale * scale))))
    mask = found.mask
    if mask is not None and found.forbidden:
        mask = _additive(graph, node, mask, q)
    inputs = [q, k4, v] if mask is None else [q, k4, v, mask]
    try:
        y = op.infer(q.operand, k4.operand, v.operand, None if mask is None else mask.operand)[0]
    except OpError:
        return False
    if y == node.output.type:
        graph.replace_node(node, op, inputs)
        return True
    attention = graph.add_node(op, inputs, name=f"{node.output.name}.heads", before=node)
    return _restore(graph, node, attention.output)


def _turned_back(graph: Graph, node: Node, turned: Value) -> tuple[Value | None, float]:
    """K from K^T, and what was multiplied with it."""
    scale = 1.0
    while (scaled := _scaled(turned)) is not None:
        turned, scale = scaled[0], scale * scaled[1]
    rank = turned.type.rank
    perm: tuple[int, ...] = (*range(rank - 2), rank - 1, rank - 2)
    source = turned
    if turned.producer is not None and isinstance(turned.producer.op, Transpose):
        first = turned.producer.op.permutation(rank)
        before = turned.producer.inputs[0]
        assert before is not None
        source, perm = before, tuple(first[p] for p in perm)
    while perm == tuple(range(rank)) and (scaled := _scaled(source)) is not None:
        source, scale = scaled[0], scale * scaled[1]
    if scale < 0:
        return None, scale
    if perm == tuple(range(rank)):
        return source, scale
    return graph.add_node(Transpose(perm), [source], name=f"{node.output.name}.keys", before=node).output, scale


def _as_heads(graph: Graph, node: Node, x: Value, heads: tuple[DimLike, DimLike] | None) -> Value | None:
    """[batch * heads, length, size] as [batch, heads, length, size]; with no `heads` as one batch. A Transpose that
    brought the heads to the front does so after the Reshape, so that others see what it does."""
    if x.type.rank == 4:
        return x
    source = x.producer
    if heads is None and source is not None and isinstance(source.op, Transpose) \
            and source.op.permutation(3) == (1, 0, 2) and source.inputs[0] is not None:
        before = source.inputs[0]
        joined = reshaped(graph, node, before, (1, *before.type.shape), f"{x.name}.heads")
        if joined is None:
            return None
        return graph.add_node(Transpose((0, 2, 1, 3)), [joined], name=f"{x.name}.turned", before=node).output
    return reshaped(graph, node, x, (*(heads or (1, x.type.shape[0])), *x.type.shape[1:]), f"{x.name}.heads")


def _additive(graph: Graph, node: Node, forbidden: Value, q: Value) -> Value:
    """A mask of numbers: minus infinity where forbidden, else 0."""
    numbers = [graph.add_constant(np.asarray(n, q.type.dtype.numpy), f"{node.output.name}.{name}")
               for n, name in ((-np.inf, "never"), (0.0, "allowed"))]
    return graph.add_node(OPS["Where"](), [forbidden, *numbers], name=f"{node.output.name}.mask", before=node).output


def _restore(graph: Graph, node: Node, y: Value) -> bool:
    """The node gives y [1, heads, length, size] as [heads, length, size], or a Transpose after it as
    [length, heads, size]."""
    if is_private(graph, node.output) and y.type.shape[0] == 1:
        (use,) = node.output.uses
        if isinstance(use.node.op, Transpose) and use.node.op.permutation(3) == (1, 0, 2):
            turned = graph.add_node(Transpose((0, 2, 1, 3)), [y], name=f"{y.name}.turned", before=use.node).output
            return reshape_into(graph, use.node, turned) is not None
    return reshape_into(graph, node, y) is not None
