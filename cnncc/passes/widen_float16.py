"""widen_float16: what is stored in float16 is computed in float32."""

from __future__ import annotations

import dataclasses

import numpy as np

from ..ir import DType, Graph, Node, Op, Value
from ..ops.cast import Cast, CastLike
from .matching import renew_constant

__all__ = ["widen_float16"]


def widen_float16(graph: Graph) -> bool:
    """Every operator on float16 works on float32; inputs and outputs of the network stay as they are.

        %y = Conv(%x, %w)                                    (%x, %y: f16; %w: f16, a constant)
    becomes
        %0 = Cast(%x) {to=f32}
        %1 = Conv(%0, %w')                                   (%w': f32)
        %y = Cast(%1) {to=f16}

    So no intermediate result is rounded to float16, nor overflows there, as in ONNX Runtime, whose CPU kernels are
    wrapped in casts that meet and vanish. A Cast to float16 that the model itself makes does round. Weights keep their
    values, and plan files store them in 16 bits (planfile.py).
    """
    widening = _Widening(graph)
    for node in graph.nodes:
        widening.node(node)
    widening.outputs()
    if widening.changed:
        graph.drop_unused_constants()
    return widening.changed


class _Widening:
    """The float32 counterparts found so far, by float16 value."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.counterparts: dict[Value, Value] = {}
        self.widened: dict[Value, Value | None] = {}  # what was float16 -> a Cast of it back, where there is one
        self.half_outputs = [v.type.dtype is DType.F16 for v in graph.outputs]
        self.changed = False

    def node(self, node: Node) -> None:
        """Lets the node read float32, and so give it."""
        if isinstance(node.op, Cast) and (node.op.to is not DType.F16 or not _is_half(node.inputs[0])):
            if _is_half(node.inputs[0]) and not _is_stored(node.inputs[0]):
                self._replace(node, node.op)
            return
        if node.op.bodies:  # their inputs are of their own: the pass runs on them, too, and leaves these as they are
            for i, value in enumerate(node.inputs):
                if value is not None and value in self.widened:
                    self.graph.set_input(node, i, self._narrow(value, node))
        elif any(_is_half(v) for v in (*node.inputs, *node.outputs)):
            self._replace(node, _widened(node))

    def _replace(self, node: Node, op: Op) -> None:
        inputs = node.inputs[:1] if isinstance(op, Cast) else node.inputs
        halves = [_is_half(v) for v in node.outputs]
        new = self.graph.replace_node(node, op, [self._wide(v, node) for v in inputs])
        self.widened |= {v: None for v, half in zip(new.outputs, halves, strict=True) if half and not _is_half(v)}
        self.changed = True

    def _narrow(self, value: Value, before: Node) -> Value:
        found = self.widened[value]
        if found is None:
            name = f"{value.name}.f16"
            found = self.widened[value] = self.graph.add_node(Cast(DType.F16), [value], name=name, before=before).output
        return found

    def _wide(self, value: Value | None, before: Node) -> Value | None:
        if value is None or value.type.dtype is not DType.F16:
            return value
        if value not in self.counterparts:
            if value.constant is not None:
                wide = renew_constant(self.graph, value, value.constant.astype(np.float32))
            else:
                wide = self.graph.add_node(Cast(DType.F32), [value], name=f"{value.name}.f32", before=before).output
            self.counterparts[value] = wide
        return self.counterparts[value]

    def outputs(self) -> None:
        """Results are rounded to float16 where the network gives them."""
        graph, names = self.graph, list(self.graph.output_names)
        made: dict[Value, Value] = {}
        outputs = []
        for value, half in zip(graph.outputs, self.half_outputs, strict=True):
            if half and value.type.dtype is not DType.F16:
                if value not in made:
                    name = value.name
                    graph.rename(value, f"{name}.f32")
                    made[value] = graph.add_node(Cast(DType.F16), [value], outputs=[name]).output
                value = made[value]
            outputs.append(value)
        graph.set_outputs(outputs, names)


def _is_half(value: Value | None) -> bool:
    return value is not None and value.type.dtype is DType.F16


def _is_stored(value: Value | None) -> bool:
    """Whether a float16 value stays one: an input, or what a Cast or a body has made."""
    return value is not None and not value.is_constant and (
        value.producer is None or isinstance(value.producer.op, Cast) or bool(value.producer.op.bodies))


def _widened(node: Node) -> Op:
    """The operator with float32 for float16 where it names a type to give; a CastLike becomes the Cast that it is."""
    if isinstance(node.op, CastLike):
        return Cast(node.output.type.dtype)
    fields = {f.name: DType.F32 for f in dataclasses.fields(node.op) if getattr(node.op, f.name) is DType.F16}
    return node.op if isinstance(node.op, Cast) or not fields else dataclasses.replace(node.op, **fields)
