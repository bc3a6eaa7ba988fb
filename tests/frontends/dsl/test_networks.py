"""The zoo's three golden networks, and random ones: to IR, to text and back, to ONNX and back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cnncc
from cnncc.frontends import load_graph
from cnncc.frontends.dsl import build_network, format_network, weights_of
from cnncc.frontends.dsl.formatter import format_text
from cnncc.frontends.onnx import export_model, import_model
from cnncc.ir import evaluate, format_graph, verify

from .networks import random_text

ZOO = Path(cnncc.__file__).parent / "zoo"
LIGHT = sorted((Path(onnx.__file__).parent / "backend" / "test" / "data" / "light").glob("*.onnx"))


@pytest.mark.parametrize(("name", "some"), [
    ("vgg16", ["features.0.weight", "features.28.bias", "classifier.0.weight", "classifier.6.bias"]),
    ("resnet50", ["conv1.weight", "bn1.running_var", "layer1.0.downsample.0.weight",
                  "layer1.0.downsample.1.running_mean", "layer3.5.conv3.weight", "layer4.2.bn3.bias", "fc.weight"])])
def test_weights_are_named_as_torchvision_names_them(name: str, some: list[str]) -> None:
    names = {v.name for v in load_graph(ZOO / f"{name}.cnn", seed=None).constants}
    assert names >= set(some)
    assert len(names) == {"vgg16": 32, "resnet50": 267}[name]


def assert_same(text: str) -> None:
    graph = build_network(text, seed=3)
    verify(graph)
    again = build_network(format_network(graph), weights=weights_of(graph))
    assert format_graph(again) == format_graph(graph)
    formatted = format_text(text)
    assert format_text(formatted) == formatted
    assert format_graph(build_network(formatted, seed=3)) == format_graph(graph)
    model = export_model(graph)
    onnx.checker.check_model(model, full_check=True)
    feeds = {"x": np.random.default_rng(0).standard_normal((2, 4, 6, 6)).astype(np.float32)}
    wanted, found = evaluate(graph, feeds), evaluate(import_model(model), feeds)
    assert wanted.keys() == found.keys()
    for name in wanted:
        np.testing.assert_allclose(found[name], wanted[name], rtol=1e-5, atol=1e-5)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1))
def test_random_networks_through_text_and_onnx(seed: int) -> None:
    assert_same(random_text(seed))


@pytest.mark.parametrize("path", LIGHT, ids=lambda p: p.stem)
def test_imported_models_print_as_the_language(path: Path) -> None:
    graph = load_graph(path)
    again = build_network(format_network(graph), weights=weights_of(graph))
    assert format_graph(again) == format_graph(graph)


def test_light_models_are_there() -> None:
    assert len(LIGHT) >= 9


def test_lenet_exports() -> None:
    model = export_model(load_graph(ZOO / "lenet5.cnn"))
    onnx.checker.check_model(model, full_check=True)
    feeds = {"image": np.random.default_rng(0).standard_normal((2, 1, 32, 32)).astype(np.float32)}
    wanted = evaluate(load_graph(ZOO / "lenet5.cnn"), feeds)["logits"]
    np.testing.assert_allclose(evaluate(import_model(model), feeds)["logits"], wanted, rtol=1e-5, atol=1e-6)
