"""Device functions for places: the number of a thread, and divisions of numbers that are not negative.

Numba makes 64 bits of sums and products of 32, which a GPU divides slowly; the compiler undoes that only where it is
told that results fit.
"""

from __future__ import annotations

from typing import Any

from numpy import int32, uint32

from cnncc.runtime.cuda.language import SIMULATED, cuda, device

__all__ = ["element", "extent", "quotient", "remainder", "whole"]

if SIMULATED:

    def whole(x: Any) -> Any:
        """x as an int32."""
        return int(x)

    def quotient(a: Any, b: Any) -> Any:
        """a // b of 32-bit numbers, neither of which is negative."""
        return a // b

    def remainder(a: Any, b: Any) -> Any:
        """a % b of 32-bit numbers, neither of which is negative."""
        return a % b

    def element() -> Any:
        """The thread's number in a grid of one dimension."""
        return cuda.grid(1)

    def extent() -> Any:
        """The threads of such a grid."""
        return cuda.gridsize(1)

else:
    whole = device(lambda x: int32(x))
    quotient = device(lambda a, b: int32(uint32(a) // uint32(b)))
    remainder = device(lambda a, b: int32(uint32(a) % uint32(b)))
    element = device(lambda: int32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x))
    extent = device(lambda: int32(cuda.blockDim.x * cuda.gridDim.x))
