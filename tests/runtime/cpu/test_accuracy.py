"""What `accuracy` allows: which kernels are considered, what is never transformed, which bounds are shown."""

import numpy as np
import pytest

import cnncc
from cnncc.errors import InputError
from cnncc.ir import parse_graph
from cnncc.ops import OPS
from cnncc.runtime.cpu.lower.accuracy import concentration, sum_bound
from cnncc.runtime.cpu.lower.conv import ConvLowering
from cnncc.runtime.cpu.tuning.explain import explain
from cnncc.runtime.cpu.tuning.findings import Findings
from cnncc.runtime.cpu.tuning.tune import native_convolutions

WEIGHTS = np.random.default_rng(0).standard_normal((32, 32, 3, 3)).astype(np.float32)


def compiled(weights: np.ndarray = WEIGHTS, accuracy: str = "default", size: int = 24) -> cnncc.Plan:
    text = f"""graph @net(%x: f32[1,32,{size},{size}]) {{
      %w = const @w : f32[32,32,3,3]
      %0 = Conv(%x, %w) {{pads=[1,1,1,1]}} : f32[1,32,{size},{size}]
      return %0
    }}"""
    return cnncc.compile(parse_graph(text, OPS, {"w": weights}), accuracy=accuracy, warm=False)


def considered(accuracy: str, weights: np.ndarray = WEIGHTS) -> set[str]:
    [(op, inputs)] = native_convolutions(compiled(weights, "high"))
    return {name for name in ConvLowering(accuracy).costs(op, inputs, 16) if "winograd" in name}


@pytest.mark.parametrize(("accuracy", "ms"), [("high", ""), ("default", "245"), ("fast", "2456")])
def test_each_mode_considers_its_kernels(accuracy: str, ms: str) -> None:
    assert considered(accuracy) == {f"conv_winograd{raw}/{m}" for m in ms for raw in ("", "_raw")}


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
@pytest.mark.parametrize("accuracy", ["default", "fast"])
def test_weights_without_a_bound_are_never_transformed(accuracy: str, value: float) -> None:
    weights = WEIGHTS.copy()
    weights[3, 4, 1, 2] = value
    assert not considered(accuracy, weights)
    assert not considered(accuracy, WEIGHTS * np.float32(1e-30))
    assert considered(accuracy, WEIGHTS * np.float32(1e-20)) and considered(accuracy, WEIGHTS * 0)


def considers_strassen(accuracy: str, weights: np.ndarray) -> bool:
    text = """graph @net(%x: f32[1,256,28,28]) {
      %w = const @w : f32[128,256,1,1]
      %0 = Conv(%x, %w) : f32[1,128,28,28]
      return %0
    }"""
    plan = cnncc.compile(parse_graph(text, OPS, {"w": weights}), accuracy="high", warm=False)
    [(op, inputs)] = native_convolutions(plan)
    return "conv_strassen" in ConvLowering(accuracy).costs(op, inputs, 16)


def test_pointwise_weights_are_summed_where_that_is_exact_enough() -> None:
    weights = np.random.default_rng(0).standard_normal((128, 256, 1, 1)).astype(np.float32)
    assert [considers_strassen(accuracy, weights) for accuracy in ("high", "default", "fast")] == [False, True, True]
    for value in (np.nan, np.inf, 1e30):
        spoilt = weights.copy()
        spoilt[3, 4] = value
        assert not considers_strassen("fast", spoilt)


def test_explain_names_the_bound() -> None:
    weights = np.ones((32, 32, 3, 3), np.float32)
    for accuracy, bound in (("high", "51 u sum|x||w|"), ("default", "24 u max|x| sum|w|")):
        [choice] = explain(compiled(weights, accuracy), accuracy, Findings.load(16, 1, "none"))
        assert choice.bound == bound


def test_bounds() -> None:
    assert [sum_bound(n) for n in (1, 27, 100, 400)] == [16.0, 16.0, 30.0, 60.0]
    w = np.zeros((4, 25), np.float32)
    w[1], w[2, 3], w[3, ::2] = -2.0, 7.0, 1.0
    np.testing.assert_allclose(concentration(w), [1.0, 1.0, 5.0, (25 / 13) ** 0.5])


def test_weights_of_which_a_few_outweigh_the_rest_are_not_transformed() -> None:
    """A channel with a value of 1e6: F(4,3) and larger ones would lose most digits of sums without it."""
    weights = WEIGHTS.copy()
    weights[5, 7, 1, 1] = 1e6
    assert considered("fast", weights) == {"conv_winograd/2", "conv_winograd_raw/2"}


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(InputError, match="it is one of high, default, fast"):
        compiled(accuracy="best")
