"""ONNX models to graphs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from ...errors import GraphError, ModelError, UnsupportedError
from ...ir import Graph, TensorType, Value
from ...ops import OPS
from .adapters import adapt, has_adapter
from .calls import Builder, Call, attributes_of, find_schema, make_operator
from .control import control_node, taken_branch
from .function_bodies import body_of, has_body, renamed
from .functions import inline_functions
from .inputs import InputShape, InputTypes, check_names, matching_array
from .limits import MAX_PORTS, Limits
from .microsoft import adapt_microsoft, is_microsoft
from .reading import OPSET_NEWEST, normal_domain, read_model
from .structure import describe, names_read, node_name, ordered_nodes
from .tensors import Source, tensor_array

__all__ = ["import_model"]

_LONGEST = 2000  # characters of a problem


def import_model(source: str | Path | bytes | onnx.ModelProto, *, name: str | None = None,
                 shapes: Mapping[str, InputShape] | None = None,
                 constants: Mapping[str, np.typing.ArrayLike] | None = None, max_bytes: int | None = None) -> Graph:
    """The graph of an ONNX model, with every operator in its newest form and weights as constants.

    Args:
        source: the path of a model, its bytes, or the model. Weights in other files are found only with a path, and
            only below the model's own folder.
        name: the graph's name; by default the model's.
        shapes: for some inputs, the shape to assume in place of the model's: sizes and names, as ['N', 3, 224, 224].
        constants: contents for some inputs, which then are inputs no more; so a shape that is given at run time can be
            fixed.
        max_bytes: what a tensor may have, and all weights together; by default CNNCC_MAX_BYTES, or 16 GiB.

    Raises:
        ModelError: the source is no valid model of an opset from 1 to the newest the installed onnx knows.
        UnsupportedError: it uses things cnncc lacks; the message lists all of them.
        InputError: `shapes` or `constants` do not fit the model's inputs.
    """
    read = read_model(source)
    limits = Limits.of(read.nodes, max_bytes)
    nodes, opsets = inline_functions(read.proto, read.label, limits)
    found = _Import(read.proto.graph, nodes, opsets, read.label, Source(read.folder, limits))
    return found.graph(name, shapes or {}, constants or {})


class _Import:
    """The import of a graph, or of a body within one: the graph so far, what each name of the model stands for, and the
    problems met. `outer` is the import of the graph around a body."""

    def __init__(self, proto: onnx.GraphProto, nodes: list[onnx.NodeProto], opsets: dict[str, int], label: str,
                 source: Source, outer: _Import | None = None) -> None:
        self._proto, self._opsets, self._label, self._source, self._outer = proto, opsets, label, source, outer
        self._nodes = ordered_nodes(proto, nodes, () if outer is None else outer)
        self._read = {name for node in nodes for name in names_read(node)} | {v.name for v in proto.output}
        self._weights = {tensor.name: tensor for tensor in proto.initializer}
        self._values: dict[str, Value | None] = {}  # None: could not be imported, which is reported already
        self._problems: list[str] = []
        self._captures: list[Value] = []  # of a body: the outer values that its last inputs are

    def __contains__(self, name: object) -> bool:
        """Whether a body within this graph can read something of this name."""
        return name in self._values or name in self._weights or (self._outer is not None and name in self._outer)

    def graph(self, name: str | None, shapes: Mapping[str, InputShape],
              constants: Mapping[str, np.typing.ArrayLike]) -> Graph:
        proto = self._proto
        graph = self._begin(name or proto.name or "net")
        self._add_inputs(graph, shapes, constants)
        outputs = self._add_nodes(graph)
        if self._problems:
            lines = "".join(f"\n  - {problem}" for problem in self._problems)
            raise UnsupportedError(f"{self._label} uses what cnncc does not support:{lines}", self._problems)
        lost = next((v.name for v, value in zip(proto.output, outputs, strict=True) if value is None), None)
        if lost is not None:
            raise ModelError(f"the output '{lost}' of {self._label} is given by a node that computes fewer outputs; "
                             "export it again")
        graph.set_outputs([v for v in outputs if v is not None], [v.name for v in proto.output])
        return graph

    def _begin(self, name: str) -> Graph:
        graph = self._graph = Graph(name)
        self._builder = Builder(graph, {v.name for v in self._proto.input} | set(self._weights)
                                | {n for node in self._nodes for n in node.output} | self._read, self._source.limits)
        for sparse in self._proto.sparse_initializer:
            self._fail(sparse.values.name, f"the initialiser '{sparse.values.name}' is sparse; make it dense")
        return graph

    def _add_nodes(self, graph: Graph) -> list[Value | None]:
        """Adds all nodes; the outputs."""
        for node in self._nodes:
            self._add_node(graph, node)
        return [self._value(graph, v.name) for v in self._proto.output]

    def _body(self, proto: onnx.GraphProto, types: Sequence[TensorType]) -> tuple[Graph, list[Value]]:
        """A body within this graph (see control.BodyReader)."""
        inner = _Import(proto, list(proto.node), self._opsets, self._label, self._source, self)
        graph = inner._begin(proto.name or "body")
        for formal, type_ in zip(proto.input, types, strict=False):
            inner._values[formal.name] = graph.add_input(formal.name, type_)
        outputs = inner._add_nodes(graph)
        if inner._problems:
            raise UnsupportedError(f"in the body '{graph.name}': " + "; ".join(inner._problems))
        if None in outputs:
            raise UnsupportedError(f"the body '{graph.name}' reads what could not be imported")
        graph.set_outputs([v for v in outputs if v is not None], [v.name for v in proto.output])
        return graph, inner._captures

    def _captured(self, graph: Graph, name: str) -> Value | None:
        """What a body reads of the graph around it: an input of its own, or a constant."""
        assert self._outer is not None
        outer = self._outer._value(self._outer._graph, name)
        if outer is None:
            return None
        known = outer.constant if outer.constant is not None or outer.known is None or outer.known.dtype == object \
            else outer.known
        if known is not None:
            return graph.add_constant(known, name)
        self._captures.append(outer)
        return graph.add_input(name, outer.type)

    def _add_inputs(self, graph: Graph, shapes: Mapping[str, InputShape],
                    constants: Mapping[str, np.typing.ArrayLike]) -> None:
        inputs = [v for v in self._proto.input if v.name not in self._weights and v.name not in self._values]
        ports = len(inputs) + len(self._proto.output)
        if ports > MAX_PORTS:
            raise ModelError(f"{self._label} has {ports} inputs and outputs, but may have at most {MAX_PORTS}; join "
                             "some of them")
        check_names((*shapes, *constants), inputs)
        types = InputTypes(inputs, shapes, self._source.limits)
        for proto in inputs:
            try:
                type_ = types.type_of(proto)
                if proto.name in constants:
                    array = matching_array(constants[proto.name], type_, proto.name)
                    self._values[proto.name] = graph.add_constant(array, proto.name)
                else:
                    self._values[proto.name] = graph.add_input(proto.name, type_)
            except UnsupportedError as error:
                self._fail(proto.name, f"{error}; export the model with tensors of float32")

    def _value(self, graph: Graph, name: str) -> Value | None:
        """What a name stands for; weights enter the graph when they are first read."""
        if name not in self._values and name not in self._weights:
            self._values[name] = self._captured(graph, name)
        elif name not in self._values:
            tensor = self._weights[name]
            try:
                array = tensor_array(tensor, f"the initialiser '{name}'", self._source)
                self._values[name] = graph.add_constant(array, name)
            except UnsupportedError as error:
                self._fail(name, f"{error}; export the model in float32")
        return self._values[name]

    def _fail(self, name: str, problem: str) -> None:
        self._values[name] = None
        self._problems.append(problem)

    def _add_node(self, graph: Graph, node: onnx.NodeProto) -> None:
        """Adds a node; on failure its outputs are unknown, and what reads them is checked as far as it can be."""
        domain = normal_domain(node.domain)
        self._source.limits.take_node()
        self._values.update((name, None) for name in node.output if name)
        try:
            if domain not in self._opsets:
                raise ModelError(f"the model imports no opset of '{node.domain or 'ai.onnx'}', the domain of the node "
                                 f"{describe(node)}; export it again")
            results = self._convert(graph, node, domain, self._opsets[domain])
        except ModelError as error:
            if not isinstance(error, UnsupportedError):
                raise
            self._report(node, domain, _shortened(error))
        except GraphError as error:
            self._report(node, domain, f"{_shortened(error)}; check that the model is valid, or give other shapes or "
                                       "constants for its inputs")
        except (ValueError, IndexError, ArithmeticError) as error:
            # Shape arithmetic on contents that the operator's reference cannot work with.
            self._report(node, domain, f"its contents cannot be computed ({_shortened(error)}); check that the model "
                                       "is valid")
        else:
            self._values.update(results)

    def _report(self, node: onnx.NodeProto, domain: str, reason: str) -> None:
        operator = f"{domain}.{node.op_type}" if domain else node.op_type
        self._problems.append(f"node '{node_name(node)}' ({operator}, opset {self._opsets[domain]}): {reason}")

    def _convert(self, graph: Graph, node: onnx.NodeProto, domain: str, opset: int) -> dict[str, Value]:
        """The values of a node's outputs; none where an input is unknown, once the rest has been checked."""
        schema = self._schema(node, domain, opset)
        if schema is not None and not self._is_known(node, domain, opset):
            return self._expand(graph, node, schema, opset)
        if schema is not None and not domain and node.op_type in OPS and OPS[node.op_type].body_fields:
            return self._control(graph, node, schema)
        attributes = attributes_of(node, schema, self._source)
        if (domain, node.op_type) == ("", "Constant"):
            if node.output[0] not in self._read:
                return {}
            return {node.output[0]: graph.add_constant(_constant(attributes), node.output[0])}
        inputs = [self._value(graph, name) if name else None for name in node.input]
        if any(name and value is None for name, value in zip(node.input, inputs, strict=True)):
            if not is_microsoft(domain, node.op_type) and not has_adapter(node.op_type, opset):
                make_operator(node.op_type, attributes, schema)
            return {}
        used = max((i for i, name in enumerate(node.output, 1) if name in self._read), default=1)
        call = Call(node_name(node), node.op_type, opset, inputs, attributes, list(node.output), used, self._builder,
                    domain)
        if domain:
            adapt_microsoft(call)
        else:
            adapt(call)
        return self._emit(call, schema)

    def _schema(self, node: onnx.NodeProto, domain: str, opset: int) -> onnx.defs.OpSchema | None:
        """ONNX's description of the operator, None for one of cnncc's that ONNX does not describe."""
        schema = find_schema(node.op_type, opset, domain)
        if not self._is_known(node, domain, opset) and (schema is None or not has_body(schema, opset)):
            raise UnsupportedError("cnncc has no such operator; export the model without it, or cut it there with "
                                   "onnx.utils.extract_model")
        if schema is None and not domain and not has_adapter(node.op_type, opset):
            raise UnsupportedError("ONNX has no such operator in this opset; export the model again")
        if schema is not None and not (schema.min_input <= len(node.input) <= schema.max_input
                                       and 1 <= len(node.output) <= schema.max_output):
            raise UnsupportedError(f"it has {len(node.input)} inputs and {len(node.output)} outputs, which ONNX does "
                                   "not allow; export the model again")
        return schema

    @staticmethod
    def _is_known(node: onnx.NodeProto, domain: str, opset: int) -> bool:
        """Whether cnncc has the operator itself."""
        operator = node.op_type in OPS and OPS[node.op_type].domain == domain
        if domain:
            return operator or is_microsoft(domain, node.op_type)
        return operator or node.op_type == "Constant" or has_adapter(node.op_type, opset)

    def _expand(self, graph: Graph, node: onnx.NodeProto, schema: onnx.defs.OpSchema, opset: int) -> dict[str, Value]:
        """The values of a node's outputs, computed as ONNX defines the operator."""
        inputs = [self._value(graph, name) if name else None for name in node.input]
        if any(name and value is None for name, value in zip(node.input, inputs, strict=True)):
            return {}
        body, opsets = body_of(node, schema, opset, [None if v is None else v.type for v in inputs],
                               self._builder.fresh_name)
        self._read |= {name for inner in body for name in names_read(inner)}
        outside, known_problems = self._opsets, len(self._problems)
        self._opsets = outside | opsets
        for inner in body:
            self._add_node(graph, inner)
        self._opsets = outside
        inside, self._problems[known_problems:] = self._problems[known_problems:], []
        if inside:
            raise UnsupportedError(f"ONNX defines it by other operators, of which cnncc does not support: "
                                   f"{'; '.join(inside)}")
        return {name: value for name in node.output if (value := self._values.get(name)) is not None}

    def _control(self, graph: Graph, node: onnx.NodeProto, schema: onnx.defs.OpSchema) -> dict[str, Value]:
        """The values of the outputs of an If, Loop or Scan. Of an If whose condition is known, only the branch that is
        taken is imported, in the node's place."""
        inputs = [self._value(graph, name) if name else None for name in node.input]
        if any(name and value is None for name, value in zip(node.input, inputs, strict=True)):
            return {}
        branch = taken_branch(node, inputs)
        if branch is not None:
            names = {n: self._builder.fresh_name(n) for n in [*(t.name for t in branch.initializer),
                                                              *(n for inner in branch.node for n in inner.output if n)]}
            self._weights.update((names[tensor.name], tensor) for tensor in branch.initializer)
            inside = [renamed(inner, names, {}) for inner in ordered_nodes(branch, list(branch.node), self)]
            outputs = [names.get(v.name, v.name) for v in branch.output]
            self._read |= {name for inner in inside for name in names_read(inner)} | set(outputs)
            for inner in inside:
                self._add_node(graph, inner)
            if len(outputs) != len(node.output):
                raise UnsupportedError(f"it has {len(node.output)} outputs, but its branch '{branch.name}' gives "
                                       f"{len(outputs)}; export the model again")
            pairs = zip(node.output, [self._value(graph, name) for name in outputs], strict=True)
            return {name: value for name, value in pairs if name and value is not None}
        op, operands = control_node(node, inputs, schema, self._source, self._body)
        while operands and operands[-1] is None:
            operands.pop()
        used = max((i for i, name in enumerate(node.output, 1) if name in self._read), default=1)
        given = [name or self._builder.fresh_name(f"{node_name(node)}.{i}") for i, name in
                 enumerate(node.output[:used])]
        return dict(zip(given, self._builder.node(op, operands, node_name(node), given), strict=True))

    def _emit(self, call: Call, schema: onnx.defs.OpSchema | None) -> dict[str, Value]:
        """Adds the node; trailing inputs and outputs that are absent or unread are dropped."""
        newest = find_schema(call.op_type, OPSET_NEWEST, "") if not call.domain else schema
        op = make_operator(call.op_type, call.attributes, newest)
        inputs = call.inputs
        while inputs and inputs[-1] is None:
            inputs.pop()
        outputs = call.outputs[:call.used]
        names = [name or self._builder.fresh_name(f"{call.name}.{i}") for i, name in enumerate(outputs)]
        values = self._builder.node(op, inputs, call.name, names)
        return dict(zip(names, values, strict=True)) | call.given


def _shortened(error: Exception) -> str:
    """What an error says, without the middle where an attribute of the model made it endless."""
    text = str(error)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST // 2]} ... {text[-_LONGEST // 2:]}"


def _constant(attributes: Mapping[str, Any]) -> np.ndarray[Any, Any]:
    """The array of a Constant, from whichever of its attributes is given."""
    dtypes = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64}
    if len(attributes) == 1:
        (name, value), = attributes.items()
        if name == "value":
            return np.asarray(value)
        if name in dtypes:
            return np.asarray(value, dtypes[name])
        raise UnsupportedError(f"its attribute '{name}' is not supported; use dense numbers")
    raise UnsupportedError(f"it must have one attribute, not {len(attributes)}; export the model again")
