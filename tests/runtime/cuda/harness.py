"""Runs a launch in the simulator: guard bands around every buffer, declared ranges only, threads in random orders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from cnncc.ir import DType
from cnncc.runtime.cuda import codegen
from cnncc.runtime.cuda.kernel import SCRATCH, Launch, Stage
from tests.runtime.cuda.memory import Buffer, Memory, Record
from tests.runtime.cuda.scheduler import running
from tests.runtime.cuda.simulator import simulated

__all__ = ["ORDERS", "run"]

# (seed, are races looked for?): the natural order is not among them.
ORDERS = ((1, True), (2, False))


def run(launch: Launch, operands: Mapping[str, np.ndarray],
        orders: Sequence[tuple[int | None, bool]] = ORDERS) -> dict[str, np.ndarray]:
    """What the launch writes, by word, flat: equal in every order of threads, bit by bit. The arrays get it, too.

    Operands are contiguous arrays, of which those that are written may hold anything; one that stands for two words is
    changed in place. Absent operands are left out. Nothing may be touched outside the launch's ranges.
    """
    found: dict[str, np.ndarray] = {}
    for seed, races in orders:
        copies = {id(a): Buffer(a) for a in operands.values()}
        buffers = {word: copies[id(a)] for word, a in operands.items()}
        buffers[SCRATCH] = Buffer(np.full(-(-launch.scratch // 4), np.nan, np.float32))
        for word, (start, stop) in (*launch.reads.items(), *launch.writes.items()):
            assert 0 <= start <= stop <= buffers[word].data.nbytes, f"{word}: bytes {start} to {stop}"
        with simulated(seed, races):
            for stage in launch.stages:
                _run_stage(launch, stage, buffers, races)
        for buffer in buffers.values():
            buffer.check(_written(launch, buffers, buffer))
        results = {word: buffers[word].data.copy() for word in launch.writes}
        for word, values in results.items():
            np.testing.assert_array_equal(values, found.get(word, values), f"'{word}' depends on the order of threads")
        found |= results
    for word, values in found.items():
        operands[word].reshape(-1)[:] = values
    return found


def _run_stage(launch: Launch, stage: Stage, buffers: Mapping[str, Buffer], races: bool) -> None:
    for buffer in buffers.values():
        buffer.record = Record()  # what an earlier stage touched is past
    types = stage.kernel.elements(**dict(stage.params))
    arguments = [_memory(launch, word, buffers.get(word), races, DType(types.get(operand, "f32")).numpy)
                 for word, operand in zip(stage.words, stage.kernel.operands, strict=True)]
    kernel = codegen.get_kernel(*stage.key)
    kernel[stage.grid, stage.block, 0, stage.shared](*arguments, *stage.dims, *map(np.float32, stage.floats))


def _memory(launch: Launch, word: str, buffer: Buffer | None, races: bool, dtype: np.dtype) -> Memory:
    if buffer is None:  # absent: nothing of it may be touched
        return Memory(np.zeros(0, dtype), f"the absent operand '{word}'")
    whole = (0, buffer.data.nbytes) if word == SCRATCH else (0, 0)
    reads, writes = launch.reads.get(word, whole), launch.writes.get(word, whole)
    readable = reads if reads[0] < reads[1] else writes  # a kernel may read what it wrote
    ranges = [(start // dtype.itemsize, stop // dtype.itemsize) for start, stop in (readable, writes)]
    recording = (buffer.record, running) if races and any(writes) else ()
    return Memory(buffer.data.view(np.uint8).view(dtype), f"'{word}'", *ranges, *recording)


def _written(launch: Launch, buffers: Mapping[str, Buffer], buffer: Buffer) -> tuple[int, int]:
    if buffer is buffers[SCRATCH]:
        return 0, buffer.data.nbytes
    ranges = [extent for word, extent in launch.writes.items() if buffers[word] is buffer]
    return (min(r[0] for r in ranges), max(r[1] for r in ranges)) if ranges else (0, 0)
