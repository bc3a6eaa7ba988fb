"""The networks of the zoo, compiled and run on small inputs (`Entry.small`), against ONNX Runtime on their exports.

`make zoo` runs all of them at full size.
"""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import cnncc
from cnncc import zoo
from cnncc.frontends.onnx import export_model

from ..networks.runs import Array, assert_agree, reference

HEAVY = {
    "vgg13": "vgg16 has the same layers",
    "vgg19": "vgg16 has the same layers",
    "resnet101": "resnet50 has the same layers",
    "resnet152": "resnet50 has the same layers",
    "wide_resnet50": "resnet50 has the same layers",
    "efficientnet_b3": "efficientnet_b2 has the same layers",
    "efficientnet_b4": "efficientnet_b2 has the same layers",
    "efficientnet_b5": "efficientnet_b2 has the same layers",
    "efficientnet_b6": "efficientnet_b2 has the same layers",
    "efficientnet_b7": "efficientnet_b2 has the same layers",
    "fcn8s": "it has 134 million parameters at any size",
}


def feeds(graph_inputs: dict[str, tuple[int, ...]], seed: int) -> dict[str, Array]:
    random = np.random.default_rng(seed)
    return {name: random.standard_normal(shape).astype(np.float32) for name, shape in graph_inputs.items()}


@pytest.mark.parametrize("entry", [
    pytest.param(e, id=e.name, marks=[pytest.mark.skip(reason=f"only in make zoo: {HEAVY[e.name]}")]
                 if e.name in HEAVY else []) for e in zoo.TABLE])
def test_it_runs_natively_and_agrees_with_onnxruntime(entry: zoo.Entry) -> None:
    graph = zoo.load(entry.name, **entry.small)
    model = export_model(graph)
    onnx.checker.check_model(model, full_check=True)
    other = reference(model.SerializeToString())
    names = list(graph.output_names)
    plan = cnncc.compile(graph, shapes={"N": 1, **entry.sizes})
    assert not plan.fallbacks
    inputs = {v.name: v.type.static_shape for v in graph.inputs}
    session = cnncc.InferenceSession(plan)
    first, second = (session.run(names, feeds(inputs, seed)) for seed in (0, 1))
    assert_agree(dict(zip(names, first, strict=True)),
                 dict(zip(names, other.run(names, feeds(inputs, 0)), strict=True)))
    for a, b in zip(first, second, strict=True):  # else agreement on one input would say little
        assert np.abs(a - b).max() > 1e-3 * np.abs(a).max()
