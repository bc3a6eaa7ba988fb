"""Operators that cnncc does not have, but that ONNX itself defines by simpler ones: their definitions, ready to stand
in the place of a node."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import zip_longest

import onnx

from ...errors import ModelError
from ...ir import TensorType
from .reading import normal_domain

__all__ = ["body_of", "has_body", "renamed"]

# Their bodies use what cnncc lacks too (random numbers, sequences): errors are to name the operator itself.
_REFUSED = {("", "Bernoulli"), ("", "SequenceMap")}


def has_body(schema: onnx.defs.OpSchema, opset: int) -> bool:
    """Whether ONNX defines the operator by others in this opset."""
    versions = [*schema.function_opset_versions, *schema.context_dependent_function_opset_versions]
    return min(versions, default=opset + 1) <= opset and (schema.domain, schema.name) not in _REFUSED


def body_of(node: onnx.NodeProto, schema: onnx.defs.OpSchema, opset: int, inputs: Sequence[TensorType | None],
            fresh_name: Callable[[str], str]) -> tuple[list[onnx.NodeProto], dict[str, int]]:
    """The nodes that compute what `node` does, and the opsets they are written in.

    Args:
        inputs: the types of the node's inputs, None for an absent one.
        fresh_name: a name that no value of the model bears, from a hint; for the values within.
    """
    plain = max((v for v in schema.function_opset_versions if v <= opset), default=0)
    dependent = max((v for v in schema.context_dependent_function_opset_versions if v <= opset), default=0)
    if plain:
        data = schema.get_function_with_opset_version(plain)
    else:
        types = [_type_proto(t).SerializeToString() for t in inputs]
        try:
            data = schema.get_context_dependent_function_with_opset_version(
                dependent, node.SerializeToString(), types)
        except RuntimeError as error:
            raise ModelError(f"ONNX's definition of {node.op_type} does not fit the node '{node.name}': "
                             f"{error}") from None
    function = onnx.FunctionProto.FromString(data)
    names = dict(zip_longest(function.input, node.input[:len(function.input)], fillvalue=""))
    names |= {formal: actual for formal, actual in zip(function.output, node.output, strict=False) if actual}
    stem = next((name for name in node.output if name), node.name)
    for inner in function.node:
        names |= {name: fresh_name(f"{stem}.{name}") for name in inner.output if name and name not in names}
    names[""] = ""
    attributes = {a.name: a.default_value for a in schema.attributes.values()
                  if a.default_value.type != onnx.AttributeProto.UNDEFINED} | {a.name: a for a in node.attribute}
    return ([renamed(inner, names, attributes) for inner in function.node],
            {normal_domain(entry.domain): entry.version for entry in function.opset_import})


def _type_proto(type_: TensorType | None) -> onnx.TypeProto:
    if type_ is None:
        return onnx.TypeProto()
    return onnx.helper.make_tensor_type_proto(type_.dtype.onnx, [d if isinstance(d, int) else str(d)
                                                                 for d in type_.shape])


def renamed(node: onnx.NodeProto, names: Mapping[str, str],
            attributes: Mapping[str, onnx.AttributeProto]) -> onnx.NodeProto:
    """A node of a body under the names of the place where it is put; the attributes that refer to those of a function
    get their contents, and are left out where these have none."""
    copy = onnx.NodeProto(op_type=node.op_type, domain=node.domain, name=node.name, overload=node.overload)
    copy.input.extend(names.get(name, name) for name in node.input)
    copy.output.extend(names.get(name, name) for name in node.output)
    for attribute in node.attribute:
        if attribute.ref_attr_name:
            if attribute.ref_attr_name in attributes:
                copy.attribute.add().CopyFrom(attributes[attribute.ref_attr_name])
                copy.attribute[-1].name = attribute.name
            continue
        copy.attribute.add().CopyFrom(attribute)
        for graph in _graphs(copy.attribute[-1]):
            _rename_within(graph, names, attributes)
    return copy


def _graphs(attribute: onnx.AttributeProto) -> Iterator[onnx.GraphProto]:
    if attribute.type == onnx.AttributeProto.GRAPH:
        yield attribute.g
    yield from attribute.graphs


def _rename_within(graph: onnx.GraphProto, names: Mapping[str, str],
                   attributes: Mapping[str, onnx.AttributeProto]) -> None:
    """What a subgraph reads of the graph around it gets its new name; its own names stay, and hide those."""
    own = {v.name for v in graph.input} | {t.name for t in graph.initializer} | {n for x in graph.node
                                                                                 for n in x.output}
    visible = {old: new for old, new in names.items() if old not in own}
    nodes = [renamed(node, visible, attributes) for node in graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    for output in graph.output:
        output.name = visible.get(output.name, output.name)
