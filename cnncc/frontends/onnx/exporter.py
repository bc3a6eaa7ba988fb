"""Graphs to ONNX models, so that ONNX Runtime can run any graph, optimised or not, and show every value of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from ...errors import ModelError
from ...ir import Activation, DimLike, DType, Graph, Node, TensorType, Value
from ...ops.control import ControlOp
from .calls import find_schema
from .exporter_quantized import export_quantized
from .reading import OPSET_NEWEST

__all__ = ["export_model"]

# The opset written, where all operators fit it; otherwise the next in which they do.
_LEAST_OPSET = 22
_MAX_BYTES = 2**31 - 2**24  # protobuf's limit for a message, less some room for all that is not weights

# Operators whose operands after so many are not ONNX's: they are added to the result.
_OWN_INPUTS = {"Conv": 3, "Gemm": 3, "MatMul": 2}

# activation -> ONNX operator and the attributes its parameters go to
_ACTIVATIONS: dict[str, tuple[str, tuple[str, ...], dict[str, Any]]] = {
    "relu": ("Relu", (), {}),
    "leaky_relu": ("LeakyRelu", ("alpha",), {}),
    "elu": ("Elu", ("alpha",), {}),
    "selu": ("Selu", ("alpha", "gamma"), {}),
    "sigmoid": ("Sigmoid", (), {}),
    "tanh": ("Tanh", (), {}),
    "hard_sigmoid": ("HardSigmoid", ("alpha", "beta"), {}),
    "hard_swish": ("HardSwish", (), {}),
    "softplus": ("Softplus", (), {}),
    "mish": ("Mish", (), {}),
    "gelu": ("Gelu", (), {}),
    "gelu_tanh": ("Gelu", (), {"approximate": "tanh"}),
}


def export_model(graph: Graph) -> onnx.ModelProto:
    """The model that computes what `graph` does, under the same names of inputs, outputs and values.

    What cnncc's operators have beyond ONNX's (Conv's residual, fused activations) becomes nodes of its own.
    Raises ModelError where the weights exceed what one ONNX file can hold.
    """
    size = _weight_bytes(graph)
    if size > _MAX_BYTES:
        raise ModelError(f"the graph '{graph.name}' has {size:,} bytes of weights; one ONNX file holds {_MAX_BYTES:,}")
    return _Export(graph).model()


def _weight_bytes(graph: Graph) -> int:
    return sum(value.type.nbytes for value in graph.constants) + sum(_weight_bytes(body) for body in graph.bodies())


class _Export:
    """The export of a graph, or of a body within one: the nodes so far and the name of each value. The names taken are
    those of all graphs of the model."""

    def __init__(self, graph: Graph, captures: Sequence[str] = (), outer: _Export | None = None) -> None:
        """`captures` are the names that the last inputs of a body have outside."""
        self._graph = graph
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []
        self._node_names: set[str] = set() if outer is None else outer._node_names
        self._taken: set[str] = set() if outer is None else outer._taken
        self._formal = graph.inputs[:len(graph.inputs) - len(captures)]
        self._output_names = list(graph.output_names) if outer is None else [self.fresh(n) for n in graph.output_names]
        self._taken |= set(self._output_names)
        self._names: dict[Value, str] = {v: v.name if outer is None else self.fresh(v.name) for v in self._formal}
        self._taken |= set(self._names.values())
        self._names.update(zip(graph.inputs[len(self._formal):], captures, strict=True))
        for value, name in zip(graph.outputs, self._output_names, strict=True):
            if value.producer is not None:
                self._names.setdefault(value, name)
        for value in graph.values:
            if value not in self._names:
                self._names[value] = self.fresh(value.name)

    def graph(self) -> onnx.GraphProto:
        graph = self._graph
        self._weights += [_tensor(v.constant, self._names[v]) for v in graph.constants if v.constant is not None]
        for node in graph.walk():
            self._add(node)
        for value, name in zip(graph.outputs, self._output_names, strict=True):
            if self._names[value] != name:
                self.emit("Identity", [self._names[value]], [name], name)
        return helper.make_graph(
            self._nodes, graph.name, [_value_info(self._names[v], v.type) for v in self._formal],
            [_value_info(name, v.type) for v, name in zip(graph.outputs, self._output_names, strict=True)],
            self._weights)

    def model(self) -> onnx.ModelProto:
        proto = self.graph()
        nodes = list(_all_nodes(self._nodes))
        imports = [helper.make_opsetid("", _opset([n for n in nodes if not n.domain]))]
        ir_version = helper.find_min_ir_version_for(imports)
        imports += [helper.make_opsetid(domain, 1) for domain in sorted({n.domain for n in nodes} - {""})]
        return helper.make_model(proto, opset_imports=imports, ir_version=ir_version, producer_name="cnncc")

    def _add(self, node: Node) -> None:
        """A node, and after it the additions and the activation that are fused into it."""
        op, outputs = node.op, [self._names[v] for v in node.outputs]
        inputs = ["" if v is None else self._names[v] for v in node.inputs]
        attributes = op.attributes
        if isinstance(op, ControlOp):
            self._control(node, op, inputs, outputs)
            return
        activation = attributes.pop("activation", None)
        if export_quantized(self, node, inputs, outputs[0], _attributes(op.op_type, attributes)):
            return
        own = _OWN_INPUTS.get(op.op_type, len(inputs))
        inputs, added = inputs[:own], [name for name in inputs[own:] if name]
        while added and inputs and not inputs[-1]:
            inputs.pop()
        steps = len(added) + (activation is not None)
        names = [self.fresh(f"{outputs[0]}.{i}") for i in range(steps)] + outputs[:1]
        self.emit(op.op_type, inputs, [names[0], *outputs[1:]], node.name, op.domain,
                  **_attributes(op.op_type, attributes))
        for i, addend in enumerate(added):
            self.emit("Add", [names[i], addend], [names[i + 1]], f"{node.name}.added")
        if activation is not None:
            self.activate(activation, node.output.type.dtype, names[-2], names[-1], f"{node.name}.activation")

    def _control(self, node: Node, op: ControlOp, inputs: list[str], outputs: list[str]) -> None:
        """An If, Loop or Scan, whose bodies read by name what the graph around them has."""
        captures = inputs[op.first_capture:]
        bodies = {name: _Export(body, captures, self).graph() for name, body in op.bodies.items()}
        attributes = {name: value for name, value in op.attributes.items() if name not in ("carried", "states")}
        unread = len(op.infer(*(None if v is None else v.operand for v in node.inputs))) - len(outputs)
        outputs = [*outputs, *(self.fresh(f"{outputs[0]}.unread") for _ in range(unread))]
        self.emit(op.op_type, inputs[:op.first_capture], outputs, node.name, **_attributes(op.op_type, attributes),
                   **bodies)

    def activate(self, activation: Activation, dtype: DType, x: str, y: str, name: str) -> None:
        kind = activation.kind
        if kind == "clip":
            ends = [self.fresh(f"{y}.{end}") for end in ("min", "max")]
            self._weights += [_tensor(np.asarray(p, dtype.numpy), n)
                              for p, n in zip(activation.parameters, ends, strict=True)]
            self.emit("Clip", [x, *ends], [y], name)
        elif kind == "silu":
            gate = self.fresh(f"{y}.sigmoid")
            self.emit("Sigmoid", [x], [gate], f"{name}.sigmoid")
            self.emit("Mul", [x, gate], [y], name)
        else:
            op_type, parameters, fixed = _ACTIVATIONS[kind]
            given: dict[str, Any] = dict(zip(parameters, activation.parameters, strict=True))
            self.emit(op_type, [x], [y], name, **given, **fixed)

    def emit(self, op_type: str, inputs: Sequence[str], outputs: Sequence[str], name: str, domain: str = "",
             **attributes: Any) -> None:
        if name:  # ONNX Runtime refuses models in which two nodes have one name
            name = _fresh(name, self._node_names)
        self._nodes.append(helper.make_node(op_type, inputs, outputs, name=name, domain=domain, **attributes))

    def fresh(self, hint: str) -> str:
        """`hint`, or that with a number."""
        return _fresh(hint, self._taken)

    def constant(self, array: np.ndarray[Any, Any], hint: str) -> str:
        """A new weight; its name."""
        name = self.fresh(hint)
        self._weights.append(_tensor(array, name))
        return name


def _fresh(hint: str, taken: set[str]) -> str:
    """`hint`, with a number where it is taken; the result is taken from then on."""
    name, count = hint, 0
    while name in taken:
        count += 1
        name = f"{hint}_{count}"
    taken.add(name)
    return name


def _all_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    for node in nodes:
        yield node
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from _all_nodes(attribute.g.node)


def _opset(nodes: Sequence[onnx.NodeProto]) -> int:
    """The first opset from _LEAST_OPSET on that has every operator with the inputs and attributes used."""
    forms = {(n.op_type, len(n.input), frozenset(a.name for a in n.attribute)) for n in nodes}
    for opset in range(_LEAST_OPSET, OPSET_NEWEST):
        schemas = [(find_schema(op_type, opset, ""), count, names) for op_type, count, names in forms]
        if all(s is not None and count <= s.max_input and names <= set(s.attributes) for s, count, names in schemas):
            return opset
    return OPSET_NEWEST


# Defaults that onnx's inference has to read: it expands the first by its definition, and takes the other for two-sided.
_SPELT_OUT: dict[str, dict[str, Any]] = {"MeanVarianceNormalization": {"axes": (0, 2, 3)}, "STFT": {"onesided": True}}


def _attributes(op_type: str, fields: dict[str, Any]) -> dict[str, Any]:
    """Fields as ONNX attributes; an empty list stands for the default."""
    if op_type == "ConstantOfShape":
        dtype: DType = fields.get("dtype", DType.F32)
        return {"value": _tensor(np.full(1, fields.get("value", 0), dtype.numpy), "value")}
    fields = _SPELT_OUT.get(op_type, {}) | fields
    return {name: _attribute(value) for name, value in fields.items() if value not in (None, ())}


def _attribute(value: Any) -> Any:
    if isinstance(value, DType):
        return value.onnx
    if isinstance(value, bool):
        return int(value)
    return list(value) if isinstance(value, tuple) else value


def _tensor(array: np.ndarray[Any, Any], name: str) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(array, order="C"), name)


def _value_info(name: str, type_: TensorType) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, type_.dtype.onnx, [_dim(d) for d in type_.shape])


def _dim(d: DimLike) -> int | str:
    return d if isinstance(d, int) else str(d)
