"""TF32, the numbers that tensor cores multiply: float32 with 10 explicit bits of its significand in place of 23."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["KEPT", "on_tensor_cores", "round_tf32", "tf32_bound"]

Array = np.ndarray[Any, Any]
KEPT, HALF = np.uint32(0xFFFFE000), np.uint32(0x1000)  # the bits of TF32; half of the last one


def on_tensor_cores(params: Mapping[str, int | str]) -> bool:
    """Whether the parameters of a plan's step or of a kernel ask for them."""
    return params.get("tensor") == 1


def round_tf32(x: Array) -> Array:
    """float32 numbers rounded to TF32, to the nearest, away from zero where there are two, as PTX's cvt.rna does.
    Infinities and NaN stay; what is nearer to 2^128 than to any number below becomes infinite."""
    x = np.asarray(x, np.float32)
    return np.where(np.isfinite(x), ((x.view(np.uint32) + HALF) & KEPT).view(np.float32), x)


def tf32_bound(terms: int) -> float:
    """Of a sum of products on tensor cores, relative to sum|x||w|, in units of 2^-24.

    Each of the two operands is off by 2^-11 at most. Sums are kept in float32, and what is added, at least four
    products at a time, is cut off there, not rounded: errors that may all point one way, of up to six units in the last
    place for four products and what they are added to. The rest is for the sums of parts, alpha, bias and residual.
    """
    return 2.0**14 + 3.0 * terms + 64.0
