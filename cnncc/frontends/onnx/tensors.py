"""TensorProto to NumPy. Nothing a file says of sizes is believed before it is compared with the bytes there are."""

from __future__ import annotations

import math
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
import onnx

from ...errors import ModelError, UnsupportedError
from ...ir import DType, TensorType

__all__ = ["MAX_RANK", "MAX_TENSOR_BYTES", "check_size", "dtype_name", "tensor_array"]

Array = np.ndarray[Any, Any]

MAX_TENSOR_BYTES = 2**36
MAX_RANK = 32

# Where the elements of each type are if they are not in raw_data (onnx.proto, TensorProto); f16 as its bits.
_TYPED_FIELDS = {DType.F32: "float_data", DType.F64: "double_data", DType.I64: "int64_data", DType.U64: "uint64_data",
                 DType.U32: "uint64_data"}


def dtype_name(number: int) -> str:
    """ONNX's name of the element type `number`, for errors."""
    names = dict(zip(onnx.TensorProto.DataType.values(), onnx.TensorProto.DataType.keys(), strict=True))
    return str(names.get(number, f"number {number}")).lower()


def check_size(type_: TensorType, what: str) -> None:
    """Raises ModelError unless the fixed part of a type is of a size that could be a tensor's."""
    if type_.rank > MAX_RANK:
        raise ModelError(f"{what} has {type_.rank} dimensions; at most {MAX_RANK} are allowed")
    fixed = [d for d in type_.shape if isinstance(d, int)]
    if any(d < 0 for d in fixed):
        raise ModelError(f"{what} has a negative dimension: {type_}")
    # Zeros are left out, so that the other dimensions of an empty tensor are bounded as well.
    if math.prod(d for d in fixed if d) * type_.dtype.itemsize > MAX_TENSOR_BYTES:
        raise ModelError(f"{what} is {type_}, more than the {MAX_TENSOR_BYTES >> 30} GiB that a tensor may have")


def tensor_array(tensor: onnx.TensorProto, what: str, folder: Path | None) -> Array:
    """The contents of `tensor`, at most one copy.

    Args:
        what: names the tensor in errors, such as "the initialiser 'w'".
        folder: the model's own folder, below which external data may lie; None if there is none.

    Raises:
        ModelError: the contents do not match the shape, or external data is not where it may be.
        UnsupportedError: the element type is not one of cnncc's.
    """
    dtype = DType.from_onnx(tensor.data_type)
    if dtype is None:
        raise UnsupportedError(f"{what} has the element type {dtype_name(tensor.data_type)}")
    type_ = TensorType(dtype, tuple(tensor.dims))
    check_size(type_, what)
    count = math.prod(type_.static_shape)
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        array = _read_external(tensor, type_, what, folder)
    elif tensor.HasField("raw_data"):
        raw = tensor.raw_data
        if len(raw) != type_.nbytes:
            raise ModelError(f"{what} is {type_}, {type_.nbytes} bytes, but holds {len(raw)}; the file is damaged")
        array = np.frombuffer(raw, dtype.numpy.newbyteorder("<"), count)
    else:
        array = _typed_data(tensor, type_, count, what)
    return array.astype(dtype.numpy, copy=False).reshape(type_.static_shape)


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
    entries = {entry.key: entry.value for entry in tensor.external_data}
    if folder is None:
        raise ModelError(f"{what} lies in the file '{entries.get('location', '')}' beside the model; give the path of "
                         "the model, not its bytes")
    path = _inside(entries.get("location", ""), what, folder)
    offset = _number(entries.get("offset", "0"), "offset", what)
    length = _number(entries.get("length", str(type_.nbytes)), "length", what)
    if length != type_.nbytes:
        raise ModelError(f"{what} is {type_}, {type_.nbytes} bytes, but its external data has {length}")
    size = path.stat().st_size
    if offset + length > size:
        raise ModelError(f"{what} should lie at bytes {offset} to {offset + length} of '{path.name}', which has only "
                         f"{size}; the file is cut short or belongs to another model")
    with path.open("rb") as file:
        file.seek(offset)
        array = np.fromfile(file, type_.dtype.numpy.newbyteorder("<"), math.prod(type_.static_shape))
    if array.nbytes != length:
        raise ModelError(f"{what} could not be read whole from '{path.name}'")
    return array


def _inside(location: str, what: str, folder: Path) -> Path:
    """The regular file at `location` below `folder`. Links are followed first, then the place is judged."""
    if not isinstance(location, str):
        raise ModelError(f"{what} has its external data at {location!r}, which is not valid UTF-8; the file is damaged")
    posix, windows = PurePosixPath(location), PureWindowsPath(location)
    outside = ModelError(f"{what} has its external data at '{location}', which is not inside the model's folder; only "
                         "files below that folder are read")
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
