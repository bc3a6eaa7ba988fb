"""expand_attention_cache: the keys and values before an Attention's own are joined with these by Concats."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from ..ir import Graph, Node, Op, Value
from ..ops.attention import Attention
from ..ops.concat import Concat
from ..ops.gather import Gather
from ..ops.shape import Expand, Shape, Transpose
from .reshaping import reshaped

__all__ = ["expand_attention_cache"]

_TO_FRONT = (0, 2, 1, 3)


def expand_attention_cache(graph: Graph) -> bool:
    """The keys and values before an Attention's own are joined with these by Concats.

        %y, %pk, %pv = Attention(%q, %k, %v, none, %past_k, %past_v) {is_causal=true}
    becomes
        %pk = Concat(%past_k, %k) {axis=2}                and %pv of the values
        %n = Gather(Shape(%pk), const [2])
        %y = Attention(%q, %pk, %pv, none, none, none, Expand(%n, batch)) {is_causal=true}

    where queries count from the end of the keys, as many as the lengths say; so there are lengths only where it is
    causal. Heads that lie side by side are brought to the front, and the result back. Not where the matrix of scores is
    asked for, there are windows, the numbers of heads are not fixed, or, being causal, it has more keys than queries.
    """
    changed = False
    for node in graph.nodes:
        if isinstance(node.op, Attention):
            changed |= _join_cache(graph, node, node.op)
    if changed:
        graph.drop_unused_constants()
    return changed


def _join_cache(graph: Graph, node: Node, op: Attention) -> bool:
    q, k, v, mask, past_key, past_value = (*node.inputs, *(None,) * 6)[:6]
    if q is None or k is None or v is None or past_key is None or past_value is None or len(node.outputs) > 3 \
            or op.left_window_size >= 0 or op.right_window_size >= 0:
        return False
    rows, keys = (op.heads_of(name, x.type, n)[2] for name, x, n in (
        ("Q", q, op.q_num_heads), ("K", k, op.kv_num_heads)))
    if op.is_causal and rows != keys:
        return False
    parts = [_at_front(graph, node, x, n, name) for x, n, name in (
        (q, op.q_num_heads, "q"), (k, op.kv_num_heads, "k"), (v, op.kv_num_heads, "v"))]
    if any(part is None for part in parts):
        return False
    stem = node.output.name
    joined = []
    for i, (past, part) in enumerate(((past_key, parts[1]), (past_value, parts[2]))):
        whole = _add(graph, node, Concat(2), [past, part], f"{stem}.{'kv'[i]}")
        joined.append(whole)
        if len(node.outputs) > i + 1:
            name = node.outputs[i + 1].name
            graph.replace_uses(node.outputs[i + 1], whole)
            graph.rename(node.outputs[i + 1], f"{name}.before")
            graph.rename(whole, name)
    inputs = [parts[0], *joined, mask]
    if op.is_causal:
        inputs += [None, None, _lengths(graph, node, joined[0])]
    new = dataclasses.replace(op, q_num_heads=None, kv_num_heads=None)
    while inputs[-1] is None:
        inputs.pop()
    if q.type.rank == 4:
        graph.replace_uses(node.output, _take_name(graph, node, _add(graph, node, new, inputs, f"{stem}.heads")))
    else:
        heads = _add(graph, node, new, inputs, f"{stem}.heads")
        turned = _add(graph, node, Transpose(perm=_TO_FRONT), [heads], f"{stem}.turned")
        result = reshaped(graph, node, turned, node.output.type.shape, f"{stem}.joined")
        assert result is not None, "only the last two axes become one"
        graph.replace_uses(node.output, _take_name(graph, node, result))
    graph.remove_node(node)
    return True


def _take_name(graph: Graph, node: Node, value: Value) -> Value:
    """The value under the name of the node's output."""
    name = node.output.name
    graph.rename(node.output, f"{name}.before")
    graph.rename(value, name)
    return value


def _at_front(graph: Graph, node: Node, x: Value, heads: int | None, name: str) -> Value | None:
    """[batch, heads, length, size]."""
    if x.type.rank == 4:
        return x
    batch, length, width = x.type.shape
    if heads is None or not isinstance(width, int):
        return None
    stem = f"{node.output.name}.{name}"
    split = reshaped(graph, node, x, (batch, length, heads, width // heads), f"{stem}.split")
    return None if split is None else _add(graph, node, Transpose(perm=_TO_FRONT), [split], f"{stem}.front")


def _lengths(graph: Graph, node: Node, keys: Value) -> Value:
    """[batch] times the length of the keys."""
    stem = node.output.name
    shape = _add(graph, node, Shape(), [keys], f"{stem}.shape")
    batch, length = (_add(graph, node, Gather(), [shape, graph.add_constant(np.array([axis]), f"{stem}.axis")], name)
                     for axis, name in ((0, f"{stem}.batch"), (2, f"{stem}.length")))
    return _add(graph, node, Expand(), [length, batch], f"{stem}.lengths")


def _add(graph: Graph, node: Node, op: Op, inputs: Sequence[Value | None], name: str) -> Value:
    return graph.add_node(op, inputs, outputs=[name], before=node).output
