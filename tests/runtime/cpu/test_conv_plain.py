"""Convolution on plain NCHW against float64 over random configurations."""

import numpy as np
import pytest

from cnncc.runtime.cpu.conv_shape import ConvShape
from cnncc.runtime.cpu.kernels import conv_grouped_1x1, conv_plain
from tests.runtime.cpu.harness import UNIT, conv_reference, lift, run


@pytest.mark.parametrize("seed", range(24))
@pytest.mark.parametrize("lanes", [16, 8, 4])
def test_random(lanes: int, seed: int) -> None:
    rng = np.random.default_rng([lanes, seed])
    rank = 1 + seed % 3
    kernel = tuple(int(k) for k in rng.integers(1, 4, rank))
    stride = tuple(int(s) for s in rng.integers(1, 3, rank))
    dilation = tuple(int(d) for d in rng.integers(1, 3, rank))
    pad = tuple(int(rng.integers(0, k + 1)) for k in kernel)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    size = tuple(int(max(1, rng.integers(1, 30), r - 2 * p)) for r, p in zip(reach, pad, strict=True))
    out = tuple((i + 2 * p - r) // s + 1 for i, p, r, s in zip(size, pad, reach, stride, strict=True))
    groups, per_in, per_out = (int(v) for v in rng.integers(1, 5, 3))
    shape = ConvShape(
        2, groups * per_in, groups * per_out, lift(size, 1), lift(out, 1), lift(kernel, 1), lift(stride, 1),
        lift(dilation, 1), lift(pad, 0), groups,
    )  # fmt: skip
    x = rng.standard_normal((2, shape.channels, *shape.size)).astype(np.float32)
    w = rng.standard_normal((shape.out_channels, per_in, *shape.kernel)).astype(np.float32)
    bias = rng.standard_normal(shape.out_channels).astype(np.float32)
    add = rng.standard_normal((2, shape.out_channels, *shape.out_size)).astype(np.float32)
    y, residual = np.full_like(add, np.nan), seed % 3 == lanes // 8
    tile = conv_plain.TILES[lanes][seed % 3]
    step = conv_plain.launch(shape, lanes, tile, residual=residual, a=0.0)
    run(step, {"x": x, "w": w, "bias": bias, "add": add, "y": y}, 1 + seed % 2)
    want, bound = conv_reference(x, w, shape.stride, shape.dilation, shape.pad, shape.out_size, groups)
    broad = bias.reshape(1, -1, 1, 1, 1)
    want, bound = want + broad + residual * add, bound + abs(broad) + residual * abs(add)
    assert np.all(abs(y - np.maximum(want, 0)) <= 16 * UNIT * bound)


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("pixels", [1, 7, 49, 200])
@pytest.mark.parametrize("per_group", [(6, 28), (34, 34), (1, 3)])
def test_pointwise(per_group, pixels: int, residual: bool) -> None:
    rng = np.random.default_rng([pixels, *per_group])
    ic, oc = per_group
    shape = ConvShape(2, 3 * ic, 3 * oc, (1, 1, pixels), (1, 1, pixels), (1, 1, 1), groups=3)
    x = rng.standard_normal((2, 3 * ic, 1, 1, pixels)).astype(np.float32)
    w = rng.standard_normal((3 * oc, ic, 1, 1, 1)).astype(np.float32)
    bias = rng.standard_normal(3 * oc).astype(np.float32)
    add = rng.standard_normal((2, 3 * oc, 1, 1, pixels)).astype(np.float32)
    y = add.copy()  # the result may take the residual's memory
    step = conv_grouped_1x1.launch(shape, 16, residual=residual, a=0.0)
    run(step, {"x": x, "w": w, "bias": bias, "add": y if residual else add, "y": y}, 2)
    want, bound = conv_reference(x, w, shape.stride, shape.dilation, shape.pad, shape.out_size, 3)
    broad = bias.reshape(1, -1, 1, 1, 1)
    want, bound = want + broad + residual * add, bound + abs(broad) + residual * abs(add)
    assert np.all(abs(y - np.maximum(want, 0)) <= 16 * UNIT * bound)
