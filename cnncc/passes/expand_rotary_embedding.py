"""expand_rotary_embedding: RotaryEmbedding becomes products and sums, which have kernels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..ir import Graph, Node, Op, Value
from ..ops import OPS
from ..ops.concat import Concat
from ..ops.gather import Gather
from ..ops.rotary_embedding import RotaryEmbedding
from ..ops.shape import Unsqueeze
from ..ops.slice import Slice
from .reshaping import reshape_into, reshaped

__all__ = ["expand_rotary_embedding"]


def expand_rotary_embedding(graph: Graph) -> bool:
    """RotaryEmbedding becomes products and sums, which have kernels.

        %y = RotaryEmbedding(%x, %cos, %sin)            %x: [N,heads,L,size]
    becomes
        %a = Slice(%x, ...)                             the first of each pair, and %b the second
        %c = Unsqueeze(%cos, const [1])                 and %s of %sin
        %real = Sub(%a * %c, %b * %s)
        %imaginary = Add(%a * %s, %b * %c)
        %y = Concat(%real, %imaginary) {axis=-1}

    Positions are looked up by a Gather, heads of an %x [N,L,heads*size] become an axis by Reshapes, and elements that
    are not turned join the Concat. Not where the size of a head is unknown, or nothing is turned at all.
    """
    changed = False
    for node in graph.nodes:
        if isinstance(node.op, RotaryEmbedding):
            changed |= _Expansion(graph, node).run(node.op)
    return changed


class _Expansion:
    """The nodes that take the place of one; their outputs are named after its own."""

    def __init__(self, graph: Graph, node: Node) -> None:
        self._graph, self._node, self._stem = graph, node, node.output.name

    def run(self, op: RotaryEmbedding) -> bool:
        x, node = self._node.inputs[0], self._node
        assert x is not None
        size = op.head_size(x.type.shape)
        if not isinstance(size, int) or 0 in x.type.shape:
            return False
        shape = x.type.shape if x.type.rank == 4 else (*x.type.shape[:2], op.num_heads, size)
        heads = reshaped(self._graph, node, x, shape, f"{self._stem}.heads")
        assert heads is not None, "batch and length stay where they are"
        whole = self._turned(heads, op, size, 1 if x.type.rank == 4 else 2)
        if whole.type == node.output.type:
            self._graph.replace_uses(node.output, whole)
            self._graph.remove_node(node)
            self._graph.rename(whole, self._stem)
        else:
            reshape_into(self._graph, node, whole)
        return True

    def _turned(self, heads: Value, op: RotaryEmbedding, size: int, axis: int) -> Value:
        """`heads` [.., size], all turned; `axis` is that of the heads, which share their angles."""
        end = op.rotary_embedding_dim or size
        cuts = ((0, end, 2), (1, end, 2)) if op.interleaved else ((0, end // 2, 1), (end // 2, end, 1))
        a, b = (self._slice(heads, cut, name) for cut, name in zip(cuts, ("a", "b"), strict=True))
        cos, sin = (self._angles(i, axis, name) for i, name in ((1, "cos"), (2, "sin")))
        a_cos, b_sin, a_sin, b_cos = (self._binary("Mul", x, angle, name) for x, angle, name in (
            (a, cos, "a_cos"), (b, sin, "b_sin"), (a, sin, "a_sin"), (b, cos, "b_cos")))
        parts = [self._binary("Sub", a_cos, b_sin, "real"), self._binary("Add", a_sin, b_cos, "imaginary")]
        if op.interleaved:
            columns = [self._add(Unsqueeze(), [part, self._ints(4)], "column") for part in parts]
            pairs = self._add(Concat(4), columns, "pairs")
            joined = reshaped(self._graph, self._node, pairs, (*heads.type.shape[:3], end), f"{self._stem}.joined")
            assert joined is not None, "only the last two axes become one"
            parts = [joined]
        if end < size:
            parts.append(self._slice(heads, (end, size, 1), "rest"))
        return self._add(Concat(3), parts, "turned") if len(parts) > 1 else parts[0]

    def _angles(self, index: int, axis: int, name: str) -> Value:
        """A cache as it broadcasts over the heads."""
        cache, ids = self._node.inputs[index], self._node.inputs[3] if len(self._node.inputs) > 3 else None
        found = cache if ids is None else self._add(Gather(), [cache, ids], f"{name}.found")
        return self._add(Unsqueeze(), [found, self._ints(axis)], name)

    def _slice(self, x: Value, cut: tuple[int, int, int], name: str) -> Value:
        start, end, step = cut
        return self._add(Slice(), [x, *map(self._ints, (start, end, 3, step))], name)

    def _binary(self, kind: str, a: Value, b: Value, name: str) -> Value:
        return self._add(OPS[kind](), [a, b], name)

    def _ints(self, number: int) -> Value:
        return self._graph.add_constant(np.array([number]), f"{self._stem}.number")

    def _add(self, op: Op, inputs: Sequence[Value | None], name: str) -> Value:
        return self._graph.add_node(op, inputs, outputs=[f"{self._stem}.{name}"], before=self._node).output
