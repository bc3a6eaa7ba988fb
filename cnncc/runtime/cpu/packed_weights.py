"""Giving back the memory of weights that kernels have in a form of their own, so that a network is not there twice."""

from __future__ import annotations

import ctypes
import mmap
from typing import Any

import numpy as np

from ...plan import BODY, Plan

__all__ = ["releasable_weights", "release_memory"]

Array = np.ndarray[Any, Any]
LEAST = 1 << 16  # bytes of a weight that are worth it


def releasable_weights(plan: Plan) -> frozenset[int]:
    """The large weights that one step reads and that are no output, where the plan is bound once: when that step has
    packed them, nothing needs them. None where the system cannot take memory back piecewise."""
    if not hasattr(mmap, "MADV_DONTNEED") or not plan.is_static or plan.is_dynamic \
            or any(step.kernel == BODY for step in plan.steps):
        return frozenset()
    readers: dict[int, int] = {}
    for step in plan.steps:
        for number in step.inputs:
            if number is not None:
                readers[number] = readers.get(number, 0) + 1
    outputs = {port.buffer for port in plan.outputs}
    return frozenset(n for n, w in plan.weights.items()
                     if w.nbytes >= LEAST and readers.get(n) == 1 and n not in outputs)


def release_memory(array: Array) -> None:
    """Gives the whole pages of a contiguous array back to the system; its contents are lost, and read as anything."""
    start = -(-array.ctypes.data // mmap.PAGESIZE) * mmap.PAGESIZE
    size = (array.ctypes.data + array.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE - start
    if size > 0:
        advise = ctypes.CDLL(None).madvise
        advise(ctypes.c_void_p(start), ctypes.c_size_t(size), ctypes.c_int(mmap.MADV_DONTNEED))
