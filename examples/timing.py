"""Timing of runtimes against each other on a machine that is never quite idle."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

__all__ = ["median_ms"]

ROUNDS = 8
PAUSE = 0.02  # seconds in which the threads of the one before stop spinning


def median_ms(calls: Mapping[str, Callable[[], object]], seconds: float = 1.0) -> dict[str, float]:
    """The median time of each call in milliseconds.

    The calls take turns, ROUNDS times for a block of repetitions of which the first does not count, so that what
    disturbs the machine disturbs all alike. About `seconds` are spent on each call.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            time.sleep(PAUSE)
            start = time.perf_counter()
            call()
            warm_up = time.perf_counter() - start
            for _ in range(max(3, min(500, int(seconds / ROUNDS / warm_up)))):
                start = time.perf_counter()
                call()
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(found) * 1e3 for name, found in times.items()}
