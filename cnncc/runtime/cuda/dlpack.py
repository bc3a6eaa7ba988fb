"""DLPack capsules: tensors handed from one library to another where they lie (https://dmlc.github.io/dlpack, the
structure without a version, which every consumer understands)."""

from __future__ import annotations

import ctypes
from typing import Any

from ...errors import InputError
from ...ir import DType

__all__ = ["CUDA_DEVICE", "export", "read"]

CUDA_DEVICE = 2  # kDLCUDA
_NAME, _USED = b"dltensor", b"used_dltensor"
_INTEGER, _UNSIGNED, _FLOAT, _BOOL = 0, 1, 2, 6


class _Tensor(ctypes.Structure):
    _fields_ = (("data", ctypes.c_void_p), ("device_type", ctypes.c_int32), ("device_id", ctypes.c_int32),
                ("rank", ctypes.c_int32), ("code", ctypes.c_uint8), ("bits", ctypes.c_uint8),
                ("lanes", ctypes.c_uint16),
                ("shape", ctypes.POINTER(ctypes.c_int64)), ("strides", ctypes.POINTER(ctypes.c_int64)),
                ("byte_offset", ctypes.c_uint64))


class _Managed(ctypes.Structure):
    pass


_Deleter = ctypes.CFUNCTYPE(None, ctypes.POINTER(_Managed))
_Managed._fields_ = (("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", _Deleter))
_Destructor = ctypes.CFUNCTYPE(None, ctypes.c_void_p)

_api = ctypes.pythonapi
_new = _api.PyCapsule_New
_new.restype, _new.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.c_char_p, _Destructor)
_is_valid = _api.PyCapsule_IsValid
_is_valid.restype, _is_valid.argtypes = ctypes.c_int, (ctypes.py_object, ctypes.c_char_p)
_pointer = _api.PyCapsule_GetPointer
_pointer.restype, _pointer.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
_rename = _api.PyCapsule_SetName
_rename.restype, _rename.argtypes = ctypes.c_int, (ctypes.py_object, ctypes.c_char_p)
# The same two for a capsule that is being destroyed: as an object its count of references is 0 already.
_is_valid_raw = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)(("PyCapsule_IsValid", _api))
_pointer_raw = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)(("PyCapsule_GetPointer", _api))

_given: dict[int, tuple[Any, ...]] = {}  # what exported tensors need, by address, until their consumers delete them


@_Deleter
def _delete(managed: Any) -> None:
    _given.pop(ctypes.addressof(managed.contents), None)


@_Destructor
def _unused(capsule: int) -> None:
    """A capsule that nobody took."""
    if _is_valid_raw(capsule, _NAME):
        _given.pop(_pointer_raw(capsule, _NAME), None)


def export(address: int, shape: tuple[int, ...], dtype: DType, owner: Any) -> Any:
    """A capsule of the C-contiguous array at this address of the first device, which keeps `owner` alive."""
    code = _BOOL if dtype is DType.BOOL else _FLOAT if dtype.is_float else \
        _UNSIGNED if dtype.value.startswith("u") else _INTEGER
    sizes = (ctypes.c_int64 * len(shape))(*shape)
    managed = _Managed(_Tensor(address, CUDA_DEVICE, 0, len(shape), code, 8 * dtype.itemsize, 1, sizes, None, 0), None,
                       _delete)
    _given[ctypes.addressof(managed)] = managed, sizes, owner
    return _new(ctypes.addressof(managed), _NAME, _unused)


def read(capsule: Any) -> tuple[int, tuple[int, ...], DType, Any]:
    """Address, shape, element type and owner of what a capsule holds, which is taken over. Raises InputError unless it
    is a C-contiguous array of the first CUDA device."""
    if not _is_valid(capsule, _NAME):
        raise InputError("a DLPack capsule can be used once, and must be one of version 0: pass the array itself")
    managed = _Managed.from_address(_pointer(capsule, _NAME))
    tensor = managed.tensor
    shape = tuple(tensor.shape[i] for i in range(tensor.rank))
    if tensor.device_type != CUDA_DEVICE or tensor.device_id != 0:
        raise InputError(f"the array lies on the DLPack device {tensor.device_type}:{tensor.device_id}, not on the "
                         "first CUDA device: copy it there, or give it as a NumPy array")
    dtype = _element(tensor.code, tensor.bits, tensor.lanes)
    if tensor.strides:
        strides, step = [tensor.strides[i] for i in range(tensor.rank)], 1
        for size, stride in zip(reversed(shape), reversed(strides), strict=True):
            if size > 1 and stride != step:
                raise InputError("the array is not contiguous in C order: make it so first")
            step *= size
    _rename(capsule, _USED)
    return (tensor.data or 0) + tensor.byte_offset, shape, dtype, _Owner(managed)


class _Owner:
    """Tells the producer when its array is not needed any more."""

    def __init__(self, managed: _Managed) -> None:
        self._managed = managed

    def __del__(self) -> None:
        if self._managed.deleter:
            self._managed.deleter(ctypes.pointer(self._managed))


def _element(code: int, bits: int, lanes: int) -> DType:
    letter = {_INTEGER: "i", _UNSIGNED: "u", _FLOAT: "f"}.get(code)
    name = "bool" if (code, bits) == (_BOOL, 8) else f"{letter}{bits}"
    if lanes != 1 or name not in {d.value for d in DType}:
        raise InputError(f"elements of the DLPack type {code} with {bits} bits cannot be an input")
    return DType(name)
