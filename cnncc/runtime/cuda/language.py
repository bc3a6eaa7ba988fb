"""The vocabulary of kernels: ``cuda`` and device functions, compiled or in the simulator.

Only the ``build`` function of a kernel imports this module, because it imports Numba. Numbers in kernels are float64
unless they are said to be others: a constant is ``float32(0.5)``, made outside the kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import cuda as _cuda
from numba.core import config
from numpy import float32, int32, int64

__all__ = ["SIMULATED", "cuda", "device", "float32", "int32", "int64"]

SIMULATED = bool(config.ENABLE_CUDASIM)


class _Simulator:
    """Numba's simulator gives threads a `cuda` of their own, which it puts among a kernel's globals. Kernels here are
    closures; through this object they reach the same."""

    def __getattr__(self, name: str) -> Any:
        from numba.cuda.simulator.kernel import _get_kernel_context

        context = _get_kernel_context()
        return getattr(_cuda if context is None else context, name)


cuda: Any = _Simulator() if SIMULATED else _cuda


def device(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function as one that kernels call; it is inlined."""
    found: Callable[..., Any] = function if SIMULATED else _cuda.jit(device=True, forceinline=True)(function)
    return found
