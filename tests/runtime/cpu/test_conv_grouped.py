"""Grouped convolution against float64 over random configurations: groups of blocks, and groups that divide one."""

import numpy as np
import pytest

from cnncc.runtime.cpu.kernels import conv_grouped
from cnncc.runtime.cpu.lower.conv import ALGORITHMS
from tests.runtime.cpu.harness import UNIT, conv_reference, from_blocked, random_groups, run, to_blocked

WIDE = [(16, 16, 32, (14, 1)), (16, 32, 16, (7, 2)), (8, 8, 8, (6, 2)), (4, 4, 12, (8, 1))]
NARROW = [(16, 8, 8, (14, 1)), (16, 4, 4, (8, 1)), (8, 2, 2, (8, 1)), (4, 2, 2, (14, 1))]
# Kernel, stride and dilation of the last axis, for which kernels are specialised: four for each tile, as each takes a
# second to compile.
LAST = [(3, 1, 1), (1, 2, 1), (5, 3, 1), (2, 1, 2), (7, 2, 1), (4, 1, 1), (2, 3, 1)]


@pytest.mark.parametrize("seed", range(18))
@pytest.mark.parametrize(("lanes", "inner", "outer", "tile"), WIDE + NARROW)
def test_random(lanes: int, inner: int, outer: int, tile: tuple[int, int], seed: int) -> None:
    rng = np.random.default_rng([lanes, inner, seed])
    last = LAST[seed % 4 + [config[:3] for config in WIDE + NARROW].index((lanes, inner, outer)) % 4]
    shape = random_groups(rng, inner, outer, 1 + seed % 3, 23 if inner < lanes else 3, last)
    if shape.groups == 1:
        return
    residual, lo = seed % 4 == 0, 0.0 if seed % 3 else -np.inf
    x = rng.standard_normal((shape.images, shape.channels, *shape.size)).astype(np.float32)
    w = rng.standard_normal((shape.out_channels, inner, *shape.kernel)).astype(np.float32)
    bias = rng.standard_normal(shape.out_channels).astype(np.float32)
    add = rng.standard_normal((shape.images, shape.out_channels, *shape.out_size)).astype(np.float32)
    y = to_blocked(np.full(add.shape, np.nan), lanes)
    params = {"rows": tile[0], "vectors": tile[1]}
    grouped = ALGORITHMS["conv_grouped"]
    operands = {
        "x": to_blocked(x, lanes), "w": grouped.pack(shape, w, params, lanes), "add": to_blocked(add, lanes),
        "bias": grouped.pack_bias(shape, bias, params, lanes), "y": y,
    }  # fmt: skip
    run(conv_grouped.launch(shape, lanes, tile, residual, a=lo), operands, 1 + seed % 2)
    want, size = conv_reference(x, w, shape.stride, shape.dilation, shape.pad, shape.out_size, shape.groups)
    broad = bias.reshape(1, -1, 1, 1, 1)
    want = np.maximum(want + broad + residual * add, lo)
    size = size + abs(broad) + residual * abs(add)
    assert np.all(abs(from_blocked(y, shape.out_channels) - want) <= 16 * UNIT * size)


@pytest.mark.parametrize("width", [56, 57, 300])
def test_long_rows_are_computed_in_segments(width: int) -> None:
    """The ring holds a part of the row only; what a segment reads beyond it is its own."""
    rng = np.random.default_rng(width)
    shape = conv_grouped.ConvShape(1, 32, 32, (1, 9, width), (1, 5, (width + 1) // 2), (1, 3, 3), (1, 2, 2),
                                   pad=(0, 1, 1), groups=4)  # fmt: skip
    launch = conv_grouped.launch(shape, 16)
    assert dict(zip(conv_grouped.DIMS, launch.dims, strict=True))["segments"] > 1
    x, w = (rng.standard_normal(s).astype(np.float32) for s in ((1, 32, 1, 9, width), (32, 8, 1, 3, 3)))
    y = to_blocked(np.full((1, 32, *shape.out_size), np.nan), 16)
    w_packed, bias = conv_grouped.pack_narrow_weights(w, 16, 3), np.zeros(32, np.float32)
    operands = {"x": to_blocked(x, 16), "w": w_packed, "bias": bias, "y": y}
    run(launch, operands, 2)
    want, size = conv_reference(x, w, shape.stride, shape.dilation, shape.pad, shape.out_size, shape.groups)
    assert np.all(abs(from_blocked(y, 32) - want) <= 16 * UNIT * size)
