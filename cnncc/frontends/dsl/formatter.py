"""Canonical form of a text: two blanks a level, one blank between words, comments and line breaks kept at `->`.

A line that is too long is broken before each `->`; a break that is there before a `->` stays.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from . import syntax
from .lines import LogicalLine, cut
from .parser import parse, parse_line
from .source import LanguageError, Source

__all__ = ["WIDTH", "format_text"]

WIDTH = 100
_INDENT = "  "


def format_text(text: str, origin: str = "<text>") -> str:
    """The text in canonical form; formatting it again changes nothing. Raises LanguageError where it has errors."""
    source = Source(text, origin)
    parse(source)
    errors: list[Any] = []
    lines, rest = cut(source, errors)
    out: list[str] = []
    for line in lines:
        margin = _INDENT * line.depth
        out += _comments(line.above, margin, first=not out)
        tree = parse_line(source, line, errors)
        if tree is None:
            raise LanguageError(errors)
        out += _Line(source, line, margin).text(tree)
    out += _comments(rest, "", first=not out)
    while out and not out[-1]:
        out.pop()
    return "\n".join(out) + "\n" if out else ""


def _comments(found: Iterable[tuple[int, str] | None], margin: str, first: bool) -> list[str]:
    out: list[str] = []
    for comment in found:
        if comment is not None:
            out.append(margin + comment[1])
        elif not (first and not out):
            out.append("")
    return out


class _Line:
    """One logical line on its way to text."""

    def __init__(self, source: Source, line: LogicalLine, margin: str) -> None:
        self.source, self.line, self.margin = source, line, margin

    def text(self, tree: syntax.Line) -> list[str]:
        pipeline = _pipeline_of(tree)
        head = _head(tree)
        if pipeline is None:
            return self._with_comments([(head, self.line.end)])
        pieces = [_element(e) for e in pipeline.elements]
        rows: list[tuple[str, int]] = []
        starts = self._rows(pipeline, head, pieces)
        for at, begin in enumerate(starts):
            end = starts[at + 1] if at + 1 < len(starts) else len(pieces)
            row = " -> ".join(pieces[begin:end])
            last = pipeline.elements[end - 1].span.end
            rows.append((head + row if at == 0 else f"{self._hang(head)}-> {row}", last))
        return self._with_comments(rows)

    def _rows(self, pipeline: syntax.Pipeline, head: str, pieces: list[str]) -> list[int]:
        """The elements that begin a row."""
        starts = [0]
        for at in range(1, len(pieces)):
            between = self.source.text[pipeline.elements[at - 1].span.end:pipeline.elements[at].span.start]
            if "\n" in between:
                starts.append(at)
        if len(starts) == 1 and len(self.margin + head + " -> ".join(pieces)) > WIDTH:
            return list(range(len(pieces)))
        return starts

    def _hang(self, head: str) -> str:
        """What a continued row is indented by: to below the arrow that would follow the source."""
        return " " * len(_INDENT * 2) if len(head) > 12 else " " * (len(head) + 2 if head else 4)

    def _with_comments(self, rows: list[tuple[str, int]]) -> list[str]:
        """Each row, given with where it ends in the source, and the comment behind it; other comments go above."""
        out: list[str] = []
        comments = list(self.line.comments)
        for at, (row, end) in enumerate(rows):
            line_end = self.source.text.find("\n", end) if at < len(rows) - 1 else -1
            here = [c for c in comments if line_end < 0 or c[0] < line_end]
            comments = comments[len(here):]
            behind = f"  {here.pop()[1]}" if here and here[-1][0] >= end else ""
            indent = self.margin + " " * (len(row) - len(row.lstrip()))
            out += [indent + text for _, text in here]
            out.append(self.margin + row + behind)
        return out


def _pipeline_of(tree: syntax.Line) -> syntax.Pipeline | None:
    if isinstance(tree, syntax.Statement):
        return tree.pipeline
    if isinstance(tree, syntax.Output):
        return tree.value
    if isinstance(tree, (syntax.Repeat, syntax.Each, syntax.If)) and tree.body:
        return _pipeline_of(tree.body[0])
    return None


def _head(tree: syntax.Line) -> str:
    """What stands before the pipeline of a line, or the whole line if it has none."""
    if isinstance(tree, syntax.Statement):
        return f"{', '.join(map(_expression, tree.targets))} = " if tree.targets else ""
    if isinstance(tree, syntax.Output):
        return f"output {_expression(tree.name)}" + (" = " if tree.value is not None else "")
    if isinstance(tree, syntax.Input):
        return f"input {_expression(tree.name)}: {_type(tree.type)}"
    if isinstance(tree, syntax.Weight):
        fill = "" if tree.fill is None else f" = {_expression(tree.fill)}"
        return f"weight {_label_text(tree.label)}: {_type(tree.type)}{fill}"
    if isinstance(tree, syntax.Network):
        return f"network {_expression(tree.name)}{_parameters(tree)}:"
    if isinstance(tree, syntax.Block):
        of = f" of {', '.join(map(_expression, tree.inputs))}" if tree.inputs else ""
        return f"block {_expression(tree.name)}{_parameters(tree)}{of}:"
    if isinstance(tree, syntax.Repeat):
        index = "" if tree.index is None else f" as {tree.index.text}"
        head = f"repeat {_expression(tree.count)}{index}:"
    elif isinstance(tree, syntax.Each):
        head = f"for {_joined(tree.names)} in {_joined(tree.items)}:"
    else:
        head = "else:" if tree.condition is None else f"{tree.keyword} {_expression(tree.condition)}:"
    return f"{head} {_head(tree.body[0])}" if tree.body else head


def _parameters(tree: syntax.Network | syntax.Block) -> str:
    given = [p.name.text + ("" if p.default is None else f" = {_expression(p.default)}") for p in tree.parameters]
    return f"({', '.join(given)})" if tree.brackets else ""


def _element(element: syntax.Element) -> str:
    label = "" if element.label is None else f"{_label_text(element.label)}:"
    body = "" if element.body is None else _expression(element.body)
    return " ".join(filter(None, (label, body)))


def _label_text(label: syntax.Label) -> str:
    if label.quoted:
        return _quoted(str(label.parts[0]))
    return "".join(p if isinstance(p, str) else f"{{{_expression(p)}}}" for p in label.parts)


def _quoted(name: str) -> str:
    return json.dumps(name)


def _type(type_: syntax.Type) -> str:
    return f"{type_.dtype.text}[{','.join(_expression(d).replace(' ', '') for d in type_.dims)}]"


def _joined(items: Iterable[Any]) -> str:
    return ", ".join(map(_expression, items))


def _expression(tree: Any) -> str:
    if isinstance(tree, syntax.Name):
        return _quoted(tree.text) if tree.quoted else tree.text
    if isinstance(tree, syntax.Literal):
        return tree.text
    if isinstance(tree, syntax.Size):
        return "x".join(map(str, tree.sizes))
    if isinstance(tree, syntax.List):
        return f"[{_joined(tree.items)}]"
    if isinstance(tree, syntax.Tuple):
        return f"({_joined(tree.items)})"
    if isinstance(tree, syntax.Unary):
        return ("not " if tree.operator == "not" else "-") + _expression(tree.operand)
    if isinstance(tree, syntax.Binary):
        blank = "" if tree.operator in ("*", "/", "//", "%") and _is_short(tree) else " "
        return f"{_expression(tree.left)}{blank}{tree.operator}{blank}{_expression(tree.right)}"
    if isinstance(tree, syntax.Choice):
        return f"{_expression(tree.value)} if {_expression(tree.condition)} else {_expression(tree.other)}"
    if isinstance(tree, syntax.Constant):
        return f"const {_type(tree.type)} {_expression(tree.value)}"
    if isinstance(tree, syntax.Parens):
        return f"({' -> '.join(map(_element, tree.inner.elements))})"
    operands = "" if tree.operands is None else f"({_joined(tree.operands)})"
    arguments = tree.arguments if isinstance(tree, syntax.Layer) else ()
    return " ".join([tree.callee.text + operands, *map(_expression, arguments)])


def _is_short(tree: syntax.Binary) -> bool:
    """Products of names and numbers are written without blanks."""
    return all(isinstance(side, (syntax.Name, syntax.Literal, syntax.Parens))
               or (isinstance(side, syntax.Binary) and _is_short(side)) for side in (tree.left, tree.right))

