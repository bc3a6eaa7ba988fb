"""Attributes of operators as text, and operators from named attributes.

The text of an attribute is an integer, a float (`1.0`, `inf`, `nan`), `true` or `false`, a quoted string, a list in
brackets, an element type (`f32`) or an activation (`relu`, `clip(0.0,6.0)`).
"""

from __future__ import annotations

import dataclasses
import functools
import json
import re
import types
import typing
from collections.abc import Mapping
from typing import Any

from ..errors import GraphError, OpError
from .activation import ACTIVATIONS, Activation
from .op import Op
from .types import DType

__all__ = ["format_attribute", "format_op", "make_op", "parse_attributes"]


def format_attribute(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, DType):
        return value.value
    if isinstance(value, Activation):
        return str(value)
    if isinstance(value, (tuple, list)):
        return f"[{','.join(format_attribute(v) for v in value)}]"
    raise GraphError(f"an attribute of type {type(value).__name__} has no text form")


def format_op(op: Op) -> str:
    """The attributes that differ from their defaults, as ` {pads=[1,1,1,1], activation=relu}`, or nothing."""
    given = [f"{name}={format_attribute(value)}" for name, value in op.attributes.items()]
    return f" {{{', '.join(given)}}}" if given else ""


def make_op(ops: Mapping[str, type[Op]], op_type: str, attributes: Mapping[str, Any]) -> Op:
    """The operator of the table `ops` with these attributes, coerced to the fields' types (int to float, list to
    tuple). Raises OpError naming an unknown operator or attribute, a missing one, or a value of the wrong type."""
    cls: Any = ops.get(op_type)
    if cls is None:
        raise OpError(f"there is no operator '{op_type}'")
    hints = _fields(cls)
    for name in attributes:
        if name not in hints:
            raise OpError(f"{op_type} has no attribute '{name}'; it has {', '.join(hints) or 'none'}")
    missing = [f.name for f in dataclasses.fields(cls)
               if f.default is dataclasses.MISSING and f.name not in attributes]
    if missing:
        raise OpError(f"{op_type} needs the attribute '{missing[0]}'")
    op: Op = cls(**{name: _coerce(op_type, name, value, hints[name]) for name, value in attributes.items()})
    return op


@functools.cache
def _fields(cls: Any) -> dict[str, Any]:
    return {f.name: _type_of(f.type) if isinstance(f.type, str) else f.type for f in dataclasses.fields(cls)}


@functools.cache
def _type_of(annotation: str) -> Any:
    """The type of a field of an operator, written in terms of the names here. (typing.get_type_hints would look at the
    annotations of all base classes, and takes a millisecond an operator.)"""
    return eval(annotation, {"Activation": Activation, "Any": Any, "DType": DType})


def _coerce(op_type: str, name: str, value: Any, hint: Any) -> Any:
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        options = typing.get_args(hint)
        if value is None and type(None) in options:
            return None
        for option in options:
            if option is not type(None):
                try:
                    return _coerce(op_type, name, value, option)
                except OpError:
                    continue
    elif hint is Any:  # a body: a graph or a plan, which may yet turn out to be wrong
        if hasattr(type(value), "signature"):
            return value
    elif origin is tuple:
        if isinstance(value, (list, tuple)):
            return tuple(_coerce(op_type, name, v, typing.get_args(hint)[0]) for v in value)
    elif hint is bool and value in (0, 1, True, False):
        return bool(value)
    elif hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    elif isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    wanted = getattr(hint, "__name__", str(hint))
    raise OpError(f"{op_type}: the attribute '{name}' must be {wanted}, not {value!r}")


_TOKEN = re.compile(r"""\s*(?:
    (?P<string>"(?:[^"\\]|\\.)*")
  | (?P<number>-?(?:inf|nan|\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)\b\.?)
  | (?P<word>[A-Za-z_]\w*)
  | (?P<mark>[\[\](){},=])
)""", re.VERBOSE)


def parse_attributes(text: str) -> dict[str, Any]:
    """The attributes in `text`, what stands between the braces: `pads=[1,1], activation=relu`."""
    tokens = _tokens(text)
    out: dict[str, Any] = {}
    at = 0
    while tokens[at][0] != "end":
        kind, name = tokens[at]
        if kind != "word" or tokens[at + 1] != ("mark", "="):
            raise GraphError(f"expected name=value in '{{{text}}}', found '{name}'")
        if name in out:
            raise GraphError(f"the attribute '{name}' is given twice")
        out[name], at = _parse_value(tokens, at + 2, 0)
        if tokens[at] == ("mark", ","):
            at += 1
        elif tokens[at][0] != "end":
            raise GraphError(f"expected a comma in '{{{text}}}', found '{tokens[at][1]}'")
    return out


def _tokens(text: str) -> list[tuple[str, str]]:
    tokens, pos, text = [], 0, text.rstrip()
    while pos < len(text):
        m = _TOKEN.match(text, pos)
        if m is None:
            raise GraphError(f"'{text[pos:pos + 20]}' is not the text of an attribute")
        tokens.append((str(m.lastgroup), m.group(str(m.lastgroup))))
        pos = m.end()
    return [*tokens, ("end", "the end"), ("end", "the end")]


def _parse_value(tokens: list[tuple[str, str]], at: int, depth: int) -> tuple[Any, int]:
    kind, text = tokens[at]
    if kind == "string":
        try:
            return json.loads(text), at + 1
        except ValueError as error:
            raise GraphError(f"{text} is not a string as JSON writes it: {error}") from None
    if kind == "number":
        return _parse_number(text), at + 1
    if (kind, text) == ("mark", "[") and depth < 4:
        return _parse_list(tokens, at + 1, "]", depth + 1)
    if kind == "word":
        if text in ("true", "false"):
            return text == "true", at + 1
        if text in ACTIVATIONS:
            if tokens[at + 1] != ("mark", "("):
                return Activation(text), at + 1
            parameters, at = _parse_list(tokens, at + 2, ")", depth + 1)
            if any(type(p) not in (int, float) for p in parameters):
                raise GraphError(f"the parameters of {text} must be numbers")
            return Activation(text, tuple(parameters)), at
        if text in {t.value for t in DType}:
            return DType(text), at + 1
        if text in ("inf", "nan"):
            return float(text), at + 1
    raise GraphError(f"'{text}' is not the value of an attribute")


def _parse_number(text: str) -> int | float:
    if re.search(r"[.eEinf]", text):
        return float(text)
    if len(text) > 20 or not -2**63 <= int(text) < 2**63:
        raise GraphError(f"the integer {text[:20]} has more than 64 bits")
    return int(text)


def _parse_list(tokens: list[tuple[str, str]], at: int, end: str, depth: int) -> tuple[list[Any], int]:
    items: list[Any] = []
    while tokens[at] != ("mark", end):
        if items:
            if tokens[at] != ("mark", ","):
                raise GraphError(f"expected ',' or '{end}' in a list, found '{tokens[at][1]}'")
            at += 1
        item, at = _parse_value(tokens, at, depth)
        items.append(item)
    return items, at + 1


