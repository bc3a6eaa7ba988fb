"""The syntax tree of the language. Every part knows its Span in the source."""

from __future__ import annotations

from dataclasses import field

from ...records import record
from .source import Span

__all__ = [
    "Binary", "Block", "Call", "Choice", "Constant", "Each", "Element", "Expression", "If", "Input", "Label", "Layer",
    "Line", "List", "Literal", "Name", "Network", "Output", "Parameter", "Parens", "Pipeline", "Repeat", "Size",
    "Statement", "Tuple", "Type", "Unary", "Weight",
]

# -- expressions -----------------------------------------------------------------------------------------------------


@record
class Name:
    span: Span
    text: str
    quoted: bool = False


@record
class Literal:
    """A number or a truth value; `text` is how it was written."""

    span: Span
    value: int | float | bool
    text: str


@record
class Size:
    """`3x3`."""

    span: Span
    sizes: tuple[int, ...]


@record
class List:
    span: Span
    items: tuple[Expression, ...]


@record
class Tuple:
    span: Span
    items: tuple[Expression, ...]


@record
class Unary:
    span: Span
    operator: str
    operand: Expression


@record
class Binary:
    span: Span
    operator: str
    left: Expression
    right: Expression


@record
class Choice:
    """`value if condition else other`."""

    span: Span
    value: Expression
    condition: Expression
    other: Expression


@record
class Type:
    span: Span
    dtype: Name
    dims: tuple[Expression, ...]


@record
class Constant:
    """`const i64[2] [1, 2]`."""

    span: Span
    type: Type
    value: Expression


@record
class Call:
    """`concat(a, b)`: a layer without attributes, or a function of numbers."""

    span: Span
    callee: Name
    operands: tuple[Expression, ...]


@record
class Layer:
    """`conv 64 3x3 stride 2`, `concat(a, b) axis 1`; operands are None where there are no brackets."""

    span: Span
    callee: Name
    operands: tuple[Expression, ...] | None
    arguments: tuple[Expression, ...]


@record
class Label:
    """`conv1`, `denselayer{i + 1}`: text and expressions in turn."""

    span: Span
    parts: tuple[str | Expression, ...]
    quoted: bool = False


@record
class Element:
    """A step of a pipeline; the body of the last one may be None: it then is on the lines below."""

    span: Span
    label: Label | None
    body: Layer | Expression | None


@record
class Pipeline:
    span: Span
    elements: tuple[Element, ...]


@record
class Parens:
    span: Span
    inner: Pipeline


Expression = Name | Literal | Size | List | Tuple | Unary | Binary | Choice | Constant | Call | Layer | Parens

# -- lines -----------------------------------------------------------------------------------------------------------


@record
class Parameter:
    span: Span
    name: Name
    default: Expression | None


@record(frozen=False)
class Network:
    span: Span
    name: Name
    parameters: tuple[Parameter, ...]
    body: list[Line] = field(default_factory=list)
    brackets: bool = False


@record(frozen=False)
class Block:
    span: Span
    name: Name
    parameters: tuple[Parameter, ...]
    inputs: tuple[Name, ...]
    body: list[Line] = field(default_factory=list)
    brackets: bool = False


@record(frozen=False)
class Input:
    span: Span
    name: Name
    type: Type


@record(frozen=False)
class Output:
    span: Span
    name: Name
    value: Pipeline | None


@record(frozen=False)
class Weight:
    span: Span
    label: Label
    type: Type
    fill: Expression | None


@record(frozen=False)
class Repeat:
    span: Span
    count: Expression
    index: Name | None
    body: list[Line] = field(default_factory=list)


@record(frozen=False)
class Each:
    span: Span
    names: tuple[Name, ...]
    items: tuple[Expression, ...]
    body: list[Line] = field(default_factory=list)


@record(frozen=False)
class If:
    """One branch: keyword is if, elif or else; `following` is the next branch of the chain."""

    span: Span
    keyword: str
    condition: Expression | None
    body: list[Line] = field(default_factory=list)
    following: If | None = None


@record(frozen=False)
class Statement:
    """`y = x -> conv 64 3x3`; `body` holds the lines of a last element without one."""

    span: Span
    targets: tuple[Name, ...]
    pipeline: Pipeline
    body: list[Line] = field(default_factory=list)


Line = Network | Block | Input | Output | Weight | Repeat | Each | If | Statement
