"""What callers give for an input, as the array that a run takes: exactly an ndarray, of the input's element type, in
native byte order and C order, whose memory is what NumPy says it is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from .errors import InputError
from .ir import DType, TensorType

__all__ = ["as_array", "check_feed", "normalise"]

Array = np.ndarray[Any, Any]
NUMBERS = (bool, int, float, complex, np.generic, np.ndarray)


def check_feed(name: str, array: Any, type_: TensorType) -> Array:
    """The array as a run takes it, for an input of this type, which may be symbolic. Raises InputError where its
    element type or its shape does not fit."""
    return normalise(name, as_array(name, array), type_)


def normalise(name: str, array: Array, type_: TensorType, copy: bool = False) -> Array:
    """The array in native byte order and C order, or a copy that is so; raises InputError where its element type or
    shape does not fit."""
    from .runtime.cpu.runner import check_shape

    if array.dtype.newbyteorder("=") != type_.dtype.numpy:
        try:
            given = DType.of(array.dtype).value
        except Exception:
            given = str(array.dtype)
        raise InputError(f"the input '{name}' must be of type {type_.dtype.value} ({type_.dtype.numpy}), but is "
                         f"{given}: convert it with .astype('{type_.dtype.numpy}')")
    check_shape(name, array.shape, type_)  # before memory is asked for: a view of one number can have any shape
    if copy:
        return np.array(array, dtype=type_.dtype.numpy, order="C")
    return np.require(array, dtype=type_.dtype.numpy, requirements=["C", "A"])


def as_array(name: str, value: Any) -> Array:
    """`value` as an array: a number, an array of any class, (nested) lists of these, or an object that gives its data
    by `__array__`, DLPack, the buffer protocol, or `__array_interface__` with data that are bytes.

    NumPy follows an `__array_interface__` wherever it points; here an address that anybody could have written there is
    refused, and so is a shape beyond the bytes that hold it.
    """
    try:
        found = _converted(value)
    except MemoryError:
        raise
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise InputError(f"the input '{name}' cannot be read as an array ({reason}): give a NumPy array") from None
    if found is None:
        raise InputError(f"the input '{name}' is {type(value).__name__}, which is no array: give a NumPy array")
    # The class of an array may say anything of it; a view of the base class has what is true.
    return np.asarray(found)


def _converted(value: Any) -> Array | None:
    if isinstance(value, NUMBERS):
        return np.asarray(value)
    if isinstance(value, (list, tuple)):
        return np.asarray(value) if _holds_numbers(value) else None
    if hasattr(value, "__array__"):
        found = value.__array__()
        return found if isinstance(found, np.ndarray) else None
    if hasattr(value, "__dlpack__"):
        return np.from_dlpack(value)
    try:
        view = memoryview(value)
    except TypeError:
        return _from_interface(value.__array_interface__) if hasattr(value, "__array_interface__") else None
    return np.asarray(view)


def _holds_numbers(value: Iterable[Any]) -> bool:
    """Whether nested lists hold numbers and arrays alone."""
    waiting, seen = [value], {id(value)}
    while waiting:
        for item in waiting.pop():
            if isinstance(item, (list, tuple)):
                if id(item) not in seen:
                    seen.add(id(item))
                    waiting.append(item)
            elif not isinstance(item, NUMBERS):
                return False
    return True


def _from_interface(interface: Any) -> Array:
    """The array that an `__array_interface__` describes, where its data are an object that holds them."""
    data, offset = interface.get("data"), interface.get("offset", 0)
    if data is None or isinstance(data, tuple) or interface.get("strides") is not None:
        raise ValueError("its __array_interface__ gives an address or strides, which cannot be checked")
    dtype, shape = np.dtype(interface["typestr"]), tuple(interface["shape"])
    count = 1
    for size in shape:
        if size < 0:
            raise ValueError(f"the dimension {size}")
        count *= size
    return np.frombuffer(data, dtype, count, offset).reshape(shape)
