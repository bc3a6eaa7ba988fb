"""`cnncc doctor`."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from typing import Any

from .console import human_bytes, print_json, print_line, print_table
from .options import Json

__all__ = ["doctor", "examine"]

PEERS = ("onnxruntime", "openvino", "ncnn", "torch")  # what `bench` and `verify` compare with
CUDA_PACKAGES = ("numba-cuda", "cuda-bindings", "cuda-core", "nvidia-cuda-nvcc-cu12", "nvidia-nvjitlink-cu12")


def doctor(as_json: Json = False) -> None:
    """Tells what this machine has: its CPU as kernels use it, threads, caches, other runtimes, and what CUDA needs.

        cnncc doctor

        cnncc doctor --json
    """
    found = examine()
    if as_json:
        print_json(found)
        return
    for title, part in found.items():
        print_line(title.replace("_", " "))
        print_table(("", ""), [(f"  {name.replace('_', ' ')}", _text(value)) for name, value in part.items()])
        print_line()


def examine() -> dict[str, dict[str, Any]]:
    """What is there, by subject."""
    return {"cnncc": _cnncc(), "cpu": _cpu(), "other_runtimes": {p: _installed(p) for p in PEERS}, "cuda": _cuda()}


def _cnncc() -> dict[str, Any]:
    from ..runtime.cpu.kernel_cache import cache_folder, cache_info

    info = cache_info()
    return {"version": version_of("cnncc"), "python": platform.python_version(),
            **{p: _installed(p) for p in ("numpy", "numba", "llvmlite", "onnx")},
            "kernel_cache": str(cache_folder() or "none: kernels are compiled in memory"),
            "cached_kernels": info.entries, "cache_bytes": info.bytes}


def _cpu() -> dict[str, Any]:
    from ..benchmark.machine import cpu_name
    from ..environment import thread_count
    from ..runtime.cpu.target import target

    machine = target()
    features = [f[1:] for f in machine.features.split(",") if f.startswith("+")]
    wanted = ("avx", "avx2", "fma", "f16c", "avx512f", "avx512vl", "avx512dq", "avx512bw", "avx512vnni", "avxvnni",
              "neon", "dotprod", "i8mm")
    return {"name": cpu_name(), "system": f"{platform.system()} {platform.machine()}", "llvm_name": machine.cpu,
            "floats_in_a_vector": machine.lanes, "features": [f for f in wanted if f in features],
            "cpus": os.cpu_count(), "threads_of_a_session": thread_count()}


def _cuda() -> dict[str, Any]:
    """Packages, then driver and devices, or why there are none."""
    from ..environment import cuda_simulated
    from ..runtime.cuda.driver import missing

    found: dict[str, Any] = {package: _installed(package) for package in CUDA_PACKAGES}
    found["simulated"] = cuda_simulated()
    reason = missing()
    found["usable"] = reason is None
    found["state"] = "kernels run" if reason is None else f"kernels cannot run: {reason}"
    found["devices"] = [] if reason is not None else _devices()
    return found


def _devices() -> list[dict[str, Any]]:
    from ..runtime.cuda.device import device

    here = device()
    model = here.model()
    return [{"name": model.name, "compute_capability": ".".join(map(str, model.capability)),
             "driver": here.driver_version, "memory_bytes": here.memory, "multiprocessors": model.multiprocessors,
             "tflops": round(model.flops * 1e-12, 1), "gbytes_a_second": round(model.bandwidth * 1e-9)}]


def _installed(package: str) -> str | None:
    try:
        return version_of(package)
    except PackageNotFoundError:
        return None


def _text(value: Any) -> str:
    if value is None:
        return "not installed"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        if value and isinstance(value[0], dict):
            return "; ".join(", ".join(f"{k.replace('_', ' ')} {human_bytes(v) if k == 'memory_bytes' else v}"
                                       for k, v in each.items()) for each in value)
        return " ".join(map(str, value)) or "none"
    return str(value)
