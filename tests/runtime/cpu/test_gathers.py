"""Operators that pick and place by indices on their kernels: equal to the references, and safe with any index."""

import numpy as np
import pytest

from cnncc.ops import OPS
from tests.runtime.cpu.lowered import all_runs, run_lowered


def equal(op, arrays, **more) -> None:
    [want] = op.reference(*arrays)
    for [got] in all_runs(op, arrays, threads=(1, 2), **more):
        assert got.dtype == want.dtype
        np.testing.assert_array_equal(got, want)


def places(rng, shape: tuple[int, ...], depth: int, count: tuple[int, ...]) -> np.ndarray:
    """Indices of so many axes, some from the back."""
    return np.stack([rng.integers(-shape[j], shape[j], count) for j in range(depth)], -1)


@pytest.mark.parametrize("dtype", ["float32", "uint8", "int64"])
@pytest.mark.parametrize(("shape", "batch", "depth"), [((40, 9, 7), 0, 1), ((5, 4, 3, 2), 0, 4), ((2, 3, 8, 37), 2, 1)])
def test_nd(dtype: str, shape: tuple[int, ...], batch: int, depth: int) -> None:
    rng = np.random.default_rng([*shape, depth])
    x = (rng.standard_normal(shape) * 50).astype(dtype)
    indices = places(rng, shape[batch:], depth, (*shape[:batch], 6, 2)).astype(("int32", "int64")[depth % 2])
    equal(OPS["GatherND"](batch_dims=batch), [x, indices])
    if not batch:
        updates = (rng.standard_normal((*indices.shape[:-1], *shape[depth:])) * 50).astype(dtype)
        equal(OPS["ScatterND"](), [x, indices.astype(np.int64), updates])


@pytest.mark.parametrize(("shape", "axis"), [((3, 50), 1), ((4, 5, 3), 0), ((2, 130, 70), 1)])
def test_elements(shape: tuple[int, ...], axis: int) -> None:
    rng = np.random.default_rng(shape)
    x, count = rng.standard_normal(shape).astype(np.float32), list(shape)
    count[axis] += 2
    indices = rng.integers(-shape[axis], shape[axis], count)
    equal(OPS["GatherElements"](axis=axis), [x, indices])
    equal(OPS["ScatterElements"](axis=axis), [x, indices, rng.standard_normal(count).astype(np.float32)])


def test_indices_outside_are_taken_to_the_nearest() -> None:
    x, far = np.arange(6, dtype=np.float32), np.array([-2**63, -7, 6, 2**62])
    [got] = run_lowered(OPS["GatherND"](), [x, far[:, None]])
    np.testing.assert_array_equal(got, [0, 0, 5, 5])
    [got] = run_lowered(OPS["GatherElements"](), [x, far])
    np.testing.assert_array_equal(got, [0, 0, 5, 5])
    nine = np.full(4, 9, np.float32)
    for op, indices in ((OPS["ScatterND"](), far[:, None]), (OPS["ScatterElements"](), far)):
        [got] = run_lowered(op, [x, indices, nine])
        np.testing.assert_array_equal(got, [9, 1, 2, 3, 4, 9])


def test_reverse_sequence() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((9, 5, 3)).astype(np.float32)
    equal(OPS["ReverseSequence"](), [x, rng.integers(0, 10, 5)])
    equal(OPS["ReverseSequence"](batch_axis=0, time_axis=1), [x, rng.integers(0, 6, 9)])
    [got] = run_lowered(OPS["ReverseSequence"](), [x, np.array([-3, 99, 0, 2**62, -2**63])])
    np.testing.assert_array_equal(got, np.where(np.array([0, 1, 0, 1, 0])[:, None] == 1, x[::-1], x))
