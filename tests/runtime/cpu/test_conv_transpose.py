"""Transposed convolution on its native kernel against the reference in double precision."""

import numpy as np
import pytest

from cnncc.ir import Activation
from cnncc.ops import OPS
from cnncc.runtime.cpu.lowering import BLOCKED, PLAIN
from tests.runtime.cpu.harness import UNIT
from tests.runtime.cpu.lowered import Setting, run_lowered

WIDTHS = (16, 8, 4)


def numbers(rng, *shape) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32)


def check(op, x, w, b=None, setting=None, layout=PLAIN) -> None:
    arrays = [x, w] if b is None else [x, w, b]
    (got,) = run_lowered(op, arrays, (1, 2), [layout, PLAIN, PLAIN], setting or Setting())
    (want,) = op.reference(*(a.astype(np.float64) for a in arrays))
    (size,) = OPS["ConvTranspose"](**{**op.attributes, "activation": None}).reference(
        *(abs(a.astype(np.float64)) for a in arrays))
    assert got.shape == want.shape
    assert np.all(abs(got - want) <= 16 * UNIT * size)


def random_case(rng, rank: int):
    kernel, stride, dilation = (tuple(int(v) for v in rng.integers(1, top, rank)) for top in (5, 4, 4))
    size = tuple(int(v) for v in rng.integers(1, 9 if rank < 3 else 4, rank))
    more = tuple(int(rng.integers(0, s)) for s in stride)
    pads = [0] * (2 * rank)
    for i in range(rank):
        room = (size[i] - 1) * stride[i] + more[i] + (kernel[i] - 1) * dilation[i]
        pads[i] = int(rng.integers(0, min(room, 5) + 1))
        pads[i + rank] = int(rng.integers(0, min(room - pads[i], 5) + 1))
    group = int(rng.choice([1, 1, 2, 3]))
    c, m = (int(v) for v in rng.integers(1, 40, 2))
    if rng.integers(3) == 0:
        c = m = 16
    op = OPS["ConvTranspose"](strides=stride, dilations=dilation, pads=tuple(pads), output_padding=more, group=group)
    images = int(rng.integers(1, 3))
    return op, numbers(rng, images, c * group, *size), numbers(rng, c * group, m, *kernel), numbers(rng, m * group)


@pytest.mark.parametrize("seed", range(16))
def test_random(seed: int) -> None:
    rng = np.random.default_rng(seed)
    op, x, w, b = random_case(rng, 1 + seed % 3)
    setting = Setting(WIDTHS[seed % 3], 1 + seed % 2)
    check(op, x, w, b if seed % 4 else None, setting, BLOCKED if seed % 2 else PLAIN)


@pytest.mark.parametrize("group", [4, 16, 32])
def test_narrow_groups(group: int) -> None:
    rng = np.random.default_rng(group)
    op = OPS["ConvTranspose"](strides=(2, 2), pads=(1, 1, 1, 1), group=group)
    check(op, numbers(rng, 1, 32, 5, 6), numbers(rng, 32, 2, 4, 4), numbers(rng, 2 * group))


def test_activations() -> None:
    rng = np.random.default_rng(0)
    x, w, b = numbers(rng, 1, 20, 5, 5), numbers(rng, 20, 18, 2, 2), numbers(rng, 18)
    for kind in ("relu", "leaky_relu", "tanh"):
        check(OPS["ConvTranspose"](strides=(2, 2), activation=Activation(kind)), x, w, b)


def test_many_tasks() -> None:
    rng = np.random.default_rng(1)
    x, w = numbers(rng, 1, 64, 20, 20), numbers(rng, 64, 100, 4, 4)
    check(OPS["ConvTranspose"](strides=(2, 2), pads=(1, 1, 1, 1)), x, w, setting=Setting(threads=2))
    check(OPS["ConvTranspose"](strides=(2, 2)), numbers(rng, 1, 300, 3, 3), numbers(rng, 300, 200, 2, 2))


def test_an_output_shape_beyond_the_windows_is_bias() -> None:
    rng = np.random.default_rng(2)
    op = OPS["ConvTranspose"](strides=(3, 3), output_shape=(12, 14))
    check(op, numbers(rng, 1, 4, 3, 3), numbers(rng, 4, 5, 2, 2), numbers(rng, 5))


def test_infinity_and_nan_stay_where_they_belong() -> None:
    rng = np.random.default_rng(3)
    x, w = numbers(rng, 1, 16, 6, 6), numbers(rng, 16, 16, 3, 3)
    x[0, 3, 2, 2], x[0, 5, 4, 4] = np.inf, np.nan
    op = OPS["ConvTranspose"](strides=(2, 2))
    (got,) = run_lowered(op, [x, w], (1,))
    (want,) = op.reference(x, w)
    np.testing.assert_array_equal(np.isfinite(got), np.isfinite(want))


def test_refusals() -> None:
    x, w = np.zeros((1, 4, 3, 3), np.float32), np.zeros((4, 4, 2, 2), np.float32)
    op = OPS["ConvTranspose"]()
    assert "computed at run time" in run_lowered(op, [x, w]).reason
    assert "f32 only" in run_lowered(op, [x.astype(np.float64), w.astype(np.float64)], (1,)).reason
    none = np.zeros((1, 0, 3, 3), np.float32), np.zeros((0, 4, 2, 2), np.float32)
    assert "no channels" in run_lowered(op, none, (1,)).reason
    wide = np.zeros((1, 4, 1, 1, 1, 1), np.float32)
    assert "3 spatial axes" in run_lowered(op, [wide, np.zeros((4, 4, 1, 1, 1, 1), np.float32)], (1,)).reason
