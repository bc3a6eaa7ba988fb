"""The one module that reads the environment.

    CNNCC_NUM_THREADS   threads of a session that is not told how many
    CNNCC_CPU           avx2, baseline: compile kernels for a lesser CPU; native (the default): for this one
    CNNCC_MAX_BYTES     the most that a tensor, all weights together or a run may take; 17179869184 (16 GiB) by default
    CNNCC_DEBUG         1: pass timings; 2: also kernel choices and the arena; 3: also the IR after each pass
    XDG_CACHE_HOME      where caches are; by default ~/.cache
    NUMBA_ENABLE_CUDASIM  1: run CUDA kernels in Numba's simulator instead of on a GPU
"""

from __future__ import annotations

import os
from pathlib import Path

from .errors import InputError

__all__ = ["cache_base", "cpu_restriction", "cuda_simulated", "debug_level", "memory_limit", "thread_count"]


def thread_count(given: int | None = None) -> int:
    """`given`, or CNNCC_NUM_THREADS, or the CPUs this process may use (affinity and cgroup quota respected)."""
    if given is None:
        text = os.environ.get("CNNCC_NUM_THREADS", "").strip()
        if not text:
            from .runtime.cpu.executor import available_threads

            return available_threads()
        if not text.isdigit() or int(text) < 1:
            raise InputError(f"CNNCC_NUM_THREADS must be a whole number from 1, not '{text}'")
        given = int(text)
    if given < 1:
        raise InputError(f"threads must be at least 1, not {given}")
    return given


def cpu_restriction() -> str:
    """"native", or the name of the lesser CPU that kernels are to be compiled for."""
    text = os.environ.get("CNNCC_CPU", "").strip() or "native"
    if text not in ("native", "avx2", "baseline"):
        raise InputError(f"CNNCC_CPU must be native, avx2 or baseline, not '{text}'")
    return text


def cuda_simulated() -> bool:
    """Whether CUDA kernels run in Numba's simulator; Numba reads the same variable when it is imported."""
    return os.environ.get("NUMBA_ENABLE_CUDASIM", "").strip() not in ("", "0")


def debug_level() -> int:
    text = os.environ.get("CNNCC_DEBUG", "0").strip() or "0"
    if not text.isdigit():
        raise InputError(f"CNNCC_DEBUG must be a whole number, not '{text}'")
    return int(text)


def cache_base() -> Path | None:
    """The folder of this user's caches; None where the environment names none: a relative path does not."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(given):
        return Path(given)
    home = os.path.expanduser("~") if os.name == "nt" else os.environ.get("HOME", "")
    return Path(home, ".cache") if os.path.isabs(home) else None


def memory_limit(given: int | None = None) -> int:
    """`given`, or CNNCC_MAX_BYTES, or 16 GiB: the bytes that a model or a plan may ask for."""
    if given is None:
        text = os.environ.get("CNNCC_MAX_BYTES", "").strip() or str(1 << 34)
        if not (text.isascii() and text.isdigit() and len(text) < 20):
            raise InputError(f"CNNCC_MAX_BYTES must be a whole number of bytes, not '{text[:20]}'")
        given = int(text)
    if given < 1:
        raise InputError(f"the limit in bytes must be at least 1, not {given}")
    return given
