"""What all verbs print with: results go to stdout, messages and progress to stderr."""

from __future__ import annotations

import io
import json
import math
import re
import sys
import time
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

__all__ = ["Reporter", "human_bytes", "print_json", "print_line", "print_table", "visible"]

PATIENCE = 1.0  # seconds of work after which it is reported
UNBOUNDED = 10_000  # columns where no terminal limits them


# What a terminal obeys instead of showing it, and halves of characters, which cannot be written.
_HIDDEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: str) -> str:
    """The text with control characters as JSON would write them: names come from files of strangers."""
    return _HIDDEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def print_line(text: str = "") -> None:
    """One line of a result, as it is: neither wrapped nor read as markup."""
    print(visible(text))


def print_json(value: Any) -> None:
    """Strict JSON: a NaN or an infinity becomes the string of its name."""
    print(visible(json.dumps(_finite(value), indent=2, ensure_ascii=False)))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, title: str = "",
                right: Sequence[str] = ()) -> None:
    """An aligned table; columns named in `right` are aligned to the right."""
    table = Table(box=None, title=title or None, title_justify="left", title_style="bold", header_style="bold",
                  pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(visible(str(cell))) for cell in row))
    if sys.stdout.isatty():
        Console(highlight=False).print(table)
        return
    console = Console(highlight=False, width=UNBOUNDED, file=io.StringIO())
    console.print(table)
    for line in console.file.getvalue().splitlines():  # type: ignore[attr-defined]  # it is the StringIO above
        print(line.rstrip())


def human_bytes(count: int) -> str:
    """`count` bytes for a person: 512 B, 12.3 KB, 9.63 MB (powers of 1000)."""
    value, unit = float(count), "B"
    for larger in ("KB", "MB", "GB"):
        if value < 999.5:  # below what three digits would round to 1000
            break
        value, unit = value / 1000, larger
    return f"{value:.3g} {unit}" if value < 999.5 else f"{value:.0f} {unit}"


class Reporter:
    """Tells on stderr what is going on: a bar on a terminal, otherwise a line for each stage that takes a while.

    Use it as a context manager; `reporter.event(stage, done, total)` is what `cnncc.compile(on_event=...)` calls.
    Nothing appears before a second has passed.
    """

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self._stage = ""
        self._since = self._start = time.monotonic()
        self._announced = False
        self._bar: Progress | None = None
        self._task: Any = None

    def __enter__(self) -> Reporter:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def say(self, message: str) -> None:
        """One line for the user, unless quiet."""
        if not self.quiet:
            print(visible(message), file=sys.stderr)

    def event(self, stage: str, done: int, total: int) -> None:
        if self.quiet:
            return
        now = time.monotonic()
        if stage != self._stage:
            self._stage, self._since, self._announced = stage, now, False
        if sys.stderr.isatty():
            if now - self._start > PATIENCE:
                self._draw(stage, done, total)
        elif now - self._since > PATIENCE and (not self._announced or done >= total):
            self._announced = True
            print(f"{stage}: {done}/{total}, {now - self._since:.0f} s", file=sys.stderr)

    def _draw(self, stage: str, done: int, total: int) -> None:
        if self._bar is None:
            self._bar = Progress(TextColumn("{task.description}", markup=False), BarColumn(),
                                 TextColumn("{task.completed}/{task.total}"), TimeElapsedColumn(),
                                 console=Console(stderr=True), transient=True)
            self._bar.start()
            self._task = self._bar.add_task(stage, total=total)
        self._bar.update(self._task, description=stage, completed=done, total=total)
