"""The CUDA driver's functions over the CPU's memory, with kernels in Numba's simulator: what a GPU would be told to do
is done here, in the same order and with the same arguments, by code that otherwise knows nothing of it.

Only what device.py calls is here. It is as strict as it can be: memory is filled with NaN, every address must lie in an
allocation, and what a capture forbids is an error.
"""

from __future__ import annotations

import ctypes
import json
import threading
import time
from bisect import bisect_right
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from ...ir import DType
from .codegen import get_kernel
from .devices import DEFAULT
from .kernel import OPERAND_ALIGNMENT, Kernel
from .kernels.table import KERNELS

Array = np.ndarray[Any, Any]
SUCCESS, INVALID_VALUE, CAPTURE_UNSUPPORTED = 0, 1, 900
GUARD = 256  # bytes between allocations

CUstreamCaptureMode = SimpleNamespace(CU_STREAM_CAPTURE_MODE_THREAD_LOCAL=1)
CUfunction_attribute = SimpleNamespace(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES=8)
CUdevice_attribute = SimpleNamespace(**{f"CU_DEVICE_ATTRIBUTE_{name}": value for name, value in {
    "COMPUTE_CAPABILITY_MAJOR": DEFAULT.capability[0], "COMPUTE_CAPABILITY_MINOR": DEFAULT.capability[1],
    "MULTIPROCESSOR_COUNT": DEFAULT.multiprocessors, "CLOCK_RATE": int(DEFAULT.clock / 1e3),
    "MEMORY_CLOCK_RATE": 2619000, "GLOBAL_MEMORY_BUS_WIDTH": 5120, "L2_CACHE_SIZE": DEFAULT.l2,
    "MAX_SHARED_MEMORY_PER_MULTIPROCESSOR": DEFAULT.shared, "MAX_REGISTERS_PER_MULTIPROCESSOR": DEFAULT.registers,
    "MAX_THREADS_PER_MULTIPROCESSOR": DEFAULT.threads}.items()})

_lock = threading.RLock()  # the simulator runs one kernel at a time
_blocks: dict[int, Array] = {}
_captures: dict[int, list[Callable[[], int]]] = {}  # by stream that is being captured
_graphs: dict[int, list[Callable[[], int]]] = {}
_numbers = iter(range(1, 1 << 62))
calls: list[str] = []  # the names of the functions called, for tests to look at


def _counted(function: Callable[..., Any]) -> Callable[..., Any]:
    def called(*arguments: Any) -> Any:
        calls.append(function.__name__)
        return function(*arguments)

    return called


# -- the device --------------------------------------------------------------------------------------------------------


def cuInit(flags: int) -> tuple[int]:
    return (SUCCESS,)


def cuGetErrorString(status: int) -> tuple[int, bytes]:
    return SUCCESS, {INVALID_VALUE: b"invalid argument",
                     CAPTURE_UNSUPPORTED: b"operation not permitted when stream is capturing"}[status]


def cuDriverGetVersion() -> tuple[int, int]:
    return SUCCESS, 0


def cuDeviceGetCount() -> tuple[int, int]:
    return SUCCESS, 1


def cuDeviceGet(number: int) -> tuple[int, int]:
    return SUCCESS, number


def cuDeviceGetName(size: int, device: int) -> tuple[int, bytes]:
    return SUCCESS, b"Numba's CUDA simulator"


def cuDeviceGetAttribute(value: int, device: int) -> tuple[int, int]:
    return SUCCESS, value


def cuDeviceTotalMem(device: int) -> tuple[int, int]:
    return SUCCESS, 0


def cuDevicePrimaryCtxRetain(device: int) -> tuple[int, int]:
    return SUCCESS, 1


def cuCtxSetCurrent(context: int) -> tuple[int]:
    return (SUCCESS,)


# -- memory ------------------------------------------------------------------------------------------------------------


def _allocate(size: int) -> tuple[int, int]:
    if _captures:
        return CAPTURE_UNSUPPORTED, 0
    block = np.full(size + 2 * GUARD, 0xFF, np.uint8)
    address = -(-block.ctypes.data // GUARD) * GUARD
    _blocks[address] = block[address - block.ctypes.data:][:size]
    return SUCCESS, address


@_counted
def cuMemAlloc(size: int) -> tuple[int, int]:
    return _allocate(size)


def cuMemFree(address: int) -> tuple[int]:
    return (SUCCESS if _blocks.pop(address, None) is not None else INVALID_VALUE,)


@_counted
def cuMemHostAlloc(size: int, flags: int) -> tuple[int, int]:
    return _allocate(size)


def cuMemFreeHost(address: int) -> tuple[int]:
    return cuMemFree(address)


def _find(address: int, size: int = 0) -> Array | None:
    """The bytes from `address` to the end of its allocation, if there are `size` of them."""
    starts = sorted(_blocks)
    at = bisect_right(starts, address) - 1
    if at < 0:
        return None
    found = _blocks[starts[at]][address - starts[at]:]
    return found if found.nbytes >= max(size, 1) else None


@_counted
def cuMemcpyHtoDAsync(target: int, source: int, size: int, stream: int) -> tuple[int]:
    return _do(stream, lambda: _move(target, source, size, (target,)))


@_counted
def cuMemcpyDtoHAsync(target: int, source: int, size: int, stream: int) -> tuple[int]:
    return _do(stream, lambda: _move(target, source, size, (source,)))


@_counted
def cuMemcpyDtoDAsync(target: int, source: int, size: int, stream: int) -> tuple[int]:
    return _do(stream, lambda: _move(target, source, size, (target, source)))


def _move(target: int, source: int, size: int, of_device: tuple[int, ...]) -> int:
    if size and any(_find(address, size) is None for address in of_device):
        return INVALID_VALUE
    ctypes.memmove(target, source, size)
    return SUCCESS


# -- streams and graphs ------------------------------------------------------------------------------------------------


def _do(stream: int, work: Callable[[], int]) -> tuple[int]:
    if stream in _captures:
        _captures[stream].append(work)
        return (SUCCESS,)
    return (work(),)


@_counted
def cuStreamCreate(flags: int) -> tuple[int, int]:
    return SUCCESS, next(_numbers)


def cuStreamDestroy(stream: int) -> tuple[int]:
    return (SUCCESS,)


@_counted
def cuStreamSynchronize(stream: int) -> tuple[int]:
    return (CAPTURE_UNSUPPORTED if stream in _captures else SUCCESS,)


@_counted
def cuStreamBeginCapture(stream: int, mode: int) -> tuple[int]:
    if stream in _captures:
        return (CAPTURE_UNSUPPORTED,)
    _captures[stream] = []
    return (SUCCESS,)


@_counted
def cuStreamEndCapture(stream: int) -> tuple[int, int]:
    graph = next(_numbers)
    _graphs[graph] = _captures.pop(stream)
    return SUCCESS, graph


@_counted
def cuGraphInstantiate(graph: int, flags: int) -> tuple[int, int]:
    executable = next(_numbers)
    _graphs[executable] = _graphs[graph]
    return SUCCESS, executable


def cuGraphDestroy(graph: int) -> tuple[int]:
    return (SUCCESS if _graphs.pop(graph, None) is not None else INVALID_VALUE,)


cuGraphExecDestroy = cuGraphDestroy


@_counted
def cuGraphLaunch(executable: int, stream: int) -> tuple[int]:
    return (next((status for work in _graphs[executable] if (status := work()) != SUCCESS), SUCCESS),)


# -- events ------------------------------------------------------------------------------------------------------------


def cuEventCreate(flags: int) -> tuple[int, list[float]]:
    return SUCCESS, [0.0]


def cuEventDestroy(event: list[float]) -> tuple[int]:
    return (SUCCESS,)


def cuEventRecord(event: list[float], stream: int) -> tuple[int]:
    event[0] = time.perf_counter()
    return (SUCCESS,)


def cuEventElapsedTime(begin: list[float], end: list[float]) -> tuple[int, float]:
    return SUCCESS, 1e3 * (end[0] - begin[0])


# -- kernels -----------------------------------------------------------------------------------------------------------


def cuModuleLoadData(image: bytes) -> tuple[int, bytes]:
    return (CAPTURE_UNSUPPORTED if _captures else SUCCESS), image


def cuModuleGetFunction(module: bytes, symbol: bytes) -> tuple[int, tuple[Kernel, Any, Any]]:
    name, params = json.loads(module)
    key = tuple((word, value) for word, value in params)
    return SUCCESS, (KERNELS[name], key, get_kernel(name, key))


def cuFuncSetAttribute(function: Any, attribute: int, value: int) -> tuple[int]:
    return (SUCCESS,)


@_counted
def cuLaunchKernel(function: tuple[Kernel, Any, Any], gx: int, gy: int, gz: int, bx: int, by: int, bz: int,
                   shared: int, stream: int, arguments: int, extra: int) -> tuple[int]:
    kernel, params, simulated = function
    given = _arguments(kernel, dict(params), arguments)
    if given is None:
        return (INVALID_VALUE,)

    def work() -> int:
        with _lock:
            simulated[(gx, gy, gz), (bx, by, bz), 0, shared](*given)
        return SUCCESS

    return _do(stream, work)


def _arguments(kernel: Kernel, params: dict[str, Any], address: int) -> list[Any] | None:
    """The values whose addresses stand at `address`; a pointer becomes all from there to the end of its allocation."""
    elements = kernel.elements(**params)
    count = len(kernel.operands) + len(kernel.dims) + len(kernel.floats)
    places = list((ctypes.c_uint64 * count).from_address(address))
    given: list[Any] = []
    for word, place in zip(kernel.operands, places, strict=False):
        dtype = DType(elements.get(word, "f32")).numpy
        pointer = ctypes.c_uint64.from_address(place).value
        found = _find(pointer) if pointer else np.zeros(0, np.uint8)
        if found is None or pointer % OPERAND_ALIGNMENT:
            return None
        given.append(found[:found.nbytes // dtype.itemsize * dtype.itemsize].view(dtype))
    rest = places[len(kernel.operands):]
    given += [ctypes.c_int32.from_address(place).value for place in rest[:len(kernel.dims)]]
    given += [np.float32(ctypes.c_float.from_address(place).value) for place in rest[len(kernel.dims):]]
    return given
