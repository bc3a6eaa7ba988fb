"""Arrays as simulated threads see them: bounds, permission to write, and who touched which element when."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["BAND", "Buffer", "Memory", "MemoryFault", "Record", "poison"]

BAND = 64  # elements of NaN before and behind a buffer
SENSELESS = 0xA5
Range = tuple[int, int]


class MemoryFault(Exception):
    """An access that a kernel must not make."""


def poison(shape: Any, dtype: np.dtype) -> np.ndarray:
    """A new array of NaN, or of senseless integers."""
    array = np.empty(shape, dtype)
    if array.dtype.kind == "f":
        array.fill(np.nan)
    else:
        array.reshape(-1).view(np.uint8)[...] = SENSELESS if array.dtype != np.bool_ else 1
    return array


class Record:
    """Who touched the elements of an array. Two threads that touch one, one of them writing, need a barrier between."""

    def __init__(self) -> None:
        self.writes: dict[int, Any] = {}  # element -> who wrote it last, and when
        self.reads: dict[int, dict[Any, Any]] = {}  # element -> who read it since, and when

    def read(self, thread: Any, at: int, name: str) -> None:
        self._check(self.writes.get(at), thread, at, name, "read", "written")
        self.reads.setdefault(at, {})[thread] = thread.epoch, thread.warp_epoch

    def write(self, thread: Any, at: int, name: str) -> None:
        self._check(self.writes.get(at), thread, at, name, "written", "written")
        for other, when in self.reads.pop(at, {}).items():
            self._check((other, *when), thread, at, name, "written", "read")
        self.writes[at] = thread, thread.epoch, thread.warp_epoch

    @staticmethod
    def _check(earlier: Any, thread: Any, at: int, name: str, now: str, before: str) -> None:
        if earlier is None or earlier[0] is thread:
            return
        other, epoch, warp_epoch = earlier
        apart = other.block is thread.block and (
            epoch < thread.epoch or (other.warp == thread.warp and warp_epoch < thread.warp_epoch))
        if not apart:
            raise MemoryFault(f"a race: element {at} of {name} is {now} by {thread}, and was {before} by {other} with "
                              "no barrier between")


class Memory:
    """An array within a kernel: elements `readable[0]` to `readable[1] - 1` may be read, likewise `writable`.

    With a `record`, `running()` is asked which thread touches it.
    """

    __slots__ = ("array", "high", "low", "name", "record", "running", "shape", "size", "writable")

    def __init__(self, array: np.ndarray, name: str, readable: Range | None = None, writable: Range | None = None,
                 record: Record | None = None, running: Callable[[], Any] | None = None) -> None:
        self.array, self.name = array.reshape(-1), name
        self.shape, self.size = array.shape, array.size
        self.low, self.high = (0, self.size) if readable is None else readable
        self.writable = (0, self.size) if writable is None else writable
        self.record, self.running = record, running

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def dtype(self) -> np.dtype:
        return self.array.dtype

    def _flat(self, index: tuple[Any, ...]) -> int:
        if len(index) != len(self.shape):
            raise MemoryFault(f"{len(index)} indices for {self.name} of shape {self.shape}")
        at = 0
        for i, n in zip(index, self.shape, strict=True):
            if not 0 <= i < n:
                raise MemoryFault(f"index {tuple(map(int, index))} lies outside {self.name} of shape {self.shape}")
            at = at * n + int(i)
        return at

    def __getitem__(self, index: Any) -> Any:
        if index.__class__ is tuple:
            index = self._flat(index)
        if not self.low <= index < self.high:
            raise MemoryFault(f"element {index} of {self.name} is read, but only {self.low} to {self.high - 1} may be")
        if self.record is not None:
            self.record.read(self.running(), int(index), self.name)
        return self.array[index]

    def __setitem__(self, index: Any, value: Any) -> None:
        if index.__class__ is tuple:
            index = self._flat(index)
        low, high = self.writable
        if not low <= index < high:
            raise MemoryFault(f"element {index} of {self.name} is written, but only {low} to {high - 1} may be"
                              if high > low else f"element {index} of {self.name} is written, which is an input")
        if self.record is not None:
            self.record.write(self.running(), int(index), self.name)
        self.array[index] = value

    def change(self, index: Any, update: Callable[[Any], Any]) -> Any:
        """An atomic change of an element; it conflicts with no other atomic change."""
        if index.__class__ is tuple:
            index = self._flat(index)
        if not self.writable[0] <= index < self.writable[1]:
            raise MemoryFault(f"element {index} of {self.name} is written, but only {self.writable} may be")
        old = self.array[index]
        self.array[index] = update(old)
        return old


class Buffer:
    """Elements between two bands of NaN (of senseless integers), which a check finds untouched."""

    def __init__(self, contents: np.ndarray) -> None:
        flat = np.ascontiguousarray(contents).reshape(-1)
        self.whole = poison(flat.size + 2 * BAND, flat.dtype)
        self.data = self.whole[BAND : BAND + flat.size]
        self.data[:] = flat
        self.before = self.whole.copy()
        self.record = Record()

    def check(self, written: Range) -> None:
        """Only bytes of this range may differ from what was there."""
        start, stop = (BAND * self.whole.itemsize + at for at in written)
        now, before = self.whole.view(np.uint8), self.before.view(np.uint8)
        assert np.array_equal(now[:start], before[:start]), "elements before a buffer's written part changed"
        assert np.array_equal(now[stop:], before[stop:]), "elements behind a buffer's written part changed"
