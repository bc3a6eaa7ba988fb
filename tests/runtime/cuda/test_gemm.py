"""Matrix products on tiles and on the kernel for few rows, against float64."""

from __future__ import annotations

import numpy as np
import pytest

from cnncc.runtime.cuda.kernels import gemm, gemv
from cnncc.runtime.cuda.kernels.conv_direct import Tile
from cnncc.runtime.cuda.kernels.gemm import GemmShape
from tests.runtime.cuda.harness import ORDERS, run

UNIT = 2.0**-24
SMALL = Tile(64, 64, 4)


def operands(shape: GemmShape, residual: bool) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(shape.k)
    found = {word: rng.standard_normal(end // 4).astype(np.float32)
             for word, (_, end) in gemm.extents(shape, residual).items()}
    return found | {"y": np.full((*shape.batch, shape.m, shape.n), np.nan, np.float32)}


def view(x: np.ndarray, sizes, steps) -> np.ndarray:
    return np.lib.stride_tricks.as_strided(x, sizes, [4 * s for s in steps])


def check(shape: GemmShape, launch, arrays, orders=ORDERS, alpha=1.0, beta=1.0, low=-np.inf) -> None:
    run(launch, arrays, orders)
    a = view(arrays["a"], (*shape.batch, shape.m, shape.k), (*shape.a_batch, *shape.a)).astype(np.float64)
    b = view(arrays["b"], (*shape.batch, shape.k, shape.n), (*shape.b_batch, *shape.b)).astype(np.float64)
    want, size = alpha * (a @ b), abs(alpha) * (abs(a) @ abs(b))
    if shape.c is not None:
        steps = (*(shape.c_batch or (0,) * len(shape.batch)), *shape.c)
        c = beta * view(arrays["c"], (*shape.batch, shape.m, shape.n), steps).astype(np.float64)
        want, size = want + c, size + abs(c)
    if "r" in arrays:
        want, size = want + arrays["r"].reshape(want.shape), size + abs(arrays["r"].reshape(want.shape))
    assert np.all(abs(arrays["y"] - np.maximum(want, low)) <= 16 * UNIT * size)


CASES = {
    "runs and lines, wide": GemmShape(66, 20, 12, (12, 1), (20, 1), (0, 1)),
    "runs and runs, odd": GemmShape(5, 17, 7, (7, 1), (1, 7), (17, 1)),
    "lines and lines, odd": GemmShape(7, 5, 6, (1, 7), (5, 1), (1, 0)),
    "wide runs on both sides": GemmShape(9, 18, 8, (8, 1), (1, 8)),
    "batch, B for all": GemmShape(6, 8, 5, (5, 1), (8, 1), (0, 1), (2, 3), (90, 30), (0, 40)),
    "k is 1": GemmShape(3, 4, 1, (1, 1), (4, 1)),
}


@pytest.mark.parametrize("name", CASES)
def test_tiles(name: str) -> None:
    shape = CASES[name]
    arrays = operands(shape, residual=True)
    check(shape, gemm.launch(shape, SMALL, True, 0.5, 2.0, "clip", 0.0, np.inf), arrays, alpha=0.5, beta=2.0, low=0.0)


@pytest.mark.parametrize("name", ["runs and lines, wide", "batch, B for all"])
def test_split(name: str) -> None:
    shape = CASES[name]
    step = gemm.launch(shape, Tile(64, 64, 4, 2), True, 0.5, 2.0, "clip", 0.0, np.inf)
    assert len(step.stages) == 2
    check(shape, step, operands(shape, residual=True), alpha=0.5, beta=2.0, low=0.0)


def test_a_real_tile() -> None:
    shape = GemmShape(70, 64, 36, (36, 1), (1, 36), (0, 1))
    check(shape, gemm.launch(shape, Tile(128, 64)), operands(shape, False), [(1, False)])


@pytest.mark.parametrize("m", [1, 3, 8])
@pytest.mark.parametrize("k", [5, 132, 520])
def test_few_rows(m: int, k: int) -> None:
    shape = GemmShape(m, 5, k, (k, 1), (1, k), (0, 1))
    step = gemv.launch(shape, True, 0.5, 2.0, "clip", 0.0, np.inf, warps=2)
    check(shape, step, operands(shape, residual=True), alpha=0.5, beta=2.0, low=0.0)


def test_few_rows_of_a_batch() -> None:
    shape = GemmShape(2, 3, 8, (8, 1), (1, 8), None, (2, 2), (32, 16), (0, 24))
    check(shape, gemv.launch(shape, warps=1), operands(shape, False))


def test_walks() -> None:
    """How operands are read: accesses of 128 bits where every distance allows them."""
    assert gemm.walk(12, 1, 66, 12, ()) == ("runs", 4)
    assert gemm.walk(13, 1, 66, 12, ()) == ("runs", 1)
    assert gemm.walk(12, 1, 66, 12, (6,)) == ("runs", 1)
    assert gemm.walk(1, 20, 20, 12, ()) == ("lines", 4)
    assert gemm.walk(1, 20, 18, 12, ()) == ("lines", 1)
    assert gemm.walk(3, 5, 20, 12, ()) is None
    assert not gemv.suits(GemmShape(1, 9, 8, (8, 1), (9, 1)))
