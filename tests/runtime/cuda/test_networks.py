"""Whole networks, end to end, against the reference in double precision."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import cnncc
from cnncc.ir import Graph, evaluate

LENET = Path(__file__).parents[3] / "examples" / "lenet" / "lenet5.onnx"

VGG = """
block stage(width):
  repeat 2: conv width 3x3 pad 1 -> relu
  maxpool 2x2

network narrow_vgg:
  input image: f32[N,3,12,12]
  for width in 6, 10: _: stage width
  flatten
  linear 20 -> relu -> dropout
  output probabilities = linear 7 -> softmax
"""

RESNET = """
block basic(width, stride = 1) of x:
  y = x -> conv width 3x3 stride stride pad 1 nobias -> bn -> relu -> conv width 3x3 pad 1 nobias -> bn
  if stride > 1 or channels(x) != width:
    x = x -> conv width 1x1 stride stride nobias -> bn
  y + x -> relu

block bottleneck(width) of x:
  y = x -> conv 4 1x1 nobias -> bn -> relu -> conv 4 3x3 pad 1 group 2 nobias -> bn -> relu
        -> conv width 1x1 nobias -> bn
  y + x -> relu

network narrow_resnet:
  input image: f32[N,3,19,17]
  conv 8 7x7 stride 2 pad 3 nobias -> bn -> relu
  maxpool 3x3 stride 2 pad 1
  _: basic 8
  _: basic 12 2
  _: bottleneck 12
  global_avgpool -> flatten
  output logits = linear 5
"""

# A constant of the output's shape becomes what the convolution adds.
PATCHES = """
network patches:
  input image: f32[1,2,6,6]
  weight positions: f32[1,5,3,3]
  y = conv 5 2x2 stride 2
  output z = (y + positions) -> flatten
"""


def graph_of(name: str) -> Graph:
    if name == "lenet":
        from cnncc.frontends import load_graph

        return load_graph(LENET)
    return cnncc.network({"vgg": VGG, "resnet": RESNET, "patches": PATCHES}[name])


@pytest.mark.parametrize(("name", "images", "accuracy"), [
    ("lenet", 1, "default"), ("vgg", 2, "default"), ("resnet", 2, "default"), ("patches", None, "default"),
    ("patches", None, "tf32")])
def test_networks_equal_the_reference(name: str, images: int | None, accuracy: str) -> None:
    from cnncc.runtime.cuda import simulated_driver

    plan = cnncc.compile(graph_of(name), target="cuda", shapes={"N": images} if images else None, accuracy=accuracy)
    assert not plan.fallbacks
    assert any(step.params.get("tensor") for step in plan.steps) is (accuracy == "tf32")
    session, graph = cnncc.InferenceSession(plan), graph_of(name)
    [port] = session.get_inputs()
    x = np.random.default_rng(3).standard_normal(port.shape).astype(np.float32)
    simulated_driver.calls.clear()
    [y] = session.run(None, {port.name: x})
    assert simulated_driver.calls.count("cuMemAlloc") == 0 and simulated_driver.calls.count("cuStreamSynchronize") == 1
    [exact] = evaluate(graph, {port.name: x}, fp64=True).values()
    assert abs(y - exact).max() <= (1e-3 if accuracy == "tf32" else 3e-6) * abs(exact).max()
    assert (y.argmax(axis=1) == exact.argmax(axis=1)).all()
