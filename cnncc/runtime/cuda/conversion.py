"""Element types in kernels: what they are called, what they are computed in, and how one becomes another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..cpu.elements import SIZES, is_float

__all__ = ["COMPUTED", "STORED", "build_conversion", "build_rounding"]

# A boolean is a byte, 0 or 1.
STORED: dict[str, Any] = {
    "bool": np.uint8, "f16": np.float16, "f32": np.float32, "f64": np.float64, "i8": np.int8, "i16": np.int16,
    "i32": np.int32, "i64": np.int64, "u8": np.uint8, "u16": np.uint16, "u32": np.uint32, "u64": np.uint64,
}  # fmt: skip
COMPUTED = {**STORED, "f16": np.float32}


def build_conversion(source: str, target: str) -> Callable[..., Any]:
    """The device function from a number computed for `source` to one to be stored as `target`. As on the CPU, floats
    lose their fraction in integers; out of range gives the nearest of 32 or 64 bits, of which narrower types keep the
    low ones, and NaN gives 0; what is not 0 is true."""
    from .language import device

    number = STORED[target]
    if target == "bool" and source != "bool":
        return device(lambda x: number(1 if x != 0 else 0))
    if not is_float(source) or is_float(target):
        return device(lambda x: number(x))
    wide = np.uint64 if target == "u64" else np.int64 if SIZES[target] == 8 or target == "u32" else np.int32
    least, greatest = wide(np.iinfo(wide).min), wide(np.iinfo(wide).max)
    kind = COMPUTED[source]
    low, high = kind(float(least)), kind(float(greatest) + 1)

    @device
    def to_integer(x: Any) -> Any:
        if x != x:
            return number(0)
        if x <= low:
            return number(least)
        return number(greatest) if x >= high else number(wide(x))

    return to_integer


def build_rounding(number: Any) -> tuple[Callable[..., Any], ...]:
    """Device functions to the integer above, below, and nearest (halves to even), of numbers of this floating type."""
    from .language import SIMULATED, device

    if SIMULATED:
        return np.ceil, np.floor, np.rint
    from numba.cuda import libdevice

    names = ("ceilf", "floorf", "rintf") if number is np.float32 else ("ceil", "floor", "rint")
    up, down, near = (getattr(libdevice, name) for name in names)
    return device(lambda x: up(x)), device(lambda x: down(x)), device(lambda x: near(x))
