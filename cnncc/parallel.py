"""Jobs shared among threads: for work that does without the interpreter's lock: reading, sums, large copies."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from typing import TypeVar

__all__ = ["in_parallel", "usable_cpus"]

T = TypeVar("T")


def usable_cpus() -> int:
    """The CPUs that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_parallel(jobs: Iterable[Callable[[], T]], threads: int) -> list[T]:
    """The jobs' results, in their order. The caller works, too; once a job has failed no other is begun, and its error
    is raised."""
    waiting = list(enumerate(jobs))
    results: dict[int, T] = {}
    errors: list[BaseException] = []
    waiting.reverse()

    def work() -> None:
        while not errors:
            try:
                number, job = waiting.pop()  # atomic under the GIL
            except IndexError:
                return
            try:
                results[number] = job()
            except BaseException as error:
                errors.append(error)

    helpers = [threading.Thread(target=work, daemon=True) for _ in range(min(threads, len(waiting)) - 1)]
    for helper in helpers:
        helper.start()
    work()
    for helper in helpers:
        helper.join()
    if errors:
        raise errors[0]
    return [results[number] for number in range(len(results))]
