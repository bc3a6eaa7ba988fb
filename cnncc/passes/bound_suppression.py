"""bound_suppression: NonMaxSuppression becomes steps of fixed sizes, and a Slice."""

from __future__ import annotations

import numpy as np

from ..ir import Graph
from ..ops.slice import Slice
from ..ops.suppression import ListBoxes, NonMaxSuppression, SuppressBoxes

__all__ = ["bound_suppression"]


def bound_suppression(graph: Graph) -> bool:
    """NonMaxSuppression becomes steps of fixed sizes, and a Slice.

        %y = NonMaxSuppression(%boxes, %scores, %most)
    becomes
        %kept, %counts = SuppressBoxes(%boxes, %scores, %most)
        %all, %total = ListBoxes(%kept, %counts)
        %y = Slice(%all, const [0], %total, const [0])

    So the data decide on the Slice alone, and the rest has kernels. Sizes are those of all boxes that might be kept.
    """
    changed = False
    for node in graph.nodes:
        if not isinstance(node.op, NonMaxSuppression):
            continue
        stem = node.output.name
        op = SuppressBoxes(center_point_box=node.op.center_point_box)
        boxes = graph.add_node(op, node.inputs, outputs=[f"{stem}.kept", f"{stem}.counts"], before=node)
        all_boxes = graph.add_node(ListBoxes(), list(boxes.outputs), outputs=[f"{stem}.all", f"{stem}.total"],
                                   before=node)
        zero = graph.add_constant(np.array([0]), f"{stem}.zero")
        selected, total = all_boxes.outputs
        graph.replace_node(node, Slice(), [selected, zero, total, zero])
        changed = True
    return changed
