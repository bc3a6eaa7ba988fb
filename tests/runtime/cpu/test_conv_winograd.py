"""Winograd convolution: its matrices exactly, its kernel against float64 over random configurations."""

from fractions import Fraction

import numpy as np
import pytest
from harness import UNIT, conv_reference, from_blocked, lift, run, to_blocked

from cnncc.runtime.cpu.kernels import conv_direct, conv_winograd
from cnncc.runtime.cpu.kernels.conv_direct import ConvShape
from cnncc.runtime.cpu.winograd import BACKWARD, FORWARD, WEIGHTS

BOUNDS = {2: 8, 4: 32, 6: 64}
KERNELS = {"2-D": (1, 3, 3), "1x3": (1, 1, 3), "3x1": (1, 3, 1)}


@pytest.mark.parametrize("m", [1, 2, 4, 6])
def test_matrices_give_a_correlation(m: int) -> None:
    """A^T diag(G w) B^T is the matrix of the correlation with w, for each unit w and hence for all."""
    taps = 3 if m > 1 else 1
    tables = (BACKWARD, FORWARD, WEIGHTS)
    a, b, g = ([[Fraction(v).limit_denominator(1000) for v in row] for row in table[m]] for table in tables)
    for tap in range(taps):
        for i in range(m):
            for j in range(m + taps - 1):
                got = sum(a[i][p] * g[p][tap] * b[p][j] for p in range(m + taps - 1))
                assert got == (j == i + tap)


def largest_of_tiles(x: np.ndarray, shape: ConvShape, m: int) -> np.ndarray:
    """For each image and output pixel, the largest |x| in the input tile from which Winograd's algorithm makes it."""
    tile = conv_winograd.output_tile(shape, m)
    reach = [conv_winograd.input_length(t) for t in tile]
    counts = [-(-o // t) for o, t in zip(shape.out_size[1:], tile, strict=True)]
    need = [(c - 1) * t + r for c, t, r in zip(counts, tile, reach, strict=True)]
    padded = np.zeros((len(x), *(max(k, p + s) for k, p, s in zip(need, shape.pad[1:], x.shape[3:], strict=True))))
    padded[:, shape.pad[1] :, shape.pad[2] :][:, : x.shape[3], : x.shape[4]] = abs(x[:, :, 0]).max(1)
    windows = np.lib.stride_tricks.sliding_window_view(padded, reach, (1, 2))[:, :: tile[0], :: tile[1]].max((3, 4))
    spread = windows.repeat(tile[0], 1).repeat(tile[1], 2)
    return spread[:, None, None, : shape.out_size[1], : shape.out_size[2]]


def run_winograd(shape, lanes, m, tile, x, w, bias, add, relu=False, threads=1, raw=False) -> np.ndarray:
    step = conv_winograd.launch(shape, lanes, m, tile, raw, add is not None, a=0.0 if relu else -np.inf)
    packed = conv_winograd.pack_raw_weights(w, lanes, tile[1]) if raw else \
        conv_winograd.pack_weights(w, m, lanes, tile[1])
    y = to_blocked(np.full((shape.images, shape.out_channels, *shape.out_size), np.nan), lanes)
    operands = {
        "x": to_blocked(x, lanes), "w": packed, "y": y,
        "bias": conv_direct.pack_bias(bias, shape.out_channels, 1, lanes, tile[1]),
    }  # fmt: skip
    if add is not None:
        operands["add"] = to_blocked(add, lanes)
    run(step, operands, threads)
    return from_blocked(y, shape.out_channels)


def draw_shape(rng, kernel: str, channels: int, size: int) -> ConvShape:
    taps = KERNELS[kernel]
    pad = (0, *(int(rng.integers(0, 3)) for _ in range(2)))
    after = (0, *(int(rng.integers(0, 3)) for _ in range(2)))
    lines = zip(taps[1:], pad[1:], after[1:], strict=True)
    inside = tuple(int(max(1, rng.integers(1, size), k - p - q)) for k, p, q in lines)
    out = tuple(i + p + q - k + 1 for i, p, q, k in zip((1, *inside), pad, after, taps, strict=True))
    ic, oc = (int(c) for c in rng.integers(1, channels, 2))
    return ConvShape(int(rng.integers(1, 3)), ic, oc, lift(inside, 1), out, taps, pad=pad)


def numbers(rng, shape: ConvShape):
    x = rng.standard_normal((shape.images, shape.channels, *shape.size)).astype(np.float32)
    w = rng.standard_normal((shape.out_channels, shape.channels, *shape.kernel)).astype(np.float32)
    bias = rng.standard_normal(shape.out_channels).astype(np.float32)
    return x, w, bias, rng.standard_normal((shape.images, shape.out_channels, *shape.out_size)).astype(np.float32)


def bound_of(shape, m, x, w) -> np.ndarray:
    weights = abs(w.astype(np.float64)).sum((1, 2, 3, 4)).reshape(1, -1, 1, 1, 1)
    return BOUNDS[m] * UNIT * largest_of_tiles(x.astype(np.float64), shape, m) * weights


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("m", [2, 4, 6])
def test_random(m: int, kernel: str, seed: int) -> None:
    rng = np.random.default_rng([m, len(kernel), seed])
    lanes = (16, 8, 16, 4)[seed % 4]
    shape = draw_shape(rng, kernel, 3 * lanes, 20)
    x, w, bias, add = numbers(rng, shape)
    residual, relu = seed % 4 > 1, seed % 4 == 1
    tile = (6, 4) if lanes != 8 else (6, 2)
    got = run_winograd(shape, lanes, m, tile, x, w, bias, add if residual else None, relu, 1 + seed % 2, seed in (4, 6))
    want, _ = conv_reference(x, w, shape.stride, shape.dilation, shape.pad, shape.out_size, 1)
    broad = bias.reshape(1, -1, 1, 1, 1)
    want, more = want + broad + residual * add, abs(broad) + residual * abs(add)
    assert np.all(abs(got - np.maximum(want, 0.0 if relu else -np.inf)) <= bound_of(shape, m, x, w) + 4 * UNIT * more)
