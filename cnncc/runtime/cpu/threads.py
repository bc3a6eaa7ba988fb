"""How many threads to use, and the threading layer that provides them."""

import ctypes
import importlib.util
import math
import os
import sys
import threading
import warnings
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path


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
    """Numba's: ``name`` is omp, tbb or workqueue; ``lock`` serialises runs where the layer is not re-entrant.

    ``parallel_for`` is the address of its C function of that name.
    """

    name: str
    parallel_for: int
    lock: AbstractContextManager | None


@cache
def threading_layer() -> ThreadingLayer:
    """Start the threads (once a process)."""
    if "numba" not in sys.modules and "NUMBA_THREADING_LAYER" not in os.environ:
        layer = _openmp_without_numba()
        if layer is not None:
            return layer
    return _numba_layer()


def _openmp_without_numba() -> ThreadingLayer | None:
    """Numba's OpenMP layer is one extension module that needs nothing else of Numba: 0.25 s less to start."""
    numba = importlib.util.find_spec("numba")
    for folder in (numba.submodule_search_locations or []) if numba else []:
        for suffix in EXTENSION_SUFFIXES:
            path = Path(folder, "np", "ufunc", f"omppool{suffix}")
            if path.exists():
                try:
                    spec = importlib.util.spec_from_file_location("numba.np.ufunc.omppool", path)
                    module = importlib.util.module_from_spec(spec)
                    spec.loader.exec_module(module)
                    ctypes.CFUNCTYPE(None, ctypes.c_int)(module.launch_threads)(os.cpu_count() or 1)
                    return ThreadingLayer("omp", module.parallel_for, None)
                except (ImportError, AttributeError):
                    return None
    return None


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
    return ThreadingLayer(name, llvm.address_of_symbol("numba_parallel_for"), lock)
