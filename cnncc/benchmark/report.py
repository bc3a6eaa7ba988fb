"""Comparisons as rows of a table, as Markdown, and as JSON."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any

from ..cli.files import replacing
from ..records import record
from .compare import OURS, Comparison, Timing

__all__ = ["Table", "comparison_table", "left_out_lines", "markdown", "write_results"]


@record
class Table:
    """Rows of text under columns, of which those in `right` are aligned to the right."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: tuple[str, ...] = field(default=())


def comparison_table(comparisons: Sequence[Comparison], engines: Sequence[str],
                     floors: Mapping[str, float] | None = None) -> Table:
    """A line a comparison, medians in milliseconds with half the distance of the quartiles; below them, for each batch
    and number of threads, the geometric mean of the ratios. `floors` are the ratios to reach, by network: then the
    mean is of these networks."""
    rows = [_row(one, engines, floors) for one in comparisons]
    for batch, threads in dict.fromkeys((c.batch, c.threads) for c in comparisons):
        ratios = [c.ratio for c in comparisons if (c.batch, c.threads) == (batch, threads) and c.ratio is not None
                  and (floors is None or c.name in floors)]
        if len(ratios) > 1:
            floor = "" if floors is None or batch != 1 else _floor(floors.get("geometric mean"))
            rows.append(("geometric mean", str(batch), str(threads), *[""] * len(engines), "", "",
                         f"{statistics.geometric_mean(ratios):.2f}", *([floor] if floors is not None else [])))
    columns = ("network", "batch", "threads", *(f"{e} ms" for e in engines), "images/s", "fastest peer", "ratio",
               *(["floor"] if floors is not None else []))
    return Table(columns, tuple(rows), tuple(c for c in columns if c not in ("network", "fastest peer")))


def _row(one: Comparison, engines: Sequence[str], floors: Mapping[str, float] | None) -> tuple[str, ...]:
    ours = one.timings.get(OURS)
    rate = f"{one.batch / ours.median:,.4g}" if ours else ""
    ratio = f"{one.ratio:.2f}" if one.ratio is not None else "-"
    floor = [] if floors is None else [_floor(floors.get(one.name)) if one.batch == 1 else ""]
    return (one.name, str(one.batch), str(one.threads), *(_time(one.timings.get(e)) for e in engines), rate,
            one.fastest_peer or "-", ratio, *floor)


def _floor(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _time(timing: Timing | None) -> str:
    if timing is None:
        return "-"
    milliseconds = 1e3 * timing.median
    digits = 4 if milliseconds < 0.1 else 3 if milliseconds < 1 else 2 if milliseconds < 100 else 1
    return f"{milliseconds:.{digits}f} ±{50 * timing.spread:.0f}%"


def left_out_lines(comparisons: Sequence[Comparison]) -> list[str]:
    """Why engines have no time, each reason once with the networks it is true of."""
    networks: dict[tuple[str, str], dict[str, None]] = {}
    for one in comparisons:
        for engine, reason in one.left_out.items():
            networks.setdefault((engine, reason), {})[one.name] = None
    return [f"{engine} was left out of {', '.join(names)}: {reason}" for (engine, reason), names in networks.items()]


def markdown(table: Table) -> str:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cells) + " |"

    rule = ["---:" if column in table.right else "---" for column in table.columns]
    return "\n".join([line(table.columns), line(rule), *map(line, table.rows)])


def write_results(folder: Path, name: str, machine: Mapping[str, str], tables: Mapping[str, Table],
                  notes: Sequence[str], data: Mapping[str, Any]) -> list[Path]:
    """`name`.md with the tables under their titles and `name`.json with `data`, each written whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"# {name}", "", *(f"- {key}: {value}" for key, value in machine.items()), ""]
    for title, table in tables.items():
        lines += [f"## {title}", "", markdown(table), ""]
    lines += [*(f"- {note}" for note in notes), ""] if notes else []
    texts = {".md": "\n".join(lines).rstrip("\n"), ".json": json.dumps({"machine": dict(machine), **data}, indent=1)}
    for suffix, text in texts.items():
        with replacing(folder / f"{name}{suffix}") as file:
            file.write(f"{text}\n".encode())
    return [folder / f"{name}{suffix}" for suffix in texts]
