"""One ONNX node on its way into the graph: a Call, which adapters bring into the newest form, and the Builder."""

from __future__ import annotations

import functools
import typing
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

import numpy as np
import onnx

from ...errors import ModelError, UnsupportedError
from ...ir import DType, Graph, Op, Value
from ...ir.attributes import make_op
from ...ops import OPS
from ...records import record
from .limits import Limits
from .tensors import Source, dtype_name, tensor_array

__all__ = ["Builder", "Call", "attributes_of", "find_schema", "make_operator"]

Array = np.ndarray[Any, Any]
_Type = onnx.AttributeProto


class Builder:
    """Adds nodes and constants to a graph, under names that no value of the model bears."""

    def __init__(self, graph: Graph, reserved: set[str], limits: Limits) -> None:
        self.graph = graph
        self._reserved, self._limits = reserved, limits
        self._counts: dict[str, int] = {}

    def fresh_name(self, hint: str) -> str:
        name = hint
        while name in self._reserved:
            self._counts[hint] = self._counts.get(hint, 0) + 1
            name = f"{hint}_{self._counts[hint]}"
        self._reserved.add(name)
        return name

    def constant(self, array: Array, hint: str) -> Value:
        return self.graph.add_constant(array, self.fresh_name(hint))

    def node(self, op: Op, inputs: Sequence[Value | None], name: str, outputs: Sequence[str]) -> tuple[Value, ...]:
        node = self.graph.add_node(op, inputs, name=name, outputs=outputs)
        for value in node.outputs:
            self._limits.check_type(value.type, f"the value '{value.name}', which {op.op_type} '{name}' computes,")
        return node.outputs


@record(frozen=False)
class Call:
    """An ONNX node with its inputs found. Adapters change it in place, and may put nodes before it.

    `attributes` are Python values (tensors as arrays), those with a default in the node's opset filled in.
    `outputs` are names, "" for an absent one; only the first `used` of them are read by anybody. `given` are values of
    outputs that an adapter has taken from this list, since another node computes them.
    """

    name: str
    op_type: str
    opset: int
    inputs: list[Value | None]
    attributes: dict[str, Any]
    outputs: list[str]
    used: int
    builder: Builder
    domain: str = ""
    given: dict[str, Value] = field(default_factory=dict)

    def operand(self, index: int) -> Value:
        """An input that the operator requires."""
        value = self.inputs[index] if index < len(self.inputs) else None
        if value is None:
            raise UnsupportedError(f"it lacks its input {index}; export the model again")
        return value

    def constant(self, array: Array, suffix: str) -> Value:
        return self.builder.constant(array, f"{self._stem()}.{suffix}")

    def emit(self, op_type: str, inputs: Sequence[Value | None], attributes: Mapping[str, Any], suffix: str) -> Value:
        """A node before this one; its first output."""
        name = self.builder.fresh_name(f"{self._stem()}.{suffix}")
        return self.builder.node(make_op(OPS, op_type, attributes), inputs, name, [name])[0]

    def _stem(self) -> str:
        return next((name for name in self.outputs if name), self.name)


@functools.lru_cache(1024)
def find_schema(op_type: str, opset: int, domain: str) -> onnx.defs.OpSchema | None:
    try:
        return onnx.defs.get_schema(op_type, opset, domain)
    except onnx.defs.SchemaError:
        return None


def attributes_of(node: onnx.NodeProto, schema: onnx.defs.OpSchema | None, source: Source) -> dict[str, Any]:
    """The attributes as Python values, with the schema's defaults. Raises UnsupportedError for one that the schema
    has not or whose type is not the schema's, and for kinds of value that no operator of cnncc takes."""
    out: dict[str, Any] = {}
    if schema is not None:
        out = {name: _value(a.default_value, schema.name, source) for name, a in schema.attributes.items()
               if a.default_value.type != _Type.UNDEFINED}
    for proto in node.attribute:
        if schema is not None:
            formal = schema.attributes.get(proto.name)
            if formal is None:
                raise UnsupportedError(f"ONNX gives it no attribute '{proto.name}' in this opset; export it again")
            if proto.type != formal.type.value:
                raise UnsupportedError(f"its attribute '{proto.name}' must be of type {formal.type.name}, not "
                                       f"{_Type.AttributeType.Name(proto.type)}; export the model again")
        out[proto.name] = _value(proto, node.name, source)
    return out


def _value(proto: onnx.AttributeProto, where: str, source: Source) -> Any:
    kind = proto.type
    if kind == _Type.INT:
        return proto.i
    if kind == _Type.FLOAT:
        return _shortest(proto.f)
    if kind == _Type.STRING:
        return _decode(proto.s, proto.name)
    if kind == _Type.INTS:
        return tuple(proto.ints)
    if kind == _Type.FLOATS:
        return tuple(map(_shortest, proto.floats))
    if kind == _Type.STRINGS:
        return tuple(_decode(s, proto.name) for s in proto.strings)
    if kind == _Type.TENSOR:
        return tensor_array(proto.t, f"the attribute '{proto.name}' of '{where}'", source)
    raise UnsupportedError(f"its attribute '{proto.name}' is a {_Type.AttributeType.Name(kind).lower()}, which cnncc "
                           "does not support")


def _shortest(number: float) -> float:
    """A float32 as the double with its shortest decimal form: 1e-05, as its author wrote it."""
    return float(str(np.float32(number)))


def _decode(text: bytes, name: str) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError:
        raise ModelError(f"the attribute '{name}' is not valid text; the file is damaged") from None


def make_operator(op_type: str, attributes: Mapping[str, Any], schema: onnx.defs.OpSchema | None) -> Op:
    """The operator. A list that is the schema's default stays empty if the field's default is that. An attribute that
    the operator lacks as a field is left out where it has its default value, since that says nothing; otherwise it is
    an UnsupportedError."""
    fields = OPS[op_type].__dataclass_fields__
    kept: dict[str, Any] = {}
    for name, value in attributes.items():
        if name in fields:
            default = fields[name].default
            is_default = default == () and schema is not None and value == _default(schema, name)
            if not is_default and not _is_same_float(value, default):
                kept[name] = _element_type(value, name) if name in _element_type_fields(op_type) else value
        elif schema is None or name not in schema.attributes or value != _default(schema, name):
            raise UnsupportedError(f"its attribute {name}={value!r} is not supported; export the model without it")
    return make_op(OPS, op_type, kept)


def _is_same_float(value: Any, default: Any) -> bool:
    """Whether a field's default is the number that the file holds in single precision."""
    return isinstance(value, float) and isinstance(default, float) and bool(np.float32(value) == np.float32(default))


def _default(schema: onnx.defs.OpSchema, name: str) -> Any:
    proto = schema.attributes[name].default_value
    return None if proto.type == _Type.UNDEFINED else _value(proto, schema.name, Source(None, Limits.of()))


@functools.cache
def _element_type_fields(op_type: str) -> frozenset[str]:
    """The operator's fields of type DType, or DType or None."""
    hints = typing.get_type_hints(OPS[op_type])
    return frozenset(name for name, hint in hints.items() if hint is DType or DType in typing.get_args(hint))


def _element_type(value: Any, name: str) -> Any:
    """ONNX writes element types as numbers, 0 for none."""
    if not isinstance(value, int):
        return value
    dtype = DType.from_onnx(value)
    if dtype is None and value != 0:
        raise UnsupportedError(f"its attribute '{name}' is the element type {dtype_name(value)}, which cnncc does not "
                               "support; export the model in float32")
    return dtype
