"""The syntax tree of the language. Every part knows its Span in the source."""

from __future__ import annotations

from dataclasses import dataclass, field

from .source import Span

__all__ = [
    "Binary", "Block", "Call", "Choice", "Constant", "Each", "Element", "Expression", "If", "Input", "Label", "Layer",
    "Line", "List", "Literal", "Name", "Network", "Output", "Parameter", "Parens", "Pipeline", "Repeat", "Size",
    "Statement", "Tuple", "Type", "Unary", "Weight",
]

# -- expressions -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Name:
    span: Span
    text: str
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class Literal:
    """A number or a truth value; `text` is how it was written."""

    span: Span
    value: int | float | bool
    text: str


@dataclass(frozen=True, slots=True)
class Size:
    """`3x3`."""

    span: Span
    sizes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class List:
    span: Span
    items: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Tuple:
    span: Span
    items: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Unary:
    span: Span
    operator: str
    operand: Expression


@dataclass(frozen=True, slots=True)
class Binary:
    span: Span
    operator: str
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class Choice:
    """`value if condition else other`."""

    span: Span
    value: Expression
    condition: Expression
    other: Expression


@dataclass(frozen=True, slots=True)
class Type:
    span: Span
    dtype: Name
    dims: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Constant:
    """`const i64[2] [1, 2]`."""

    span: Span
    type: Type
    value: Expression


@dataclass(frozen=True, slots=True)
class Call:
    """`concat(a, b)`: a layer without attributes, or a function of numbers."""

    span: Span
    callee: Name
    operands: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Layer:
    """`conv 64 3x3 stride 2`, `concat(a, b) axis 1`; operands are None where there are no brackets."""

    span: Span
    callee: Name
    operands: tuple[Expression, ...] | None
    arguments: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Label:
    """`conv1`, `denselayer{i + 1}`: text and expressions in turn."""

    span: Span
    parts: tuple[str | Expression, ...]
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class Element:
    """A step of a pipeline; the body of the last one may be None: it then is on the lines below."""

    span: Span
    label: Label | None
    body: Layer | Expression | None


@dataclass(frozen=True, slots=True)
class Pipeline:
    span: Span
    elements: tuple[Element, ...]


@dataclass(frozen=True, slots=True)
class Parens:
    span: Span
    inner: Pipeline


Expression = Name | Literal | Size | List | Tuple | Unary | Binary | Choice | Constant | Call | Layer | Parens

# -- lines -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Parameter:
    span: Span
    name: Name
    default: Expression | None


@dataclass(slots=True)
class Network:
    span: Span
    name: Name
    parameters: tuple[Parameter, ...]
    body: list[Line] = field(default_factory=list)
    brackets: bool = False


@dataclass(slots=True)
class Block:
    span: Span
    name: Name
    parameters: tuple[Parameter, ...]
    inputs: tuple[Name, ...]
    body: list[Line] = field(default_factory=list)
    brackets: bool = False


@dataclass(slots=True)
class Input:
    span: Span
    name: Name
    type: Type


@dataclass(slots=True)
class Output:
    span: Span
    name: Name
    value: Pipeline | None


@dataclass(slots=True)
class Weight:
    span: Span
    label: Label
    type: Type
    fill: Expression | None


@dataclass(slots=True)
class Repeat:
    span: Span
    count: Expression
    index: Name | None
    body: list[Line] = field(default_factory=list)


@dataclass(slots=True)
class Each:
    span: Span
    names: tuple[Name, ...]
    items: tuple[Expression, ...]
    body: list[Line] = field(default_factory=list)


@dataclass(slots=True)
class If:
    """One branch: keyword is if, elif or else; `following` is the next branch of the chain."""

    span: Span
    keyword: str
    condition: Expression | None
    body: list[Line] = field(default_factory=list)
    following: If | None = None


@dataclass(slots=True)
class Statement:
    """`y = x -> conv 64 3x3`; `body` holds the lines of a last element without one."""

    span: Span
    targets: tuple[Name, ...]
    pipeline: Pipeline
    body: list[Line] = field(default_factory=list)


Line = Network | Block | Input | Output | Weight | Repeat | Each | If | Statement
