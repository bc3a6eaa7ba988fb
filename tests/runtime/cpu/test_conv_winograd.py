"""Winograd convolution: its matrices exactly, and how far a NaN spreads. tests/property judges its kernel's numbers."""

from fractions import Fraction

import numpy as np
import pytest

import cnncc
from cnncc.ops import OPS
from cnncc.runtime.cpu import native
from cnncc.runtime.cpu.lowering import BLOCKED, PLAIN, Choice
from cnncc.runtime.cpu.winograd import BACKWARD, FORWARD, STRIDED, WEIGHTS, Axis, axis_of
from tests.runtime.cpu.lowered import Setting, run_lowered


@pytest.mark.parametrize("m", [1, 2, 4, 5, 6])
def test_matrices_give_a_correlation(m: int) -> None:
    """A^T diag(G w) B^T is the matrix of the correlation with w, for each unit w and hence for all."""
    taps, tables = 3 if m > 1 else 1, (BACKWARD, FORWARD, WEIGHTS)
    a, b, g = ([[Fraction(v).limit_denominator(1000) for v in row] for row in table[m]] for table in tables)
    for tap in range(taps):
        for i in range(m):
            for j in range(m + taps - 1):
                got = sum(a[i][p] * g[p][tap] * b[p][j] for p in range(m + taps - 1))
                assert got == (j == i + tap)


@pytest.mark.parametrize(("axis", "stride"), [*((axis_of(m), 1) for m in (2, 4, 6)), (STRIDED, 2)])
def test_axes_give_a_correlation(axis: Axis, stride: int) -> None:
    """The same of the sums of products that conv_winograd_raw computes; all numbers are exact in float32."""
    forward, weights, backward = (np.array(table, np.float64) for table in (axis.forward, axis.weights, axis.backward))
    assert all(np.array_equal(table, table.astype(np.float32)) for table in (forward, weights, backward))
    assert forward.shape == ((len(backward) - 1) * stride + 3,) * 2 and len(axis.starts) == backward.shape[1] + 1
    for w in np.eye(3):
        products = forward * (weights @ w)[list(axis.used), None]
        got = backward @ np.add.reduceat(products, axis.starts[:-1], axis=0) / axis.denominator
        wanted = np.zeros_like(got)
        for i in range(len(wanted)):
            wanted[i, i * stride:i * stride + 3] = w
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("kernel", [(3, 3), (1, 3), (3, 1)])
@pytest.mark.parametrize("m", [2, 4, 5, 6])
def test_nan_and_infinity_reach_only_the_tiles_that_read_them(m: int, kernel: tuple[int, int], value: float) -> None:
    """Output tile i reads inputs from m i on, m + 2 of them: without pads they reach tiles (p - m - 1) / m to p / m."""
    rng, lanes, size = np.random.default_rng(m), native.host_lanes(), 26
    x = rng.standard_normal((1, lanes + 3, size, size)).astype(np.float32)
    w = rng.standard_normal((5, lanes + 3, *kernel)).astype(np.float32)
    x[0, 2, 13, 10] = value
    rows, vectors = (6, 2) if lanes == 8 else (6, 4)
    params = {"m": m, "rows": rows, "vectors": vectors}
    choice = Choice("conv_winograd", params, (BLOCKED, BLOCKED, BLOCKED, BLOCKED), (BLOCKED,))
    op = OPS["Conv"](kernel_shape=kernel)
    [y] = run_lowered(op, [x, w], (1,), [BLOCKED, PLAIN], Setting(lanes), 1, choice)
    reached = np.zeros(y.shape[2:], bool)
    (top, bottom), (left, right) = (
        (-(-(p - m - 1) // m) * m, p // m * m + m) if taps == 3 else (p, p + 1)
        for p, taps in zip((13, 10), kernel, strict=True)
    )
    reached[top:bottom, left:right] = True
    assert np.isfinite(y[:, :, ~reached]).all()
    [direct] = op.reference(x, w)
    assert not np.isfinite(y[~np.isfinite(direct)]).any()


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", ["0,32,8,8", "1,32,0,5"])
def test_nothing_to_compute(size: str, stride: int) -> None:
    """Sizes known when the network is compiled, so that an algorithm is chosen for them."""
    network = cnncc.network(f"network nothing:\n  input x: f32[{size}]\n  output y = conv 32 3x3 stride {stride} pad 1")
    session = cnncc.InferenceSession(cnncc.compile(network, warm=False))
    shape = tuple(map(int, size.split(",")))
    [y] = session.run(None, {"x": np.zeros(shape, np.float32)})
    assert y.shape == (shape[0], 32, *(-(-n // stride) for n in shape[2:]))
