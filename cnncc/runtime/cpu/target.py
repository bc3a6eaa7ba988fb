"""What kernels are compiled for. LLVM is asked once; what it says is kept beside the kernels."""

import dataclasses
import json
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from cnncc.environment import cpu_restriction
from cnncc.errors import InputError
from cnncc.records import record
from cnncc.runtime.cpu.kernel_cache import digest, read_entry, write_entry

_CPU_FIELDS = ("vendor_id", "cpu family", "model", "model name", "stepping", "flags")  # of /proc/cpuinfo on x86-64


@record
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
    wanted, cpu = cpu_restriction(), _cpu_text()
    if cpu is None:
        return _ask(wanted)
    key = digest("\n".join([wanted, sys.platform, cpu]).encode(), compiler_versions())
    entry = f"target-{key.hex()[:32]}.entry"
    kept = read_entry(entry)
    if kept is not None:
        return Target(**json.loads(kept))
    found = _ask(wanted)
    write_entry(entry, json.dumps(dataclasses.asdict(found)).encode())
    return found


@cache
def compiler_versions() -> bytes:
    """The text of the files that give the versions of Numba and llvmlite, which need not be imported for it."""
    found = []
    for package in ("numba", "llvmlite"):
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            raise ImportError(f"cnncc needs the package {package}: pip install {package}")
        found.append(Path(spec.origin).with_name("_version.py").read_bytes())
    return b"\n".join(found)


def _cpu_text() -> str | None:
    """What the system says of the first CPU, None where it says nothing or not enough to tell CPUs apart."""
    try:
        with open("/proc/cpuinfo", "rb") as file:
            text = file.read(16384).decode(errors="replace")
    except OSError:
        return None
    lines = [line for line in text.split("\n\n")[0].splitlines() if line.split("\t")[0].strip() in _CPU_FIELDS]
    return "\n".join(lines) if len(lines) == len(_CPU_FIELDS) else None


def _ask(wanted: str) -> Target:
    import llvmlite.binding as llvm

    triple, host = llvm.get_process_triple(), llvm.get_host_cpu_features()
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
