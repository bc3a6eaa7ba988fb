"""recognize_depth_to_space: DepthToSpace and SpaceToDepth that are written as a Transpose between Reshapes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce
from operator import mul

from ..errors import OpError
from ..ir import DimLike, Graph, Node, Op, TensorType, Value
from ..ops.blocks import DepthToSpace, SpaceToDepth
from ..ops.shape import Transpose
from .eliminate_dead_nodes import eliminate_dead_nodes
from .matching import is_private

__all__ = ["recognize_depth_to_space"]


def recognize_depth_to_space(graph: Graph) -> bool:
    """Pixel shuffle and its inverse, spelt with axes of their own for the places in a block.

        %0 = Reshape(%x, const [0,c,b,b,h,w])              %x: [N,c*b*b,h,w]
        %1 = Transpose(%0) {perm=[0,1,4,2,5,3]}
        %y = Reshape(%1, const [0,c,h*b,w*b])
    becomes
        %y = DepthToSpace(%x) {blocksize=b, mode="CRD"}

    and [0,b,b,c,h,w] {perm=[0,3,4,1,5,2]} the same in mode DCR; what undoes them becomes SpaceToDepth. It is one copy
    either way, but shapes that are computed for the Reshapes, with unknown h and w, are needed no more. Axes may be
    merged or left out where that changes nothing. Not where others read %1.
    """
    changed = False
    for node in graph.nodes:
        found = _found(graph, node) if node.op.alias and len(node.outputs) == 1 else None
        if found is not None:
            op, x = found
            graph.replace_node(node, op, [x])
            changed = True
    if changed:
        eliminate_dead_nodes(graph)
        graph.drop_unused_constants()
    return changed


def _found(graph: Graph, node: Node) -> tuple[Op, Value] | None:
    """The operator that the node, a Reshape, is the end of, and what it is applied to."""
    turned = node.inputs[0]
    turn = None if turned is None else turned.producer
    if turned is None or turn is None or not isinstance(turn.op, Transpose) or not is_private(graph, turned):
        return None
    split = turn.inputs[0]
    before = None if split is None else split.producer
    x = before.inputs[0] if before is not None and before.op.alias else None
    if split is None or x is None or x.type.rank != 4 or node.output.type.rank != 4:
        return None
    moved = _merged(split.type.shape, turn.op.permutation(split.type.rank))
    for op in _candidates(x.type, node.output.type):
        try:
            fits = op.infer(x.operand) == (node.output.type,)
        except OpError:  # the picture is no whole number of blocks
            continue
        if fits and _merged(*op.split(x.type.shape)) == moved:
            return op, x
    return None


def _candidates(x: TensorType, y: TensorType) -> list[DepthToSpace | SpaceToDepth]:
    """The operators that make y's channels of x's."""
    c, k = x.shape[1], y.shape[1]
    if not isinstance(c, int) or not isinstance(k, int) or 0 in (c, k):
        return []
    kind, large, small = (DepthToSpace, c, k) if c > k else (SpaceToDepth, k, c)
    b = math.isqrt(large // small)
    return [kind(blocksize=b, mode=mode) for mode in ("DCR", "CRD")] if b > 1 and small * b * b == large else []


def _merged(shape: Sequence[DimLike], perm: Sequence[int]) -> tuple[list[DimLike], list[int]]:
    """The same Transpose with as few axes as can be: none of size 1, and neighbours that stay neighbours as one."""
    kept = [axis for axis, size in enumerate(shape) if size != 1]
    runs: list[list[int]] = []
    for axis in (kept.index(p) for p in perm if shape[p] != 1):
        if runs and runs[-1][-1] + 1 == axis:
            runs[-1].append(axis)
        else:
            runs.append([axis])
    order = sorted(runs)
    sizes = [reduce(mul, (shape[kept[axis]] for axis in run)) for run in order]
    return sizes, [order.index(run) for run in runs]
