"""The GPU at hand: its memory, streams, kernels and captured graphs, each a few calls of the driver."""

from __future__ import annotations

import ctypes
import gc
import os
import threading
import weakref
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from ...errors import InputError
from .codegen import Key, compile_image
from .devices import DEVICES
from .devices import Device as Model
from .driver import check, driver
from .kernel import MAX_STATIC_SHARED, Stage

__all__ = ["Arguments", "Device", "Graph", "Memory", "Stream", "device"]

Array = np.ndarray[Any, Any]
ALIGNMENT = 256
TF32_FMAS = {(8, 0): 512, (9, 0): 1024, (10, 0): 1024, (10, 3): 1024}  # a cycle, of a multiprocessor's tensor cores


class Memory:
    """A block of the device's memory at `address`; it is freed with the object."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.address = int(check(driver().cuMemAlloc(max(size, 1)), f"allocate {size} bytes"))
        weakref.finalize(self, _release, "cuMemFree", self.address)


def pinned(size: int) -> Array:
    """Bytes of the CPU's memory that the device reads and writes by itself."""
    address = int(check(driver().cuMemHostAlloc(max(size, 1), 0), f"pin {size} bytes"))
    block = (ctypes.c_uint8 * max(size, 1)).from_address(address)
    weakref.finalize(block, _release, "cuMemFreeHost", address)
    return np.ctypeslib.as_array(block)[:size]


class Graph:
    """Work captured from a stream, which one call starts again."""

    def __init__(self, graph: Any) -> None:
        cuda = driver()
        self.executable = check(cuda.cuGraphInstantiate(graph, 0), "instantiate a graph")
        check(cuda.cuGraphDestroy(graph), "free a graph")
        weakref.finalize(self, _release, "cuGraphExecDestroy", self.executable)


def _release(function: str, handle: Any) -> None:
    """Gives something back to the driver, on whichever thread; in a forked process it is not this one's to give."""
    try:
        device().enter()
    except InputError:
        return
    getattr(driver(), function)(handle)


class Arguments:
    """A kernel's arguments as the driver wants them: an array of addresses of values. The words of pointers may be
    changed between launches."""

    def __init__(self, pointers: list[int], dims: tuple[int, ...], floats: tuple[float, ...]) -> None:
        self.pointers = np.array(pointers, np.uint64)
        self._dims, self._floats = np.array(dims, np.int32), np.array(floats, np.float32)
        places = [array.ctypes.data + i * array.itemsize
                  for array in (self.pointers, self._dims, self._floats) for i in range(array.size)]
        self._places = np.array(places, np.uint64)

    @property
    def address(self) -> int:
        return int(self._places.ctypes.data)


class Stream:
    """Work for the device, done in order."""

    def __init__(self) -> None:
        self.handle = check(driver().cuStreamCreate(1), "make a stream")  # CU_STREAM_NON_BLOCKING
        weakref.finalize(self, _release, "cuStreamDestroy", self.handle)

    def upload(self, address: int, source: int, size: int) -> None:
        check(driver().cuMemcpyHtoDAsync(address, source, size, self.handle), "copy to the device")

    def download(self, target: int, address: int, size: int) -> None:
        check(driver().cuMemcpyDtoHAsync(target, address, size, self.handle), "copy from the device")

    def copy(self, target: int, source: int, size: int) -> None:
        check(driver().cuMemcpyDtoDAsync(target, source, size, self.handle), "copy on the device")

    def launch(self, function: Any, stage: Stage, arguments: Arguments) -> None:
        check(driver().cuLaunchKernel(function, *stage.grid, *stage.block, stage.shared, self.handle,
                                      arguments.address, 0), f"launch {stage.kernel.name}")

    def capture(self, work: Callable[[], None]) -> Graph:
        """What `work` puts into this stream, as a graph; nothing is done yet."""
        cuda = driver()
        mode = cuda.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        collecting = gc.isenabled()
        gc.disable()  # what it frees on this thread would end the capture
        try:
            check(cuda.cuStreamBeginCapture(self.handle, mode), "capture a graph")
            try:
                work()
            finally:
                graph = check(cuda.cuStreamEndCapture(self.handle), "capture a graph")
        finally:
            if collecting:
                gc.enable()
        return Graph(graph)

    def start(self, graph: Graph) -> None:
        check(driver().cuGraphLaunch(graph.executable, self.handle), "start a graph")

    def synchronize(self) -> None:
        check(driver().cuStreamSynchronize(self.handle), "finish a run")


class Device:
    """The first GPU, in its primary context, which other libraries of the process share."""

    def __init__(self) -> None:
        cuda = driver()
        check(cuda.cuInit(0), "start")
        self._device = check(cuda.cuDeviceGet(0), "open the first device")
        self._context = check(cuda.cuDevicePrimaryCtxRetain(self._device), "open a context")
        self._functions: dict[Key, Any] = {}
        self._modules: list[Any] = []
        self._lock, self._process = threading.Lock(), os.getpid()
        self.enter()

    def enter(self) -> None:
        """Makes this the device of the calling thread, which every use of it needs. Raises InputError in a process that
        was forked from the one that opened the device: the driver cannot be used there."""
        if os.getpid() != self._process:
            raise InputError("a GPU that was in use before a fork cannot be used after it: start processes by 'spawn', "
                             "or open the first session in each of them")
        check(driver().cuCtxSetCurrent(self._context), "enter its context")

    def attribute(self, name: str) -> int:
        cuda = driver()
        which = getattr(cuda.CUdevice_attribute, f"CU_DEVICE_ATTRIBUTE_{name}")
        return int(check(cuda.cuDeviceGetAttribute(which, self._device), f"tell {name}"))

    @property
    def name(self) -> str:
        found = check(driver().cuDeviceGetName(256, self._device), "tell its name")
        return found.split(b"\0")[0].decode() if isinstance(found, bytes) else str(found)

    @property
    def capability(self) -> tuple[int, int]:
        return self.attribute("COMPUTE_CAPABILITY_MAJOR"), self.attribute("COMPUTE_CAPABILITY_MINOR")

    @property
    def driver_version(self) -> str:
        """The newest version of CUDA that the driver knows."""
        number = int(check(driver().cuDriverGetVersion(), "tell its driver's version"))
        return f"{number // 1000}.{number % 1000 // 10}"

    @property
    def memory(self) -> int:
        """Bytes in all."""
        return int(check(driver().cuDeviceTotalMem(self._device), "tell its memory"))

    def model(self) -> Model:
        """What it can do, as far as the driver tells; 128 FP32 lanes a multiprocessor, 64 before 8.6 but for 9.0. From
        8.6 on tensor cores do as many FMAs, but where they are made for data centres more."""
        major, minor = self.capability
        cores = 64 if (major, minor) in ((7, 0), (7, 5), (8, 0)) else 128
        clock, count = 1e3 * self.attribute("CLOCK_RATE"), self.attribute("MULTIPROCESSOR_COUNT")
        tensor = TF32_FMAS.get((major, minor), 128 if major >= 8 else 0)
        bandwidth = 2e3 * self.attribute("MEMORY_CLOCK_RATE") * self.attribute("GLOBAL_MEMORY_BUS_WIDTH") / 8
        return Model(self.name, (major, minor), count, cores, clock, bandwidth, self.attribute("L2_CACHE_SIZE"),
                     self.attribute("MAX_SHARED_MEMORY_PER_MULTIPROCESSOR"),
                     self.attribute("MAX_REGISTERS_PER_MULTIPROCESSOR"),
                     self.attribute("MAX_THREADS_PER_MULTIPROCESSOR"), tf32=2.0 * tensor * count * clock,
                     mma=DEVICES["h100"].mma if major >= 9 else 1.0)

    def has(self, key: Key) -> bool:
        """Whether the kernel is loaded."""
        return key in self._functions

    def function(self, stage: Stage) -> Any:
        """The stage's kernel, loaded; compiled where the kernel cache has it not."""
        with self._lock:
            found = self._functions.get(stage.key)
            if found is None:
                image, symbol = compile_image(stage.key, self.capability)
                module = check(driver().cuModuleLoadData(image), f"load {stage.kernel.name}")
                found = check(driver().cuModuleGetFunction(module, symbol), f"find {stage.kernel.name}")
                self._modules.append(module)
                self._functions[stage.key] = found
        if stage.shared > MAX_STATIC_SHARED:
            which = driver().CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
            check(driver().cuFuncSetAttribute(found, which, stage.shared), f"give {stage.kernel.name} shared memory")
        return found


@cache
def device() -> Device:
    """The device at hand. Raises InputError, naming what is missing, where there is none."""
    return Device()
