"""The words for layers: what each calls, which arguments it takes, and how they become attributes and operands.

Every operator of OPS is a word under its ONNX name, with ONNX's defaults, and under that name in lower case. The table
WORDS in layers.py says where a lower-case word does more: it owns weights, or has defaults of its own. All that a word
takes is read off the operator's fields and operands, so that a new operator is a word at once.
"""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from typing import Any

from ...errors import OpError
from ...ir import ACTIVATIONS, Activation, Dim, DType, Value
from ...ir.attributes import make_op
from ...ops import OPS
from ...records import record
from .builder import Builder, LayerError
from .numbers import describe
from .source import did_you_mean

__all__ = ["REQUIRED", "Bound", "Word", "apply_word", "bind", "generic_word"]

REQUIRED: Any = object()  # marks a parameter without a default

# short form -> attribute
_SHORT = {"stride": "strides", "pad": "pads", "dilation": "dilations", "kernel": "kernel_shape", "groups": "group"}
_FLAGS = {"same": ("auto_pad", "SAME_UPPER"), "same_lower": ("auto_pad", "SAME_LOWER"), "valid": ("auto_pad", "VALID"),
          "nobias": ("bias", False)}
_PER_AXIS = ("strides", "dilations", "kernel_shape", "output_padding")
# Operands in which ONNX keeps sizes and axes: integers written for them are i64; in others they have X's type.
_INDICES = {"axes", "shape", "starts", "ends", "steps", "split", "repeats", "pads", "indices", "axis", "k", "depth",
            "sizes"}
_MAX_NUMBERS = 1000  # of an attribute
_F32 = {"scales", "roi", "ratio"}


@record
class Bound:
    """Arguments in their places: the word's own, the operator's attributes, and operands by formal name."""

    own: dict[str, Any]
    attributes: dict[str, Any]
    operands: dict[str, Any]


@record
class Word:
    """A word for a layer.

    Attributes:
        op: the ONNX operator.
        positional: what arguments without a keyword are, in order.
        own: parameters of the word itself and their defaults.
        defaults: attributes whose default is not ONNX's.
        build: makes the layer: build(builder, op, path, inputs, bound, outputs). None: the operator as it is.
    """

    op: str
    positional: tuple[str, ...] = ()
    own: Mapping[str, Any] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    build: Callable[..., tuple[Value, ...]] | None = None

    @functools.cached_property
    def hints(self) -> dict[str, Any]:
        """The operator's attributes and their types."""
        cls: Any = OPS[self.op]
        found = typing.get_type_hints(cls)
        return {f.name: found[f.name] for f in dataclasses.fields(cls)}

    @functools.cached_property
    def formal(self) -> tuple[str, ...]:
        """The operator's inputs after the first, which a keyword may give; a layer with weights owns them."""
        return () if self.build is not None else tuple(
            n.rstrip("?") for n in OPS[self.op].operands[1:] if not n.endswith("*"))

    @functools.cached_property
    def keywords(self) -> dict[str, str]:
        """Every keyword, short forms included, and the parameter that it names."""
        names = {n: n for n in (*self.own, *self.hints, *(o for o in self.formal if o not in self.hints))}
        return names | {short: full for short, full in _SHORT.items() if full in self.hints and short not in names}

    @functools.cached_property
    def required(self) -> tuple[str, ...]:
        """The parameters that a layer is not complete without, in order."""
        cls: Any = OPS[self.op]
        needed = {f.name for f in dataclasses.fields(cls) if f.default is dataclasses.MISSING}
        needed |= {p for p, default in self.own.items() if default is REQUIRED} | {"kernel_shape"}
        needed |= {o for o in cls.operands[1:] if not o.endswith(("?", "*"))}
        return tuple(p for p in self.positional if p in needed)

    @functools.cached_property
    def flags(self) -> dict[str, tuple[str, Any]]:
        """Words that stand alone for an attribute with a value."""
        return {flag: given for flag, given in _FLAGS.items() if given[0] in self.keywords}

    def wants_text(self, parameter: str) -> bool:
        """Whether a bare word given for the parameter is a string, an element type or an activation."""
        return bool({str, DType, Activation} & set(_options(self.hints.get(parameter))))


@functools.cache
def generic_word(op_type: str) -> Word:
    """The operator as ONNX has it. Arguments without a keyword fill the attributes that have no default, then the
    operands, then the other attributes."""
    cls: Any = OPS[op_type]
    fields = dataclasses.fields(cls)
    needed = [f.name for f in fields if f.default is dataclasses.MISSING]
    operands = [n.rstrip("?") for n in cls.operands[1:] if not n.endswith("*")]
    rest = [f.name for f in fields if f.name not in needed]
    return Word(op_type, tuple(dict.fromkeys(needed + operands + rest)))


def _options(hint: Any) -> tuple[Any, ...]:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return typing.get_args(hint)
    return (hint,)


def bind(name: str, word: Word, positional: Sequence[Any], keywords: Mapping[str, Any]) -> Bound:
    """Puts arguments in their places. Raises LayerError with the position or keyword that is wrong."""
    given: dict[str, Any] = {}
    free = iter(word.positional)

    def put(parameter: str, value: Any, argument: int | str) -> None:
        if parameter in given:
            raise LayerError(f"{name} has '{parameter}' twice", argument)
        given[parameter] = value

    for keyword, value in keywords.items():
        if keyword not in word.keywords:
            raise LayerError(f"{name} takes no '{keyword}'{did_you_mean(keyword, word.keywords)}", keyword)
        put(word.keywords[keyword], value, keyword)
    for at, value in enumerate(positional):
        if isinstance(value, str) and value in word.flags:
            put(*word.flags[value], at)
            continue
        place = next((p for p in free if p not in given), None)
        if isinstance(value, str) and (place is None or not word.wants_text(place)):
            near = did_you_mean(value, [*word.keywords, *word.flags])
            raise LayerError(f"'{value}' is neither an attribute of {name} nor a known name{near}", at)
        if place is None:
            takes = f"at most {len(word.positional)} without a keyword: {', '.join(word.positional)}" \
                if word.positional else "none without a keyword"
            raise LayerError(f"{name} takes {takes}", at)
        put(place, value, at)
    missing = [p for p, default in word.own.items() if default is REQUIRED and p not in given]
    if missing:
        order = " ".join(p.upper() for p in word.positional)
        raise LayerError(f"{name} needs its {missing[0]}: write it '{name} {order}'")
    own = {p: given.pop(p, default) for p, default in word.own.items()}
    attributes = {p: v for p, v in given.items() if p in word.hints}
    for attribute, default in word.defaults.items():
        attributes.setdefault(attribute, default)
    return Bound(own, attributes, {p: v for p, v in given.items() if p not in word.hints})


def apply_word(builder: Builder, name: str, word: Word, inputs: Sequence[Value | None], bound: Bound, path: str,
               outputs: int | Sequence[str] = 1) -> tuple[Value, ...]:
    """Adds the layer. Raises OpError where the operands do not fit it."""
    first = next((v for v in inputs if v is not None), None)
    rank = max(first.type.rank - 2, 0) if first is not None else 0
    attributes = {n: _attribute(name, n, v, word.hints[n], rank) for n, v in bound.attributes.items()}
    if word.build is not None:
        return word.build(builder, path, list(inputs), dataclasses.replace(bound, attributes=attributes), outputs)
    op = make_op(OPS, word.op, attributes)
    return builder.node(op, _operands(builder, name, word, inputs, bound, path), path, outputs)


def _operands(builder: Builder, name: str, word: Word, inputs: Sequence[Value | None], bound: Bound,
              path: str) -> list[Value | None]:
    formal = [n.rstrip("?*") for n in OPS[word.op].operands]
    operands = list(inputs)
    for parameter, value in bound.operands.items():
        at = formal.index(parameter)
        operands += [None] * (at + 1 - len(operands))
        if operands[at] is not None:
            raise LayerError(f"{name} has '{parameter}' twice", parameter)
        operands[at] = _operand(builder, value, parameter, inputs, f"{path}.{parameter}")
    return operands


def _operand(builder: Builder, value: Any, parameter: str, inputs: Sequence[Value | None], path: str) -> Value | None:
    """A value as it is; a number or a list of numbers as a constant of the type that the operand has in ONNX."""
    if value is None or isinstance(value, Value):
        return value
    first = next((v for v in inputs if v is not None), None)
    numbers = list(value) if isinstance(value, (list, tuple)) else value
    if isinstance(value, bool):
        dtype = DType.BOOL
    elif parameter in _F32:
        dtype = DType.F32
    elif parameter in _INDICES or first is None:
        dtype = DType.I64
    else:
        dtype = first.type.dtype
    try:
        return builder.constant(numbers, dtype, path)
    except OpError as error:
        raise LayerError(f"'{parameter}': {error}", parameter) from None


def _attribute(layer: str, name: str, value: Any, hint: Any, rank: int) -> Any:
    """The value as the field has it: a size for all axes, pads for both ends, words as what they name."""
    if isinstance(value, str):
        return _text(layer, name, value, hint)
    if isinstance(value, (list, tuple)) and len(value) > _MAX_NUMBERS:
        raise LayerError(f"{layer}: '{name}' has {len(value):,} numbers; at most {_MAX_NUMBERS:,} may be", name)
    if name in _PER_AXIS and isinstance(value, int) and not isinstance(value, bool):
        return (value,) * rank
    if name == "pads" and isinstance(value, int) and not isinstance(value, bool):
        return (value,) * (2 * rank)
    if name == "pads" and isinstance(value, (list, tuple)) and len(value) == rank:
        return (*value, *value)
    if name in (*_PER_AXIS, "pads") and isinstance(value, (list, tuple)) and rank:
        wanted = 2 * rank if name == "pads" else rank
        if value and len(value) != wanted:
            raise LayerError(f"{layer}: '{name}' has {len(value)} numbers, but the input has {rank} spatial axes", name)
    if name in (*_PER_AXIS, "pads") and isinstance(value, (bool, float, Dim)):
        raise LayerError(f"{layer}: '{name}' is made of whole numbers, not of {describe(value)}", name)
    if isinstance(value, Value):
        raise LayerError(f"{layer}: '{name}' is an attribute: a number was expected, not the tensor {value.type}", name)
    return value


def _text(layer: str, name: str, text: str, hint: Any) -> Any:
    options = _options(hint)
    if DType in options:
        known = [d.value for d in DType]
        if text not in known:
            raise LayerError(f"{layer}: '{text}' is no element type{did_you_mean(text, known)}; there are "
                             f"{', '.join(known)}", name)
        return DType(text)
    if Activation in options:
        if text not in ACTIVATIONS:
            raise LayerError(f"{layer}: '{text}' is no activation{did_you_mean(text, ACTIVATIONS)}", name)
        return Activation(text)
    if str in options:
        return text
    raise LayerError(f"{layer}: '{name}' cannot be '{text}': a number was expected", name)
