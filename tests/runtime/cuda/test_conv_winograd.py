"""Winograd's F(2,3) and F(4,3) against float64, within the bounds of docs/numerics.md."""

from __future__ import annotations

import numpy as np
import pytest

from cnncc.runtime.cpu.lower.accuracy import winograd_bounds
from cnncc.runtime.cuda.kernels import conv_winograd
from cnncc.runtime.cuda.kernels.conv_direct import Tile
from tests.runtime.cuda.convolutions import UNIT, numbers, reference, shape_of
from tests.runtime.cuda.harness import run

TILE = Tile(64, 16, 4)
CASES = {
    "padded": shape_of(6, 5, (1, 7, 6), (1, 3, 3), pad=(0, 1, 1), after=(0, 1, 1)),
    "one side padded, images": shape_of(3, 4, (1, 5, 9), (1, 3, 3), pad=(0, 0, 1), after=(0, 2, 0), images=3),
}


@pytest.mark.parametrize("m", [2, 4])
@pytest.mark.parametrize("name", CASES)
def test_winograd(name: str, m: int) -> None:
    shape = CASES[name]
    rng = np.random.default_rng(m)
    x = numbers(rng, shape.images, shape.channels, *shape.size)
    w = numbers(rng, shape.out_channels, shape.channels, 1, 3, 3)
    b, add = numbers(rng, shape.out_channels), numbers(rng, shape.images, shape.out_channels, *shape.out_size)
    y = np.full(add.shape, np.nan, np.float32)
    limit = 4 * (m + 2) ** 2 * (shape.channels + shape.out_channels) * 10  # 8 tiles at a time
    step = conv_winograd.launch(shape, m, TILE, True, "clip", 0.0, np.inf, limit=limit)
    tiles = shape.images * np.prod(conv_winograd.count_tiles(shape, m))
    assert len(step.stages) == 3 * -(-tiles // 8)
    run(step, {"x": x, "w": conv_winograd.pack_weights(w, m, TILE.m, TILE.k), "bias": b, "add": add, "y": y})
    broad = b.reshape(-1, 1, 1, 1).astype(np.float64)
    want = np.maximum(reference(shape, x, w)[0] + broad + add, 0)
    largest = abs(x).max() * abs(w).sum((1, 2, 3, 4)).reshape(-1, 1, 1, 1)
    bound = winograd_bounds(m, w).reshape(-1, 1, 1, 1) * largest + 16 * (abs(broad) + abs(add))
    assert np.all(abs(y - want) <= UNIT * bound)


def test_what_it_supports() -> None:
    assert conv_winograd.supports(CASES["padded"])
    assert not conv_winograd.supports(shape_of(6, 5, (1, 7, 6), (1, 3, 3), (1, 2, 1)))
    assert not conv_winograd.supports(shape_of(6, 4, (1, 7, 6), (1, 3, 3), groups=2))
