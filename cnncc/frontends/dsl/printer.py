"""Any graph as text of the language: one line an operator, under its ONNX name, weights by their names.

`build_network(format_network(graph), weights=weights_of(graph))` gives an equal graph.
"""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any

import numpy as np

from ...errors import GraphError
from ...ir import Activation, DType, Graph, Node, Value
from ...ir.printer import INLINE_LIMIT
from .layers import find_word
from .numbers import FUNCTIONS

__all__ = ["RESERVED", "format_name", "format_network", "weights_of"]

RESERVED = {"network", "block", "input", "output", "weight", "const", "of", "repeat", "as", "for", "in", "if", "elif",
            "else", "and", "or", "not", "true", "false", "none", "inf", "nan"}
_PLAIN = re.compile(r"[A-Za-z_]\w*", re.ASCII)


def format_network(graph: Graph) -> str:
    """The text of a network with the graph's inputs, weights, nodes and outputs, under their names.

    Raises GraphError where an input's dimension is named like a value, which the language cannot tell apart.
    """
    _check_dims(graph)
    lines = [f"network {format_name(graph.name)}:"]
    lines += [f"input {format_name(v.name)}: {v.type}" for v in graph.inputs]
    shown: set[Value] = set()
    for node in graph.walk():
        for value in node.inputs:
            if value is not None and value.is_constant and value not in shown:
                shown.add(value)
                lines.append(_constant(value))
        lines.append(_node(node))
    for value, name in zip(graph.outputs, graph.output_names, strict=True):
        if value.is_constant and value not in shown:
            shown.add(value)
            lines.append(_constant(value))
        if value.name == name:
            lines.append(f"output {format_name(name)}")
        else:
            lines.append(f"output {format_name(name)} = {format_name(value.name)}")
    return "\n  ".join(lines) + "\n"


def weights_of(graph: Graph) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays that the text names but does not hold."""
    return {v.name: v.constant for v in graph.constants if v.constant is not None and not _is_inline(v)}


def format_name(name: str) -> str:
    """The name as it is, or quoted where it could be read as something else."""
    plain = _PLAIN.fullmatch(name) and name not in RESERVED and name not in FUNCTIONS and find_word(name) is None
    return name if plain else json.dumps(name)


def _check_dims(graph: Graph) -> None:
    for value in graph.inputs:
        for s in value.type.symbols:
            if s in RESERVED:
                raise GraphError(f"the dimension '{s}' of the input '{value.name}' is a word of the language; "
                                 "give it another name")


def _is_inline(value: Value) -> bool:
    assert value.constant is not None
    return value.constant.size <= INLINE_LIMIT and (not value.type.dtype.is_float or value.constant.size == 1)


def _constant(value: Value) -> str:
    assert value.constant is not None
    if not _is_inline(value):
        return f"weight {format_name(value.name)}: {value.type}"
    return f"{format_name(value.name)} = const {value.type} {_literal(value.constant.tolist())}"


def _node(node: Node) -> str:
    names = ", ".join(format_name(v.name) for v in node.outputs)
    inputs = ", ".join("none" if v is None else format_name(v.name) for v in node.inputs)
    label = "" if node.name in ("", node.output.name) else f"{_label(node.name)}: "
    attributes = "".join(f" {name} {_attribute(value)}" for name, value in node.op.attributes.items())
    return f"{names} = {label}{node.op.op_type}({inputs}){attributes}"


def _label(name: str) -> str:
    return name if _PLAIN.fullmatch(name) and name not in RESERVED else json.dumps(name)


def _attribute(value: Any) -> str:
    if isinstance(value, str):
        return value if _PLAIN.fullmatch(value) and value not in RESERVED else json.dumps(value)
    if isinstance(value, DType):
        return value.value
    if isinstance(value, Activation):
        parameters = ", ".join(map(_literal, value.parameters))
        return f"{value.kind}({parameters})" if parameters else value.kind
    if dataclasses.is_dataclass(value):
        raise GraphError(f"an attribute of type {type(value).__name__} has no text in the language")
    return _literal(value)


def _literal(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_literal, value))}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value)
