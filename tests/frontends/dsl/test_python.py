"""Networks from Python: as text, and with the layer words as functions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import cnncc
from cnncc import layers as L
from cnncc.errors import CnnccError, InputError
from cnncc.ir import format_graph

ZOO = Path(cnncc.__file__).parent / "zoo"


def test_functions_build_what_the_text_builds() -> None:
    net = L.Network("lenet5", seed=4)
    x = net.input("image", "f32[N,1,32,32]")
    x = L.avgpool(L.tanh(L.conv(x, 6, "5x5", label="conv1")), "2x2")
    x = L.avgpool(L.tanh(L.conv(x, 16, [5, 5], label="conv2")), 2)
    x = L.tanh(L.linear(L.flatten(x), 120, label="fc1"))
    x = L.tanh(L.linear(x, features=84, label="fc2"))
    net.output(L.linear(x, 10, label="fc3"), "logits")
    text = cnncc.network(ZOO / "lenet5.cnn", seed=4)
    net.graph.rename(net.graph.outputs[0], "logits")  # as 'output logits = ...' does
    assert format_graph(net.graph) == format_graph(text)
    for a, b in zip(net.graph.constants, text.constants, strict=True):
        assert a.constant is not None and b.constant is not None and np.array_equal(a.constant, b.constant)


def test_scopes_arithmetic_and_several_outputs() -> None:
    net = L.Network("a")
    x = net.input("x", "f32[N,4,8,8]")
    with net.scope("stage"):
        y = L.relu(L.conv(x, 4, "3x3", "same", "nobias", stride=1)) * net.weight("scale", "f32[4,1,1]", 0.5)
    a, b = L.split(-(1.0 - (y + x) / 2), 2, outputs=2)
    net.output(L.ReduceMean(L.concat(a, b), axes=[2, 3], keepdims=False), "y")
    text = """network a:
  input x: f32[N,4,8,8]
  stage:
    y = x -> conv 4 3x3 same nobias stride 1 -> relu
    weight scale: f32[4,1,1] = 0.5
    y * scale
    y = y * scale
"""
    assert [v.name for v in net.graph.constants if v.type.rank > 1] == ["stage.0.weight", "stage.scale"]
    assert str(net.graph.outputs[0].type) == "f32[N,4]"
    assert cnncc.network(text).value("stage.0.weight").type == net.graph.value("stage.0.weight").type


def test_errors_of_functions() -> None:
    net = L.Network("a")
    x = net.input("x", "f32[N,4,8,8]")
    with pytest.raises(CnnccError, match="did you mean 'stride'"):
        L.conv(x, 4, "3x3", strde=2)
    with pytest.raises(AttributeError, match="did you mean 'conv'"):
        _ = L.cnov
    with pytest.raises(InputError, match="no output"):
        _ = net.graph
    with pytest.raises(InputError, match="its first argument is a tensor"):
        L.relu(3)


def test_several_networks_and_parameters() -> None:
    text = "".join(f"network {n}(width = 4):\n  input x: f32[N,3,8,8]\n  conv width {k}\n"
                   for n, k in (("a", "1x1"), ("b", "3x3")))
    assert str(cnncc.network(text).outputs[0].type) == "f32[N,4,8,8]"
    assert str(cnncc.network(text, "b", parameters={"width": 7}).outputs[0].type) == "f32[N,7,6,6]"
    with pytest.raises(InputError, match="it has a, b"):
        cnncc.network(text, "c")


def test_summary() -> None:
    found = cnncc.summary(cnncc.network(ZOO / "resnet50.cnn", seed=None))
    assert found.macs == 4_089_184_256  # as torchvision's table: 4.09 GMACs
    last = [layer for layer in found.layers if layer.receptive_field][-1]
    assert last.receptive_field == (427, 427)  # 483 in the first layout of strides, which has them in the 1x1 layers
    assert sum(layer.parameters for layer in found.layers) == found.parameters
    assert str(found).splitlines()[-1].split() == ["total", "25,557,032", "4,089,184,256"]


def test_summary_of_symbolic_sizes_and_constant_nodes() -> None:
    text = "network a:\n  input x: f32[N,4,H,8]\n  conv 2 1x1 -> prelu 2 -> fc: linear 3\n"
    found = cnncc.summary(cnncc.network(text))
    assert found.parameters == 4 * 2 + 2 + 2 + 8 * 3 + 3
    assert found.macs == "(64*H) + (48*H)"
    assert [layer.operator for layer in found.layers] == ["Conv", "PRelu", "MatMul", "Add"]
