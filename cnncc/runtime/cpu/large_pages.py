"""Memory on large pages. A network on small ones has more pages than a processor keeps the addresses of; it looks up
the others as it meets them, under a hypervisor twice over, which takes up to a tenth of a run."""

from __future__ import annotations

import contextlib
import mmap
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...parallel import fork_safe_lock

__all__ = ["LEAST_KEPT", "Room", "empty_bytes"]

Array = np.ndarray[Any, Any]
PAGE = 1 << 21  # bytes of a large page, on x86-64 and on AArch64 with small pages of 4 KiB
LEAST = 1 << 20  # bytes of a buffer for which one is worth while
LEAST_KEPT = 1 << 17  # bytes of a session's weights for which one is
OWN = 1 << 22  # bytes from which on NumPy asks for large pages itself
ROOM = 1 << 24  # bytes of a block; what is not used of it takes no memory


def empty_bytes(size: int) -> Array:
    """`size` bytes at a 64-byte boundary, whatever they hold; on large pages where it is worth while and the system
    has them."""
    if size >= LEAST and hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # the kernel has no large pages, or no memory (which is reported below)
            block = mmap.mmap(-1, -(-size // PAGE) * PAGE + PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            block.madvise(mmap.MADV_HUGEPAGE)
            return _from_boundary(np.frombuffer(block, np.uint8), PAGE)[:size]
    return _from_boundary(np.empty(size + 64, np.uint8), 64)[:size]


def _from_boundary(raw: Array, boundary: int) -> Array:
    return raw[-raw.ctypes.data % boundary:]


class Room:
    """Keeps arrays side by side on large pages, for as long as one of them is in use. Many threads may use one."""

    def __init__(self) -> None:
        self._lock = fork_safe_lock()
        self._block, self._used = np.empty(0, np.uint8), 0

    def keep(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Copies of the arrays; of those that are large enough for pages of their own, themselves."""
        return {name: self._copy(array) if 0 < array.nbytes < OWN else array for name, array in arrays.items()}

    def _copy(self, array: Array) -> Array:
        with self._lock:
            if self._used + array.nbytes > self._block.size:
                self._block, self._used = empty_bytes(ROOM), 0
            place = self._block[self._used:self._used + array.nbytes]
            self._used += -(-array.nbytes // 64) * 64
        copy = place.view(array.dtype).reshape(array.shape)
        copy[...] = array
        return copy
