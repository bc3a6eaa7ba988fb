"""How many threads to use, and the threading layer that provides them."""

import math
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cnncc.errors import InputError
from cnncc.records import record
from cnncc.runtime.cpu import native

NO_LIMIT = 1 << 40  # runs at a time


def available_threads() -> int:
    """CPUs this process may use: its affinity mask, limited by the cgroup's quota rounded up."""
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:
        count = os.cpu_count() or 1
    quota = _cgroup_quota()
    return max(1, count if quota is None else min(count, math.ceil(quota)))


def _cgroup_quota() -> float | None:
    """CPUs granted by cgroup v2 or v1, the tightest of this group and those above it."""
    found = []
    try:
        entries = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().split()]
    except OSError:
        return None
    for _, controllers, path in entries:
        if controllers == "":
            root, reader = Path("/sys/fs/cgroup"), _quota_v2
        elif "cpu" in controllers.split(","):
            root, reader = Path("/sys/fs/cgroup/cpu"), _quota_v1
        else:
            continue
        group = Path(path.lstrip("/"))
        for place in (group, *group.parents):
            quota = reader(root / place)
            if quota is not None:
                found.append(quota)
    return min(found, default=None)


def _quota_v2(folder: Path) -> float | None:
    try:
        quota, period = (folder / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None


def _quota_v1(folder: Path) -> float | None:
    try:
        quota = int((folder / "cpu.cfs_quota_us").read_text())
        return quota / int((folder / "cpu.cfs_period_us").read_text()) if quota > 0 else None
    except (OSError, ValueError, ZeroDivisionError):
        return None


_chosen: dict[str, "ThreadingLayer"] = {}


@record
class ThreadingLayer:
    """``name`` is pool (our own), or Numba's omp, tbb or workqueue.

    ``parallel_for`` is the address of a C function like Numba's numba_parallel_for, ``pool`` its sixth argument.
    ``gate``: how many runs are in it, and how many may be (see executor.py). ``start`` provides for n threads.
    """

    name: str
    parallel_for: int
    gate: np.ndarray[Any, Any]
    pool: int = 0
    start: Callable[[int], None] = lambda threads: None


def threading_layer() -> ThreadingLayer:
    """Our own pool where the system has what it needs; Numba's layer elsewhere, or if NUMBA_THREADING_LAYER is set."""
    if not _chosen:
        with native.compiling():  # two threads that come first must not make a layer each
            if not _chosen:
                _chosen["layer"] = _threading_layer()
    return _chosen["layer"]


def _threading_layer() -> ThreadingLayer:
    if "NUMBA_THREADING_LAYER" not in os.environ and hasattr(os, "register_at_fork") and sys.platform != "darwin":
        from cnncc.runtime.cpu.executor import H_ACTIVE
        from cnncc.runtime.cpu.worker_pool import WorkerPool

        try:
            pool = WorkerPool(8 * H_ACTIVE)
            return ThreadingLayer("pool", pool.parallel_for, pool.gate, pool.address, pool.start)
        except OSError:
            pass
    return _numba_layer()


def _numba_layer() -> ThreadingLayer:
    """The layer that Numba's settings choose; omp first by default. None survives a fork in a shape to be used, and GNU
    OpenMP ends the process that tries; so runs of a forked child work alone."""
    import llvmlite.binding as llvm
    from numba import config, threading_layer
    from numba.np.ufunc.parallel import _launch_threads

    if config.THREADING_LAYER == "default":
        config.THREADING_LAYER_PRIORITY = ["omp", "tbb", "workqueue"]
    try:
        _launch_threads()
    except ValueError as error:
        raise InputError(f"NUMBA_THREADING_LAYER is '{config.THREADING_LAYER}', which is not to be had here "
                         f"({str(error).splitlines()[0].rstrip('.')}): unset it, and cnncc uses its own") from None
    name = threading_layer()
    if name == "workqueue":
        warnings.warn("Numba has no OpenMP here: its workqueue layer takes 100 us for each parallel run", stacklevel=4)
    gate = np.array([0, 1 if name == "workqueue" else NO_LIMIT], np.int64)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lambda: gate.__setitem__(slice(None), 0))
    return ThreadingLayer(name, llvm.address_of_symbol("numba_parallel_for"), gate)
