"""Pools on their native kernels against the reference."""

import numpy as np
import pytest

from cnncc.ir import Op, Operand, TensorType
from cnncc.ir.types import DType
from cnncc.ops import OPS
from cnncc.runtime.cpu.lower.table import LOWERINGS
from cnncc.runtime.cpu.lowering import Refusal, Tensor
from tests.runtime.cpu.harness import UNIT
from tests.runtime.cpu.lowered import all_runs, run_lowered

WIDTHS = (16, 8, 4)


def numbers(rng, shape) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32)


def expect(op: Op, x: np.ndarray, outputs: list[list[np.ndarray]]) -> None:
    """Maxima exactly; means and norms within 16 roundings of the exact one of the same absolute values."""
    if "Max" in op.op_type:
        for (y,) in outputs:
            np.testing.assert_array_equal(y, op.reference(x)[0])
        return
    want, size = (op.reference(v.astype(np.float64))[0] for v in (x, abs(x)))
    for (y,) in outputs:
        assert np.all(abs(y - want) <= 16 * UNIT * size)


def random_pool(rng, name: str) -> tuple[Op, tuple[int, ...]]:
    rank = int(rng.integers(1, 4))
    kernel = tuple(int(k) for k in rng.integers(1, 5 if rank < 3 else 4, rank))
    dilations = tuple(int(d) for d in rng.integers(1, 3, rank))
    pads = tuple(int(rng.integers(0, k)) for k in kernel * 2)
    attributes = {
        "kernel_shape": kernel, "strides": tuple(int(s) for s in rng.integers(1, 4, rank)), "dilations": dilations,
        "pads": pads, "ceil_mode": bool(rng.integers(2)),
    }  # fmt: skip
    if name == "AveragePool":
        attributes["count_include_pad"] = bool(rng.integers(2))
    if name == "LpPool":
        attributes["p"] = int(rng.integers(1, 5))
    least = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    size = tuple(int(m + rng.integers(0, 9 if rank < 3 else 4)) for m in least)
    return OPS[name](**attributes), (int(rng.integers(1, 3)), int(rng.integers(1, 40)), *size)


@pytest.mark.parametrize("name", ["MaxPool", "AveragePool", "LpPool"])
@pytest.mark.parametrize("seed", range(12))
def test_random(name: str, seed: int) -> None:
    rng = np.random.default_rng([seed, len(name)])
    op, shape = random_pool(rng, name)
    x = numbers(rng, shape)
    expect(op, x, all_runs(op, [x], lanes=WIDTHS[seed % 3 : seed % 3 + 1], threads=(1, 2)))


@pytest.mark.parametrize("name", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize(("kernel", "stride", "pads", "width"),
                         [(2, 2, (0, 0), 28), (3, 2, (1, 1), 37), (3, 1, (1, 1), 50), (5, 1, (4, 3), 3)])
def test_plain_windows_by_columns(name: str, kernel: int, stride: int, pads: tuple[int, int], width: int) -> None:
    """Plain inputs stay plain; rows that are no multiple of a vector, and windows that the borders clip."""
    rng = np.random.default_rng(width)
    more = {"count_include_pad": bool(width % 2)} if name == "AveragePool" else {}
    op = OPS[name](kernel_shape=(kernel, kernel), strides=(stride, stride), pads=(1, pads[0], 0, pads[1]), **more)
    x = numbers(rng, (1, 5, 11, width))
    tensor = Tensor(TensorType(DType.F32, x.shape), "plain")
    (y_type,) = op.infer(Operand(tensor.type))[:1]
    choice = LOWERINGS[name].choose(op, [tensor], [y_type], 16)
    assert not isinstance(choice, Refusal) and choice.kernel == "pool_columns"
    for lanes in WIDTHS:
        expect(op, x, all_runs(op, [x], lanes=(lanes,), threads=(1,)))


@pytest.mark.parametrize("name", ["GlobalMaxPool", "GlobalAveragePool", "GlobalLpPool"])
@pytest.mark.parametrize(
    "shape", [(1, 5, 3, 3), (2, 33, 7, 7), (1, 64, 1, 1), (1, 16, 130, 3), (3, 20, 1000), (1, 8, 2, 3, 4)]
)
def test_global(name: str, shape: tuple[int, ...]) -> None:
    x = numbers(np.random.default_rng(1), shape)
    expect(OPS[name](), x, all_runs(OPS[name](), [x], lanes=(16, 4), threads=(1, 2)))


def test_a_large_mean_is_accurate() -> None:
    x = np.random.default_rng(2).uniform(0, 1, (1, 3, 300, 400)).astype(np.float32)
    for (y,) in all_runs(OPS["GlobalAveragePool"](), [x]):
        assert np.all(abs(y - x.mean((2, 3), np.float64, keepdims=True)) <= 4 * UNIT)


@pytest.mark.parametrize("channels", [3, 16])
def test_nan_and_infinity(channels: int) -> None:
    rng = np.random.default_rng(3)
    x = numbers(rng, (1, channels, 9, 9))
    for value in (np.nan, np.inf, -np.inf):
        x.reshape(-1)[rng.integers(0, x.size, 20)] = value
    x[0, 0] = -np.inf
    for op in (OPS["MaxPool"](kernel_shape=(3, 3), pads=(1, 1, 1, 1)), OPS["GlobalMaxPool"]()):
        for (y,) in all_runs(op, [x]):
            np.testing.assert_array_equal(y, op.reference(x)[0])


@pytest.mark.parametrize("dtype", ["int8", "uint8", "float16", "float64"])
def test_other_types(dtype: str) -> None:
    x = (np.random.default_rng(4).standard_normal((2, 5, 7, 8)) * 50).astype(dtype)
    op = OPS["MaxPool"](kernel_shape=(3, 2), strides=(2, 1), pads=(1, 0, 1, 1))
    np.testing.assert_array_equal(run_lowered(op, [x])[0], op.reference(x)[0])


def test_empty() -> None:
    for shape in ((0, 16, 4, 4), (2, 0, 4, 4)):
        (y,) = run_lowered(OPS["MaxPool"](kernel_shape=(2, 2)), [np.zeros(shape, np.float32)])
        assert y.shape == (*shape[:2], 3, 3)


def test_refusals() -> None:
    x = np.zeros((1, 16, 4, 4), np.float32)
    assert "p = 16" in run_lowered(OPS["LpPool"](kernel_shape=(2, 2), p=17), [x]).reason
    wide = Tensor(TensorType(DType.F32, (1, 16, 2, 2, 2, 2)))
    op = OPS["MaxPool"](kernel_shape=(1, 1, 1, 1))
    choice = LOWERINGS["MaxPool"].choose(op, [wide], op.infer(Operand(wide.type))[:1], 16)
    assert isinstance(choice, Refusal) and "3 spatial axes" in choice.reason
