"""The graphs of LeNet-5, VGG-16 and ResNet-50 as the language gives them, and its error messages.

`make golden` writes them anew.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import cnncc
from cnncc.frontends.dsl import LanguageError, build_network
from cnncc.frontends.dsl.formatter import format_text
from cnncc.ir import format_graph, verify

from .broken_networks import BROKEN

HERE = Path(__file__).parent
ZOO = Path(cnncc.__file__).parent / "zoo"


@pytest.mark.parametrize(("name", "parameters", "lines", "shape"), [
    ("lenet5", 61_706, 10, "f32[N,10]"), ("vgg16", 138_357_544, 15, "f32[N,1000]"),
    ("resnet50", 25_557_032, 30, "f32[N,1000]")])
def test_golden_network(name: str, parameters: int, lines: int, shape: str, request: pytest.FixtureRequest) -> None:
    text = (ZOO / f"{name}.cnn").read_text(encoding="utf-8")
    graph = build_network(text, seed=None)
    verify(graph)
    found = cnncc.summary(graph)
    assert found.parameters == parameters
    assert list(found.outputs.values()) == [shape]
    assert len([line for line in text.splitlines() if line.strip() and not line.startswith("#")]) <= lines
    assert format_text(text) == text
    path = HERE / "language" / f"{name}.txt"
    if request.config.getoption("--update-golden", default=False):
        path.parent.mkdir(exist_ok=True)
        path.write_text(format_graph(graph), encoding="utf-8")
    assert format_graph(graph).splitlines() == path.read_text(encoding="utf-8").splitlines(), \
        f"{path.name} differs; 'make golden' writes it anew if that is meant"


def test_error_messages(request: pytest.FixtureRequest) -> None:
    found = ""
    for name, text in BROKEN.items():
        with pytest.raises(LanguageError) as info:
            build_network(text, seed=None, origin=f"{name}.cnn")
        found += f"## {name}\n{info.value}\n\n"
    path = HERE / "language" / "errors.txt"
    if request.config.getoption("--update-golden", default=False):
        path.write_text(found, encoding="utf-8")
    assert len(BROKEN) >= 25
    assert found.splitlines() == path.read_text(encoding="utf-8").splitlines(), \
        "errors.txt differs; 'make golden' writes it anew if that is meant"
