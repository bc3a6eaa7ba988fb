"""What a profile of a run holds: for each executed step its time, work and share of the machine's limit."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from typing import Any

from .records import record

__all__ = ["Profile", "StepProfile"]


@record
class StepProfile:
    """One executed step. `seconds` is the median over the runs; `macs` and `bytes` are the operator's (see costs.py);
    `limit` is the time below which this machine could not do that work from memory, in seconds."""

    name: str
    op_type: str
    kernel: str
    shapes: str
    seconds: float
    macs: int
    bytes: int
    limit: float
    start: float  # seconds after the beginning of the run, medians of the steps before added up

    @property
    def gflops(self) -> float:
        return 2e-9 * self.macs / self.seconds if self.seconds else 0.0

    @property
    def gbytes(self) -> float:
        return 1e-9 * self.bytes / self.seconds if self.seconds else 0.0

    @property
    def share_of_limit(self) -> float:
        """More than 1 where arithmetic is left out (Winograd) or the data lie in caches."""
        return self.limit / self.seconds if self.seconds else 0.0


@record
class Profile:
    """`seconds` is the median time of a whole run, `flops` and `bandwidth` are the limits a second of `machine`."""

    name: str
    threads: int
    runs: int
    seconds: float
    flops: float
    bandwidth: float
    steps: tuple[StepProfile, ...]
    machine: str = "this machine"

    def families(self) -> list[tuple[str, int, float, float]]:
        """(kernel, number of steps, seconds, GFLOP/s), the longest first."""
        found: dict[str, list[StepProfile]] = {}
        for step in self.steps:
            found.setdefault(step.kernel, []).append(step)
        rows = []
        for kernel, steps in found.items():
            seconds = sum(s.seconds for s in steps)
            rows.append((kernel, len(steps), seconds, 2e-9 * sum(s.macs for s in steps) / seconds if seconds else 0.0))
        return sorted(rows, key=lambda row: -row[2])

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name, "threads": self.threads, "runs": self.runs, "seconds": self.seconds,
            "limit_flops": self.flops, "limit_bandwidth": self.bandwidth,
            "steps": [{"name": s.name, "operator": s.op_type, "kernel": s.kernel, "shapes": s.shapes,
                       "seconds": s.seconds, "macs": s.macs, "bytes": s.bytes, "gflops": s.gflops,
                       "gbytes": s.gbytes, "share_of_limit": s.share_of_limit} for s in self.steps],
        }

    def trace(self) -> str:
        """The run in the Trace Event Format, which Perfetto and Chrome show; times in microseconds."""
        events = [{"name": s.name, "cat": s.kernel, "ph": "X", "ts": 1e6 * s.start, "dur": 1e6 * s.seconds, "pid": 1,
                   "tid": 1, "args": {"operator": s.op_type, "kernel": s.kernel, "shapes": s.shapes,
                                      "GFLOP/s": round(s.gflops, 2), "GB/s": round(s.gbytes, 2),
                                      "share of limit": round(s.share_of_limit, 3)}} for s in self.steps]
        return json.dumps({"traceEvents": events, "displayTimeUnit": "ns", "otherData": {"plan": self.name}})


def medians(times: Sequence[Sequence[tuple[int, int]]]) -> list[float]:
    """The median duration of each step in seconds; `times` are, run by run, (begin, end) in nanoseconds."""
    return [statistics.median(end - begin for begin, end in step) * 1e-9 for step in zip(*times, strict=True)]
