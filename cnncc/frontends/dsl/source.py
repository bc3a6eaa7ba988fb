"""The text of a network, places in it, and errors that point at them."""

from __future__ import annotations

import array
import bisect
import difflib
import functools
import re
from collections.abc import Iterable
from dataclasses import field

from ...errors import ModelError
from ...records import record

__all__ = ["MAX_ERRORS", "Diagnostic", "LanguageError", "Source", "Span", "did_you_mean"]

MAX_ERRORS = 100  # told of one text
_SHOWN = 120  # columns of a source line in a message
_LIKELY = 64  # characters of a word that others are compared with
_COMPARED = 5000  # words that one is compared with


@record
class Span:
    """Characters start .. end-1 of a Source."""

    start: int
    end: int


class Source:
    """A text and the name that messages call it by: a path, or `<text>`."""

    def __init__(self, text: str, name: str = "<text>") -> None:
        self.text, self.name = text, name

    @functools.cached_property
    def _starts(self) -> array.array[int]:
        """Where each line begins."""
        starts = array.array("q", [0])
        starts.extend(found.end() for found in re.finditer("\n", self.text))
        return starts

    def place(self, offset: int) -> tuple[int, int]:
        """The line and column of a character, both from 1."""
        line = bisect.bisect_right(self._starts, offset)
        return line, offset - self._starts[line - 1] + 1

    def line(self, number: int) -> str:
        """Line `number`, from 1, without its end."""
        end = self._starts[number] - 1 if number < len(self._starts) else len(self.text)
        return self.text[self._starts[number - 1]:end].rstrip("\r")

    def where(self, span: Span) -> str:
        line, column = self.place(span.start)
        return f"{self.name}:{line}:{column}"

    def excerpt(self, span: Span) -> str:
        """The line that the span begins on, with carets below it."""
        number, column = self.place(span.start)
        text = self.line(number).replace("\t", " ")
        width = max(1, min(span.end - span.start, len(text) - column + 1))
        first = max(0, column - 1 - _SHOWN // 2) if len(text) > _SHOWN else 0
        shown = text[first:first + _SHOWN]
        gutter = f"{number:5} | "
        carets = " " * (column - 1 - first) + "^" * max(1, min(width, first + len(shown) - column + 1))
        return f"{gutter}{shown}\n{' ' * (len(gutter) - 2)}| {carets}"


@record
class Diagnostic:
    """One error: where, what, and notes (a remedy, the chain of block calls)."""

    source: Source
    span: Span
    message: str
    notes: tuple[str, ...] = field(default=())

    def __str__(self) -> str:
        head = f"{self.source.where(self.span)}: {self.message}"
        return "\n".join([head, self.source.excerpt(self.span), *(f"      = {note}" for note in self.notes)])


class LanguageError(ModelError):
    """A network's text is wrong; `diagnostics` holds what was found, in the text's order, MAX_ERRORS errors at most."""

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics = sorted(diagnostics, key=lambda d: d.span.start)[:MAX_ERRORS]
        super().__init__("\n".join(map(str, self.diagnostics)))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'stride'?` where a known word is near, else nothing."""
    known = {k for k in known if len(k) <= _LIKELY}
    if len(word) > _LIKELY or len(known) > _COMPARED:
        return ""
    by_lower = {k.lower(): k for k in sorted(known, key=lambda k: (k[:1].isupper() == word[:1].isupper(), k))}
    near = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return f"; did you mean '{by_lower[near[0]]}'?" if near else ""
