"""Reductions, softmaxes, ArgMax and LRN on their native kernels against double precision."""

import numpy as np
import pytest

from cnncc.ops import OPS
from cnncc.runtime.cpu.lowering import BLOCKED, PLAIN, Refusal
from tests.runtime.cpu.harness import UNIT
from tests.runtime.cpu.lowered import all_runs, choose, run_lowered, tensors_of

SUMS = ["ReduceSum", "ReduceMean", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceProd", "ReduceMax", "ReduceMin",
        "ReduceLogSum", "ReduceLogSumExp"]  # fmt: skip


def numbers(shape, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def near(op, arrays, runs, factor: float = 16) -> None:
    """Within some roundings of the exact result, or of that of the absolute values where it is larger."""
    x, *rest = arrays
    with np.errstate(all="ignore"):
        want, size = (op.reference(v.astype(np.float64), *rest)[0] for v in (x, abs(x)))
        bound = factor * UNIT * np.maximum(abs(want), abs(size))
        for (got,) in runs:
            assert got.shape == want.shape
            assert np.all((abs(got - want) <= bound) | (got == want) | (np.isnan(got) & np.isnan(want)))


@pytest.mark.parametrize("name", SUMS)
@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((2, 21, 5, 7), (2, 3)), ((2, 33, 1, 1), (2, 3)), ((2, 21, 5, 7), (1,)), ((2, 5, 70), (2,)), ((3, 1000), (1,)),
        ((2, 3, 4, 5), (0, 2)), ((2, 3, 4, 5), (1, 3)), ((2, 3, 4, 5), (0, 1, 2, 3)), ((5, 3, 200), (1,)),
        ((2, 3, 4, 5, 70), (1, 3)), ((7,), (0,)), ((2, 0, 3), (1,)), ((0, 4), (1,)),
    ],
    ids=str,
)  # fmt: skip
def test_reductions(name: str, shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
    x = 1 + 0.1 * numbers(shape) if name in ("ReduceProd", "ReduceLogSum") else numbers(shape)
    for keep in (True, False):
        op, arrays = OPS[name](keepdims=keep), [x, np.array(axes, np.int64)]
        widths = (16, 4) if name == "ReduceMean" else (16,)
        runs = all_runs(op, arrays, (1,), lanes=widths, threads=(1, 2) if keep else (1,))
        if isinstance(runs, Refusal):
            assert name == "ReduceLogSumExp" and "neighbours" in runs.reason
        elif name in ("ReduceMax", "ReduceMin"):
            near(op, arrays, runs, 0)
        else:
            near(op, arrays, runs, 32)


def test_reduced_pixels_stay_blocked() -> None:
    x = tensors_of([numbers((1, 20, 3, 3)), np.array([2, 3])], (1,), [BLOCKED, PLAIN])
    assert choose(OPS["ReduceMean"](), list(x), 16, 1)[0].inputs[0] == BLOCKED
    x = tensors_of([numbers((1, 20, 3, 3)), np.array([1, 3])], (1,), [BLOCKED, PLAIN])
    assert choose(OPS["ReduceMean"](), list(x), 16, 1)[0].inputs[0] == PLAIN


def test_long_sums_are_accurate() -> None:
    x = np.random.default_rng(1).uniform(0, 1, (3, 200_000)).astype(np.float32)
    op = OPS["ReduceSum"]()
    near(op, [x], all_runs(op, [x]), 4)
    columns = np.ascontiguousarray(x.T)
    (got,) = run_lowered(op, [columns, np.array([0])], (1,))
    assert np.all(abs(got - columns.sum(0, np.float64)) <= 8 * UNIT * got)


@pytest.mark.parametrize("name", ["ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1"])
@pytest.mark.parametrize("dtype", ["int32", "int64", "uint32"])
def test_integers(name: str, dtype: str) -> None:
    x = np.random.default_rng(2).integers(0, 9, (4, 33, 5)).astype(dtype)
    for axes in ((1,), (0, 2), (2,)):
        op = OPS[name]()
        for (got,) in all_runs(op, [x, np.array(axes)], (1,)):
            np.testing.assert_array_equal(got, op.reference(x, np.array(axes))[0])


@pytest.mark.parametrize("name", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize(
    ("shape", "axis"),
    [((3, 1000), -1), ((2, 5), 1), ((2, 21, 9, 11), 1), ((4, 7, 3), 0), ((2, 1, 5), 1), ((1, 70, 64), 1)],
)
def test_softmax(name: str, shape: tuple[int, ...], axis: int) -> None:
    x = numbers(shape) * 5
    op = OPS[name](axis=axis)
    want = op.reference(x.astype(np.float64))[0]
    for (got,) in all_runs(op, [x], lanes=(16, 4), threads=(1, 2)):
        # The error of x - max is relative to the range of x, and so is e to its power.
        size = abs(want) if name == "Softmax" else 1
        assert np.all(abs(got - want) <= 16 * UNIT * size * (1 + np.ptp(x)))


def test_softmax_of_extremes() -> None:
    x = np.array([[1e30, 0, -1e30], [np.nan, 0, 1], [-np.inf, 0, 1], [np.inf, 0, 1], [-np.inf] * 3], np.float32)
    op = OPS["Softmax"]()
    with np.errstate(all="ignore"):
        want = op.reference(x)[0]
    for shaped, axis in ((x, -1), (np.ascontiguousarray(np.repeat(x.T[None], 4, 0)), 1)):
        (got,) = run_lowered(OPS["Softmax"](axis=axis), [shaped])
        np.testing.assert_allclose(got if axis == -1 else got[2].T, want, rtol=1e-6)
    (got,) = run_lowered(OPS["ReduceLogSumExp"](), [x, np.array([1])], (1,))
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(got, OPS["ReduceLogSumExp"]().reference(x, np.array([1]))[0], rtol=1e-6)


@pytest.mark.parametrize("name", ["ArgMax", "ArgMin"])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "int8", "uint64"])
def test_places_of_extremes(name: str, last: bool, dtype: str) -> None:
    x = np.random.default_rng(3).integers(0, 9, (3, 20, 37)).astype(dtype)
    if dtype == "float32":
        x[0, 3:5, 7], x[1, 2, :9] = np.nan, np.inf
    for axis in (0, 1, 2):
        op = OPS[name](axis=axis, select_last_index=last, keepdims=last)
        for (got,) in all_runs(op, [x], lanes=(16, 4), threads=(1, 2)):
            np.testing.assert_array_equal(got, op.reference(x)[0])


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 33])
@pytest.mark.parametrize(("channels", "lanes"), [(3, 16), (33, 16), (48, 16), (19, 8), (9, 4)])
@pytest.mark.parametrize("beta", [0.75, 0.6])
def test_lrn(size: int, channels: int, lanes: int, beta: float) -> None:
    op = OPS["LRN"](size=size, alpha=0.3, beta=beta, bias=1.5)
    x = numbers((2, channels, 5, 60)) * 4
    runs = all_runs(op, [x], lanes=(lanes,), threads=(1, 2))
    if size // 2 > lanes:
        assert "channels are native" in runs.reason
        return
    near(op, [x], runs)


@pytest.mark.parametrize("scale", [1e-20, 1e10, 1e18, 1e25])
def test_lrn_far_from_one(scale: float) -> None:
    op = OPS["LRN"](size=5)
    x = (numbers((1, 16, 2, 2)) * np.float32(scale)).astype(np.float32)
    with np.errstate(all="ignore"):
        want = op.reference(x)[0]
    for (got,) in all_runs(op, [x]):
        np.testing.assert_allclose(got, want, rtol=2e-6, atol=1e-30)
