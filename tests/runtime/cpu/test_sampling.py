"""GridSample, RoiAlign, MaxRoiPool, Col2Im, MaxPool's places and MaxUnpool on native kernels, against references."""

import math
from typing import Any

import numpy as np
import pytest

from cnncc.ops import OPS
from tests.runtime.cpu.harness import UNIT
from tests.runtime.cpu.lowered import all_runs, run_lowered


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


@pytest.mark.parametrize("seed", range(3))
def test_max_roi_pool(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((2, (3, 33)[seed % 2], *rng.integers(3, 12, 2))).astype(np.float32)
    rois = np.concatenate([rng.integers(0, 2, (6, 1)), rng.uniform(-4, 24, (6, 4))], 1).astype(np.float32)
    op = OPS["MaxRoiPool"](pooled_shape=(3, 2), spatial_scale=(1.0, 0.5, 0.3)[seed])
    [want] = op.reference(x, rois)
    for [got] in all_runs(op, [x, rois], threads=(2,)):
        np.testing.assert_array_equal(got, want)


def test_pooled_regions_of_nothing() -> None:
    """NaN is at 0, and the picture is the nearest that there is."""
    x = np.arange(8, dtype=np.float32).reshape(2, 1, 2, 2)
    rois = np.array([[np.nan] * 5, [9, 0, 0, 1, 1], [-9, 1e30, 1e30, 1e38, 1e38]], np.float32)
    [got] = run_lowered(OPS["MaxRoiPool"](pooled_shape=(1, 1)), [x, rois])
    np.testing.assert_array_equal(got.ravel(), [0, 7, 0])


@pytest.mark.parametrize(("sizes", "block", "more"), [
    ((7, 9), (2, 3), {"strides": (2, 1), "pads": (1, 2, 0, 1)}),
    ((8,), (3,), {"dilations": (2,), "strides": (3,), "pads": (2, 1)}),
    ((4, 5, 6), (2, 1, 3), {"pads": (0, 0, 2, 1, 0, 2)}),
])
def test_col2im(sizes: tuple[int, ...], block: tuple[int, ...], more: dict[str, tuple[int, ...]]) -> None:
    op: Any = OPS["Col2Im"](**more)
    rng = np.random.default_rng(len(sizes))
    blocks = math.prod(op.windows(sizes, block).counts)
    x = rng.standard_normal((2, 3 * math.prod(block), blocks)).astype(np.float32)
    arrays = [x, np.array(sizes), np.array(block)]
    [want] = op.reference(*arrays)
    for [got] in all_runs(op, arrays, (1, 2), threads=(2,)):
        np.testing.assert_array_equal(got, want)


def test_places_outside_are_left_out() -> None:
    x = np.arange(1, 5, dtype=np.float32).reshape(1, 1, 4)
    [got] = run_lowered(OPS["MaxUnpool"]((2,), strides=(2,)), [x, np.array([[[-1, 8, 3, 3]]])])
    np.testing.assert_array_equal(got.ravel(), [0, 0, 0, 4, 0, 0, 0, 0])


def test_refusals() -> None:
    x, grid = np.zeros((1, 2, 4, 4), np.float32), np.zeros((1, 2, 2, 2), np.float32)
    for picture in (x.astype(np.float64), x.astype(np.int64)):
        assert "f32 only" in run_lowered(OPS["GridSample"](), [picture, grid]).reason
