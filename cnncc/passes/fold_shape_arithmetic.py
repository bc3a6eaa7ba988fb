"""fold_shape_arithmetic: sizes that are known when compiling are not computed when running."""

from __future__ import annotations

from ..ir import Graph

__all__ = ["fold_shape_arithmetic"]


def fold_shape_arithmetic(graph: Graph) -> bool:
    """What shape arithmetic knows in full (`Value.known`, all of it numbers) becomes a constant.

        %0 = Shape(%x) : i64[4]               (%x: f32[1,3,8,8])
        %1 = Reshape(%y, %0)
    becomes
        %0 = const [1,3,8,8] : i64[4]
        %1 = Reshape(%y, %0)
    """
    changed = False
    for node in graph.nodes:
        for value in node.outputs:
            if value.known is not None and value.known.dtype != object and (value.uses or graph.is_output(value)):
                name = value.name
                graph.rename(value, f"{name}.before")
                graph.replace_uses(value, graph.add_constant(value.known, name))
                changed = True
        if not any(v.uses or graph.is_output(v) for v in node.outputs):
            graph.remove_node(node)
            changed = True
    return changed
