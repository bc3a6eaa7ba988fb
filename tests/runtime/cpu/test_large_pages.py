"""Memory on large pages: places, sizes, contents; that it is a process's own."""

import mmap
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from cnncc import compile
from cnncc.ir import parse_graph
from cnncc.ops import OPS
from cnncc.runtime.cpu.large_pages import LEAST, OWN, PAGE, ROOM, Room, empty_bytes
from cnncc.runtime.cpu.runner import Runner


@pytest.mark.parametrize("size", [0, 1, 4097, LEAST - 1, LEAST, PAGE, PAGE + 1])
def test_a_block_has_its_size_and_begins_at_a_boundary(size: int) -> None:
    block = empty_bytes(size)
    assert block.shape == (size,) and block.dtype == np.uint8
    assert block.ctypes.data % (PAGE if size >= LEAST and hasattr(mmap, "MADV_HUGEPAGE") else 64) == 0
    block[:] = 7
    assert (block == 7).all()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_what_a_forked_child_writes_stays_with_it() -> None:
    block = empty_bytes(LEAST)
    block[:] = 1
    child = os.fork()
    if child == 0:
        block[:] = 2
        os._exit(int(block[0]))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2
    assert (block == 1).all()


def test_a_room_keeps_copies_side_by_side() -> None:
    room, rng = Room(), np.random.default_rng(0)
    given: list[dict[str, np.ndarray]] = [
        {"w": rng.standard_normal((5, 7, 3)).astype(np.float32)[:, ::2], "bias": np.arange(3, dtype=np.int8)},
        {"w": rng.integers(0, 2, 100).astype(bool), "none": np.empty((0, 4), np.float32)},
    ]
    kept = [room.keep(arrays) for arrays in given]
    for before, after in zip(given, kept, strict=True):
        for name, array in before.items():
            assert after[name].dtype == array.dtype and after[name].flags.c_contiguous
            np.testing.assert_array_equal(after[name], array)
    places = [kept[0]["w"].ctypes.data, kept[0]["bias"].ctypes.data, kept[1]["w"].ctypes.data]
    assert [at - places[0] for at in places] == [0, 256, 320]


def test_a_room_grows_and_leaves_large_arrays_where_they_are() -> None:
    room, part = Room(), np.arange((OWN - 64) // 4, dtype=np.int32)
    kept = [room.keep({"w": part + n})["w"] for n in range(ROOM // OWN + 2)]
    assert all((array[:3] == [n, n + 1, n + 2]).all() and array[-1] == part[-1] + n for n, array in enumerate(kept))
    large = np.zeros(OWN, np.uint8)
    assert room.keep({"w": large})["w"] is large


def test_threads_do_not_get_the_same_place() -> None:
    room = Room()
    with ThreadPoolExecutor(8) as pool:
        kept = list(pool.map(lambda n: room.keep({"w": np.full(1000 + n, n, np.int32)})["w"], range(200)))
    assert all(array.size == 1000 + n and (array == n).all() for n, array in enumerate(kept))


def test_the_packed_weights_of_a_session_lie_together() -> None:
    rng = np.random.default_rng(1)
    weights = {f"w{n}": rng.standard_normal((256, 256, 3, 3), np.float32) for n in range(2)}
    text = """graph @net(%x: f32[1,256,8,8]) {
      %v = const @w0 : f32[256,256,3,3]
      %w = const @w1 : f32[256,256,3,3]
      %0 = Conv(%x, %v) {strides=[2,2]} : f32[1,256,3,3]
      %1 = Conv(%0, %w) : f32[1,256,1,1]
      return %1
    }"""
    [pool] = Runner(compile(parse_graph(text, OPS, weights)), threads=2).pools.values()
    arrays = [words["w"] for words in pool.prepared.constants if "w" in words]
    assert len(arrays) == 2 and all(array.nbytes >= 256 * 256 * 9 * 4 for array in arrays)
    assert abs(arrays[0].ctypes.data - arrays[1].ctypes.data) < ROOM
