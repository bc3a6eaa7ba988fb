"""TopK and NonMaxSuppression's steps on their native kernels, against the references: in order, and equal."""

import numpy as np
import pytest

from cnncc.ir import DType
from cnncc.ops import OPS
from cnncc.runtime.cpu.kernels.top_k import DTYPES
from tests.runtime.cpu.lowered import all_runs


def ranked(dtype: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Few distinct numbers, so that there are equal ones; the ends of the type, NaN and zeros of both signs."""
    rng = np.random.default_rng([seed, *shape])
    x = rng.integers(-9, 9, shape) if dtype[0] in "if" else rng.integers(0, 18, shape)
    x = x.astype(DType(dtype).numpy)
    if dtype[0] == "f":
        x.reshape(-1)[rng.permutation(x.size)[:8]] = [np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-7, -1e-7]
    else:
        x.reshape(-1)[rng.permutation(x.size)[:2]] = np.iinfo(x.dtype).min, np.iinfo(x.dtype).max
    return x


@pytest.mark.parametrize("dtype", DTYPES)
def test_top_k(dtype: str) -> None:
    for seed, (shape, axis, k) in enumerate([((2, 70), 1, 7), ((1, 70), 1, 70), ((3, 20, 2), 1, 11)]):
        x = ranked(dtype, shape, seed)
        op = OPS["TopK"](axis=axis, largest=seed % 2 == 0)
        want = op.reference(x, np.array([k]))
        for got in all_runs(op, [x, np.array([k])], (1,), 2, threads=(1, 2)):
            for a, b in zip(got, want, strict=True):
                np.testing.assert_array_equal(a, b)


def test_rows_share_a_task_and_indices_may_be_left_out() -> None:
    x = ranked("f32", (500, 30), 0)
    [want, _] = OPS["TopK"]().reference(x, np.array([3]))
    for [got] in all_runs(OPS["TopK"](), [x, np.array([3])], (1,), 1, threads=(2,)):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("seed", range(6))
def test_suppress_boxes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(30, 300))
    boxes = rng.uniform(0, 6, (2, count, 4)).astype(np.float32)
    boxes[0, :4] = [np.nan, 0, 1, 1], [0, 0, np.inf, 1], [1, 1, 1, 1], [-np.inf, 0, np.inf, 2]
    scores = np.round(rng.random((2, 3, count)), 2).astype(np.float32)
    scores[0, 0, :3] = np.nan, np.inf, -0.0
    arrays = [boxes, scores, np.array([(5, 1000)[seed % 2]]), np.array([(0.1, 0.7, -1)[seed % 3]], np.float32),
              (None, np.array([0.4], np.float32))[seed // 3]]
    op = OPS["SuppressBoxes"](center_point_box=seed % 2 == 1)
    with np.errstate(all="ignore"):
        want = op.reference(*arrays)
    for got in all_runs(op, arrays, (2,), 2, lanes=(16, 4), threads=(2,)):
        for a, b in zip(got, want, strict=True):
            np.testing.assert_array_equal(a, b)
