"""Elements of any type in compiled code: how they are read and written, and what they are computed in.

Floats of 16 and 32 bits are computed in float32, of 64 in float64; integers and booleans (0 or 1) in int64, whose low
bits are stored, so that sums and products wrap as they should. u64 is held as the int64 of the same bits.
"""

from collections.abc import Callable
from typing import Any

SIZES = {
    "f16": 2, "f32": 4, "f64": 8, "i8": 1, "i16": 2, "i32": 4, "i64": 8, "u8": 1, "u16": 2, "u32": 4, "u64": 8,
    "bool": 1,
}  # fmt: skip


def is_float(dtype: str) -> bool:
    return dtype.startswith("f")


def access(dtype: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """``load(address)`` and ``store(address, value)`` for compiled code."""
    from cnncc.runtime.cpu import memory_access as memory

    stored_as = {"bool": "i8", "u8": "i8", "u16": "i16", "u32": "i32", "u64": "i64"}.get(dtype, dtype)
    loaded_as = {"bool": "u8", "u64": "i64"}.get(dtype, dtype)
    return getattr(memory, f"load_{loaded_as}"), getattr(memory, f"store_{stored_as}")


def limits(dtype: str) -> tuple[Any, Any]:
    """The least and the greatest number of the type, infinities for floats, as Python numbers."""
    if is_float(dtype):
        return float("-inf"), float("inf")
    bits = 8 * SIZES[dtype]
    if dtype == "bool":
        return 0, 1
    return (0, (1 << bits) - 1) if dtype.startswith("u") else (-(1 << bits - 1), (1 << bits - 1) - 1)
