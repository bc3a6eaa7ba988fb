"""How many threads to use, and the threading layer that provides them."""

import math
import os
import sys
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any


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


@dataclass(frozen=True)
class ThreadingLayer:
    """``name`` is pool (our own), or Numba's omp, tbb or workqueue.

    ``parallel_for`` is the address of a C function like Numba's numba_parallel_for, ``pool`` its sixth argument.
    ``lock`` must be held during a run where the layer serves one at a time. ``start`` provides for n threads.
    """

    name: str
    parallel_for: int
    pool: int = 0
    lock: Any = None
    start: Callable[[int], None] = lambda threads: None


@cache
def threading_layer() -> ThreadingLayer:
    """Our own pool where the system has what it needs; Numba's layer elsewhere, or if NUMBA_THREADING_LAYER is set."""
    if "NUMBA_THREADING_LAYER" not in os.environ and hasattr(os, "register_at_fork") and sys.platform != "darwin":
        from cnncc.runtime.cpu.executor import H_ACTIVE
        from cnncc.runtime.cpu.worker_pool import WorkerPool

        try:
            pool = WorkerPool(8 * H_ACTIVE)
            return ThreadingLayer("pool", pool.parallel_for, pool.address, pool.lock, pool.start)
        except OSError:
            pass
    return _numba_layer()


def _numba_layer() -> ThreadingLayer:
    """The layer that Numba's settings choose; omp first by default."""
    import llvmlite.binding as llvm
    from numba import config, threading_layer
    from numba.np.ufunc.parallel import _launch_threads

    if config.THREADING_LAYER == "default":
        config.THREADING_LAYER_PRIORITY = ["omp", "tbb", "workqueue"]
    _launch_threads()
    name, lock = threading_layer(), None
    if name == "workqueue":
        lock = threading.Lock()
        warnings.warn("Numba has no OpenMP here: its workqueue layer takes 100 us for each parallel run", stacklevel=3)
    return ThreadingLayer(name, llvm.address_of_symbol("numba_parallel_for"), lock=lock)
