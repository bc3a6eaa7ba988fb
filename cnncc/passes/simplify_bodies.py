"""simplify_bodies: the bodies of If, Loop and Scan know what is known of their operands, and capture what they read."""

from __future__ import annotations

from ..ir import Graph, Node, Value
from ..ops.control import ControlOp

__all__ = ["simplify_bodies"]


def simplify_bodies(graph: Graph) -> bool:
    """Bodies of If, Loop and Scan know what is known of their operands, and capture only what they read.

    A capture that is constant becomes a constant of the body; one that nobody there reads, or that is given already,
    goes; and a size of the body's inputs that is fixed outside is fixed within.

        %y = Loop(%m, none, %v, %w, %x) {carried=1}        %y = Loop(%m, none, %v) {carried=1}
          body = graph @b(..., %w: f32[4], %x: f32[4]) {     body = graph @b(...) {
            %0 = Add(%v, %w)                          becomes  %w = const @w
            ...                                                %0 = Add(%v, %w)
    """
    changed = False
    for node in graph.nodes:
        if isinstance(node.op, ControlOp):
            changed |= _fix_sizes(node, node.op) | _settle_captures(graph, node, node.op)
    if changed:
        graph.reinfer()
    return changed


def _fix_sizes(node: Node, op: ControlOp) -> bool:
    changed = False
    operands = [None if v is None else v.operand for v in node.inputs]
    for name, body in op.bodies.items():
        fixed = {s: d for s, d in op.body_sizes(name, operands).items() if isinstance(d, int)}
        types = [v.type.bind(fixed) for v in body.inputs]
        if types != [v.type for v in body.inputs]:
            for value, type_ in zip(body.inputs, types, strict=True):
                value.type = type_
            body.reinfer()
            changed = True
    return changed


def _settle_captures(graph: Graph, node: Node, op: ControlOp) -> bool:
    bodies: list[Graph] = list(op.bodies.values())
    kept: list[int] = []
    seen: dict[Value, int] = {}
    for index in range(op.first_capture, len(node.inputs)):
        value = node.inputs[index]
        assert value is not None
        inner = [body.inputs[index - op.operands_before] for body in bodies]
        known = value.constant if value.constant is not None else value.known
        for body, formal in zip(bodies, inner, strict=True):
            if known is not None and known.dtype != object and (formal.uses or body.is_output(formal)):
                name = formal.name
                body.rename(formal, f"{name}.before")
                body.replace_uses(formal, body.add_constant(known, name))
            elif value in seen:
                body.replace_uses(formal, body.inputs[seen[value] - op.operands_before])
        if any(v.uses or body.is_output(v) for body, v in zip(bodies, inner, strict=True)):
            kept.append(index)
            seen.setdefault(value, index)
    if len(kept) == len(node.inputs) - op.first_capture:
        return False
    gone = set(range(op.first_capture, len(node.inputs))) - set(kept)
    for body in bodies:
        for formal in [body.inputs[index - op.operands_before] for index in gone]:
            body.remove_input(formal)
        body.reinfer()
    graph.replace_node(node, op, [v for i, v in enumerate(node.inputs) if i not in gone])
    return True
