"""From a kernel's Python text to machine code: compile, keep on disk, load.

A cached object is loaded through llvmlite alone, without importing numba: about 2 ms instead of 0.3 s. The cache
holds native code and is trusted, therefore its folder must be ours alone and each entry is checked by hash.
"""

import hashlib
import os
import platform
import stat
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm

from cnncc.environment import cpu_restriction
from cnncc.errors import InputError
from cnncc.runtime.cpu.half import CONVERSIONS
from cnncc.runtime.cpu.kernel import Params

Key = tuple[str, Params]

# Modules of this folder whose text no kernel is made of; all others count for every kernel.
NO_KERNEL_CODE = (
    "__init__.py", "binding.py", "compile_pool.py", "execution.py", "executor.py", "half.py", "limits.py",
    "lowering.py", "profiling.py", "regions.py", "runner.py", "threads.py", "worker_pool.py",
)  # fmt: skip
_HERE = Path(__file__).parent
_MAGIC = b"cnncc-kernel-1\n"
_lock = threading.RLock()
_addresses: dict[Key, int] = {}


@dataclass(frozen=True)
class CacheInfo:
    """``path`` is None while kernels are compiled in memory only."""

    path: Path | None
    entries: int
    bytes: int


def host_lanes() -> int:
    """Floats in a vector register of this machine: 16 (AVX-512), 8 (AVX2) or 4; fewer where CNNCC_CPU says so."""
    return target().lanes


def get_kernel(name: str, params: Params) -> int:
    """The address of a kernel, compiled or loaded on first use. Thread-safe; the code lives as long as the process."""
    key = (name, params)
    found = _addresses.get(key)
    if found is None:
        with _lock:
            found = _addresses.get(key)
            if found is None:
                found = _addresses[key] = _load(key)
    return found


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
    if len(missing) > 1 and _folder() is not None:
        from cnncc.runtime.cpu.compile_pool import fill_cache

        fill_cache(missing, min(8, os.cpu_count() or 1) if workers is None else workers, report)
    addresses = []
    for key in keys:
        addresses.append(get_kernel(*key))
        report(key)
    return addresses


def publish(key: Key) -> None:
    """Put a kernel into the cache without loading it."""
    entry = _entry_name(key)
    if _read_entry(entry) is None:
        _write_entry(entry, compile_object(key))


def is_cached(name: str, params: Params) -> bool:
    """Whether the kernel is at hand without compiling."""
    key = (name, params)
    return key in _addresses or _read_entry(_entry_name(key)) is not None


# --- compiling ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Target:
    """What kernels are compiled for: LLVM's names, floats of a vector register, whether it converts float16."""

    triple: str
    cpu: str
    features: str
    lanes: int
    half: bool


@cache
def target() -> Target:
    """This machine, or the lesser one that CNNCC_CPU names."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    triple, wanted = llvm.get_process_triple(), cpu_restriction()
    host = llvm.get_host_cpu_features()
    has_avx2 = host.get("avx2") and host.get("fma")
    if wanted == "avx2":
        if not has_avx2:
            raise InputError("CNNCC_CPU=avx2 needs a CPU with AVX2 and FMA: leave it out")
        return Target(triple, "x86-64-v3", "", 8, True)
    x86 = triple.startswith("x86_64")
    if wanted == "baseline":
        return Target(triple, "x86-64-v2" if x86 else "generic", "", 4, not x86)
    lanes = 16 if all(host.get(f) for f in ("avx512f", "avx512vl", "avx512dq")) else 8 if has_avx2 else 4
    return Target(triple, llvm.get_host_cpu_name(), host.flatten(), lanes, not x86 or bool(host.get("f16c")))


@cache
def _machine() -> llvm.TargetMachine:
    cpu, features = target().cpu, target().features
    return llvm.Target.from_triple(target().triple).create_target_machine(
        cpu=cpu, features=features, opt=3, reloc="default", codemodel="jitdefault", jit=True
    )


@cache
def _engine() -> llvm.ExecutionEngine:
    module = llvm.parse_assembly("" if target().half else CONVERSIONS)
    module.triple = target().triple
    return llvm.create_mcjit_compiler(module, _machine())


def _symbol(key: Key) -> str:
    return "cnncc_" + _entry_name(key)


def llvm_ir(key: Key) -> str:
    """The optimised LLVM text of a kernel, for reading."""
    return str(_module(key, _symbol(key)))


def assembly(key: Key) -> str:
    """The machine code of a kernel as text, for reading."""
    return _machine().emit_assembly(_module(key, _symbol(key)))


def compile_object(key: Key) -> bytes:
    """Compile to a relocatable object that defines ``_symbol(key)`` and refers to nothing of Python's."""
    return _machine().emit_object(_module(key, _symbol(key)))


def _module(key: Key, symbol: str) -> llvm.ModuleRef:
    """The kernel's LLVM module, optimised by Numba, with one visible function of the kernel's signature."""
    from numba import config, int64, void
    from numba.core.ccallback import CFunc

    if cpu_restriction() != "native":
        config.CPU_NAME, config.CPU_FEATURES = target().cpu, target().features
    name, params = key
    kernel = _kernel(name)
    function = kernel.build(**dict(params))
    arity = function.__code__.co_argcount
    callback = CFunc(function, (tuple([int64] * arity), void), {}, {"error_model": "numpy", "boundscheck": False})
    compiled: Any = callback._compile_uncached()  # type: ignore[attr-defined]  # has no public name
    module = _linked(compiled.library)
    entry = module.get_function(compiled.fndesc.llvm_cfunc_wrapper_name)
    entry.name = symbol
    _hide_all_but(module, symbol)
    _optimise(module)
    _check_self_contained(module)
    return module


def _linked(library) -> llvm.ModuleRef:
    """One module with the bodies of everything a Numba library calls."""
    module = llvm.parse_assembly(library.get_llvm_str())
    seen, waiting = {library}, list(library._linking_libraries)
    while waiting:
        other = waiting.pop()
        if other not in seen:
            seen.add(other)
            waiting.extend(other._linking_libraries)
            module.link_in(llvm.parse_assembly(other.get_llvm_str()))
    return module


def _hide_all_but(module: llvm.ModuleRef, symbol: str) -> None:
    """Make everything else private, and inline all calls: then no error path of Numba's is left."""
    for value in (*module.functions, *module.global_variables):
        if not value.is_declaration and value.name != symbol:
            value.linkage = llvm.Linkage.internal
    for function in module.functions:
        if not function.is_declaration and function.name != symbol:
            function.add_function_attribute("alwaysinline")


def _optimise(module: llvm.ModuleRef) -> None:
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    options.loop_unrolling = False
    options.loop_vectorization = options.slp_vectorization = False
    builder = llvm.create_pass_builder(_machine(), options)
    builder.getModulePassManager().run(module, builder)


def _check_self_contained(module: llvm.ModuleRef) -> None:
    """A kernel must not call anything that a later process could not resolve."""
    needed = [f.name for f in module.functions if f.is_declaration and not f.name.startswith("llvm.")]
    if needed:
        raise RuntimeError(f"kernel code refers to {', '.join(needed)}: something in it can raise or allocate")


def _remove_unused(module: llvm.ModuleRef) -> None:
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    options.loop_unrolling = False
    options.loop_vectorization = options.slp_vectorization = False
    builder = llvm.create_pass_builder(_machine(), options)
    builder.getModulePassManager().run(module, builder)


def _kernel(name: str):
    from cnncc.runtime.cpu.kernels.table import KERNELS

    return KERNELS[name]


def _load(key: Key) -> int:
    entry = _entry_name(key)
    data = _read_entry(entry)
    if data is None:
        data = compile_object(key)
        _write_entry(entry, data)
    engine = _engine()
    engine.add_object_file(llvm.ObjectFileRef.from_data(data))
    engine.finalize_object()
    address = engine.get_function_address(_symbol(key))
    if not address:
        raise RuntimeError(f"kernel {key} has no code")
    return address


# --- the folder -----------------------------------------------------------------------------------------------------


@cache
def _fingerprint() -> bytes:
    """Everything an object depends on besides its kernel: shared sources, versions, the CPU."""
    digest = hashlib.sha256()
    for path in sorted(_HERE.glob("*.py")):
        if path.name not in NO_KERNEL_CODE:
            digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    versions = [f"{package}={version(package)}" for package in ("numba", "llvmlite")]
    machine = target()
    names = [sys.version, platform.machine(), *versions, machine.triple, machine.cpu, machine.features]
    digest.update("\n".join(names).encode())
    return digest.digest()


@cache
def _module_source(module: str) -> bytes:
    path = sys.modules[module].__file__
    return Path(path).read_bytes() if path else b""


def _entry_name(key: Key) -> str:
    name, params = key
    digest = hashlib.sha256(_fingerprint())
    digest.update(_module_source(_kernel(name).build.__module__) + b"\0" + repr((name, params)).encode())
    return digest.hexdigest()[:40]


@cache
def _folder() -> Path | None:
    """The cache folder, created on first use; None if it cannot be trusted."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    path = base / "cnncc"
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        reason = _distrust(path)
    except OSError as error:
        reason = str(error)
    if reason is None:
        return path
    warnings.warn(f"kernel cache {path} is not used: {reason}. Kernels are compiled in memory.", stacklevel=2)
    return None


def _distrust(path: Path) -> str | None:
    """Why native code in this folder must not be run."""
    found = path.lstat()
    if stat.S_ISLNK(found.st_mode):
        return "it is a link"
    if not stat.S_ISDIR(found.st_mode):
        return "it is not a folder"
    if hasattr(os, "getuid"):
        if found.st_uid != os.getuid():
            return "it belongs to another user"
        if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return "others may write to it"
    return None


def _read_entry(entry: str) -> bytes | None:
    folder = _folder()
    if folder is None:
        return None
    try:
        data = (folder / f"{entry}.o").read_bytes()
    except OSError:
        return None
    head = len(_MAGIC) + 32
    code = data[head:]
    if not data.startswith(_MAGIC) or hashlib.sha256(code).digest() != data[len(_MAGIC) : head]:
        return None
    return code


def _write_entry(entry: str, code: bytes) -> None:
    """Publish by rename: readers see a whole entry or none. A full or read-only disk is no error."""
    folder = _folder()
    if folder is None:
        return
    try:
        handle, temporary = tempfile.mkstemp(dir=folder, suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(_MAGIC + hashlib.sha256(code).digest() + code)
            os.replace(temporary, folder / f"{entry}.o")
        except OSError:
            os.unlink(temporary)
    except OSError:
        return


def cache_info() -> CacheInfo:
    """Where the kernel cache is and how much it holds."""
    folder = _folder()
    files = list(folder.glob("*.o")) if folder else []
    return CacheInfo(folder, len(files), sum(f.stat().st_size for f in files))


def clear_cache() -> int:
    """Remove every entry; the number removed. Loaded kernels stay loaded."""
    folder = _folder()
    files = [*folder.glob("*.o"), *folder.glob("*.tmp")] if folder else []
    for file in files:
        file.unlink(missing_ok=True)
    return len(files)
