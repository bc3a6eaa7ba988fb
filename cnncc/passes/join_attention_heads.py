"""join_attention_heads: Attention reads and writes heads side by side, as linear layers give and take them."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from ..ir import DimLike, Graph, Node, Value
from ..ops.attention import Attention
from ..ops.gather import Gather
from ..ops.shape import Transpose
from .eliminate_dead_nodes import eliminate_dead_nodes
from .matching import constant_of, is_private
from .reshaping import reshape_into, reshaped

__all__ = ["join_attention_heads"]

_TO_FRONT = (0, 2, 1, 3)
_STACKED = (2, 0, 3, 1, 4)


def join_attention_heads(graph: Graph) -> bool:
    """Where heads are brought to the front for Attention and back afterwards, it does so itself.

        %q = Transpose(%a) {perm=[0,2,1,3]}           %a: [batch, length, heads, size], likewise %k of %b and %v of %c
        %h = Attention(%q, %k, %v)
        %y = Transpose(%h) {perm=[0,2,1,3]}
    becomes
        %1 = Reshape(%a, const [0,0,heads*size])      %2 and %3 likewise of %b and %c
        %4 = Attention(%1, %2, %3) {q_num_heads=heads, kv_num_heads=heads}
        %y = Reshape(%4, const [0,0,heads,size])

    Queries, keys and values may also be stacked: %q = Gather(Transpose(%a) {perm=[2,0,3,1,4]}, const 0), where %a is
    [batch, length, 3, heads, size], becomes Gather(%a, const 0) {axis=2}. Not where one of the three is something else,
    where %h is read by others, or where the numbers of heads are not fixed.
    """
    tried = changed = False
    for node in graph.nodes:
        if isinstance(node.op, Attention) and _is_plain(node) and _turned_after(graph, node) is not None:
            tried = True
            changed |= _join(graph, node)
    if tried:
        eliminate_dead_nodes(graph)
        graph.drop_unused_constants()
    return changed


def _is_plain(node: Node) -> bool:
    """Whether it has four dimensions, no cache and one output."""
    q = node.inputs[0]
    return q is not None and q.type.rank == 4 and len(node.outputs) == 1 and all(v is None for v in node.inputs[4:])


def _turned_after(graph: Graph, node: Node) -> Node | None:
    """The Transpose that alone reads the result and brings its heads back."""
    if not is_private(graph, node.output):
        return None
    (use,) = node.output.uses
    return use.node if isinstance(use.node.op, Transpose) and use.node.op.permutation(4) == _TO_FRONT else None


def _join(graph: Graph, node: Node) -> bool:
    """False, with only dead nodes added, where it does not fit."""
    last = _turned_after(graph, node)
    sources = [_side_by_side(graph, node, v) for v in node.inputs[:3] if v is not None]
    joined = [None if s is None else reshaped(graph, node, s, _joined_shape(s.type.shape), f"{s.name}.joined")
              for s in sources]
    heads = [s.type.shape[2] for s in sources if s is not None]
    if last is None or any(j is None for j in joined) or not all(isinstance(h, int) for h in heads):
        return False
    op: Any = dataclasses.replace(node.op, q_num_heads=heads[0], kv_num_heads=heads[1])  # type: ignore[call-arg]
    new = graph.add_node(op, [*joined, *node.inputs[3:]], name=node.name or node.output.name, before=last)
    return reshape_into(graph, last, new.output) is not None


def _joined_shape(shape: tuple[DimLike, ...]) -> tuple[DimLike, ...]:
    return shape[0], shape[1], shape[2] * shape[3]


def _side_by_side(graph: Graph, node: Node, value: Value) -> Value | None:
    """[batch, length, heads, size] of which `value` is [batch, heads, length, size]."""
    producer = value.producer
    if producer is None:
        return None
    if isinstance(producer.op, Transpose):
        return producer.inputs[0] if producer.op.permutation(4) == _TO_FRONT else None
    place = _place_in_stack(value)
    if place is None:
        return None
    stack, number = place
    axes = graph.add_constant(np.array(number), f"{value.name}.number")
    return graph.add_node(Gather(axis=2), [stack, axes], name=f"{value.name}.rows", before=node).output


def _place_in_stack(value: Value) -> tuple[Value, int] | None:
    """(a, i) where a is [batch, length, count, heads, size] and the value its part i, heads brought to the front."""
    producer = value.producer
    assert producer is not None
    source, op = producer.inputs[0], producer.op
    part: Any = None
    if op.op_type == "Gather" and getattr(op, "axis", None) == 0:
        part = constant_of(producer.inputs[1])
        part = None if part is None or part.ndim else int(part)
    elif op.alias and source is not None and source.producer is not None and source.producer.op.op_type == "Split" \
            and source.type.shape == (1, *value.type.shape):
        split: Any = source.producer.op
        part = source.index if split.axis % 5 == 0 else None
        source = source.producer.inputs[0]
    stacked = None if source is None else source.producer
    if part is None or stacked is None or not isinstance(stacked.op, Transpose) or source is None \
            or source.type.rank != 5 or stacked.op.permutation(5) != _STACKED or stacked.inputs[0] is None:
        return None
    return stacked.inputs[0], part
