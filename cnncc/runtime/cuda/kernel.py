"""What a CUDA kernel is: a description that can be read without Numba, and a launch of it for concrete shapes.

A kernel is a Python function ``k(*operands, *dims, *floats)`` that one thread runs: operands are pointers to flat
arrays, dims are int32, floats are float32. It is compiled for each choice of its ``params``, which are constants to it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import field

from ...errors import PlanInvalid
from ...records import record
from ..cpu.elements import SIZES
from ..cpu.kernel import Params, ceil_div, make_params

__all__ = ["Kernel", "Launch", "Params", "Stage", "Work", "ceil_div", "make_params", "simple"]

MAX_THREADS = 1024           # of a block
MAX_GRID = (2**31 - 1, 65535, 65535)
MAX_INTEGER = 2**31 - 1
MAX_ELEMENTS = 2**31 - 2**20  # of an operand: kernels number them, and surplus threads behind them, in 32 bits
MAX_STATIC_SHARED = 48 << 10  # bytes of dynamic shared memory beyond which a kernel must be told to have them
OPERAND_ALIGNMENT = 16       # of every operand's address, in bytes: kernels read and write by 128 bits
SCRATCH = "scratch"          # the operand word of the workspace that all steps share

Extent = Mapping[str, tuple[int, int]]


def _all_f32(**params: int | str) -> Mapping[str, str]:
    return {}


def _unbounded(**params: int | str) -> int:
    return 0


def _one(**params: int | str) -> int:
    return 1


@record
class Kernel:
    """A family of CUDA functions, one per choice of ``params``.

    ``operands``, ``dims`` and ``floats`` name the arguments in order. ``build(**params)`` returns the Python function
    to compile; it imports the compiler itself. ``elements(**params)`` gives the element types of operands that are not
    f32, ``threads(**params)`` the threads of its blocks at most, which lets the compiler give each more registers, and
    ``blocks(**params)`` how many of these a multiprocessor is to hold at least, which limits them again.
    """

    name: str
    operands: tuple[str, ...]
    dims: tuple[str, ...]
    build: Callable[..., Callable[..., None]]
    floats: tuple[str, ...] = ()
    elements: Callable[..., Mapping[str, str]] = _all_f32
    threads: Callable[..., int] = _unbounded
    blocks: Callable[..., int] = _one


@record
class Work:
    """What a stage asks of the machine: floating-point operations that are issued, surplus ones included, and bytes
    that come from or go to device memory."""

    flops: float
    bytes: float


@record
class Stage:
    """One kernel launch: ``grid`` blocks of ``block`` threads, with ``shared`` bytes of dynamic shared memory each.

    ``words`` are the step's words to which the kernel's operands are bound, its own where there are none. ``in_place``
    (a part's word, the whole's, bytes from its start) says that there is nothing to do if the part lies there already.
    """

    kernel: Kernel
    params: Params
    dims: tuple[int, ...]
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    floats: tuple[float, ...] = ()
    shared: int = 0
    work: Work | None = None
    words: tuple[str, ...] = ()
    in_place: tuple[str, str, int] | None = None

    def __post_init__(self) -> None:
        name = self.kernel.name
        object.__setattr__(self, "words", self.words or self.kernel.operands)
        if len(self.words) != len(self.kernel.operands):
            raise ValueError(f"{name}: {len(self.words)} words for {len(self.kernel.operands)} operands")
        if len(self.dims) != len(self.kernel.dims) or len(self.floats) != len(self.kernel.floats):
            raise ValueError(f"{name}: {len(self.dims)} integers and {len(self.floats)} floats for "
                             f"{len(self.kernel.dims)} and {len(self.kernel.floats)} words")
        odd = next((d for d in self.dims if not -MAX_INTEGER <= d <= MAX_INTEGER), None)
        if odd is not None:
            raise PlanInvalid(f"the CUDA kernel {name} takes no number beyond 32 bits such as {odd}: use smaller sizes")
        if not all(0 < n <= most for n, most in zip(self.grid, MAX_GRID, strict=True)):
            raise PlanInvalid(f"the CUDA kernel {name} needs {self.grid} blocks, more than a GPU launches: use smaller "
                              "sizes")
        if not 0 < math.prod(self.block) <= MAX_THREADS:
            raise ValueError(f"{name}: no GPU launches blocks of {self.block} threads")

    @property
    def key(self) -> tuple[str, Params]:
        return self.kernel.name, self.params


@record
class Launch:
    """A step: kernel launches in order, one after another in one stream; none where there is nothing to do.

    ``reads`` and ``writes`` give, per operand word, the half-open byte range relative to the operand's address that any
    stage may touch. ``scratch`` bytes of a workspace are bound to the word ``scratch``; at first they hold anything.
    """

    name: str
    stages: tuple[Stage, ...]
    reads: Extent = field(default_factory=dict)
    writes: Extent = field(default_factory=dict)
    scratch: int = 0

    def __post_init__(self) -> None:
        extents = [*self.reads.items(), *self.writes.items(), (SCRATCH, (0, self.scratch))]
        ends = {word: max(end for other, (_, end) in extents if other == word) for word, _ in extents}
        for stage in self.stages:
            types = stage.kernel.elements(**dict(stage.params))
            for word, operand in zip(stage.words, stage.kernel.operands, strict=True):
                count = ends.get(word, 0) // SIZES[types.get(operand, "f32")]
                if count > MAX_ELEMENTS:
                    raise PlanInvalid(f"the CUDA kernel {stage.kernel.name} takes no operand of {count} elements: use "
                                      "smaller sizes")


def simple(kernel: Kernel, params: Params, dims: tuple[int, ...], grid: tuple[int, int, int],
           block: tuple[int, int, int], *, floats: tuple[float, ...] = (), shared: int = 0, work: Work | None = None,
           reads: Extent | None = None, writes: Extent | None = None) -> Launch:
    """A launch of one stage; of none where the grid is empty."""
    stages = (Stage(kernel, params, dims, grid, block, floats, shared, work),) if all(grid) else ()
    return Launch(kernel.name, stages, reads or {}, writes or {})
