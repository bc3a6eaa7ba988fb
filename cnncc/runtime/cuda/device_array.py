"""Arrays in the device's memory, our own and other libraries': taken and given without a copy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...errors import InputError
from ...ir import DType
from . import dlpack
from .device import Memory, Stream, device
from .driver import check, driver

__all__ = ["DeviceArray", "as_device_array", "empty", "is_device_array"]

Array = np.ndarray[Any, Any]


class DeviceArray:
    """A C-contiguous array at an address of the first CUDA device. Libraries take it through
    `__cuda_array_interface__` or DLPack, without a copy; `numpy()` copies it."""

    def __init__(self, address: int, shape: tuple[int, ...], dtype: np.dtype[Any], owner: Any) -> None:
        self.address, self.shape, self.dtype, self.owner = address, shape, dtype, owner

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """Version 3; `stream` is None because what a session gives is complete."""
        return {"shape": self.shape, "typestr": self.dtype.str, "data": (self.address, False), "strides": None,
                "stream": None, "version": 3}

    def __dlpack_device__(self) -> tuple[int, int]:
        return dlpack.CUDA_DEVICE, 0

    def __dlpack__(self, *, stream: Any = None, **others: Any) -> Any:
        return dlpack.export(self.address, self.shape, DType.of(self.dtype), self)

    def numpy(self) -> Array:
        """A copy in the CPU's memory."""
        found = np.empty(self.shape, self.dtype)
        if found.nbytes:
            device().enter()
            stream = Stream()
            stream.download(found.ctypes.data, self.address, found.nbytes)
            stream.synchronize()
        return found

    def fill(self, array: Array) -> None:
        """Copies an array of the same shape and type here."""
        if array.shape != self.shape or array.dtype != self.dtype:
            raise InputError(f"an array {array.dtype}{list(array.shape)} does not fit into one of "
                             f"{self.dtype}{list(self.shape)}")
        if self.nbytes:
            source = np.ascontiguousarray(array)
            device().enter()
            stream = Stream()
            stream.upload(self.address, source.ctypes.data, self.nbytes)
            stream.synchronize()


def empty(shape: tuple[int, ...], dtype: Any) -> DeviceArray:
    """A new array whose contents are undefined."""
    dtype = np.dtype(dtype)
    device().enter()
    memory = Memory(math.prod(shape) * dtype.itemsize)
    return DeviceArray(memory.address, tuple(shape), dtype, memory)


def is_device_array(value: Any) -> bool:
    if isinstance(value, (np.ndarray, np.generic)):
        return False
    if hasattr(value, "__cuda_array_interface__"):
        return True
    return hasattr(value, "__dlpack_device__") and int(value.__dlpack_device__()[0]) == dlpack.CUDA_DEVICE


def as_device_array(value: Any) -> DeviceArray:
    """Another library's array as ours, where it lies; what its library still has to do to it is done first."""
    if isinstance(value, DeviceArray):
        return value
    if hasattr(value, "__cuda_array_interface__"):
        return _of_interface(value)
    address, shape, dtype, owner = dlpack.read(value.__dlpack__())  # for the legacy default stream
    _finish(1)
    return DeviceArray(address, shape, dtype.numpy, owner)


def _of_interface(value: Any) -> DeviceArray:
    found = value.__cuda_array_interface__
    shape, dtype = tuple(found["shape"]), np.dtype(found["typestr"])
    strides = found.get("strides")
    if strides is not None:
        step = dtype.itemsize
        for size, stride in zip(reversed(shape), reversed(strides), strict=True):
            if size > 1 and stride != step:
                raise InputError("a device array is not contiguous in C order: make it so first")
            step *= size
    if found.get("stream") is not None:
        _finish(int(found["stream"]))
    return DeviceArray(int(found["data"][0]), shape, dtype, value)


def _finish(stream: int) -> None:
    """Waits for the work of another library's stream; 1 and 2 are the driver's names of the default streams."""
    device().enter()
    check(driver().cuStreamSynchronize(stream), "finish what computes an input")
