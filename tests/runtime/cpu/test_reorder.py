"""Reordering between layouts, bit-exact."""

import numpy as np
import pytest

from cnncc.runtime.cpu.kernels.reorder import launch_reorder
from tests.runtime.cpu.guard import Guarded, run_guarded
from tests.runtime.cpu.harness import from_blocked, to_blocked

SHAPES = [
    (1, 16, 4, 4), (2, 3, 5, 7), (1, 1, 1, 1), (3, 5), (1, 33, 1, 1), (2, 17, 23), (1, 20, 2, 3, 5), (1, 64, 30, 41),
    (0, 4, 3, 3), (1, 0, 3, 3), (1, 4, 0, 3),
]  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("lanes", "threads"), [(16, 1), (16, 2), (8, 1), (4, 1)])
def test_both_ways(shape: tuple[int, ...], lanes: int, threads: int) -> None:
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    x.reshape(-1)[:1] = np.frombuffer(b"\x01\x00\xa0\x7f", np.float32)  # a signalling NaN keeps its bits
    blocked = to_blocked(x, lanes)
    there = {"x": Guarded(x), "y": Guarded(np.zeros_like(blocked))}
    run_guarded(launch_reorder(shape, "plain", "blocked", lanes), there, threads)
    got = from_blocked(there["y"].data.view(np.float32).reshape(blocked.shape), shape[1])
    assert got.tobytes() == x.tobytes()
    back = {"x": Guarded(blocked), "y": Guarded(np.zeros_like(x))}
    run_guarded(launch_reorder(shape, "blocked", "plain", lanes), back, threads)
    assert back["y"].data.tobytes() == x.tobytes()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("lanes", "threads"), [(16, 2), (8, 1), (4, 1)])
def test_bytes(shape: tuple[int, ...], lanes: int, threads: int) -> None:
    x = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    blocked = to_blocked(x, lanes)
    there = {"x": Guarded(x), "y": Guarded(np.zeros_like(blocked))}
    run_guarded(launch_reorder(shape, "plain", "blocked", lanes, 1), there, threads)
    assert np.array_equal(from_blocked(there["y"].data.reshape(blocked.shape), shape[1]), x)
    back = {"x": Guarded(blocked), "y": Guarded(np.zeros_like(x))}
    run_guarded(launch_reorder(shape, "blocked", "plain", lanes, 1), back, threads)
    assert back["y"].data.tobytes() == x.tobytes()


def test_refuses_equal_layouts() -> None:
    with pytest.raises(ValueError, match="no reordering"):
        launch_reorder((1, 3, 4, 4), "plain", "plain", 16)
