"""IR text: a graph as a person reads it, and as `parse_graph` reads it back.

    graph @net(%x: f32[N,3,32,32]) {
      %w = const @conv1.weight : f32[8,3,3,3]
      %axes = const [2,3] : i64[2]
      %0 = Conv(%x, %w) {pads=[1,1,1,1], activation=relu} : f32[N,8,32,32]
      %1 = ReduceMean(%0, %axes) {keepdims=0} : f32[N,8]
      return %1 as "features"
    }

The bodies of If, Loop and Scan follow the line of their node, each as `then_branch = graph @name(...) {` up to its own
closing brace. A constant of up to 16 integers (or one float) is written out; of a larger one only the name stands in
the text. A name that is not made of letters, digits and `_ . / : -` is quoted as in JSON. The text is deterministic:
equal graphs print equally.
"""

from __future__ import annotations

import json
import re

from .attributes import format_op
from .graph import Graph, Node, Value
from .types import DType

__all__ = ["INLINE_LIMIT", "format_graph", "format_node"]

INLINE_LIMIT = 16
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_./:\-]*[A-Za-z0-9_./\-])?")


def format_name(name: str) -> str:
    return name if _PLAIN_NAME.fullmatch(name) else json.dumps(name)


def format_graph(graph: Graph) -> str:
    """The text of the whole graph, constants at their first reader."""
    inputs = ", ".join(f"%{format_name(v.name)}: {v.type}" for v in graph.inputs)
    lines = [f"graph @{format_name(graph.name)}({inputs}) {{"]
    shown: set[Value] = set()
    for node in graph.walk():
        for value in node.inputs:
            if value is not None and value.is_constant and value not in shown:
                shown.add(value)
                lines.append("  " + format_constant(value))
        lines.append("  " + format_node(node))
        for name, body in node.op.bodies.items():
            first, *rest = format_graph(body).splitlines()
            lines += [f"    {name} = {first}", *(f"    {line}" for line in rest)]
    for value in graph.outputs:
        if value.is_constant and value not in shown:
            shown.add(value)
            lines.append("  " + format_constant(value))
    lines.append("  return " + ", ".join(
        f"%{format_name(v.name)}" + ("" if v.name == n else f" as {json.dumps(n)}")
        for v, n in zip(graph.outputs, graph.output_names, strict=True)))
    return "\n".join([*lines, "}"]) + "\n"


def format_node(node: Node) -> str:
    """One line: outputs, operator, operands, attributes that are not defaults, types, and the node's name if it has
    one that is not its first output's."""
    left = ", ".join(f"%{format_name(v.name)}" for v in node.outputs)
    right = ", ".join("none" if v is None else f"%{format_name(v.name)}" for v in node.inputs)
    types = ", ".join(str(v.type) for v in node.outputs)
    name = f" @{format_name(node.name)}" if node.name and node.name != node.output.name else ""
    return f"{left} = {node.op.op_type}({right}){format_op(node.op)} : {types}{name}"


def format_constant(value: Value) -> str:
    array = value.constant
    assert array is not None
    left = f"%{format_name(value.name)} = const"
    if array.size <= INLINE_LIMIT and (not value.type.dtype.is_float or array.size == 1):
        return f"{left} {_format_array(array.tolist(), value.type.dtype)} : {value.type}"
    return f"{left} @{format_name(value.name)} : {value.type}"


def _format_array(items: object, dtype: DType) -> str:
    if isinstance(items, list):
        return f"[{','.join(_format_array(i, dtype) for i in items)}]"
    if dtype is DType.BOOL:
        return "true" if items else "false"
    return repr(items)
