"""Depthwise and narrow grouped convolution against float64 over random configurations."""

import numpy as np
import pytest
from harness import UNIT, conv_reference, from_blocked, lift, run, to_blocked

from cnncc.runtime.cpu.kernels import conv_depthwise
from cnncc.runtime.cpu.kernels.conv_direct import ConvShape


def random_shape(rng, group: int, rank: int) -> ConvShape:
    kernel = tuple(int(k) for k in rng.integers(1, 6 if rank < 3 else 3, rank))
    stride = tuple(int(s) for s in rng.integers(1, 4, rank))
    dilation = tuple(int(d) for d in rng.choice([1, 1, 2], rank))
    pad = tuple(int(rng.integers(0, k + 1)) for k in kernel)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    size = tuple(int(max(1, rng.integers(1, 20), r - 2 * p)) for r, p in zip(reach, pad, strict=True))
    out = tuple((i + 2 * p - r) // s + 1 for i, p, r, s in zip(size, pad, reach, stride, strict=True))
    groups = int(rng.integers(1, 24))
    return ConvShape(
        int(rng.integers(1, 3)), groups * group, groups * group, lift(size, 1), lift(out, 1), lift(kernel, 1),
        lift(stride, 1), lift(dilation, 1), lift(pad, 0), groups,
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(24))
@pytest.mark.parametrize(("lanes", "group"), [(16, 1), (16, 4), (8, 1), (8, 2), (4, 1)])
def test_random(lanes: int, group: int, seed: int) -> None:
    rng = np.random.default_rng([lanes, group, seed])
    shape = random_shape(rng, group, 1 + seed % 3)
    residual, lo = seed % 3 == 0, 0.0 if seed % 2 else -np.inf
    x = rng.standard_normal((shape.images, shape.channels, *shape.size)).astype(np.float32)
    w = rng.standard_normal((shape.channels, group, *shape.kernel)).astype(np.float32)
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
    if group > 1 and shape.channels % lanes:
        assert np.isfinite(from_blocked(y, shape.channels)).all()
    assert np.all(abs(from_blocked(y, shape.channels) - want) <= 16 * UNIT * size)
