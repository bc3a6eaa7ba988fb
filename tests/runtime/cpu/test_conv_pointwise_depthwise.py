"""Both convolutions in one pass: to the bit what they give one after the other. tests/property judges the numbers."""

import numpy as np
import pytest

from cnncc.errors import PlanInvalid
from cnncc.ir import Activation
from cnncc.ops.pointwise_depthwise import PointwiseDepthwiseConv
from cnncc.runtime.cpu import native
from cnncc.runtime.cpu.kernels import conv_pointwise_depthwise as kernel
from cnncc.runtime.cpu.lower.table import LOWERINGS
from cnncc.runtime.cpu.lowering import BLOCKED, PLAIN, Choice, Refusal, Tensor
from tests.runtime.cpu.lowered import Setting, prepare, run_lowered, tensors_of

LAYOUTS = [BLOCKED, *[PLAIN] * 4]
RELU, SILU, NONE = Activation("relu"), Activation("silu"), None
# Lanes, channels before and behind, size, kernel, strides, pads, activations: one tile and more than one, blocks that
# fill no tile, rows above and below the picture only, the last band shorter, padding on one side.
CASES = [
    (16, 5, 37, (17, 19), (3, 3), (1, 1), (1, 1, 1, 1), RELU, NONE),
    (16, 33, 64, (15, 14), (3, 3), (1, 1), (0, 2, 1, 0), RELU, NONE),
    (16, 24, 96, (29, 28), (3, 3), (2, 2), (1, 1, 1, 1), SILU, RELU),
    (16, 16, 50, (30, 31), (5, 5), (2, 2), (2, 2, 2, 2), NONE, SILU),
    (16, 3, 16, (1, 16), (5, 5), (1, 1), (4, 4, 4, 4), RELU, RELU),
    (16, 17, 49, (23, 16), (1, 3), (3, 1), (0, 1, 0, 1), RELU, NONE),
    (8, 11, 29, (16, 15), (3, 3), (1, 1), (1, 1, 1, 1), RELU, NONE),
    (4, 9, 22, (9, 17), (3, 3), (2, 2), (0, 1, 1, 1), RELU, NONE),
]


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape, np.float32)


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("bias", [True, False])
def test_to_the_bit_what_separate_steps_give(case, bias: bool) -> None:
    lanes, channels, outs, size, taps, strides, pads, inner, activation = case
    op = PointwiseDepthwiseConv(pads=pads, strides=strides, inner=inner, activation=activation)
    x, w, v = numbers(2, channels, *size), numbers(outs, channels, 1, 1), numbers(outs, 1, *taps)
    b, d = (numbers(outs), numbers(outs) + 1) if bias else (None, None)
    arrays = [x, w, v, b, d]
    choice, setting = prepare(op, arrays, (1, 2, 3, 4), LAYOUTS, lanes).choice, Setting(lanes)
    [middle] = run_lowered(op.pointwise, [x, w, b], (1, 2), LAYOUTS[:3], setting, 1,
                           Choice("conv_direct", {"rows": 5 if lanes == 8 else 8, "vectors": 2 if lanes == 8 else 3},
                                  (BLOCKED,) * 4, (BLOCKED,)))
    [want] = run_lowered(op.depthwise(outs), [middle, v, d], (1, 2), LAYOUTS[:3], setting, 1)
    for threads in (1, 2, 3):
        for at_start in (False, True):
            [got] = run_lowered(op, arrays, (1, 2, 3, 4), LAYOUTS, Setting(lanes, threads, False, at_start), 1, choice)
            assert got.tobytes() == want.tobytes()


def test_bands_follow_each_other_or_not() -> None:
    """A launch has several bands of each panel of channels, and what a thread has in its ring is not always their
    beginning."""
    op = PointwiseDepthwiseConv(pads=(1, 1, 1, 1))
    arrays = [numbers(1, 4, 64, 8), numbers(70, 4, 1, 1), numbers(70, 1, 3, 3)]
    lanes = native.host_lanes()
    step = prepare(op, arrays, (1, 2), LAYOUTS[:3], lanes)
    bands = dict(zip(step.launch.kernel.dims, step.launch.dims, strict=True))["bands"]
    assert bands == -(-64 // kernel.BAND_ROWS) and step.launch.tasks > bands
    [want] = op.reference(*(a.astype(np.float64) for a in arrays))
    for threads in (1, 2, 4, 7):
        [got] = run_lowered(op, arrays, (1, 2), LAYOUTS[:3], Setting(lanes, threads))
        np.testing.assert_allclose(got, want, atol=1e-4)


REFUSED = [
    ({}, (4, 12, 1, 1), (12, 1, 3, 6), "no kernel"),  # six taps along a row
    ({"strides": (1, 3)}, (4, 12, 1, 1), (12, 1, 3, 3), "no kernel"),
    ({}, (4, 12, 1, 1), (12, 1, 3, 14), "no kernel"),
    ({"strides": (2, 2)}, (4, 12, 1, 1), (12, 1, 3, 3), ""),
]


@pytest.mark.parametrize(("fields", "w", "v", "reason"), REFUSED)
def test_what_it_cannot_run_is_refused(fields, w, v, reason: str) -> None:
    arrays = [numbers(1, w[0], 20, 20), numbers(w[1], w[0], *w[2:]), numbers(*v)]
    found = prepare(PointwiseDepthwiseConv(**fields), arrays, (1, 2), LAYOUTS[:3])
    assert reason in found.reason if reason else not isinstance(found, Refusal)


@pytest.mark.parametrize("params", [{"rows": 9, "vectors": 3}, {"rows": 8}, {"rows": 14, "vectors": 2}])
def test_a_plan_with_another_tile_is_refused(params) -> None:
    """One that no kernel has, one that is no tile, one that is longer than a row."""
    op, lowering = PointwiseDepthwiseConv(), LOWERINGS["PointwiseDepthwiseConv"]
    inputs = tensors_of([numbers(1, 4, 12, 12), numbers(12, 4, 1, 1), numbers(12, 1, 3, 3)], (1, 2), LAYOUTS[:3])
    output = Tensor(op.infer(*inputs)[0], BLOCKED)
    with pytest.raises(PlanInvalid):
        lowering.launch(op, Choice(kernel.KERNEL.name, params, (BLOCKED,), (BLOCKED,)), inputs, [output], 16)
