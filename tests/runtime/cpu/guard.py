"""Memory between pages that nobody may touch, and a launch run in it through the real executor."""

import ctypes
import mmap

import numpy as np

from cnncc.runtime.cpu import native
from cnncc.runtime.cpu.executor import StepRecord, StepTable
from cnncc.runtime.cpu.kernel import Launch

CANARY = 0xA5
PAGE = mmap.PAGESIZE
SIGNALLING_NAN = 0x7FA00000
NOTHING, READ, READ_WRITE = 0, 1, 3

_protect = ctypes.CDLL(None, use_errno=True).mprotect
_protect.argtypes = [ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int]


class Guarded:
    """Bytes between two pages that nobody may touch. They end exactly at the second page or, ``at_start``, begin
    exactly behind the first; what is left of the pages between holds canaries."""

    def __init__(self, data: np.ndarray | bytes, at_start: bool = False) -> None:
        contents = np.frombuffer(data, np.uint8) if isinstance(data, bytes) else data.reshape(-1).view(np.uint8)
        self.pages = -(-(contents.size + 64) // PAGE)
        self.map = mmap.mmap(-1, (self.pages + 2) * PAGE)
        self.bytes = np.frombuffer(self.map, np.uint8)
        self.bytes[:] = CANARY
        # Vectors need not be aligned, but elements do: the end of an array is a multiple of 8 bytes from the page's.
        self.start = PAGE if at_start else (self.pages + 1) * PAGE - contents.size
        self.size = contents.size
        self.data[:] = contents
        for page in (0, self.pages + 1):
            self._allow(page, 1, NOTHING)

    def _allow(self, page: int, count: int, access: int) -> None:
        assert _protect(self.bytes.ctypes.data + page * PAGE, count * PAGE, access) == 0

    def lock(self) -> None:
        """From now on it can only be read."""
        self._allow(1, self.pages, READ)

    @property
    def data(self) -> np.ndarray:
        return self.bytes[self.start : self.start + self.size]

    @property
    def address(self) -> int:
        return self.bytes.ctypes.data + self.start

    def check(self) -> None:
        assert np.all(self.bytes[PAGE : self.start] == CANARY), "bytes before a buffer were written"
        behind = self.bytes[self.start + self.size : (self.pages + 1) * PAGE]
        assert np.all(behind == CANARY), "bytes behind a buffer were written"


def execute(launch: Launch, addresses: dict[str, int], threads: int, at_start: bool = False) -> None:
    """Scratch is guarded, too, and full of signalling NaN."""
    scratch = Guarded(np.full(-(-launch.scratch * threads // 4), SIGNALLING_NAN, np.uint32), at_start)
    words = [launch.kernel.place(name) if launch.scratch else -1 for name in ("scratch", "in_scratch")]
    step = StepRecord(native.get_kernel(*launch.key), launch.bind(addresses), launch.tasks, launch.grain, *words)
    StepTable([step], threads, scratch.address, launch.scratch).run()
    scratch.check()


def run_guarded(launch: Launch, operands: dict[str, Guarded], threads: int = 1, at_start: bool = False) -> None:
    """Runs a launch; it must touch nothing outside its ranges and write nothing that it does not declare."""
    assert set(launch.reads) | set(launch.writes) <= set(operands)
    for name, (start, stop) in (*launch.reads.items(), *launch.writes.items()):
        assert 0 <= start <= stop <= operands[name].size, f"{name}: {start}..{stop} of {operands[name].size}"
    written = {id(operands[name]) for name in launch.writes}
    for guarded in operands.values():
        if id(guarded) not in written:
            guarded.lock()
    before = {name: operands[name].data.copy() for name in launch.writes}
    execute(launch, {name: g.address for name, g in operands.items()}, threads, at_start)
    for name in launch.writes:
        operands[name].check()
        untouched = np.ones(operands[name].size, bool)
        for other, (start, stop) in launch.writes.items():
            if operands[other] is operands[name]:
                untouched[start:stop] = False
        assert np.array_equal(operands[name].data[untouched], before[name][untouched]), f"'{name}' was written"
