"""The networks of the ONNX model zoo, end to end: as the onnx package has them, and with plausible weights."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

import cnncc
from cnncc.plan import ALIAS, KNOWN

from .runs import Array, assert_agree, networks, reference

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"


@pytest.mark.parametrize("name", networks.NETWORKS)
def test_published_outputs(name: str) -> None:
    """The package's own input and output. Nearly all weights are 0.02 there, so all scores are nearly the same, and
    the softmax of very large equal numbers is no more exact than they are."""
    path = LIGHT / networks.NETWORKS[name].file
    expected = numpy_helper.to_array(TensorProto.FromString(path.with_name(f"{path.stem}_output_0.pb").read_bytes()))
    session = cnncc.InferenceSession(cnncc.compile(path))
    count = 3 * 224 * 224
    x = (np.arange(count).reshape(1, 3, 224, 224) / count).astype(np.float32)
    [found] = session.run(None, {session.get_inputs()[0].name: x})
    assert found.dtype == expected.dtype and found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-7)


@pytest.fixture(scope="module", params=[name for name in networks.NETWORKS if name != "vgg19"])
def network(request: pytest.FixtureRequest) -> tuple[onnx.ModelProto, dict[int, Array], dict[int, Array]]:
    """A network with a symbolic batch, inputs of batch 1 and 3, and what ONNX Runtime makes of them. VGG-19, the
    heaviest, has no layer that AlexNet and ZFNet have not."""
    model = networks.load(request.param, batch="N")
    session = reference(model.SerializeToString())
    random = np.random.default_rng(1)
    inputs = {n: random.standard_normal((n, 3, 224, 224), np.float32) for n in (1, 3)}
    outputs = {n: session.run(None, {session.get_inputs()[0].name: x})[0] for n, x in inputs.items()}
    return model, inputs, outputs


def test_every_level_and_batch_agrees_with_onnxruntime(
        network: tuple[onnx.ModelProto, dict[int, Array], dict[int, Array]]) -> None:
    model, inputs, outputs = network
    for level, sizes in ((2, (1, 3)), (1, (1,)), (0, (1,))):
        plan = cnncc.compile(model, level=level)
        session = cnncc.InferenceSession(plan)
        for n in sizes:
            [y] = session.run(None, {plan.inputs[0].name: inputs[n]})
            assert_agree({plan.outputs[0].name: y}, {plan.outputs[0].name: outputs[n]})


@pytest.mark.parametrize("name", networks.NETWORKS)
def test_the_arena_is_near_its_lower_bound(name: str) -> None:
    plan = cnncc.compile(LIGHT / networks.NETWORKS[name].file, warm=False)
    assert plan.arena is not None
    assert plan.arena.lower_bound <= plan.arena.size <= 1.05 * plan.arena.lower_bound


def test_resnet50_is_its_convolutions() -> None:
    """53 convolutions, each a single step: no batch normalization, no separate activation or addition is left."""
    plan = cnncc.compile(LIGHT / networks.NETWORKS["resnet50"].file, warm=False)
    kinds = Counter(step.op.op_type for step in plan.steps if step.kernel not in (ALIAS, KNOWN, "reorder"))
    assert kinds == {"Conv": 53, "MaxPool": 1, "GlobalAveragePool": 1, "Gemm": 1, "Softmax": 1}
    residual = [step for step in plan.steps if step.op.op_type == "Conv" and len(step.inputs) == 4]
    assert len(residual) == 16


def test_a_channel_shuffle_is_one_copy() -> None:
    """Each of ShuffleNet's 16: Reshape, Transpose, Reshape, of which only the Transpose moves anything. Where the
    depthwise convolution behind it wants blocks of channels, a reorder of its own makes them."""
    plan = cnncc.compile(LIGHT / networks.NETWORKS["shufflenet"].file, warm=False)
    turns = [i for i, step in enumerate(plan.steps) if step.op.op_type == "Transpose"]
    assert len(turns) == 16
    for i in turns:
        assert [(step.op.op_type, step.kernel) for step in plan.steps[i - 1:i + 2]] == [
            ("Reshape", ALIAS), ("Transpose", "copy"), ("Reshape", ALIAS)]
