"""Compiling kernels: to PTX and machine code for any device, none of which needs one, and in the simulator."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ...environment import cuda_simulated
from ..cpu import compile_pool
from ..cpu.kernel_cache import can_write, read_entry, write_entry
from .kernel import Kernel, Params
from .kernels.table import KERNELS

__all__ = ["Key", "compile_image", "compile_ptx", "entry_point", "fill_cache", "get_kernel", "link", "warm_kernels"]

Key = tuple[str, Params]
NO_KERNEL_CODE = ("__init__.py", "compile_worker.py", "device.py", "device_array.py", "dlpack.py", "driver.py",
                  "execution.py", "explain.py", "prediction.py", "runner.py", "simulated_driver.py")
WORKER = "cnncc.runtime.cuda.compile_worker"
WORKERS = 8  # processes that compile at once, at most
_ENTRY = re.compile(r"\.entry\s+([\w$]+)")
_kernels: dict[Key, Callable[..., Any]] = {}
_lock = threading.Lock()


def get_kernel(name: str, params: Params) -> Callable[..., Any]:
    """The kernel in the simulator, called as k[grid, block, stream, shared]."""
    from .language import cuda

    key = name, params
    with _lock:
        found = _kernels.get(key)
        if found is None:
            found = _kernels[key] = cuda.jit(KERNELS[name].build(**dict(params)))
    return found


def compile_image(key: Key, capability: tuple[int, int]) -> tuple[bytes, bytes]:
    """A kernel's machine code for devices of this compute capability, and the name of its function; from the kernel
    cache, or compiled and put there. In the simulator, what its driver takes instead."""
    if cuda_simulated():
        return json.dumps(key).encode(), b""
    file = _entry(key, capability)
    kept = read_entry(file)
    if kept is None:
        text = compile_ptx(KERNELS[key[0]], key[1], capability)
        kept = entry_point(text).encode() + b"\0" + link(text, capability)
        write_entry(file, kept)
    symbol, image = kept.split(b"\0", 1)
    return image, symbol


def warm_kernels(binding: Any, on_event: Callable[[str, int, int], None]) -> None:
    """Puts every kernel that the bound plan launches, and that is not loaded, into the kernel cache, for the device at
    hand."""
    from .device import device

    here, told = device(), "compiling kernels for this GPU, once"
    keys = {stage.key for bound in binding.steps if bound.launch is not None for stage in bound.launch.stages}
    keys = {key for key in keys if not here.has(key)}
    fill_cache(sorted(keys), here.capability, lambda done: on_event(told, done, len(keys)))


def fill_cache(keys: Sequence[Key], capability: tuple[int, int], on_done: Callable[[int], None]) -> None:
    """Compiles what the kernel cache has not, in a process a CPU: Numba compiles in one thread only. `on_done` is told
    how many of the keys are there."""
    if cuda_simulated() or not can_write():
        return
    missing = [key for key in keys if read_entry(_entry(key, capability)) is None]
    done = itertools.count(len(keys) - len(missing) + 1)
    if len(missing) > 1:
        compile_pool.fill_cache([(*key, capability) for key in missing], min(WORKERS, os.cpu_count() or 1),
                                lambda key: on_done(next(done)), WORKER, per_worker=1)
    for key in missing:  # what no process has compiled
        if read_entry(_entry(key, capability)) is None:
            compile_image(key, capability)
            on_done(next(done))


def compile_ptx(kernel: Kernel, params: Params, capability: tuple[int, int]) -> str:
    """The kernel's PTX for devices of this compute capability."""
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


def link(ptx: str, capability: tuple[int, int]) -> bytes:
    """The machine code (a cubin) of PTX, by NVIDIA's linker."""
    from cuda.bindings import nvjitlink

    data = ptx.encode()
    handle = nvjitlink.create(1, [f"-arch=sm_{capability[0]}{capability[1]}"])
    try:
        nvjitlink.add_data(handle, nvjitlink.InputType.PTX, data, len(data), "kernel")
        nvjitlink.complete(handle)
        image = bytearray(nvjitlink.get_linked_cubin_size(handle))
        nvjitlink.get_linked_cubin(handle, image)
    finally:
        nvjitlink.destroy(handle)
    return bytes(image)


def entry_point(ptx: str) -> str:
    """The name of the function in a kernel's PTX."""
    found = _ENTRY.search(ptx)
    if found is None:
        raise RuntimeError("the PTX of a kernel has no entry point")
    return found.group(1)


def _options(kernel: Kernel, params: Params) -> dict[str, Any]:
    """Not `fastmath`: it would flush subnormal numbers and make divisions inexact. Multiplications and additions are
    contracted to FMAs all the same."""
    threads = kernel.threads(**dict(params))
    return {"launch_bounds": (threads, kernel.blocks(**dict(params)))} if threads else {}


def _signature(kernel: Kernel, params: Params) -> Any:
    from numba.cuda import types

    names = {"bool": types.uint8, "f16": types.float16, "f32": types.float32, "f64": types.float64,
             **{f"{s}{n}": getattr(types, f"{'u' if s == 'u' else ''}int{n}") for s in "iu" for n in (8, 16, 32, 64)}}
    elements = kernel.elements(**dict(params))
    pointers = [types.CPointer(names[elements.get(word, "f32")]) for word in kernel.operands]
    arguments = [*pointers, *[types.int32] * len(kernel.dims), *[types.float32] * len(kernel.floats)]
    return types.void(*arguments)


# -- names of cache entries --------------------------------------------------------------------------------------------


@cache
def _fingerprint() -> bytes:
    """Everything that a kernel's code depends on besides its own module: shared sources, and what compiles them."""
    digest = hashlib.sha256(sys.version.encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        if path.name not in NO_KERNEL_CODE:
            digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    for package in ("numba", "numba-cuda", "llvmlite", "cuda-bindings"):
        digest.update(f"{package} {metadata.version(package)}\n".encode())
    for package in ("nvidia-cuda-nvcc-cu12", "nvidia-cuda-nvcc", "nvidia-nvjitlink-cu12", "nvidia-nvjitlink"):
        digest.update(f"{package} {_version(package)}\n".encode())
    return digest.digest()


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _entry(key: Key, capability: tuple[int, int]) -> str:
    name, params = key
    source = sys.modules[KERNELS[name].build.__module__].__file__
    digest = hashlib.sha256(_fingerprint())
    digest.update(Path(source).read_bytes() if source else b"")
    digest.update(repr((name, params, capability)).encode())
    return f"cuda-{digest.hexdigest()[:40]}.cubin"
