"""First layers against float64 over random configurations."""

import numpy as np
import pytest

from cnncc.runtime.cpu.conv_shape import ConvShape
from cnncc.runtime.cpu.kernels import conv_direct, conv_first
from tests.runtime.cpu.harness import UNIT, conv_reference, from_blocked, lift, run, to_blocked

# Kernel, stride and dilation of the last axis, for which kernels are specialised: few, as each takes a second to
# compile.
LAST = [(3, 1, 1), (7, 2, 1), (1, 3, 1), (6, 1, 2)]


def check(shape: ConvShape, lanes: int, seed: int, tile=None, residual=False, threads=1) -> None:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((shape.images, shape.channels, *shape.size)).astype(np.float32)
    w = rng.standard_normal((shape.out_channels, shape.channels, *shape.kernel)).astype(np.float32)
    bias = rng.standard_normal(shape.out_channels).astype(np.float32)
    add = rng.standard_normal((shape.images, shape.out_channels, *shape.out_size)).astype(np.float32)
    step = conv_first.launch(shape, lanes, tile, residual=residual, a=0.0)
    vectors = dict(step.params)["vectors"]
    y = to_blocked(np.full(add.shape, np.nan), lanes)
    operands = {
        "x": x, "w": conv_first.pack_weights(w, lanes, vectors), "add": to_blocked(add, lanes), "y": y,
        "bias": conv_direct.pack_bias(bias, shape.out_channels, 1, lanes, vectors),
    }  # fmt: skip
    run(step, operands, threads)
    want, size = conv_reference(x, w, shape.stride, shape.dilation, shape.pad, shape.out_size, 1)
    broad = bias.reshape(1, -1, 1, 1, 1)
    want, size = want + broad + residual * add, size + abs(broad) + residual * abs(add)
    assert np.all(abs(from_blocked(y, shape.out_channels) - np.maximum(want, 0)) <= 16 * UNIT * size)


@pytest.mark.parametrize("seed", range(16))
@pytest.mark.parametrize("lanes", [16, 8, 4])
def test_random(lanes: int, seed: int) -> None:
    rng = np.random.default_rng([lanes, seed])
    rank = 1 + seed % 3
    kernel = tuple(int(k) for k in rng.integers(1, 8 if rank < 3 else 4, rank))
    stride, dilation = (tuple(int(s) for s in rng.integers(1, 4, rank)) for _ in range(2))
    last = LAST[(seed + lanes // 4) % 4]
    kernel, stride, dilation = ((*a[:-1], b) for a, b in zip((kernel, stride, dilation), last, strict=True))
    pad = tuple(int(rng.integers(0, k + 2)) for k in kernel)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    size = tuple(int(max(1, rng.integers(1, 40), r - 2 * p)) for r, p in zip(reach, pad, strict=True))
    out = tuple((i + 2 * p - r) // s + 1 for i, p, r, s in zip(size, pad, reach, stride, strict=True))
    shape = ConvShape(
        int(rng.integers(1, 3)), int(rng.integers(1, lanes // 2 + 1)), int(rng.integers(1, 5 * lanes)), lift(size, 1),
        lift(out, 1), lift(kernel, 1), lift(stride, 1), lift(dilation, 1), lift(pad, 0),
    )  # fmt: skip
    tile = [(6, 4), (10, 2)][seed % 2] if lanes != 8 else [(6, 2), (8, 1)][seed % 2]
    check(shape, lanes, seed, tile, seed % 4 == 0, 1 + seed % 2)


@pytest.mark.parametrize(("size", "out"), [(224, 112), (97, 49)])
def test_many_tasks(size: int, out: int) -> None:
    shape = ConvShape(1, 3, 33, (1, size, size), (1, out, out), (1, 7, 7), (1, 2, 2), pad=(0, 3, 3))
    assert conv_first.launch(shape, 16).tasks > 4
    check(shape, 16, 0, threads=2)
