"""What happens once: from the start of a process to the first result, opening a model, memory, compiling."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..records import record
from .compare import Case, Failed, Worker, cpus_for, saved_inputs, start_worker
from .report import Table
from .worker import ENGINES, installed_version

__all__ = ["CompileTimes", "Startup", "compile_times", "measure_startup", "startup_table"]

WARM = 5  # times that a network is compiled with all kernels in the cache


@record
class Startup:
    """Medians for one engine and network. `first_result`: seconds from the start of a process that loads the engine and
    the model until it has run once; `load`: seconds to open the model in a process that has opened it before; `peak`:
    the most bytes that a process which opened it and ran it once has held."""

    network: str
    engine: str
    first_result: float
    load: float
    peak: int

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@record
class CompileTimes:
    """Seconds that `cnncc compile` takes, with no kernel and with all kernels in the cache (a median)."""

    network: str
    cold: float
    warm: float

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def measure_startup(case: Case, engines: Sequence[str], threads: int, repeats: int = 5,
                    on_event: Callable[[str, int, int], None] | None = None) -> tuple[list[Startup], dict[str, str]]:
    """The figures of each engine, which take turns, and why others are left out."""
    left_out = dict(case.left_out)
    left_out |= {e: "it is not installed" for e in engines if e not in left_out and installed_version(e) is None}
    first: dict[str, list[float]] = {e: [] for e in engines if e not in left_out}
    found = []
    with saved_inputs(case.inputs) as (_, inputs):
        for number in range(repeats + 1):
            if on_event is not None:
                on_event(f"{case.name}: starting processes", number, repeats + 1)
            for engine in list(first):
                try:
                    first[engine].append(_first_result(case, engine, inputs, threads))
                except Failed as failed:
                    left_out[engine] = str(failed)
                    del first[engine]
        for engine, times in first.items():
            try:
                loads, peak = _load_and_peak(case, engine, inputs, threads, repeats)
            except Failed as failed:
                left_out[engine] = str(failed)
                continue
            # The first process finds files and caches cold.
            found.append(Startup(case.name, engine, statistics.median(times[1:] or times),
                                 statistics.median(loads[1:] or loads), peak))
    return found, left_out


def _load_and_peak(case: Case, engine: str, inputs: str, threads: int, repeats: int) -> tuple[list[float], int]:
    def load(worker: Worker) -> float:
        seconds: float = worker.ask("load", engine=engine, model=str(case.models[engine]), inputs=inputs,
                                    threads=threads)["load"]
        return seconds

    with closing(Worker(cpus_for(threads))) as worker:
        loads = [load(worker) for _ in range(repeats)]
    with closing(Worker(cpus_for(threads))) as worker:
        load(worker)
        return loads, worker.ask("memory")["peak"]


def _first_result(case: Case, engine: str, inputs: str, threads: int) -> float:
    start = time.perf_counter()
    process = start_worker([engine, str(case.models[engine]), inputs, str(threads)], cpus_for(threads),
                           stderr=subprocess.PIPE)
    assert process.stdout is not None
    line = process.stdout.readline()
    seconds = time.perf_counter() - start
    _, errors = process.communicate()
    if line.strip() != "done":
        raise Failed((errors.strip().splitlines() or [f"its process ended with code {process.returncode}"])[-1])
    return seconds


def compile_times(name: str, onnx: Path, shapes: Mapping[str, int] | None = None) -> CompileTimes:
    """`cnncc compile` with a kernel cache of its own that is empty at first."""
    with tempfile.TemporaryDirectory(prefix="cnncc-bench-") as folder:
        command = [sys.executable, "-c", "from cnncc.cli.main import main; main()", "compile", str(onnx), "-q",
                   "-o", f"{folder}/it.plan"]
        command += [part for n, size in (shapes or {}).items() for part in ("--shape", f"{n}={size}")]
        times = []
        for _ in range(1 + WARM):
            start = time.perf_counter()
            subprocess.run(command, check=True, env=os.environ | {"XDG_CACHE_HOME": folder})
            times.append(time.perf_counter() - start)
    return CompileTimes(name, times[0], statistics.median(times[1:]))


def startup_table(found: Sequence[Startup]) -> Table:
    """A line a network and figure, a column an engine."""
    engines = [e for e in ENGINES if any(s.engine == e for s in found)]
    rows = []
    for network in dict.fromkeys(s.network for s in found):
        mine = {s.engine: s for s in found if s.network == network}
        for title, value in (("start to first result, ms", lambda s: f"{1e3 * s.first_result:.0f}"),
                             ("load, ms", lambda s: f"{1e3 * s.load:.1f}"),
                             ("peak memory, MB", lambda s: f"{s.peak / 1e6:.0f}")):
            rows.append((network, title, *(value(mine[e]) if e in mine else "-" for e in engines)))
    return Table(("network", "what", *engines), tuple(rows), tuple(engines))
