"""The CUDA driver, by NVIDIA's Python bindings or the stand-in for the simulator, and what is missing to use it."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from typing import Any

from ...environment import cuda_simulated
from ...errors import InputError

__all__ = ["SUCCESS", "check", "driver", "missing", "require"]

SUCCESS = 0
INSTALL = "pip install 'cnncc[cuda]'"


@cache
def driver() -> Any:
    """A module of the driver's functions. Raises InputError, naming what is missing."""
    if cuda_simulated():
        from . import simulated_driver

        return simulated_driver
    reason = missing()
    if reason is not None:
        raise InputError(f"the target cuda cannot be used: {reason}")
    from cuda.bindings import driver as bindings

    return bindings


@cache
def missing() -> str | None:
    """Why kernels cannot run on a GPU here, with the remedy; None where they can."""
    if cuda_simulated():
        return None
    for package in ("numba_cuda", "cuda.bindings"):
        if not _installed(package):
            return f"the package {package.replace('_', '-').replace('.', '-')} is not installed ({INSTALL})"
    from cuda.bindings import driver as bindings

    try:
        found = int(bindings.cuInit(0)[0])
        count = int(bindings.cuDeviceGetCount()[1]) if found == SUCCESS else 0
    except Exception as error:  # the bindings have no common error for a driver that is not there
        return f"there is no NVIDIA driver on this machine (install one; {type(error).__name__})"
    if found != SUCCESS:
        return f"the NVIDIA driver does not start (error {found}: see nvidia-smi)"
    return None if count else "the NVIDIA driver finds no GPU (see nvidia-smi, and CUDA_VISIBLE_DEVICES)"


def require() -> None:
    """Raises InputError unless kernels can run on a GPU, or in the simulator."""
    driver()


def check(result: Any, what: str) -> Any:
    """What a driver's function returned beside its status. Raises InputError where that is not success."""
    status, *values = result if isinstance(result, tuple) else (result,)
    if int(status) != SUCCESS:
        _, name = driver().cuGetErrorString(status)
        text = name.decode() if isinstance(name, bytes) else str(name)
        if "memory" in text:
            raise MemoryError(f"the GPU has not enough memory to {what}: {text}")
        raise InputError(f"the GPU failed to {what}: {text}")
    return values[0] if len(values) == 1 else tuple(values)


def _installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:
        return False
