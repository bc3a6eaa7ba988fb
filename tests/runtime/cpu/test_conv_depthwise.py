"""Depthwise convolution against float64 over random configurations."""

import numpy as np
import pytest

from cnncc.runtime.cpu.kernels import conv_depthwise
from tests.runtime.cpu.harness import UNIT, conv_reference, from_blocked, random_groups, run, to_blocked

# Kernel, stride and dilation of the last axis, for which kernels are specialised: four for each width of vectors.
LAST = [(3, 1, 1), (5, 2, 1), (3, 3, 1), (2, 1, 1), (4, 2, 1), (3, 1, 2)]

@pytest.mark.parametrize("seed", range(24))
@pytest.mark.parametrize("lanes", [16, 8, 4])
def test_random(lanes: int, seed: int) -> None:
    rng = np.random.default_rng([lanes, 1, seed])
    shape = random_groups(rng, 1, 1, 1 + seed % 3, last=LAST[seed % 4 + {16: 0, 8: 1, 4: 2}[lanes]])
    residual, lo = seed % 4 == 0, 0.0 if seed % 3 else -np.inf
    x = rng.standard_normal((shape.images, shape.channels, *shape.size)).astype(np.float32)
    w = rng.standard_normal((shape.channels, 1, *shape.kernel)).astype(np.float32)
    bias = rng.standard_normal(shape.channels).astype(np.float32)
    add = rng.standard_normal((shape.images, shape.channels, *shape.out_size)).astype(np.float32)
    y = to_blocked(np.full(add.shape, np.nan), lanes)
    operands = {
        "x": to_blocked(x, lanes), "w": conv_depthwise.pack_weights(w, lanes), "add": to_blocked(add, lanes),
        "bias": conv_depthwise.pack_bias(bias, shape.channels, lanes), "y": y,
    }  # fmt: skip
    run(conv_depthwise.launch(shape, lanes, residual=residual, a=lo), operands, 1 + seed % 2)
    want, size = conv_reference(x, w, shape.stride, shape.dilation, shape.pad, shape.out_size, shape.groups)
    broad = bias.reshape(1, -1, 1, 1, 1)
    want = np.maximum(want + broad + residual * add, lo)
    size = size + abs(broad) + residual * abs(add)
    assert np.all(abs(from_blocked(y, shape.channels) - want) <= 16 * UNIT * size)
