"""Reads IR text (see printer.py) back into a graph. One statement a line; `#` starts a comment."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import CnnccError, GraphError
from .attributes import make_op, parse_attributes
from .graph import Graph, Value
from .op import Op, new_symbols
from .types import TensorType, parse_type

__all__ = ["parse_graph"]

Array = np.ndarray[Any, Any]

# Where text could be cut in several ways (`?>`, `*+`) only the first one is tried: time grows with the text's length.
_NAME = r'(?>"(?:[^"\\]|\\.)*"|[A-Za-z0-9_](?:[A-Za-z0-9_./:\-]*[A-Za-z0-9_./\-])?)'
_TYPE = r"\w+\[[^\]]*\]"
_HEAD = re.compile(rf"graph\s+@({_NAME})\s*\((.*)\)\s*\{{")
_INPUT = re.compile(rf"\s*%({_NAME})\s*:\s*({_TYPE})\s*(,|$)")
_CONST = re.compile(rf"%({_NAME})\s*=\s*const\s+(?:@({_NAME})|(.+?))\s*:\s*({_TYPE})")
_NODE = re.compile(rf"((?:%{_NAME}\s*(?:,\s*)?)++)=\s*(\w+)\s*\(((?:%{_NAME}|[^)%])*+)\)\s*"
                   rf"(?:\{{(.*)\}}\s*)?:\s*({_TYPE}(?:\s*,\s*{_TYPE})*)(?:\s+@({_NAME}))?")
_OPERAND = re.compile(rf"\s*(?:%({_NAME})|(none))\s*(,|$)")
_RESULT = re.compile(rf'\s*%({_NAME})(?:\s+as\s+("(?:[^"\\]|\\.)*"))?\s*(,|$)')

_BODY = re.compile(r"(\w+)\s*=\s*(graph\s.*)")

MAX_DEPTH = 16  # of bodies within bodies
MAX_TEXT = 64 * 2**20  # characters
_LITERALS = {"b": "b", "i": "iu", "u": "iu", "f": "iuf"}  # kind of dtype -> kinds that may be written for it


def parse_graph(text: str, ops: Mapping[str, type[Op]], weights: Mapping[str, Array] | None = None) -> Graph:
    """The graph that `text` describes.

    Args:
        ops: the operator table.
        weights: contents of the constants that stand in the text by name only. A name that is missing here gets
            zeros, so that a graph's structure can be worked on without its weights.

    Raises:
        GraphError: with the number of the line that is wrong; also where a written type is not the inferred one.
    """
    if len(text) > MAX_TEXT:
        raise GraphError(f"the text has {len(text):,} characters; the limit is {MAX_TEXT:,}")
    reader = _Reader(ops, weights or {})
    for number, line in enumerate(text.splitlines(), 1):
        line = _strip_comment(line)
        if not line:
            continue
        try:
            reader.statement(line)
        except CnnccError as error:
            raise GraphError(f"line {number}: {error}") from None
    if not reader.closed:
        raise GraphError("the text ends before the graph's closing brace")
    return reader.graph


def _strip_comment(line: str) -> str:
    if "#" in line:
        line = re.match(r'(?:[^"#]|"(?:[^"\\]|\\.)*")*', line).group()  # type: ignore[union-attr]  # matches anything
    return line.strip()


def _unquote(name: str) -> str:
    if not name.startswith('"'):
        return name
    try:
        text = str(json.loads(name))
        text.encode()  # half of a surrogate pair is no character
        return text
    except ValueError as error:
        raise GraphError(f"a quoted name is written as JSON writes strings: {error}") from None


class _Reader:
    def __init__(self, ops: Mapping[str, type[Op]], weights: Mapping[str, Array], depth: int = 0) -> None:
        self.ops, self.weights, self.depth = ops, weights, depth
        self.waiting: re.Match[str] | None = None  # a node whose bodies are being read
        self.bodies: dict[str, Graph] = {}
        self.inner: _Reader | None = None
        self.graph = Graph()
        self.opened = self.closed = False
        self.values: dict[str, Value] = {}
        self.symbols: set[str] = set()

    def statement(self, line: str) -> None:
        if self.inner is not None:
            self._within(line, self.inner)
        elif self.waiting is not None:
            self._body(line)
        elif not self.opened:
            self._head(line)
        elif self.closed:
            raise GraphError(f"'{line}' stands after the end of the graph")
        elif line == "}":
            self.closed = True
        elif line.startswith("return"):
            self._return(line[len("return"):])
        elif m := _CONST.fullmatch(line):
            self._constant(*m.groups())
        elif m := _NODE.fullmatch(line):
            if getattr(self.ops.get(m.group(2)), "body_fields", ()):
                self.waiting, self.bodies = m, {}
            else:
                self._node({}, *m.groups())
        else:
            raise GraphError(f"'{line}' is not a statement: expected '%y = Op(%x) {{...}} : type'")

    def _body(self, line: str) -> None:
        """The line with which a body of the node that is waiting begins."""
        assert self.waiting is not None
        m = _BODY.fullmatch(line)
        fields = self.ops[self.waiting.group(2)].body_fields
        if m is None or m.group(1) not in fields or m.group(1) in self.bodies:
            raise GraphError(f"'{line}' is not a body of {self.waiting.group(2)}: expected "
                             f"'{next(f for f in fields if f not in self.bodies)} = graph @name(%x: type) {{'")
        if self.depth == MAX_DEPTH:
            raise GraphError(f"bodies are nested deeper than {MAX_DEPTH} levels")
        self.bodies[m.group(1)] = Graph()
        self.inner = _Reader(self.ops, self.weights, self.depth + 1)
        self._within(m.group(2), self.inner)

    def _within(self, line: str, inner: _Reader) -> None:
        """A line of the body that was begun; after the last line of the last one, the node itself."""
        assert self.waiting is not None
        inner.statement(line)
        if inner.closed:
            self.bodies[list(self.bodies)[-1]], self.inner = inner.graph, None
            if len(self.bodies) == len(self.ops[self.waiting.group(2)].body_fields):
                node, self.waiting = self.waiting, None
                self._node(self.bodies, *node.groups())

    def _head(self, line: str) -> None:
        m = _HEAD.fullmatch(line)
        if m is None:
            raise GraphError(f"'{line}' is not the start of a graph: expected 'graph @name(%x: type) {{'")
        self.graph.name = _unquote(m.group(1))
        for name, type_text, _ in _split(_INPUT, m.group(2), "an input '%x: f32[...]'"):
            value = self.graph.add_input(_unquote(name), parse_type(type_text))
            self._define(name, value)
            self.symbols |= value.type.symbols
        self.opened = True

    def _constant(self, name: str, weight: str | None, literal: str | None, type_text: str) -> None:
        type_ = parse_type(type_text)
        shape = type_.static_shape
        if weight is None:
            array = _array(str(literal), type_)
        elif _unquote(weight) in self.weights:
            array = np.asarray(self.weights[_unquote(weight)])
        else:
            array = _zeros(shape, type_.dtype.numpy)
        if array.shape != shape or array.dtype != type_.dtype.numpy:
            raise GraphError(f"the constant %{name} is declared {type_}, but is {array.dtype}{list(array.shape)}")
        self._define(name, self.graph.add_constant(array, _unquote(name)))

    def _node(self, bodies: Mapping[str, Graph], left: str, op_type: str, operands: str, attributes: str | None,
              types: str, name: str | None) -> None:
        op = make_op(self.ops, op_type, parse_attributes(attributes or "") | dict(bodies))
        inputs = [None if none else self._value(given)
                  for given, none, _ in _split(_OPERAND, operands, "an operand '%x' or 'none'")]
        names = re.findall(rf"%({_NAME})", left)
        declared = re.findall(_TYPE, types)
        symbols = new_symbols([parse_type(written) for written in declared], self.symbols)
        node = self.graph.add_node(op, inputs, name=_unquote(name or names[0]), outputs=[_unquote(n) for n in names],
                                   symbols=symbols)
        self.symbols.update(node.symbols)
        if len(declared) != len(names):
            raise GraphError(f"{op_type} has {len(names)} outputs, but {len(declared)} types")
        for value, given, written in zip(node.outputs, names, declared, strict=True):
            if parse_type(written) != value.type:
                raise GraphError(f"%{given} is declared {written}, but {op_type} gives {value.type}")
            self._define(given, value)

    def _return(self, rest: str) -> None:
        results = _split(_RESULT, rest, "an output '%y'")
        values = [self._value(name) for name, _, _ in results]
        self.graph.set_outputs(values, [_unquote(alias or name) for name, alias, _ in results])

    def _define(self, name: str, value: Value) -> None:
        if name in self.values:
            raise GraphError(f"%{name} is defined twice")
        self.values[name] = value

    def _value(self, name: str) -> Value:
        if name not in self.values:
            raise GraphError(f"%{name} is read before it is defined")
        return self.values[name]


def _split(pattern: re.Pattern[str], text: str, expected: str) -> list[tuple[str, str, str]]:
    out: list[tuple[str, str, str]] = []
    pos = 0
    while pos < len(text.rstrip()):
        m = pattern.match(text, pos)
        if m is None:
            raise GraphError(f"expected {expected} at '{text[pos:pos + 30].strip()}'")
        groups = m.groups()
        out.append((groups[0], groups[1], groups[2]))
        pos = m.end()
    return out


def _zeros(shape: tuple[int, ...], dtype: np.dtype) -> Array:
    """Zeros that take no memory."""
    try:
        return np.broadcast_to(np.zeros((), dtype), shape)
    except ValueError:
        raise GraphError(f"a constant of shape {list(shape)} is too large") from None


def _array(text: str, type_: TensorType) -> Array:
    """A constant of the type: numbers, true, false, inf and nan, in nested brackets. An empty one has any shape."""
    literal = re.sub(r"\binf\b", "Infinity", re.sub(r"\bnan\b", "NaN", text))
    dtype = type_.dtype.numpy
    try:
        found = np.array(json.loads(literal))
    except (ValueError, RecursionError):
        raise GraphError(f"'{text[:40]}' is not a constant") from None
    if not found.size:
        return np.empty(type_.static_shape if type_.size == 0 else found.shape, dtype)
    array = found.astype(dtype) if found.dtype.kind in _LITERALS[dtype.kind] else None
    if array is None or (dtype.kind in "iu" and np.any(array != found)):
        raise GraphError(f"the constant '{text[:40]}' is not of type {type_.dtype.value}")
    return array
