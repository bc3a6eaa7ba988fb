"""recognize_space_to_depth: SpaceToDepth that is written as a Concat of Slices (the focus of YOLO)."""

from __future__ import annotations

import math

import numpy as np

from ..errors import OpError
from ..ir import Graph, Node, Value
from ..ops.blocks import SpaceToDepth
from ..ops.concat import Concat
from ..ops.conv import ConvBase
from ..ops.shape import Reshape, Transpose
from ..ops.slice import Slice
from .eliminate_dead_nodes import eliminate_dead_nodes
from .matching import constant_of, known_ints, renew_constant
from .reshaping import reshape_operand, reshaped

__all__ = ["recognize_space_to_depth"]

Place = tuple[int, int]  # row and column in a block


def recognize_space_to_depth(graph: Graph) -> bool:
    """Every b-th pixel from each of the b*b places in a block, joined as channels, is one copy.

        %0 = Slice(%x, const [0,0], %ends, const [2,3], const [b,b])
        ...                                                the same for the starts [0,1] ... [b-1,b-1]
        %y = Concat(%0, %1, %2, %3) {axis=1}
    becomes
        %y = SpaceToDepth(%x) {blocksize=b}

    where the places come row by row. In another order the channels of the weights follow, if only convolutions with
    constant weights and one group read %y; otherwise, column by column, it is a Transpose between Reshapes if constants
    can express these. A place may be cut out by two Slices, one for each axis. Not where a place is missing or comes
    twice, or a Slice leaves pixels out.
    """
    changed = False
    for node in graph.nodes:
        found = _found(node) if isinstance(node.op, Concat) else None
        if found is not None:
            changed |= _rewrite(graph, node, *found)
    if changed:
        eliminate_dead_nodes(graph)
        graph.drop_unused_constants()
    return changed


def _found(node: Node) -> tuple[Value, list[Place]] | None:
    """What is cut into places, and the places in the order that they are joined in."""
    assert isinstance(node.op, Concat)
    b, rank = math.isqrt(len(node.inputs)), node.output.type.rank
    if b < 2 or b * b != len(node.inputs) or rank != 4 or node.op.axis % rank != 1:
        return None
    cuts = [None if v is None else _place(v, b) for v in node.inputs]
    x, places = cuts[0][0] if cuts[0] is not None else None, [cut[1] for cut in cuts if cut is not None]
    if x is None or len(set(places)) != b * b or any(cut is None or cut[0] is not x for cut in cuts):
        return None
    try:
        complete = SpaceToDepth(blocksize=b).infer(x.operand) == (node.output.type,)
    except OpError:  # the picture is no whole number of blocks
        return None
    return (x, places) if complete else None


def _place(value: Value, b: int) -> tuple[Value, Place] | None:
    """The picture that the value is each b-th row and column of, and the first of them."""
    starts: dict[int, int] = {}
    while value.producer is not None and isinstance(value.producer.op, Slice) and len(starts) < 2:
        operands = [None if v is None else known_ints(v) for v in value.producer.inputs[1:]]
        first, axes, steps = operands[0], *operands[2:4]
        if first is None or axes is None or steps is None:
            return None
        for start, axis, step in zip(first, (a % value.type.rank for a in axes), steps, strict=True):
            if axis not in (2, 3) or axis in starts or step != b or not 0 <= start < b:
                return None
            starts[axis] = start
        source = value.producer.inputs[0]
        assert source is not None
        value = source
    return (value, (starts[2], starts[3])) if len(starts) == 2 else None


def _rewrite(graph: Graph, node: Node, x: Value, places: list[Place]) -> bool:
    b = math.isqrt(len(places))
    order = [row * b + column for row, column in places]
    if order == sorted(order):
        graph.replace_node(node, SpaceToDepth(blocksize=b), [x])
        return True
    if _is_read_by_convolutions(graph, node.output):
        for use in list(node.output.uses):
            _reorder(graph, use.node, order)
        graph.replace_node(node, SpaceToDepth(blocksize=b), [x])
        return True
    return [column * b + row for row, column in places] == list(range(b * b)) and _turn(graph, node, x, b)


def _is_read_by_convolutions(graph: Graph, value: Value) -> bool:
    """Whether every reader has weights whose input channels can be put in another order."""
    return not graph.is_output(value) and all(
        isinstance(use.node.op, ConvBase) and use.index == 0 and use.node.op.group == 1
        and constant_of(use.node.inputs[use.node.op.weights]) is not None for use in value.uses)


def _reorder(graph: Graph, conv: Node, order: list[int]) -> None:
    """The convolution's weights for channels in the order of places; now its i-th group of channels is place order[i].
    """
    assert isinstance(conv.op, ConvBase)
    index = conv.op.weights
    weights = conv.inputs[index]
    contents = constant_of(weights)
    assert weights is not None and contents is not None
    oc, channels, *kernel = contents.shape
    by_place = contents.reshape(oc, len(order), channels // len(order), *kernel)[:, np.argsort(order)]
    graph.set_input(conv, index, renew_constant(graph, weights, np.ascontiguousarray(by_place).reshape(contents.shape)))


def _turn(graph: Graph, node: Node, x: Value, b: int) -> bool:
    """Column by column: the axes of a SpaceToDepth in another order."""
    axes, _ = SpaceToDepth(blocksize=b).split(x.type.shape)
    name = node.output.name
    split = reshaped(graph, node, x, axes, f"{name}.blocks")
    if split is None:
        return False
    turned = graph.add_node(Transpose((0, 5, 3, 1, 2, 4)), [split], outputs=[f"{name}.places"], before=node).output
    shape = reshape_operand(turned, node.output.type.shape)
    assert shape is not None, "two unknown sizes do not come this far"
    graph.replace_node(node, Reshape(), [turned, graph.add_constant(shape, f"{name}.shape")])
    return True
