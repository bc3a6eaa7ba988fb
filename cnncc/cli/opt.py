"""`cnncc opt`."""

from __future__ import annotations

import difflib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .console import Reporter, print_json, print_line, print_table
from .options import Json, Quiet

if TYPE_CHECKING:
    from ..ir import Graph
    from ..passes.manager import Pass


def opt(
        graph: Annotated[str, typer.Argument(help="An ONNX model, or IR text in a file or (-) on stdin.")] = "",
        passes: Annotated[str, typer.Option("--passes", "-p", help="Names of passes, separated by commas.")] = "",
        level: Annotated[int | None, typer.Option("--level", "-O", min=0, max=2, help="All passes of a level.")] = None,
        output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the IR text to a file.")] = None,
        time: Annotated[bool, typer.Option("--time", help="Tell on stderr what each pass did and took.")] = False,
        list_: Annotated[bool, typer.Option("--list", help="List the passes.")] = False,
        as_json: Json = False,
        quiet: Quiet = False) -> None:
    """Reads a graph, runs passes over it and prints it as IR text.

    Without passes it prints the graph as it was read. IR text holds no large weights: in a graph read from text they
    are zeros, so what depends on their contents is best done on the ONNX model.

        cnncc opt resnet50.onnx -p fold_batch_norm,fuse_activation

        cnncc opt resnet50.onnx -O2 --time -o resnet50.txt

        cnncc opt - -p eliminate_dead_nodes < graph.txt
    """
    from ..errors import InputError
    from ..ir import format_graph, verify
    from ..passes.manager import run_passes
    from .files import check_writable, replacing

    if list_:
        _print_passes(as_json)
        return
    if not graph:
        raise InputError("name a model or a file of IR text ('-' for stdin), or --list to list the passes")
    chosen = _choose(passes, level)
    if output is not None:
        check_writable(output)
    loaded = _read(graph)
    records = run_passes(loaded, chosen, verify=True)
    verify(loaded)
    text = format_graph(loaded)
    if output is None:
        print_line(text.rstrip("\n"))
    else:
        with replacing(output) as file:
            file.write(text.encode())
        Reporter(quiet).say(f"wrote {output}")
    if time:
        for r in records:
            change = f"{r.nodes_before} -> {r.nodes_after} nodes" if r.changed else "no change"
            print(f"{r.name:36} {r.seconds * 1e3:8.1f} ms  {change}", file=sys.stderr)


def _choose(names: str, level: int | None) -> list[Pass | tuple[Pass, ...]]:
    from ..errors import InputError
    from ..passes import PASSES, PIPELINES

    if names and level is not None:
        raise InputError("give passes by name (-p) or by level (-O), not both")
    if level is not None:
        return list(PIPELINES[level])
    chosen: list[Pass | tuple[Pass, ...]] = []
    for name in filter(None, (n.strip() for n in names.split(","))):
        if name not in PASSES:
            close = difflib.get_close_matches(name, PASSES, n=1)
            hint = f"did you mean '{close[0]}'?" if close else "'cnncc opt --list' lists them"
            raise InputError(f"there is no pass '{name}'; {hint}")
        chosen.append(PASSES[name])
    return chosen


def _print_passes(as_json: bool) -> None:
    from ..passes import PASSES

    rows = [(name, " ".join((one.__doc__ or "").partition("\n\n")[0].split())) for name, one in PASSES.items()]
    if as_json:
        print_json([{"pass": name, "does": does} for name, does in rows])
    else:
        print_table(("pass", "what it does"), rows)


def _read(source: str) -> Graph:
    from ..errors import InputError
    from ..ir import parse_graph
    from ..ops import OPS

    if source.endswith(".onnx"):
        from ..frontends import load_graph

        return load_graph(source)
    try:
        text = sys.stdin.read() if source == "-" else Path(source).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read IR text from '{source}': {getattr(error, 'strerror', None) or error}") from None
    return parse_graph(text, OPS)
