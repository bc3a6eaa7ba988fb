"""From an optimised graph to a plan: a kernel for every node, a layout for every tensor.

Nodes are visited in order. Each is offered its operands in the layouts they have; its Lowering chooses a kernel and
the layouts it wants, and a reorder step is put in where they differ. A tensor is reordered once, however many read it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from .errors import PlanInvalid, UnsupportedError
from .ir import Graph, Node, Value
from .ops.identity import Identity
from .plan import ALIAS, BODY, KNOWN, REFERENCE, REORDER, Buffer, Plan, Port, Step
from .runtime.cpu.lowering import HOST, PLAIN, Choice, Lowering, Refusal, Tensor

__all__ = ["lower"]

Array = np.ndarray[Any, Any]


def lower(graph: Graph, lowerings: Mapping[str, Lowering], lanes: int, *, allow_fallback: bool = True,
          producer: str = "", target: str = "cpu", outside: tuple[Mapping[str, Lowering], int] | None = None) -> Plan:
    """The plan of `graph` for a CPU whose vectors hold `lanes` floats, or for another target with its own lowerings;
    `outside` are then the CPU's lowerings and lanes, for the bodies of If, Loop and Scan, which run there.

    Raises UnsupportedError, listing every node, if some have no native kernel and `allow_fallback` is false.
    """
    plan = _lower(graph, lowerings, lanes, producer, target, outside or (lowerings, lanes))
    if plan.fallbacks and not allow_fallback:
        problems = [f"'{s.name}' ({s.op.op_type}): {s.reason}" for s in plan.fallbacks]
        if target == "cpu":
            what = "native kernel, and running them on their NumPy reference is not allowed"
        else:
            what = "CUDA kernel: allow them to run on the CPU (--fallback cpu), or compile for the CPU"
        raise UnsupportedError(
            f"{len(problems)} nodes of '{graph.name}' have no {what}: " + "; ".join(problems), problems)
    return plan


def _lower(graph: Graph, lowerings: Mapping[str, Lowering], lanes: int, producer: str, target: str,
           outside: tuple[Mapping[str, Lowering], int]) -> Plan:
    builder = _Builder(graph, lowerings, lanes, target, outside)
    for node in graph.walk():
        builder.node(node)
    outputs = tuple(Port(name, builder.buffer(value, PLAIN))
                    for value, name in zip(graph.outputs, graph.output_names, strict=True))
    return Plan(name=graph.name, target=target, lanes=lanes, buffers=tuple(builder.buffers),
                steps=tuple(builder.steps), inputs=tuple(builder.inputs), outputs=outputs, weights=builder.weights,
                producer=producer)


class _Builder:
    def __init__(self, graph: Graph, lowerings: Mapping[str, Lowering], lanes: int, target: str,
                 outside: tuple[Mapping[str, Lowering], int]) -> None:
        self.lowerings, self.lanes, self.target, self.outside = lowerings, lanes, target, outside
        self.host = PLAIN if target == "cpu" else HOST  # the layout of what runs without a kernel of the target
        self.buffers: list[Buffer] = []
        self.steps: list[Step] = []
        self.weights: dict[int, Array] = {}
        self.inputs: list[Port] = []
        # The buffers that hold a value, by layout; the first is the one that was computed.
        self.places: dict[Value, dict[str, int]] = {}
        for value in graph.inputs:
            self.inputs.append(Port(value.name, self._define(value, PLAIN)))

    def _define(self, value: Value, layout: str) -> int:
        versions = self.places.setdefault(value, {})
        suffix = f":{layout}" if versions else ""
        self.buffers.append(Buffer(value.name + suffix, value.type, layout))
        versions[layout] = len(self.buffers) - 1
        return versions[layout]

    def buffer(self, value: Value, layout: str) -> int:
        """The buffer that holds `value` in this layout; a reorder step is added if there is none yet."""
        if layout == HOST and value.known is not None:
            layout = PLAIN  # it is evaluated on the CPU, before the run
        if value.is_constant:
            if value not in self.places:
                assert value.constant is not None
                self.weights[self._define(value, PLAIN)] = value.constant
            return self.places[value][PLAIN]
        versions = self.places[value]
        if layout not in versions:
            source = next(iter(versions.values()))
            target = self._define(value, layout)
            name = self.buffers[target].name
            self.steps.append(Step(name, Identity(), REORDER, (source,), (target,)))
        return versions[layout]

    def node(self, node: Node) -> None:
        if all(v.known is not None for v in node.outputs):
            self._plain_step(node, KNOWN)
            return
        if node.op.bodies:
            self._plain_step(node, BODY, "" if self.target == "cpu" else f"{node.op.op_type} has no CUDA kernel")
            return
        source = node.inputs[0] if node.inputs else None
        if node.op.alias and source is not None and source.known is None and not source.is_constant \
                and len(node.outputs) == 1:
            self._alias(node, source)
            return
        tensors = [None if v is None else self._tensor(v) for v in node.inputs]
        lowering = self.lowerings.get(node.op.op_type)
        try:
            kernel = "native" if self.target == "cpu" else "CUDA"
            choice = Refusal(f"{node.op.op_type} has no {kernel} kernel") if lowering is None else \
                lowering.choose(node.op, tensors, [v.type for v in node.outputs], self.lanes)
        except PlanInvalid as error:  # an operand that the choice depends on is known in a run only
            choice = Refusal(str(error))
        if isinstance(choice, Refusal):
            self._plain_step(node, REFERENCE, choice.reason)
        else:
            self._native(node, choice)

    def _tensor(self, value: Value) -> Tensor:
        layout = PLAIN if value.is_constant else next(iter(self.places[value]))
        return Tensor(value.type, layout, value.operand.value, value.is_constant)

    def _plain_step(self, node: Node, kernel: str, reason: str = "") -> None:
        if kernel == KNOWN:  # read for their types and what is known of them, in whichever layout
            inputs = tuple(None if v is None else self.buffer(v, next(iter(self.places[v])) if v in self.places
                                                              else PLAIN) for v in node.inputs)
        else:
            inputs = tuple(None if v is None else self.buffer(v, self.host) for v in node.inputs)
        outputs = tuple(self._define(v, PLAIN if kernel == KNOWN else self.host) for v in node.outputs)
        op = node.op
        if op.bodies:
            op = dataclasses.replace(op, **{name: _lower(body, *self.outside, "", "cpu", self.outside)
                                            for name, body in op.bodies.items()})
        self.steps.append(Step(_name(node), op, kernel, inputs, outputs, reason=reason))

    def _alias(self, node: Node, source: Value) -> None:
        layout = next(iter(self.places[source]))
        if not (layout == PLAIN or node.op.op_type in ("Identity", "Dropout")):
            layout = PLAIN
        inputs = (self.buffer(source, layout), *(None if v is None else self.buffer(v, PLAIN) for v in node.inputs[1:]))
        self.steps.append(Step(_name(node), node.op, ALIAS, inputs, (self._define(node.output, layout),)))

    def _native(self, node: Node, choice: Choice) -> None:
        wanted = dict(enumerate(choice.inputs))
        inputs = tuple(None if v is None else self.buffer(v, wanted.get(i, PLAIN)) for i, v in enumerate(node.inputs))
        outputs = tuple(self._define(v, choice.outputs[i] if i < len(choice.outputs) else PLAIN)
                        for i, v in enumerate(node.outputs))
        self.steps.append(Step(_name(node), node.op, choice.kernel, inputs, outputs, dict(choice.params)))


def _name(node: Node) -> str:
    return node.name or node.output.name

