"""Compiling kernels: for the device at hand, in the simulator, or to PTX for any device without one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from .kernel import Kernel, Params
from .kernels.table import KERNELS

__all__ = ["Key", "compile_ptx", "get_kernel"]

Key = tuple[str, Params]
_kernels: dict[Key, Callable[..., Any]] = {}
_lock = threading.Lock()


def get_kernel(name: str, params: Params) -> Callable[..., Any]:
    """The kernel for the device at hand, called as k[grid, block, stream, shared]; compiled when first asked for."""
    from .language import SIMULATED, cuda

    key = name, params
    with _lock:
        found = _kernels.get(key)
        if found is None:
            kernel = KERNELS[name]
            function = kernel.build(**dict(params))
            options = _options(kernel, params)
            found = cuda.jit(function) if SIMULATED else cuda.jit(_signature(kernel, params), **options)(function)
            _kernels[key] = found
    return found


def compile_ptx(kernel: Kernel, params: Params, capability: tuple[int, int]) -> str:
    """The kernel's PTX for devices of this compute capability; needs no GPU."""
    from numba import cuda

    with _lock, _device_of(capability):
        text, _ = cuda.compile(kernel.build(**dict(params)), _signature(kernel, params), device=False, abi="numba",
                               cc=capability, output="ptx", **_options(kernel, params))
    return str(text)


@contextmanager
def _device_of(capability: tuple[int, int]) -> Iterator[None]:
    """Within, Numba takes the current device to have this capability: it asks when a kernel calls what is not inlined,
    and without a GPU there is none to ask."""
    from numba.cuda import dispatcher

    actual = dispatcher.get_current_device
    dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=capability)
    try:
        yield
    finally:
        dispatcher.get_current_device = actual


def _options(kernel: Kernel, params: Params) -> dict[str, Any]:
    """Not `fastmath`: it would flush subnormal numbers and make divisions inexact. Multiplications and additions are
    contracted to FMAs all the same."""
    threads = kernel.threads(**dict(params))
    return {"launch_bounds": threads} if threads else {}


def _signature(kernel: Kernel, params: Params) -> Any:
    from numba.cuda import types

    names = {"bool": types.uint8, "f16": types.float16, "f32": types.float32, "f64": types.float64,
             **{f"{s}{n}": getattr(types, f"{'u' if s == 'u' else ''}int{n}") for s in "iu" for n in (8, 16, 32, 64)}}
    elements = kernel.elements(**dict(params))
    pointers = [types.CPointer(names[elements.get(word, "f32")]) for word in kernel.operands]
    arguments = [*pointers, *[types.int32] * len(kernel.dims), *[types.float32] * len(kernel.floats)]
    return types.void(*arguments)
