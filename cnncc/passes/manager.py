"""Runs passes in order, and tells what each did."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from ..errors import GraphError, InputError
from ..ir import Graph, format_graph
from ..ir import verify as verify_graph
from ..records import record

__all__ = ["MAX_ROUNDS", "Pass", "PassRecord", "Pipeline", "run_passes"]

# A pass rewrites the graph in place and says whether it changed anything. It leaves the nodes in topological order. It
# is run on the bodies of If, Loop and Scan as on any graph.
Pass = Callable[[Graph], bool]
# A tuple inside a pipeline is a group, repeated until a whole round changes nothing, at most MAX_ROUNDS times.
Pipeline = tuple[Pass | tuple[Pass, ...], ...]

MAX_ROUNDS = 10


@record
class PassRecord:
    """One run of one pass."""

    name: str
    changed: bool
    seconds: float
    nodes_before: int
    nodes_after: int


def run_passes(graph: Graph, passes: Iterable[Pass | tuple[Pass, ...]], *, verify: bool = False,
               dump: str | Path | None = None,
               on_pass: Callable[[PassRecord], None] | None = None) -> list[PassRecord]:
    """Runs `passes` on the graph, in place; one record for each run, in order.

    Args:
        verify: check every rule of the IR after each pass that changed something.
        dump: a directory, made if need be, for the IR text of the input (00_input.txt) and after each pass that
            changed something (NN_name.txt, NN counting the runs).
        on_pass: called with each record as soon as it exists.

    Raises:
        GraphError: naming the pass after which the graph is not valid (only with `verify`).
        InputError: where the dump cannot be written.
    """
    records: list[PassRecord] = []

    def run(one: Pass) -> bool:
        before, start = len(graph), time.perf_counter()
        changed = _everywhere(one, graph)
        records.append(PassRecord(one.__name__, changed, time.perf_counter() - start, before, len(graph)))
        if changed and verify:
            _verify_after(graph, one.__name__)
        if changed and dump is not None:
            _dump(graph, Path(dump), len(records), one.__name__)
        if on_pass is not None:
            on_pass(records[-1])
        return changed

    if dump is not None:
        _dump(graph, Path(dump), 0, "input")
    for step in passes:
        for group in _rounds(step):
            changed = [run(one) for one in group]
            if not any(changed):
                break
    return records


def _everywhere(one: Pass, graph: Graph) -> bool:
    """Runs the pass on the bodies within the graph, then on the graph itself."""
    changed = [_everywhere(one, body) for body in graph.bodies()]
    if any(changed):
        graph.reinfer()
    return one(graph) or any(changed)


def _rounds(step: Pass | tuple[Pass, ...]) -> Iterator[tuple[Pass, ...]]:
    if isinstance(step, tuple):
        yield from (step for _ in range(MAX_ROUNDS))
    else:
        yield (step,)


def _verify_after(graph: Graph, name: str) -> None:
    try:
        verify_graph(graph)
    except GraphError as error:
        raise GraphError(f"after the pass {name}: {error}") from error


def _dump(graph: Graph, directory: Path, number: int, name: str) -> None:
    path = directory / f"{number:02d}_{name}.txt"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        path.write_text(format_graph(graph), encoding="utf-8")
    except OSError as error:
        raise InputError(f"the IR cannot be written to {path}: {error.strerror}; "
                         "give a directory that can be written to") from error
