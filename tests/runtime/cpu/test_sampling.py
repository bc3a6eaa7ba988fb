"""GridSample, RoiAlign, MaxPool's places and MaxUnpool on their native kernels, against the references."""

import numpy as np
import pytest
from harness import UNIT
from lowered import all_runs, run_lowered

from cnncc.ops import OPS


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_grid_sample(mode: str, rank: int) -> None:
    rng = np.random.default_rng([rank, len(mode)])
    x = rng.standard_normal((2, (3, 20, 33)[rank - 1], *rng.integers(2, 8, rank))).astype(np.float32)
    grid = rng.uniform(-1.5, 1.5, (2, *rng.integers(1, 6, rank), rank)).astype(np.float32)
    grid.reshape(-1)[:2] = np.nan, np.inf
    op = OPS["GridSample"](mode=mode, padding_mode=("zeros", "border", "reflection")[rank - 1], align_corners=rank == 2)
    [want] = op.reference(x, grid)
    for [got] in all_runs(op, [x, grid], lanes=(16,), threads=(1, 2)):
        np.testing.assert_allclose(got, want, rtol=0, atol=64 * UNIT * abs(x).max())


@pytest.mark.parametrize("seed", range(4))
def test_roi_align(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((2, (3, 33)[seed % 2], *rng.integers(3, 12, 2))).astype(np.float32)
    corners = rng.uniform(-4, 24, (7, 2, 2))
    rois = np.concatenate([corners.min(1), corners.max(1)], 1).astype(np.float32)
    rois[0] = 0, 0, 60, 70  # more samples than a table holds
    op = OPS["RoiAlign"](mode=("avg", "max")[seed // 2], output_height=3, output_width=2, spatial_scale=0.5,
                         sampling_ratio=2 * (seed % 2))
    arrays = [x, rois, rng.integers(0, 2, 7)]
    [want] = op.reference(*arrays)
    for [got] in all_runs(op, arrays, lanes=(16,), threads=(1, 2)):
        np.testing.assert_allclose(got, want, rtol=0, atol=64 * UNIT * abs(x).max())


def test_a_region_of_nothing() -> None:
    """NaN takes no samples, and the picture is the nearest that there is."""
    x = np.ones((2, 4, 5, 5), np.float32)
    x[1] = 2
    rois = np.array([[np.nan] * 4, [1, 1, 3, 3]], np.float32)
    [got] = run_lowered(OPS["RoiAlign"](), [x, rois, np.array([-5, 7])])
    np.testing.assert_array_equal(got.ravel(), [0] * 4 + [2] * 4)


def test_places_outside_are_left_out() -> None:
    x = np.arange(1, 5, dtype=np.float32).reshape(1, 1, 4)
    [got] = run_lowered(OPS["MaxUnpool"]((2,), strides=(2,)), [x, np.array([[[-1, 8, 3, 3]]])])
    np.testing.assert_array_equal(got.ravel(), [0, 0, 0, 4, 0, 0, 0, 0])


def test_refusals() -> None:
    x, grid = np.zeros((1, 2, 4, 4), np.float32), np.zeros((1, 2, 2, 2), np.float32)
    for picture in (x.astype(np.float64), x.astype(np.int64)):
        assert "f32 only" in run_lowered(OPS["GridSample"](), [picture, grid]).reason
