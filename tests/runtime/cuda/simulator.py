"""A strict simulator of CUDA, put in the place of numba.cuda's own.

`install()` is called in a process in which NUMBA_ENABLE_CUDASIM=1 was set before numba.cuda was imported. It adds what
numba's simulator lacks (shuffles, votes, syncwarp) and what it lets pass:

- an element outside an array is an error that names array and index, also where the index is negative;
- threads of a block start, and go on after a barrier, in a random order, and so do the blocks (`Settings.seed`);
- with `Settings.races`, two threads that touch one element, one of them writing, with no barrier between, are an error;
- a barrier that some threads of the block (or lanes of the mask) never reach, or where they meet at different lines, is
  an error; shared and local memory begin as NaN or as senseless integers.
"""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.runtime.cuda.memory import Memory, Record, poison
from tests.runtime.cuda.scheduler import WARP, Index, Launch, SimulationError, Thread, running

__all__ = ["install", "recording", "simulated"]


@dataclass
class Settings:
    """How launches run until changed: seed None is the natural order."""

    seed: int | None = None
    races: bool = False
    launches: int = 0


settings = Settings()


def _site(depth: int = 2) -> str:
    frame = sys._getframe(depth)
    return f"{frame.f_code.co_filename.rsplit('/', 1)[-1]}:{frame.f_lineno}"


class _Place:
    """threadIdx and the like, of the thread that runs."""

    def __init__(self, get: Callable[[Thread], Any]) -> None:
        self._get = get

    x = property(lambda self: self._get(running()).x)
    y = property(lambda self: self._get(running()).y)
    z = property(lambda self: self._get(running()).z)


def _along_block(site: str, value: Any = None) -> list[Any]:
    thread = running()
    values = thread.block.wait(thread, "block", thread.block.size, site, value)
    thread.epoch += 1
    thread.warp_epoch = 0
    return list(values.values())


def syncthreads() -> None:
    _along_block(_site())


def _block_vote(judge: Callable[[list[Any]], int]) -> Callable[[Any], int]:
    return lambda value: judge(_along_block(_site(), value))


def _along_warp(mask: int, value: Any, site: str) -> dict[int, Any]:
    """The values of the lanes of the mask, all of which must come."""
    thread = running()
    block, mask = thread.block, int(mask) & 0xFFFFFFFF
    if not mask >> thread.lane & 1:
        raise SimulationError(f"lane {thread.lane} takes part at {site} although the mask {mask:#x} leaves it out")
    exist = min(WARP, block.size - WARP * thread.warp)
    if mask >> exist and mask != 0xFFFFFFFF:
        raise SimulationError(f"the mask {mask:#x} at {site} names lanes that the block has not")
    members = sum(mask >> lane & 1 for lane in range(exist))
    values = block.wait(thread, (thread.warp, mask), members, site, value)
    return {number % WARP: found for number, found in values.items()}


def syncwarp(mask: int = 0xFFFFFFFF) -> None:
    _along_warp(mask, None, _site())
    running().warp_epoch += 1


def _shuffle(source: Callable[[int, int], int]) -> Callable[..., Any]:
    def shuffle(mask: int, value: Any, argument: int) -> Any:
        lane = running().lane
        values = _along_warp(mask, value, _site())
        at = source(lane, int(argument))
        if not 0 <= at < WARP:
            at = lane
        if at not in values:
            raise SimulationError(f"lane {lane} reads lane {at} by a shuffle, which takes no part in it")
        return values[at]

    return shuffle


def _warp_vote(judge: Callable[[dict[int, Any]], Any]) -> Callable[[int, Any], Any]:
    return lambda mask, value: judge(_along_warp(mask, value, _site()))


class _Shared:
    @staticmethod
    def array(shape: Any, dtype: Any, alignment: int | None = None) -> Memory:
        block, frame = running().block, sys._getframe(1)
        numpy_type = _numpy_type(dtype)
        if shape == 0:
            key: Any = numpy_type
            whole = block.dynamic.size // numpy_type.itemsize * numpy_type.itemsize
            contents = block.dynamic[:whole].view(numpy_type)
        else:
            key = frame.f_code, frame.f_lasti
            contents = None
        if key not in block.shared:
            contents = poison(shape, numpy_type) if contents is None else contents
            block.shared[key] = Memory(contents, f"the shared array of {_site()}", None, None, *recording())
        return block.shared[key]


class _Local:
    @staticmethod
    def array(shape: Any, dtype: Any, alignment: int | None = None) -> np.ndarray:
        return poison(shape, _numpy_type(dtype))


def _numpy_type(dtype: Any) -> np.dtype:
    from numba.np.numpy_support import as_dtype

    try:
        return np.dtype(dtype)
    except TypeError:
        return as_dtype(dtype)


def _atomic(update: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    def atomic(memory: Memory, index: Any, value: Any) -> Any:
        return memory.change(index, lambda old: update(old, value))

    return atomic


class _Atomic:
    add = staticmethod(_atomic(lambda old, value: old + value))
    max = staticmethod(_atomic(lambda old, value: max(old, value)))
    min = staticmethod(_atomic(lambda old, value: min(old, value)))
    exch = staticmethod(_atomic(lambda old, value: value))

    @staticmethod
    def cas(memory: Memory, index: Any, expected: Any, value: Any) -> Any:
        return memory.change(index, lambda old: value if old == expected else old)


def _grid(place: Callable[[Thread, str], int]) -> Callable[[int], Any]:
    def along(n: int) -> Any:
        found = tuple(place(running(), axis) for axis in "xyz"[:n])
        return found[0] if n == 1 else found

    return along


def _position(thread: Thread, axis: str) -> int:
    block = thread.block
    return getattr(block.index, axis) * block.launch.block_dim["xyz".index(axis)] + getattr(thread.index, axis)


def _extent(thread: Thread, axis: str) -> int:
    launch, at = thread.block.launch, "xyz".index(axis)
    return launch.block_dim[at] * launch.grid_dim[at]


def _fma(a: Any, b: Any, c: Any) -> Any:
    """Rounded once, if to single precision (but for the rarest ties)."""
    return np.result_type(a, b, c).type(np.float64(a) * np.float64(b) + np.float64(c))


DEVICE = {
    "threadIdx": _Place(lambda t: t.index), "blockIdx": _Place(lambda t: t.block.index),
    "blockDim": _Place(lambda t: Index(*t.block.launch.block_dim)),
    "gridDim": _Place(lambda t: Index(*t.block.launch.grid_dim)),
    "warpsize": WARP, "grid": _grid(_position), "gridsize": _grid(_extent),
    "shared": _Shared(), "local": _Local(), "atomic": _Atomic(),
    "syncthreads": syncthreads, "syncwarp": syncwarp,
    "syncthreads_and": _block_vote(lambda values: int(all(values))),
    "syncthreads_or": _block_vote(lambda values: int(any(values))),
    "syncthreads_count": _block_vote(lambda values: sum(map(bool, values))),
    "shfl_sync": _shuffle(lambda lane, source: source), "shfl_xor_sync": _shuffle(lambda lane, mask: lane ^ mask),
    "shfl_up_sync": _shuffle(lambda lane, by: lane - by), "shfl_down_sync": _shuffle(lambda lane, by: lane + by),
    "all_sync": _warp_vote(lambda values: all(values.values())),
    "any_sync": _warp_vote(lambda values: any(values.values())),
    "ballot_sync": _warp_vote(lambda values: sum(1 << lane for lane, value in values.items() if value)),
    "threadfence": lambda: None, "threadfence_block": lambda: None,
    "fma": _fma, "selp": lambda condition, x, y: x if condition else y,
    "popc": lambda x: int(x).bit_count(),
}  # fmt: skip


def recording() -> tuple[Any, ...]:
    """What a Memory is made with, so that races are found where the settings ask for it."""
    return (Record(), running) if settings.races else ()


def _argument(value: Any) -> Any:
    array = getattr(value, "_ary", value)  # numba's simulator keeps a device array's elements there
    if isinstance(array, np.ndarray) and array.ndim:
        return Memory(array, "an argument", None, None, *recording())
    return value


def _call(kernel: Any, *arguments: Any) -> Any:
    if running() is not None:
        return kernel.fn(*arguments)
    if kernel._device:
        raise SimulationError(f"{kernel.fn.__name__} is a function of the device, but was called from outside a kernel")
    grid, block = (tuple(map(int, d)) + (1,) * (3 - len(d)) for d in (kernel.grid_dim, kernel.block_dim))
    order = None if settings.seed is None else random.Random(f"{settings.seed} {settings.launches}")
    settings.launches += 1
    Launch(kernel.fn, grid, block, int(kernel.dynshared_size), [_argument(a) for a in arguments], order).run()
    return None


class _Math:
    """math as a GPU has it: in the precision of the argument, with infinities and NaN in place of exceptions."""

    def __init__(self) -> None:
        for name in ("cos", "exp", "exp2", "expm1", "log", "log1p", "log2", "sin", "sqrt", "tanh", "fmod"):
            setattr(self, name, getattr(np, name))
        self.pow = np.power

    @staticmethod
    def erf(x: Any) -> Any:
        return type(x)(math.erf(x))

    def __getattr__(self, name: str) -> Any:
        return getattr(math, name)


_MATH = _Math()


def _with_math(function: Any) -> Any:
    """The function, whose module from now on has the simulator's math."""
    if function.__globals__.get("math") is math:
        function.__globals__["math"] = _MATH
    return function


class _Device:
    """What kernels know as `cuda`: the names of DEVICE, and of numba.cuda what is there besides."""

    def __init__(self, module: Any) -> None:
        self._module = module
        vars(self).update(DEVICE)

    laneid = property(lambda self: running().lane)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


def install() -> None:
    """Puts this simulator in the place of numba.cuda's, in this process."""
    from numba import cuda
    from numba.core import config
    from numba.cuda.simulator.kernel import FakeCUDAKernel

    from cnncc.runtime.cuda import language

    if not config.ENABLE_CUDASIM:
        raise RuntimeError("NUMBA_ENABLE_CUDASIM=1 must be set before numba is imported")
    first = FakeCUDAKernel.__init__

    def begin(kernel: Any, fn: Any, *arguments: Any, **options: Any) -> None:
        first(kernel, _with_math(fn), *arguments, **options)

    FakeCUDAKernel.__init__, FakeCUDAKernel.__call__ = begin, _call
    language.cuda, language.device = _Device(cuda), _with_math


@contextmanager
def simulated(seed: int | None, races: bool) -> Iterator[None]:
    """Launches within run in this order."""
    before = settings.seed, settings.races
    settings.seed, settings.races, settings.launches = seed, races, 0
    try:
        yield
    finally:
        settings.seed, settings.races = before
