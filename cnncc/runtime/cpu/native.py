"""Kernels by name: the address of each, from memory, from the kernel cache, or compiled.

An entry of the cache is an image where the system allows it, mapped in 0.1 ms, and otherwise an object file, which
llvmlite loads in 2 ms; compiling takes 0.3 s and the compiler 0.5 s to import.
"""

import os
import sys
import threading
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

from cnncc.runtime.cpu import image
from cnncc.runtime.cpu.kernel import Kernel, Params
from cnncc.runtime.cpu.kernel_cache import can_write, digest, read_entry, write_entry
from cnncc.runtime.cpu.target import compiler_versions, target

Key = tuple[str, Params]

# Modules of this folder whose text no kernel is made of; all others count for every kernel.
NO_KERNEL_CODE = (
    "__init__.py", "binding.py", "binding_checks.py", "compile_pool.py", "conv_shape.py", "execution.py",
    "executor.py", "half.py", "image.py", "kernel_cache.py", "large_pages.py", "limits.py", "lowering.py", "native.py",
    "packed_weights.py", "profiling.py", "references.py", "regions.py", "runner.py", "target.py", "threads.py",
    "worker_pool.py",
)  # fmt: skip
_HERE = Path(__file__).parent
_lock = threading.RLock()
_addresses: dict[Key, int] = {}


def host_lanes() -> int:
    """Floats in a vector register of this machine: 16 (AVX-512), 8 (AVX2) or 4; fewer where CNNCC_CPU says so."""
    return target().lanes


def has_features(*names: str) -> bool:
    """Whether kernels may use the instruction sets of these names of LLVM's; of an x86-64 CPU."""
    given = target()
    implied = {8: {"avx2"}, 16: {"avx2"}}.get(given.lanes, set())
    return given.triple.startswith("x86_64") and set(names) <= implied | {
        f[1:] for f in given.features.split(",") if f.startswith("+")}


def get_kernel(name: str, params: Params) -> int:
    """The address of a kernel, compiled or loaded on first use. Thread-safe; the code lives as long as the process."""
    key = (name, params)
    found = _addresses.get(key)
    if found is None:
        with compiling():
            found = _addresses.get(key)
            if found is None:
                found = _addresses[key] = _load(key)
    return found


def compiling() -> threading.RLock:
    """The lock under which kernels are compiled and loaded. A fork waits for it: otherwise the child would have the
    compiler's own locks as they are in the middle of that, but not the thread that holds them."""
    _guard_forks()
    return _lock


@cache
def _guard_forks() -> None:
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)


def warm(
    keys: Iterable[Key], progress: Callable[[int, int, Key], None] | None = None, workers: int | None = None
) -> list[int]:
    """The addresses of many kernels; ``progress(done, total, key)`` is called once for each one.

    What is not in the cache is compiled in ``workers`` processes (by default one a CPU, at most 8).
    """
    keys = list(keys)
    reported: dict[Key, None] = {}

    def report(key: Key) -> None:
        if key not in reported:
            reported[key] = None
            if progress is not None:
                progress(len(reported), len(set(keys)), key)

    missing = list(dict.fromkeys(key for key in keys if not is_cached(*key)))
    if len(missing) > 1 and can_write():
        from cnncc.runtime.cpu.compile_pool import fill_cache

        fill_cache(missing, min(8, os.cpu_count() or 1) if workers is None else workers, report)
    addresses = []
    for key in keys:
        addresses.append(get_kernel(*key))
        report(key)
    return addresses


def publish(key: Key) -> None:
    """Put a kernel into the cache without loading it."""
    file = _file(key)
    if read_entry(file) is None:
        write_entry(file, _compile(key))


def is_cached(name: str, params: Params) -> bool:
    """Whether the kernel is at hand without compiling."""
    key = (name, params)
    return key in _addresses or read_entry(_file(key)) is not None


def _compile(key: Key) -> bytes:
    """A kernel's image, or where that is impossible the object file that its code is in."""
    from cnncc.runtime.cpu.codegen import compile_object

    data, symbol = compile_object(_kernel(key[0]), key[1], _symbol(key)), _symbol(key)
    return image.from_object(data, symbol) or data


def _load(key: Key) -> int:
    data = read_entry(_file(key))
    if data is None:
        data = _compile(key)
        write_entry(_file(key), data)
    if image.is_image(data):
        return image.load(data)
    from cnncc.runtime.cpu.codegen import load_object

    address = load_object(data, _symbol(key))
    if not address:
        raise RuntimeError(f"kernel {key} has no code")
    return address


def _kernel(name: str) -> Kernel:
    from cnncc.runtime.cpu.kernels.table import KERNELS

    return KERNELS[name]


def _file(key: Key) -> str:
    return _entry_name(key) + ".kernel"


def _symbol(key: Key) -> str:
    return "cnncc_" + _entry_name(key)


# --- names of entries -----------------------------------------------------------------------------------------------


@cache
def _fingerprint() -> bytes:
    """Everything an object depends on besides its kernel: shared sources, versions, the CPU."""
    sources = sorted(name for name in os.listdir(_HERE) if name.endswith(".py") and name not in NO_KERNEL_CODE)
    machine = target()
    texts = (part for name in sources for part in (name.encode(), (_HERE / name).read_bytes()))
    machine_text = "\n".join([sys.version, machine.triple, machine.cpu, machine.features])
    return digest(*texts, compiler_versions(), machine_text.encode())


@cache
def _module_source(module: str) -> bytes:
    path = sys.modules[module].__file__
    return Path(path).read_bytes() if path else b""


def _entry_name(key: Key) -> str:
    name, params = key
    source = _module_source(_kernel(name).build.__module__)
    return digest(_fingerprint(), source, repr((name, params)).encode()).hex()[:40]
