"""If, Loop and Scan: the types of their bodies, and what these read of the graph around them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import onnx

from ...errors import UnsupportedError
from ...ir import Dim, DimLike, DType, Graph, Op, TensorType, Value, symbol
from ...ops import OPS
from .calls import attributes_of, make_operator
from .tensors import Source

__all__ = ["BodyReader", "body_attributes", "control_node", "taken_branch"]

# Reads a body whose formal inputs have these types: its graph, and for each input behind them the outer value it is.
BodyReader = Callable[[onnx.GraphProto, Sequence[TensorType]], tuple[Graph, list[Value]]]


def body_attributes(node: onnx.NodeProto) -> dict[str, onnx.GraphProto]:
    return {a.name: a.g for a in node.attribute if a.type == onnx.AttributeProto.GRAPH}


def taken_branch(node: onnx.NodeProto, inputs: Sequence[Value | None]) -> onnx.GraphProto | None:
    """The branch that an If takes whenever it runs, if its condition is known."""
    cond = inputs[0] if inputs else None
    contents = None if cond is None else cond.operand.value
    if node.op_type != "If" or contents is None:
        return None
    return body_attributes(node).get("then_branch" if bool(contents.item()) else "else_branch")


def control_node(node: onnx.NodeProto, inputs: Sequence[Value | None], schema: onnx.defs.OpSchema,
                 source: Source, read: BodyReader) -> tuple[Op, list[Value | None]]:
    """The operator and its operands. Raises UnsupportedError where a body does not fit."""
    bodies = body_attributes(node)
    for name in OPS[node.op_type].body_fields:
        if name not in bodies:
            raise UnsupportedError(f"it lacks its attribute '{name}'; export the model again")
    plain = onnx.NodeProto(op_type=node.op_type, name=node.name)
    plain.attribute.extend(a for a in node.attribute if a.name not in bodies)
    attributes = attributes_of(plain, schema, source)
    if node.op_type == "If":
        return _if(bodies, inputs, read)
    if node.op_type == "Loop":
        return _loop(bodies["body"], inputs, read)
    return _scan(bodies["body"], inputs, attributes, schema, read)


def _if(bodies: dict[str, onnx.GraphProto], inputs: Sequence[Value | None],
        read: BodyReader) -> tuple[Op, list[Value | None]]:
    """Both branches get all captures of either."""
    found = {name: read(body, ()) for name, body in bodies.items()}
    captures = list(dict.fromkeys(v for _, own in found.values() for v in own))
    for graph, own in found.values():
        order = dict(zip(own, graph.inputs, strict=True))
        graph.inputs[:] = [order.get(v) or graph.add_input(graph.fresh_name(v.name), v.type) for v in captures]
    op = OPS["If"](**{name: graph for name, (graph, _) in found.items()})
    return op, [inputs[0], *captures]


def _loop(body: onnx.GraphProto, inputs: Sequence[Value | None], read: BodyReader) -> tuple[Op, list[Value | None]]:
    m, cond, *states = (*inputs, None, None)[:max(2, len(inputs))]
    if len(body.input) != 2 + len(states) or len(body.output) < 1 + len(states):
        raise UnsupportedError(f"its body has {len(body.input)} inputs and {len(body.output)} outputs, which does not "
                               f"fit {len(states)} values; export the model again")
    formal = [TensorType(dtype, (1,) * len(proto.type.tensor_type.shape.dim))
              for dtype, proto in zip((DType.I64, DType.BOOL), body.input, strict=False)]
    graph, captures = _settled(body, formal, _types(states), 1, read)
    return OPS["Loop"](body=graph, carried=len(states)), [m, cond, *states, *captures]  # type: ignore[call-arg]


def _scan(body: onnx.GraphProto, inputs: Sequence[Value | None], attributes: dict[str, Any],
          schema: onnx.defs.OpSchema, read: BodyReader) -> tuple[Op, list[Value | None]]:
    if schema.since_version < 9:
        raise UnsupportedError("Scan is supported from opset 9 on; export the model with a newer opset")
    if "num_scan_inputs" not in attributes:
        raise UnsupportedError("it lacks its attribute 'num_scan_inputs'; export the model again")
    count = len(inputs) - attributes["num_scan_inputs"]
    if not 0 <= count < len(inputs) or len(body.input) != len(inputs) or len(body.output) < count:
        raise UnsupportedError(f"its body has {len(body.input)} inputs and {len(body.output)} outputs, which does not "
                               f"fit {len(inputs)} operands; export the model again")
    axes = attributes.get("scan_input_axes") or (0,) * (len(inputs) - count)
    elements = []
    for type_, axis in zip(_types(inputs[count:]), axes, strict=True):
        if not -type_.rank <= axis < type_.rank:
            raise UnsupportedError(f"its sequence {type_} has no axis {axis}; export the model again")
        elements.append(TensorType(type_.dtype, tuple(d for i, d in enumerate(type_.shape) if i != axis % type_.rank)))
    graph, captures = _settled(body, [], _types(inputs[:count]), 0, read, elements)
    op = make_operator("Scan", attributes | {"body": graph, "states": count}, None)
    return op, [*inputs, *captures]


def _types(values: Sequence[Value | None]) -> list[TensorType]:
    return [v.type for v in values if v is not None]


def _settled(body: onnx.GraphProto, before: Sequence[TensorType], states: Sequence[TensorType], first: int,
             read: BodyReader, after: Sequence[TensorType] = ()) -> tuple[Graph, list[Value]]:
    """The body, in types that stay as they are when it is repeated: a size that differs after the body (its outputs
    from `first` on) becomes a symbol of the body's own, and the body is read again."""
    current = list(states)
    own: set[tuple[int, int]] = set()
    while True:
        graph, captures = read(body, [*before, *current, *after])
        results = [v.type for v in graph.outputs[first:first + len(states)]]
        taken = {s for v in graph.values for s in v.type.symbols}
        changed = False
        for i, (old, new) in enumerate(zip(current, results, strict=True)):
            if (old.dtype, old.rank) != (new.dtype, new.rank):
                name = body.input[len(before) + i].name
                raise UnsupportedError(f"the value '{name}' of its body is {old} before and {new} after it; it must "
                                       "keep its element type and rank")
            shape: list[DimLike] = list(old.shape)
            for axis, (a, b) in enumerate(zip(old.shape, new.shape, strict=True)):
                if a != b and (i, axis) not in own:
                    own.add((i, axis))
                    shape[axis] = _fresh(f"v{i}_{axis}", taken)
                    changed = True
            current[i] = TensorType(old.dtype, tuple(shape))
        if not changed:
            return graph, captures


def _fresh(name: str, taken: set[str]) -> Dim:
    while name in taken:
        name += "_"
    taken.add(name)
    return symbol(name)
