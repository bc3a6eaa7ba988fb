"""resolve_auto_pad: padding is written out in numbers."""

from __future__ import annotations

import dataclasses
from typing import Any

from ..ir import Graph, Node, Op
from ..ops.conv import ConvBase
from ..ops.conv_transpose import ConvTranspose
from ..ops.pool import Pool

__all__ = ["resolve_auto_pad"]


def resolve_auto_pad(graph: Graph) -> bool:
    """auto_pad, and the output_shape of a ConvTranspose, give way to the pads they stand for.

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
    if isinstance(op, ConvTranspose):
        if op.auto_pad == "NOTSET" and not op.output_shape:
            return None
        geometry = op.windows(shapes[0], shapes[1])
        if min(geometry.end) < 0:  # a prescribed shape larger than what the windows reach
            return None
    elif isinstance(op, (ConvBase, Pool)) and op.auto_pad != "NOTSET":
        geometry = op.windows(shapes[0], shapes[op.weights]) if isinstance(op, ConvBase) else op.windows(shapes[0])
    else:
        return None
    pads = (*geometry.begin, *geometry.end)
    given: dict[str, Any] = {"output_shape": ()} if isinstance(op, ConvTranspose) else {}
    return dataclasses.replace(op, auto_pad="NOTSET", pads=pads if any(pads) else (), **given)
