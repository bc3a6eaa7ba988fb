"""Jobs shared among threads: for work that does without the interpreter's lock: reading, sums, large copies."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterable
from functools import cache
from typing import TypeVar

__all__ = ["fork_safe_lock", "in_parallel", "usable_cpus"]

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

    helpers: list[threading.Thread] = []
    try:
        for _ in range(min(threads, len(waiting)) - 1):
            helper = threading.Thread(target=work, daemon=True)
            try:
                helper.start()
            except RuntimeError:  # the system has no more threads to give: those that are there do all the work
                break
            helpers.append(helper)
        work()
        for helper in helpers:
            helper.join()
    except BaseException as error:  # an interrupt: no other job is begun
        errors.append(error)
        raise
    if errors:
        raise errors[0]
    return [results[number] for number in range(len(results))]


def fork_safe_lock() -> threading.Lock:
    """A lock that is open in a forked child, whatever thread held it in the parent: the child does not have that
    thread. What it guards must therefore be whole at every moment."""
    lock = threading.Lock()
    _reopened().add(lock)
    return lock


@cache
def _reopened() -> weakref.WeakSet[threading.Lock]:
    locks: weakref.WeakSet[threading.Lock] = weakref.WeakSet()

    def reopen() -> None:
        for lock in locks:
            lock._at_fork_reinit()  # type: ignore[attr-defined]  # as the standard library's own modules do

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=reopen)
    return locks
