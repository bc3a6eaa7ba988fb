"""Resize on its native kernel against the reference."""

import numpy as np
import pytest

from cnncc.ops import OPS
from cnncc.ops.interpolation import COORDINATES, NEAREST_MODES
from tests.runtime.cpu.harness import UNIT
from tests.runtime.cpu.lowered import all_runs, run_lowered

WIDTHS = (16, 4)


def check(op, x, scales=None, sizes=None, lanes=(16,), threads=(1,)) -> None:
    """Nearest is exact, the others are within some roundings of the largest element."""
    arrays = [x, None, scales, sizes][: 4 if sizes is not None else 3]
    (want,) = op.reference(*arrays)
    for (got,) in all_runs(op, arrays, (2, 3), lanes=lanes, threads=threads):
        if op.mode == "nearest":
            np.testing.assert_array_equal(got, want)
        else:
            np.testing.assert_allclose(got, want, rtol=0, atol=16 * UNIT * abs(x).max())


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("seed", range(8))
def test_random(mode: str, seed: int) -> None:
    rng = np.random.default_rng([seed, len(mode)])
    rank = 1 + seed % 3
    x = rng.standard_normal((rng.integers(1, 3), rng.integers(1, 40), *rng.integers(1, 9, rank))).astype(np.float32)
    op = OPS["Resize"](mode=mode, coordinate_transformation_mode=COORDINATES[int(rng.integers(5))],
                       nearest_mode=NEAREST_MODES[seed % 4])
    lanes = (WIDTHS[seed // 2 % 2],)
    if seed % 2:
        scales = np.array([1, 1, *rng.uniform(1 if 1 in x.shape else 0.5, 3, rank)], np.float32)
        check(op, x, scales, lanes=lanes, threads=(1, 2))
    else:
        check(op, x, sizes=np.array([*x.shape[:2], *rng.integers(1, 20, rank)]), lanes=lanes)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("channels", [3, 20])
def test_one_axis_stays(mode: str, channels: int) -> None:
    x = np.random.default_rng(0).standard_normal((1, channels, 5, 70)).astype(np.float32)
    x[0, 0, 2, 3] = np.inf
    for factors in ((2, 1), (1, 2)):
        op = OPS["Resize"](mode=mode, coordinate_transformation_mode="asymmetric")
        (got,) = run_lowered(op, [x, None, np.array((1, 1, *factors), np.float32)], (2,))
        with np.errstate(invalid="ignore"):
            (want,) = op.reference(x, None, np.array((1, 1, *factors), np.float32))
        np.testing.assert_array_equal(np.isfinite(got), np.isfinite(want))


def test_large() -> None:
    x = np.random.default_rng(1).standard_normal((1, 17, 40, 100)).astype(np.float32)
    check(OPS["Resize"](mode="linear"), x, np.array((1, 1, 2, 2), np.float32), threads=(2,))


def test_refusals() -> None:
    x, two = np.zeros((1, 16, 4, 4), np.float32), np.array((1, 1, 2, 2), np.float32)
    assert "antialias" in run_lowered(OPS["Resize"](mode="linear", antialias=True), [x, None, two], (2,)).reason
    assert "f32 only" in run_lowered(OPS["Resize"](), [x.astype(np.float64), None, two], (2,)).reason
    assert "spatial axes" in run_lowered(OPS["Resize"](), [x, None, two[::-1].copy()], (2,)).reason
