"""Normalizations on their native kernel against the reference in double precision."""

import numpy as np
import pytest

from cnncc.ops import OPS
from tests.runtime.cpu.harness import UNIT
from tests.runtime.cpu.lowered import all_runs, run_lowered


def numbers(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def check(op, x, *parameters, lanes=(16,), threads=(1,)) -> None:
    (want,) = op.reference(*(a.astype(np.float64) for a in (x, *parameters)))[:1]
    runs = all_runs(op, [x, *parameters], tuple(range(1, 1 + len(parameters))), lanes=lanes, threads=threads)
    for (got,) in runs:
        np.testing.assert_allclose(got, want, rtol=0, atol=64 * UNIT * max(1.0, abs(want).max()))


@pytest.mark.parametrize(
    "shape", [(2, 32, 5, 7), (1, 21, 4, 4), (2, 3, 9), (1, 16, 3, 4, 5), (1, 40, 130, 3), (1, 16, 1, 1)]
)
def test_instance(shape: tuple[int, ...]) -> None:
    c = shape[1]
    op = OPS["InstanceNormalization"]()
    check(op, numbers(0, *shape), numbers(1, c), numbers(2, c), lanes=(16, 4), threads=(1, 2))


@pytest.mark.parametrize(
    ("channels", "groups"), [(32, 2), (64, 4), (64, 32), (48, 3), (24, 6), (12, 4), (30, 5), (96, 1)]
)
def test_group(channels: int, groups: int) -> None:
    op = OPS["GroupNormalization"](num_groups=groups, epsilon=1e-3)
    check(op, numbers(0, 2, channels, 6, 5), numbers(1, channels), numbers(2, channels), lanes=(16,), threads=(1, 2))


@pytest.mark.parametrize(
    ("shape", "axis"), [((2, 5, 64), -1), ((3, 7), 1), ((2, 4, 5, 6), 1), ((1, 1000), -1), ((4, 3, 1), -1)]
)
def test_trailing(shape: tuple[int, ...], axis: int) -> None:
    tail = shape[axis:]
    x, scale, bias = numbers(0, *shape), numbers(1, *tail), numbers(2, *tail)
    check(OPS["LayerNormalization"](axis=axis), x, scale, bias, lanes=(16, 4), threads=(1, 2))
    check(OPS["LayerNormalization"](axis=axis), x, scale)
    check(OPS["RMSNormalization"](axis=axis), x, scale)


def test_one_scale_for_all() -> None:
    check(OPS["LayerNormalization"](), numbers(0, 3, 20), numbers(1, 1), numbers(2, 1, 20))


def test_a_mean_far_from_zero_is_accurate() -> None:
    """Statistics of 1000 + noise: the sums err by less than the input's own rounding, which the noise magnifies."""
    for op, x in ((OPS["InstanceNormalization"](), numbers(0, 1, 16, 200, 300)), (OPS["LayerNormalization"](),
                                                                             numbers(0, 2, 16, 60000))):
        count = 16 if op.op_type == "InstanceNormalization" else 60000
        x = x + np.float32(1000)
        scale, bias = np.ones(count, np.float32), np.zeros(count, np.float32)
        (want,) = op.reference(x.astype(np.float64), scale, bias)[:1]
        for (got,) in all_runs(op, [x, scale, bias], (1, 2)):
            assert abs(got - want).max() <= 8 * 1000 * UNIT


def test_refusals() -> None:
    x, p = np.zeros((1, 16, 4), np.float32), np.ones(16, np.float32)
    assert "at run time" in run_lowered(OPS["InstanceNormalization"](), [x, p, p], (1,)).reason
    wide = [a.astype(np.float64) for a in (x, p, p)]
    assert "f32 only" in run_lowered(OPS["InstanceNormalization"](), wide, (1, 2)).reason
    layer = OPS["LayerNormalization"]()
    assert "Mean" in run_lowered(layer, [x, np.ones(4, np.float32)], (1,), outputs=2).reason
    assert "not normalized" in run_lowered(layer, [x, np.ones((16, 1), np.float32)], (1,)).reason
