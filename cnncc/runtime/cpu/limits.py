"""The machine's limits, measured: what `cnncc profile` compares each step with."""

from __future__ import annotations

import time
from functools import cache

import numpy as np

from ...records import record
from . import native
from .executor import StepRecord, StepTable, aligned_words
from .kernel import make_params
from .kernels import limits

__all__ = ["Limits", "measure_limits"]

READ_BYTES = 96 << 20  # well beyond a last-level cache
ROUNDS, REPEATS = 2000, 7
TASKS = 16


@record
class Limits:
    """FLOP and bytes a second of all `threads` together."""

    threads: int
    flops: float
    bandwidth: float


@cache
def measure_limits(threads: int) -> Limits:
    """The best of a few short measurements (a tenth of a second in all); kept for the rest of the process."""
    lanes = native.host_lanes()
    vectors = READ_BYTES // (TASKS * 4 * lanes) // 4 * 4
    x, y = aligned_words(READ_BYTES // 8), aligned_words(TASKS * 16 * lanes)
    x[:] = 0  # so that it has memory of its own
    params = make_params(lanes=lanes)
    tile = limits.FMA_ROWS * limits.FMA_VECTORS // (2 if lanes == 8 else 1)
    flops = 2 * TASKS * ROUNDS * limits.FMA_DEPTH * tile * lanes
    fma = _best(native.get_kernel(limits.FMA.name, params), x, y, ROUNDS, threads)
    read = _best(native.get_kernel(limits.READ.name, params), x, y, vectors, threads)
    return Limits(threads, flops / fma, TASKS * vectors * 4 * lanes / read)


def _best(kernel: int, x: np.ndarray, y: np.ndarray, count: int, threads: int) -> float:
    """The shortest time of a step of TASKS tasks, in seconds."""
    table = StepTable([StepRecord(kernel, [x.ctypes.data, y.ctypes.data, count], TASKS)], threads)
    table.run()
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        table.run()
        times.append(time.perf_counter() - start)
    return min(times)
