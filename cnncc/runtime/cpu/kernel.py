"""What a kernel is: a description that can be read without a compiler, and a launch of it for concrete shapes.

A kernel is a serial native function ``void k(int64 args, int64 begin, int64 end)``. ``args`` is the address of the
step's int64 words: first the operands' addresses, then integers; a float travels as its float32 bits. It executes
the tasks ``begin .. end-1`` of its step; tasks are independent of each other.
"""

import struct
from collections.abc import Callable, Mapping
from dataclasses import field

from cnncc.records import record

LINE = 64  # bytes of a cache line
Params = tuple[tuple[str, int | str], ...]


@record
class Kernel:
    """A family of native functions, one per choice of ``params``.

    ``operands`` and ``dims`` name the argument words in order: addresses, then integers. ``build(**params)`` returns
    the Python function to compile, of signature ``(args, begin, end)``; it imports the compiler itself.
    """

    name: str
    operands: tuple[str, ...]
    dims: tuple[str, ...]
    build: Callable[..., Callable[[int, int, int], None]]

    @property
    def words(self) -> tuple[str, ...]:
        return self.operands + self.dims

    def place(self, word: str) -> int:
        """Which of the argument words it is; -1 if the kernel has none of this name."""
        return self.words.index(word) if word in self.words else -1


@record
class Launch:
    """One step: a kernel, its integers and how to cut it into tasks.

    ``reads`` and ``writes`` give, per operand, the half-open byte range relative to the operand's address that the
    kernel may touch: nothing outside is read or written, SIMD tails included. ``scratch`` is the private memory in
    bytes of each thread, whose address goes into the operand word ``scratch``. An integer ``in_scratch`` is -1 when a
    thread begins the step: there the kernel notes what it has in this memory, for the thread's next tasks.
    """

    kernel: Kernel
    params: Params
    dims: tuple[int, ...]
    tasks: int
    grain: int = 1
    scratch: int = 0
    reads: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    writes: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.dims) != len(self.kernel.dims):
            raise ValueError(f"{self.kernel.name}: {len(self.dims)} integers for {len(self.kernel.dims)} words")

    @property
    def name(self) -> str:
        return self.kernel.name

    @property
    def key(self) -> tuple[str, Params]:
        return self.kernel.name, self.params

    def bind(self, addresses: Mapping[str, int]) -> list[int]:
        """The argument words; an operand that is neither read nor written has the address 0 (absent)."""
        used = self.reads.keys() | self.writes.keys()
        return [addresses.get(name, 0) if name in used else 0 for name in self.kernel.operands] + list(self.dims)


def make_params(**params: int | str) -> Params:
    """Kernel parameters in canonical order."""
    return tuple(sorted(params.items()))


def float_word(value: float) -> int:
    """A float32 as an argument word."""
    return int.from_bytes(struct.pack("<f", value), "little")


def ask_every(step: int) -> int:
    """How many updates of a register tile there are to one that asks for a cache line, if each has ``step`` bytes more
    to ask for: 4, 2 or 1. A request takes the place of a load, so there should be no more of them than lines."""
    return next((every for every in (4, 2) if every * step <= LINE), 1)


def ceil_div(a: int, b: int) -> int:
    return -(-a // b)
