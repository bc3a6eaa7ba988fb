"""Engines taking turns on one network: A B C A B C ..., so that what disturbs the machine disturbs all alike."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..records import record
from ..verification import compare_arrays
from . import worker as worker_module
from .worker import ENGINES, installed_version

__all__ = ["OURS", "Case", "Comparison", "Effort", "Failed", "Timing", "Worker", "compare", "cpus_for", "saved_inputs",
           "start_worker"]

Array = np.ndarray[Any, Any]

OURS = "cnncc"
MOST_RUNS = 5000  # in a turn
TOLERANCE = 1e-3  # of the largest output: more is another network, not another rounding
# What would give one engine other threads than the others, or keep it from using compiled bytecode.
STRIPPED = ("OPENBLAS_", "OMP_", "GOMP_", "KMP_", "MKL_", "NUMBA_NUM_THREADS", "CNNCC_NUM_THREADS",
            "PYTHONDONTWRITEBYTECODE")


@record
class Case:
    """A network in the form that each engine reads, its inputs, and the engines that cannot have it, with reasons."""

    name: str
    models: Mapping[str, Path]
    inputs: Sequence[Array]
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def batch(self) -> int:
        return int(self.inputs[0].shape[0]) if self.inputs and self.inputs[0].ndim else 1


@record
class Effort:
    """`seconds` for each engine, in `rounds` turns of at least `least` runs; `pause` seconds before a turn, in which
    the threads of the engine before cease to spin."""

    seconds: float = 4.0
    rounds: int = 10
    least: int = 3
    pause: float = 0.08


@record
class Timing:
    """Times of one engine in seconds. `low` and `high` are quartiles; `load` is the time to open the model, `error` the
    largest difference from the reference's outputs over their largest value."""

    version: str
    median: float
    low: float
    high: float
    runs: int
    load: float
    error: float

    @property
    def spread(self) -> float:
        return (self.high - self.low) / self.median


@record
class Comparison:
    """The timings of a case by engine; `left_out` says why an engine has none."""

    name: str
    batch: int
    threads: int
    timings: Mapping[str, Timing]
    left_out: Mapping[str, str]

    @property
    def fastest_peer(self) -> str | None:
        peers = {name: t.median for name, t in self.timings.items() if name != OURS}
        return min(peers, key=peers.__getitem__) if peers else None

    @property
    def ratio(self) -> float | None:
        """The fastest peer's median over ours."""
        if self.fastest_peer is None or OURS not in self.timings:
            return None
        return self.timings[self.fastest_peer].median / self.timings[OURS].median

    def as_json(self) -> dict[str, Any]:
        return {
            "network": self.name, "batch": self.batch, "threads": self.threads, "fastest_peer": self.fastest_peer,
            "ratio": self.ratio, "left_out": dict(self.left_out),
            "engines": {name: {"version": t.version, "median_ms": 1e3 * t.median, "low_ms": 1e3 * t.low,
                               "high_ms": 1e3 * t.high, "runs": t.runs, "load_ms": 1e3 * t.load, "error": t.error}
                        for name, t in self.timings.items()}}


class Failed(Exception):
    """An engine could not do what it was asked."""


class Worker:
    """The process of one engine."""

    def __init__(self, cpus: Sequence[int]) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 -- closed by close()
        self._process = start_worker([], cpus, stdin=subprocess.PIPE, stderr=self._errors)

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise Failed(f"its process ended with code {process.wait()}{self._last_words()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise Failed(answer["error"])
        return answer

    def _last_words(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return f": {lines[-1]}" if lines else ""

    def close(self) -> None:
        process = self._process
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                try:
                    stream.close()
                except BrokenPipeError:
                    continue
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._errors.close()


def start_worker(arguments: Sequence[str], cpus: Sequence[int], **streams: Any) -> subprocess.Popen[str]:
    """worker.py with these arguments, pinned to the CPUs, in an environment that sets no engine's threads."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(STRIPPED)}
    package = str(Path(worker_module.__file__).parents[2])
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (package, environment.get("PYTHONPATH"))))
    command = [sys.executable, "-P", worker_module.__file__, *arguments, ",".join(map(str, cpus))]
    return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, **streams)


def cpus_for(threads: int) -> list[int]:
    """The CPUs that `threads` threads are pinned to. Raises InputError where there are fewer."""
    cpus = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    if threads > len(cpus):
        raise InputError(f"cannot measure with {threads} threads: this process may use {len(cpus)} CPUs")
    return cpus[:threads]


@contextmanager
def saved_inputs(inputs: Sequence[Array]) -> Iterator[tuple[Path, str]]:
    """A folder for one measurement, and the path of a file in it that holds the inputs."""
    with tempfile.TemporaryDirectory(prefix="cnncc-bench-") as folder:
        path = Path(folder) / "inputs.npz"
        np.savez(path, *inputs)
        yield Path(folder), str(path)


def compare(case: Case, engines: Sequence[str], threads: int, effort: Effort | None = None,
            on_event: Callable[[str, int, int], None] | None = None) -> Comparison:
    """Times the engines on a case.

    Before anything is timed, the outputs of all must agree with those of onnxruntime, or of the first engine where it
    is not among them. An engine that is not installed, cannot run the network or computes something else is left out,
    and the result says so.
    """
    effort, tell = effort or Effort(), on_event or (lambda stage, done, total: None)
    left_out = dict(case.left_out)
    with saved_inputs(case.inputs) as (folder, inputs), ExitStack() as stack:
        workers: dict[str, Worker] = {}
        found: dict[str, dict[str, Any]] = {}
        outputs: dict[str, list[Array]] = {}
        for number, engine in enumerate(engines):
            tell(f"{case.name}: opening it in {engine}", number, len(engines))
            if engine in left_out:
                continue
            try:
                worker, found[engine], outputs[engine] = _open(case, engine, threads, folder, inputs, stack)
                workers[engine] = worker
            except Failed as failed:
                left_out[engine] = str(failed)
        errors = _errors(outputs)
        for engine, error in errors.items():
            if not error <= TOLERANCE:
                left_out[engine] = f"its outputs differ by {error:.1e} of the largest value"
                del workers[engine]
        times: dict[str, list[float]] = {engine: [] for engine in workers}
        for turn in range(effort.rounds):
            tell(f"{case.name}: measuring with {threads} thread{'s' * (threads > 1)}", turn, effort.rounds)
            for engine, worker in list(workers.items()):
                time.sleep(effort.pause)
                share = effort.seconds / effort.rounds
                try:
                    times[engine] += worker.ask("measure", seconds=share, least=effort.least, most=MOST_RUNS)["times"]
                except Failed as failed:
                    left_out[engine] = str(failed)
                    del workers[engine]
    timings = {engine: _timing(engine, sorted(times[engine]), found[engine]["load"], errors[engine])
               for engine in workers}
    return Comparison(case.name, case.batch, threads, timings, left_out)


def _open(case: Case, engine: str, threads: int, folder: Path, inputs: str, stack: ExitStack,
          ) -> tuple[Worker, dict[str, Any], list[Array]]:
    """The engine's process with the model loaded, how long that took, and its outputs."""
    if installed_version(engine) is None:
        raise Failed(f"the package {ENGINES[engine].package} is not installed")
    worker = Worker(cpus_for(threads))
    stack.callback(worker.close)
    loaded = worker.ask("load", engine=engine, model=str(case.models[engine]), inputs=inputs, threads=threads)
    path = folder / f"{engine}.npz"
    worker.ask("outputs", path=str(path))
    return worker, loaded, worker_module.read_arrays(str(path))


def _errors(outputs: Mapping[str, list[Array]]) -> dict[str, float]:
    """How far each engine's outputs are from the reference's; shapes may differ by axes of size 1."""
    if not outputs:
        return {}
    reference = outputs.get("onnxruntime") or next(iter(outputs.values()))
    errors = {}
    for engine, arrays in outputs.items():
        same = len(arrays) == len(reference) and all(a.size == b.size for a, b in zip(arrays, reference, strict=True))
        errors[engine] = max((compare_arrays("", a.reshape(b.shape), b).error
                              for a, b in zip(arrays, reference, strict=True)), default=0.0) if same else np.inf
    return errors


def _timing(engine: str, times: Sequence[float], load: float, error: float) -> Timing:
    quartiles = statistics.quantiles(times, n=4) if len(times) > 1 else [times[0]] * 3
    return Timing(installed_version(engine) or "", statistics.median(times), quartiles[0], quartiles[2], len(times),
                  load, error)
