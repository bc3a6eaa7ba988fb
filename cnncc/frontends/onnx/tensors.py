"""TensorProto to NumPy. Nothing a file says of sizes is believed before it is compared with the bytes there are."""

from __future__ import annotations

import math
import os
import stat
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, BinaryIO

import numpy as np
import onnx

from ...errors import ModelError, UnsupportedError
from ...ir import DType, TensorType
from ...records import record
from .limits import Limits

__all__ = ["Source", "dtype_name", "tensor_array"]

Array = np.ndarray[Any, Any]

# Where the elements of each type are if they are not in raw_data (onnx.proto, TensorProto); f16 as its bits.
_TYPED_FIELDS = {DType.F32: "float_data", DType.F64: "double_data", DType.I64: "int64_data", DType.U64: "uint64_data",
                 DType.U32: "uint64_data"}


# What ONNX says of external data (onnx.proto, TensorProto.external_data); the checksum is its writer's business.
_KEYS = ("location", "offset", "length")


def dtype_name(number: int) -> str:
    """ONNX's name of the element type `number`, for errors."""
    names = dict(zip(onnx.TensorProto.DataType.values(), onnx.TensorProto.DataType.keys(), strict=True))
    return str(names.get(number, f"number {number}")).lower()


@record
class Source:
    """Where a model comes from and what it may ask for. External data may lie below `folder`; None if there is none."""

    folder: Path | None
    limits: Limits


def tensor_array(tensor: onnx.TensorProto, what: str, source: Source) -> Array:
    """The contents of `tensor`, at most one copy.

    Args:
        what: names the tensor in errors, such as "the initialiser 'w'".

    Raises:
        ModelError: the contents do not match the shape, or external data is not where it may be.
        UnsupportedError: the element type is not one of cnncc's.
    """
    dtype = DType.from_onnx(tensor.data_type)
    if dtype is None:
        raise UnsupportedError(f"{what} has the element type {dtype_name(tensor.data_type)}")
    type_ = TensorType(dtype, tuple(tensor.dims))
    source.limits.take_weight(type_, what)
    count = math.prod(type_.static_shape)
    raw = tensor.raw_data  # a copy
    _check_one_form(tensor, len(raw), what)
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        array = _read_external(tensor, type_, what, source.folder)
    elif tensor.HasField("raw_data"):
        if len(raw) != type_.nbytes:
            raise ModelError(f"{what} is {type_}, {type_.nbytes} bytes, but holds {len(raw)}; the file is damaged")
        array = np.frombuffer(raw, dtype.numpy.newbyteorder("<"), count)
    else:
        array = _typed_data(tensor, type_, count, what)
    return array.astype(dtype.numpy, copy=False).reshape(type_.static_shape)


def _check_one_form(tensor: onnx.TensorProto, raw_bytes: int, what: str) -> None:
    """Raises ModelError where the elements are given in more than one way: which of them is meant nobody knows."""
    given = [name for name in (*dict.fromkeys(_TYPED_FIELDS.values()), "int32_data", "string_data")
             if len(getattr(tensor, name))]
    if raw_bytes:
        given.append("raw_data")
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        given.append("external_data")
    if len(given) > 1:
        raise ModelError(f"{what} holds its elements in {' and in '.join(given)}; export the model again")


def _typed_data(tensor: onnx.TensorProto, type_: TensorType, count: int, what: str) -> Array:
    dtype = type_.dtype
    values = getattr(tensor, _TYPED_FIELDS.get(dtype, "int32_data"))
    if len(values) != count:
        raise ModelError(f"{what} is {type_}, {count} elements, but holds {len(values)}; the file is damaged")
    if dtype in (DType.F32, DType.F64):
        return np.fromiter(values, dtype.numpy, count)
    stored = DType.U16 if dtype is DType.F16 else dtype
    wide = np.fromiter(values, np.uint64 if dtype in (DType.U32, DType.U64) else np.int64, count)
    narrow = wide.astype(stored.numpy)
    if (narrow != wide).any():
        raise ModelError(f"{what} is {type_}, but holds a number that {dtype.value} cannot; the file is damaged")
    return narrow.view(np.float16) if dtype is DType.F16 else narrow


def _read_external(tensor: onnx.TensorProto, type_: TensorType, what: str, folder: Path | None) -> Array:
    """The contents from a file of their own. Keys that are not ONNX's (writers have their own) say nothing here."""
    entries = {entry.key: entry.value for entry in tensor.external_data if entry.key in _KEYS}
    if len(entries) != sum(entry.key in _KEYS for entry in tensor.external_data):
        raise ModelError(f"{what} says twice where its external data is; export the model again")
    location = entries.get("location", "")
    if not all(isinstance(text, str) for text in entries.values()):
        raise ModelError(f"{what} has its external data at {location!r}, which is not valid UTF-8; the file is damaged")
    if folder is None:
        raise ModelError(f"{what} lies in the file '{location[:200]}' beside the model; give the path of the model, "
                         "not its bytes")
    offset = _number(entries.get("offset", "0"), "offset", what)
    length = _number(entries.get("length", str(type_.nbytes)), "length", what)
    if length != type_.nbytes:
        raise ModelError(f"{what} is {type_}, {type_.nbytes} bytes, but its external data has {length}; export the "
                         "model again")
    with _open_inside(location, what, folder) as file:
        size = os.fstat(file.fileno()).st_size
        if offset + length > size:
            raise ModelError(f"{what} should lie at bytes {offset} to {offset + length} of '{location}', which has "
                             f"only {size}; the file is cut short or belongs to another model")
        try:
            file.seek(offset)
            array = np.fromfile(file, type_.dtype.numpy.newbyteorder("<"), math.prod(type_.static_shape))
        except OSError as error:
            raise ModelError(f"{what} cannot be read from '{location}': {error.strerror}") from None
    if array.nbytes != length:
        raise ModelError(f"{what} could not be read whole from '{location}'; it changed meanwhile")
    return array


def _open_inside(location: str, what: str, folder: Path) -> BinaryIO:
    """The regular file at `location` below `folder`, opened. Links are followed first, then the place is judged. A file
    that has another name too is refused: that may lie anywhere."""
    path = _inside(location, what, folder)
    flags = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"))
    try:
        file = os.fdopen(os.open(path, flags), "rb")
    except OSError as error:
        raise ModelError(f"{what} cannot be read from '{location}': {error.strerror}") from None
    status = os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
        file.close()
        raise ModelError(f"{what} has its external data in '{location}', which is a hard link or no regular file; put "
                         "a copy of the file in its place")
    return file


def _inside(location: str, what: str, folder: Path) -> Path:
    """Where `location` is, links followed, if that is a file below `folder`."""
    posix, windows = PurePosixPath(location), PureWindowsPath(location)
    outside = ModelError(f"{what} has its external data at '{location[:200]}', which is not inside the model's folder; "
                         "only files below that folder are read")
    if not location or posix.is_absolute() or windows.drive or windows.root or ".." in (*posix.parts, *windows.parts):
        raise outside
    try:
        base, path = folder.resolve(), (folder / location).resolve()
        if not path.is_relative_to(base):
            raise outside
        if path.is_file():
            return path
    except (OSError, ValueError, RuntimeError):
        raise outside from None
    raise ModelError(f"{what} has its external data in '{location}', but there is no such file in the model's folder; "
                     "put it beside the model")


def _number(text: str, key: str, what: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise ModelError(f"{what} has the {key} '{text[:20]}' of its external data, which is not a whole number")
    return int(text)
