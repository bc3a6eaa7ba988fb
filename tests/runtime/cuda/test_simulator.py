"""The simulator itself: what is right runs, and each kind of mistake is found."""

from __future__ import annotations

import numpy as np
import pytest

from cnncc.runtime.cuda import codegen
from cnncc.runtime.cuda.kernel import Kernel, Launch, simple
from tests.runtime.cuda.harness import run
from tests.runtime.cuda.memory import MemoryFault
from tests.runtime.cuda.scheduler import SimulationError

SIZE = 70  # two warps and a part of a third


@pytest.fixture
def launched(monkeypatch):
    """Makes a launch of a function written for one test: one block, x is read, y is written."""
    kinds: list[Kernel] = []
    monkeypatch.setattr(codegen, "_kernels", {})

    def make(function, threads=SIZE, blocks=1, reads=SIZE, writes=SIZE) -> Launch:
        from cnncc.runtime.cuda.language import cuda

        kernel = Kernel(f"trial_{len(kinds)}_{function.__name__}", ("x", "y"), (), lambda: function(cuda))
        kinds.append(kernel)
        monkeypatch.setattr(codegen, "KERNELS", {kernel.name: kernel})
        return simple(kernel, (), (), (blocks, 1, 1), (threads, 1, 1), reads={"x": (0, 4 * reads)},
                      writes={"y": (0, 4 * writes)})

    return make


def operands() -> dict[str, np.ndarray]:
    return {"x": np.arange(1, SIZE + 1, dtype=np.float32), "y": np.zeros(SIZE, np.float32)}


def reversed_through_shared(barrier: bool):
    def build(cuda):
        def kernel(x, y):
            kept = cuda.shared.array(SIZE, np.float32)
            i = cuda.threadIdx.x
            kept[i] = x[i]
            if barrier:
                cuda.syncthreads()
            y[i] = kept[SIZE - 1 - i]

        return kernel

    return build


def test_barriers_order_shared_memory(launched) -> None:
    found = run(launched(reversed_through_shared(True)), operands())
    np.testing.assert_array_equal(found["y"], operands()["x"][::-1])


def test_a_missing_barrier_is_a_race(launched) -> None:
    with pytest.raises(MemoryFault, match=r"a race: element .* of the shared array"):
        run(launched(reversed_through_shared(False)), operands(), [(1, True)])


def test_a_missing_barrier_shows_in_a_random_order(launched) -> None:
    found = run(launched(reversed_through_shared(False)), operands(), [(1, False)])
    assert np.isnan(found["y"]).any()


def test_two_blocks_race_for_an_element(launched) -> None:
    def build(cuda):
        def kernel(x, y):
            y[cuda.threadIdx.x] = x[cuda.threadIdx.x]

        return kernel

    with pytest.raises(MemoryFault, match=r"a race: element .* of 'y' is written"):
        run(launched(build, blocks=2), operands(), [(1, True)])


@pytest.mark.parametrize(("shift", "message"), [
    (1, "element 70 of 'x' is read"), (-1, "element -1 of 'x' is read")])
def test_reading_outside_is_found(launched, shift: int, message: str) -> None:
    def build(cuda):
        def kernel(x, y):
            y[cuda.threadIdx.x] = x[cuda.threadIdx.x + shift]

        return kernel

    with pytest.raises(MemoryFault, match=message):
        run(launched(build), operands())


def test_writing_an_input_or_outside_the_range_is_found(launched) -> None:
    def build(cuda):
        def kernel(x, y):
            if cuda.threadIdx.x == 0:
                x[0] = np.float32(1)

        return kernel

    def second(cuda):
        def kernel(x, y):
            y[cuda.threadIdx.x] = x[0]

        return kernel

    with pytest.raises(MemoryFault, match=r"element 0 of 'x' is written, which is an input"):
        run(launched(build), operands())
    with pytest.raises(MemoryFault, match=r"element .* of 'y' is written, but only 0 to 68 may be"):
        run(launched(second, writes=SIZE - 1), operands())


def test_shuffles_sum_a_warp(launched) -> None:
    def build(cuda):
        def kernel(x, y):
            i = cuda.threadIdx.x
            total = x[i]
            for step in (16, 8, 4, 2, 1):
                total += cuda.shfl_xor_sync(0xFFFFFFFF, total, step)
            y[i] = total

        return kernel

    found = run(launched(build, threads=64, reads=64, writes=64), operands())
    np.testing.assert_array_equal(found["y"][:64], [528.0] * 32 + [1552.0] * 32)


def test_a_shuffle_from_a_lane_that_is_not_there_is_found(launched) -> None:
    def build(cuda):
        def kernel(x, y):
            y[cuda.threadIdx.x] = cuda.shfl_xor_sync(0xFFFFFFFF, x[cuda.threadIdx.x], 16)

        return kernel

    with pytest.raises(SimulationError, match=r"reads lane .* by a shuffle, which takes no part in it"):
        run(launched(build), operands())


def test_a_barrier_that_some_leave_out_is_found(launched) -> None:
    def build(cuda):
        def kernel(x, y):
            if cuda.threadIdx.x < 3:
                cuda.syncthreads()

        return kernel

    with pytest.raises(SimulationError, match=r"3 threads wait at the barrier in test_simulator.py"):
        run(launched(build), operands())


def test_votes_and_atomics(launched) -> None:
    def build(cuda):
        def kernel(x, y):
            count = cuda.shared.array(1, np.int32)
            i = cuda.threadIdx.x
            if i == 0:
                count[0] = 0
            cuda.syncthreads()
            cuda.atomic.add(count, 0, i)
            many = cuda.syncthreads_count(x[i] > 3)
            y[i] = many + count[0] * 1000

        return kernel

    found = run(launched(build), operands())
    np.testing.assert_array_equal(found["y"], [67 + 1000 * sum(range(SIZE))] * SIZE)
