"""resolve_auto_pad: padding is written out in numbers."""

from __future__ import annotations

import dataclasses

from ..ir import Graph, Node, Op
from ..ops.conv import Conv
from ..ops.pool import Pool

__all__ = ["resolve_auto_pad"]


def resolve_auto_pad(graph: Graph) -> bool:
    """auto_pad gives way to the pads it stands for.

        %0 = Conv(%x, %w) {auto_pad="SAME_UPPER"}         (%w: f32[8,3,3,3])
    becomes
        %0 = Conv(%x, %w) {pads=[1,1,1,1]}
    """
    changed = False
    for node in graph.nodes:
        op = _resolved(node)
        if op is not None:
            graph.replace_node(node, op, node.inputs)
            changed = True
    return changed


def _resolved(node: Node) -> Op | None:
    op, shapes = node.op, [v.type.shape for v in node.inputs if v is not None]
    if not isinstance(op, (Conv, Pool)) or op.auto_pad == "NOTSET":
        return None
    geometry = op.windows(shapes[0], shapes[1]) if isinstance(op, Conv) else op.windows(shapes[0])
    pads = (*geometry.begin, *geometry.end)
    return dataclasses.replace(op, auto_pad="NOTSET", pads=pads if any(pads) else ())
