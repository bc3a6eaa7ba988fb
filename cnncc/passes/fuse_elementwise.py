"""fuse_elementwise: elementwise operators in a row become one, so that nothing between them is stored."""

from __future__ import annotations

from ..ir import DType, Graph, Node, Op, Value
from ..ops.chain import CHAINED, Chain, format_part
from .matching import is_private

__all__ = ["fuse_elementwise"]

MOST_INPUTS, MOST_PARTS = 4, 6  # what a CUDA kernel takes
Parts = tuple[tuple[Op, tuple[int, ...]], ...]


def fuse_elementwise(graph: Graph) -> bool:
    """Elementwise operators, each of whose results only the next one reads, become a Chain.

        %0 = Mul(%x, %s)
        %1 = Add(%0, %y)
        %2 = Relu(%1)
    becomes
        %2 = Chain(%x, %s, %y) {parts=["Mul(0,1)","Add(3,2)","Relu(4)"]}

    Only for targets that have kernels for it. Not of other types than float32, nor where a result is broadcast by what
    reads it, has more than one reader or is an output, nor beyond what a kernel takes.
    """
    changed = False
    for node in graph.nodes:
        if not _fits(node):
            continue
        merged = True
        while merged:
            merged = False
            for value in node.inputs:
                above = None if value is None else value.producer
                if value is None or above is None or not _fits(above) or value.type != node.output.type \
                        or not is_private(graph, value):
                    continue
                found = _joined(above, node, value)
                if found is not None:
                    node = graph.replace_node(node, Chain(tuple(format_part(*p) for p in found[1])), found[0],
                                              name=node.name)
                    graph.remove_node(above)
                    merged = changed = True
                    break
    return changed


def _fits(node: Node) -> bool:
    """Whether the node can be a part: of float32, all its operands there."""
    return ((node.op.op_type in CHAINED or isinstance(node.op, Chain)) and len(node.outputs) == 1
            and all(v is not None and v.type.dtype is DType.F32 for v in (*node.inputs, node.output)))


def _parts(node: Node) -> Parts:
    return node.op.parsed() if isinstance(node.op, Chain) else ((node.op, tuple(range(len(node.inputs)))),)


def _joined(above: Node, below: Node, value: Value) -> tuple[list[Value], Parts] | None:
    """The inputs and the parts of both, `value` being what `below` reads of `above`; None where they are too many."""
    inputs = list(dict.fromkeys(v for v in (*above.inputs, *below.inputs) if v is not None and v is not value))
    first, second = _parts(above), _parts(below)
    if len(inputs) > MOST_INPUTS or len(first) + len(second) > MOST_PARTS:
        return None
    places = {v: i for i, v in enumerate(inputs)} | {value: len(inputs) + len(first) - 1}

    def renumbered(node: Node, parts: Parts, before: int) -> Parts:
        own = len(node.inputs)
        numbers = [places[v] for v in node.inputs if v is not None]
        numbers += [len(inputs) + before + i for i in range(len(parts))]
        assert len(numbers) == own + len(parts)
        return tuple((op, tuple(numbers[n] for n in operands)) for op, operands in parts)

    return inputs, (*renumbered(above, first, 0), *renumbered(below, second, len(first)))
