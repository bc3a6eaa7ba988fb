"""CRC-32 (that of zlib) of data whose parts are summed apart: sums of parts can be joined."""

from __future__ import annotations

import functools

__all__ = ["join_crc32", "power_of_x"]

_POLYNOMIAL = 0xEDB88320  # bits of low degree first: bit 31 is x^0


def join_crc32(first: int, second: int, length: int) -> int:
    """The CRC-32 of two parts, from those of each; the second is `length` bytes long.

    A CRC is a remainder of polynomials over GF(2): that of the first part, moved up by 8 * length bits, is added to the
    second's.
    """
    return _product(first, power_of_x(8 * length)) ^ second


@functools.lru_cache(maxsize=8)
def power_of_x(exponent: int) -> int:
    found, square = 1 << 31, 1 << 30  # x^0, x^1
    while exponent:
        if exponent & 1:
            found = _product(found, square)
        square = _product(square, square)
        exponent >>= 1
    return found


def _product(a: int, b: int) -> int:
    """a * b modulo the polynomial."""
    total = 0
    for bit in range(31, -1, -1):
        if a >> bit & 1:
            total ^= b
        b = b >> 1 ^ (_POLYNOMIAL if b & 1 else 0)
    return total
