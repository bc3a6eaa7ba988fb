"""Elementwise operators on their native kernel: broadcasts, layouts, types, edges."""

import numpy as np
import pytest

from cnncc.ir import DType, Op
from cnncc.ops import OPS
from cnncc.runtime.cpu.lowering import BLOCKED, PLAIN
from tests.runtime.cpu.harness import UNIT
from tests.runtime.cpu.lowered import Setting, all_runs, run_lowered


def numbers(shape, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def same(op: Op, arrays, constants=(), ulps: float = 0, **more) -> None:
    """Equal to the reference up to roundings of the largest output."""
    with np.errstate(all="ignore"):
        want = op.reference(*arrays)[0]
    for (got,) in all_runs(op, arrays, constants, **more):
        assert (got.dtype, got.shape) == (want.dtype, want.shape)
        if ulps:
            np.testing.assert_allclose(got, want, rtol=ulps * UNIT, atol=ulps * UNIT)
        else:
            np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("seed", range(20))
def test_random_broadcasts(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = tuple(int(n) for n in rng.integers(1, [40, 6, 5, 4, 3, 3][: int(rng.integers(1, 7))]))
    operands = []
    for k in range(3):
        kept = tuple(int(n) if rng.integers(4) else 1 for n in shape)[int(rng.integers(0, len(shape))) :]
        operands.append(numbers(kept if k else shape, k))
    rng.shuffle(operands)
    same(OPS["Max"](), operands)
    same(OPS["Sub"](), operands[:2])
    same(OPS["Where"](), [operands[0] > 0, *operands[1:]])


OTHERS = [(2, 21, 5, 3), (21, 5, 3), (1, 21, 1, 1), (21, 1, 1), (2, 21, 1, 1), (2, 1, 1, 1), (1,), (), (5, 3)]


@pytest.mark.parametrize("lanes", [16, 4])
@pytest.mark.parametrize("other", OTHERS, ids=str)
def test_blocked_broadcasts(other: tuple[int, ...], lanes: int) -> None:
    x, y = numbers((2, 21, 5, 3)), numbers(other, 1)
    same(OPS["Mul"](), [x, y], lanes=(lanes,), threads=(1, 2))
    same(OPS["Sub"](), [y, x], constants=(0,), lanes=(lanes,))


def test_a_blocked_gate_needs_no_reorder() -> None:
    x, gate = numbers((2, 21, 5, 3)), numbers((2, 21, 1, 1), 1)
    for layout in (PLAIN, BLOCKED):
        (got,) = run_lowered(OPS["Mul"](), [x, gate], layouts=[BLOCKED, layout], setting=Setting(8))
        np.testing.assert_array_equal(got, x * gate)


@pytest.mark.parametrize("other", [(1, 21, 1, 1), (21, 1, 1), (1,)], ids=str)
def test_blocked_single_pixels(other: tuple[int, ...]) -> None:
    x, y = numbers((1, 21, 1, 1)), numbers(other, 1)
    same(OPS["Mul"](), [x, y], lanes=(16, 4))
    same(OPS["Mul"](), [x, y], constants=(1,))


@pytest.mark.parametrize(("shape", "other"), [((2, 1, 1, 1), (1,)), ((2, 1, 1, 1), ()), ((1, 1, 1, 7), (7,))], ids=str)
def test_blocked_single_channels(shape: tuple[int, ...], other: tuple[int, ...]) -> None:
    same(OPS["Mul"](), [numbers(shape), numbers(other, 1)], constants=(1,), lanes=(16, 4))


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 40000])
def test_sizes(size: int) -> None:
    x, y = numbers((size,)), numbers((size,), 1)
    same(OPS["Add"](), [x, y], threads=(1, 2))


@pytest.mark.parametrize(
    ("name", "ulps"),
    [("Sigmoid", 4), ("Tanh", 4), ("Elu", 8), ("Gelu", 8), ("Exp", 4), ("Softplus", 8), ("Mish", 16), ("HardSwish", 4)],
)
def test_functions_over_their_range(name: str, ulps: float) -> None:
    x = np.concatenate([np.linspace(-20, 20, 4001), np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-30, 88, -100])])
    op, x = OPS[name](), x.astype(np.float32)
    with np.errstate(all="ignore"):
        want = op.reference(x.astype(np.float64))[0]
    (got,) = run_lowered(op, [x])
    defined = ~np.isnan(want) & ~np.isinf(x)  # infinity minus or times a limit is not what these kernels promise
    np.testing.assert_allclose(got[defined], want[defined].astype(np.float32), rtol=ulps * UNIT * 8, atol=ulps * UNIT)
    assert np.isnan(got[np.isnan(x)]).all()


def test_batch_normalization() -> None:
    x = numbers((2, 21, 5, 3))
    parameters = [numbers((21,), k) for k in (1, 2, 3)] + [abs(numbers((21,), 4)) + 0.1]
    op = OPS["BatchNormalization"](epsilon=1e-3)
    same(op, [x, *parameters], constants=(1, 2, 3, 4), ulps=32, lanes=(16, 4))
    assert "constants" in run_lowered(op, [x, *parameters]).reason


@pytest.mark.parametrize("dtype", ["int8", "uint16", "int32", "int64", "uint64"])
def test_integers(dtype: str) -> None:
    limits = np.iinfo(dtype)
    rng = np.random.default_rng(5)
    x = rng.integers(limits.min, limits.max, 100, dtype, endpoint=True)
    y = rng.integers(max(limits.min, -5), 6, 100).astype(dtype)
    y[y == 0] = 3
    for name in ("Add", "Sub", "Mul", "Div", "Mod", "Max", "Less"):
        with np.errstate(all="ignore"):
            same(OPS[name](), [x, y])


def test_division_of_integers_never_traps() -> None:
    least = np.array([np.iinfo(np.int64).min, 7, -7], np.int64)
    (got,) = run_lowered(OPS["Div"](), [np.tile(least, 2), np.array([-1, 0, 0, 0, 0, -1], np.int64)])
    assert got[0] == least[0] and got[5] == 7
    run_lowered(OPS["Mod"](), [least, np.array([-1, 0, 0], np.int64)])


def test_casts_between_all_types() -> None:
    names = [t.numpy.name for t in DType]
    values = np.array([0, 1, 2, 3, 100, 7, 64, 0, 5, 17, 99, 1, 2, 3, 4, 5, 6], np.float64)
    for i, source in enumerate(names):
        for target in (names[i - 1], names[i - 4], "float32"):
            same(OPS["Cast"](to=DType.of(np.dtype(target))), [values.astype(source)])


def test_halves_are_rounded_once() -> None:
    # Between two halves by a hair more than the middle: a detour through f32 would lose the hair.
    x = np.array([1 + 2**-11 + 2**-40, 1 + 2**-11, 1 + 3 * 2**-11 - 2**-40, 1e30, np.nan, -(1 + 2**-11 + 2**-40)])
    same(OPS["Cast"](to=DType.F16), [x])


@pytest.mark.parametrize("name", ["Max", "Min", "Sum", "Mean"])
@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_many_operands(name: str, count: int) -> None:
    same(OPS[name](), [numbers((3, 1 + 4 * (k % 2)), k) for k in range(count)], ulps=4)


def test_refusals() -> None:
    x = numbers((2, 3))
    assert "8 inputs" in run_lowered(OPS["Max"](), [x] * 9).reason
    wide = [numbers(s) for s in ((2, 1, 2, 1, 2, 1, 2), (1, 2, 1, 2, 1, 2, 1))]
    assert "6 axes" in run_lowered(OPS["Add"](), wide).reason
    assert "f32 and f16" in run_lowered(OPS["Sigmoid"](), [x.astype(np.float64)]).reason
