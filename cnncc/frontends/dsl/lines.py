"""Cuts a text into logical lines: what the grammar reads, with its depth by indentation and the comments around it.

A physical line continues the one before it where a bracket is open or where it starts with `->`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import field

from ...records import record
from .source import MAX_ERRORS, Diagnostic, Source, Span

__all__ = ["LogicalLine", "MAX_BRACKETS", "MAX_LINE", "MAX_LINES", "MAX_NAME", "MAX_NESTING", "MAX_TEXT",
           "cut"]

MAX_TEXT = 4 * 2**20  # characters of a text
MAX_LINES = 100_000  # logical lines
MAX_NAME = 1000  # characters of a name, and of the chain of labels that leads to a weight
MAX_LINE = 20_000  # characters of a line, with those that continue it
MAX_NESTING = 32  # levels of indentation
MAX_BRACKETS = 32  # brackets open at once

_PIECE = re.compile(r'"(?:[^"\\\n]|\\.)*"?|#[^\n]*|[()\[\]{}]|[^"#()\[\]{}]+|.', re.DOTALL)


@record(frozen=False)
class LogicalLine:
    """Characters start .. end-1 of the text; `indent` columns of blanks precede them.

    `comments` are (offset, text) of those inside and at the end; `above` are the comments of their own that precede
    the line, None standing for a blank line.
    """

    start: int
    end: int
    indent: int
    depth: int = 0
    comments: list[tuple[int, str]] = field(default_factory=list)
    above: list[tuple[int, str] | None] = field(default_factory=list)


def cut(source: Source, errors: list[Diagnostic]) -> tuple[list[LogicalLine], list[tuple[int, str] | None]]:
    """The logical lines in order, and the comments and blank lines after the last one. Errors are added to `errors`."""
    lines: list[LogicalLine] = []
    above: list[tuple[int, str] | None] = []
    if len(source.text) > MAX_TEXT:
        errors.append(Diagnostic(source, Span(0, 0), f"the text has {len(source.text):,} characters; the limit is "
                                                     f"{MAX_TEXT:,}"))
        return [], []
    brackets = 0
    for start, raw in _physical(source.text):
        if len(raw) > MAX_LINE:
            errors.append(Diagnostic(source, Span(start, start + 1), f"a line of more than {MAX_LINE:,} characters"))
            return [], []
        text, comment = _without_comment(start, raw)
        blanks = len(text) - len(text.lstrip())
        code = text.strip()
        if not code:
            if comment is None:
                above += [None] if above[-1:] != [None] else []
            else:
                above.append(comment)
            continue
        at = start + blanks
        if lines and (brackets > 0 or code.startswith("->")):
            last = lines[-1]
            last.comments += [c for c in above if c is not None]
            last.end = at + len(code)
        else:
            last = LogicalLine(at, at + len(code), blanks, above=above)
            if "\t" in text[:blanks]:
                errors.append(Diagnostic(source, Span(start, at), "a tab in the indentation; indent with blanks"))
            lines.append(last)
            if len(lines) > MAX_LINES:
                errors.append(Diagnostic(source, Span(at, at + 1), f"the text has more than {MAX_LINES:,} lines"))
                return [], []
        above = []
        if comment is not None:
            last.comments.append(comment)
        brackets = _count(source, at, code, brackets, errors)
        if len(errors) >= MAX_ERRORS:
            return [], []
        if last.end - last.start > MAX_LINE:
            errors.append(Diagnostic(source, Span(last.start, last.start + 1),
                                     f"a statement of more than {MAX_LINE:,} characters"))
            return [], []
    _set_depths(source, lines, errors)
    return lines, above


def _physical(text: str) -> Iterator[tuple[int, str]]:
    """Every physical line and where it begins."""
    start = 0
    while (end := text.find("\n", start)) >= 0:
        yield start, text[start:end]
        start = end + 1
    yield start, text[start:]


def _without_comment(start: int, raw: str) -> tuple[str, tuple[int, str] | None]:
    """What of a line is not comment, and the comment with its place."""
    if "#" in raw:
        for piece in _PIECE.finditer(raw):
            if piece.group().startswith("#"):
                return raw[:piece.start()].rstrip(), (start + piece.start(), piece.group().rstrip())
    return raw.rstrip(), None


def _count(source: Source, at: int, code: str, brackets: int, errors: list[Diagnostic]) -> int:
    """How many brackets are open after `code`. A line that closes too many is the grammar's error, not ours."""
    if not any(c in code for c in "()[]"):
        return brackets
    for piece in _PIECE.finditer(code):
        if piece.group() in "([":
            brackets += 1
            if brackets == MAX_BRACKETS + 1:
                place = at + piece.start()
                errors.append(Diagnostic(source, Span(place, place + 1),
                                         f"more than {MAX_BRACKETS} brackets are open at once"))
        elif piece.group() in ")]":
            brackets -= 1
    return max(0, brackets)


def _set_depths(source: Source, lines: list[LogicalLine], errors: list[Diagnostic]) -> None:
    columns = [0]
    for line in lines:
        if line.indent > columns[-1]:
            columns.append(line.indent)
        while line.indent < columns[-1]:
            columns.pop()
        if line.indent != columns[-1]:
            errors.append(Diagnostic(source, Span(line.start, line.start + 1),
                                     "the indentation is that of no line above"))
            columns.append(line.indent)
        if len(errors) >= MAX_ERRORS:
            return
        if len(columns) == MAX_NESTING + 2:
            errors.append(Diagnostic(source, Span(line.start, line.start + 1),
                                     f"lines are nested deeper than {MAX_NESTING} levels"))
        line.depth = len(columns) - 1
