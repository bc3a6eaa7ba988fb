"""What something was measured on, for the head of a table."""

from __future__ import annotations

import datetime
import os
import platform
import re
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from .worker import installed_version

__all__ = ["cpu_name", "describe_machine"]


def describe_machine(engines: Sequence[str]) -> dict[str, str]:
    """CPU, caches, memory, system, versions and date, as far as the system tells."""
    from ..runtime.cpu.target import target

    found = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "cpu": f"{cpu_name()} ({target().cpu}, vectors of {target().lanes} floats)",
        "cpus": f"{len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()}",
        "caches": _caches(),
        "memory": _memory(),
        "system": platform.platform(),
        "python": platform.python_version(),
    }
    found |= {name: _version(name) for name in ("numpy", "numba", "llvmlite")}
    found |= {name: installed_version(name) or "not installed" for name in engines}
    return {key: value for key, value in found.items() if value}


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def cpu_name() -> str:
    match = re.search(r"^model name\s*:\s*(.*)$", _read("/proc/cpuinfo"), re.MULTILINE)
    return match.group(1) if match else platform.processor() or platform.machine()


def _caches() -> str:
    folders = sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"))
    parts = [(_read(f"{f}/level"), _read(f"{f}/type"), _read(f"{f}/size")) for f in folders]
    return ", ".join(f"L{level} {size}" for level, kind, size in parts if kind in ("Data", "Unified") and size)


def _memory() -> str:
    match = re.search(r"MemTotal:\s*(\d+) kB", _read("/proc/meminfo"))
    return f"{int(match.group(1)) / 2**20:.0f} GiB" if match else ""


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
