"""The networks of the zoo against what is published of them. Their weights are zeros that take no memory."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

import cnncc
from cnncc import zoo
from cnncc.errors import InputError
from cnncc.frontends.dsl import list_networks
from cnncc.frontends.dsl.formatter import format_text
from cnncc.ir import verify

FILES = sorted(Path(zoo.__file__).parent.glob("*.cnn"))


@pytest.mark.parametrize("entry", zoo.TABLE, ids=lambda entry: entry.name)
def test_it_is_the_published_network(entry: zoo.Entry) -> None:
    graph = zoo.load(entry.name, seed=None)
    verify(graph)
    found = cnncc.summary(graph)
    assert found.name == entry.name
    assert found.parameters == entry.parameters
    assert " ".join(found.inputs.values()) == entry.inputs
    assert " ".join(found.outputs.values()) == entry.outputs
    if entry.gmacs is not None:
        assert isinstance(found.macs, int)
        assert found.macs == pytest.approx(entry.gmacs * 1e9, rel=0.01)


@pytest.mark.parametrize("entry", [e for e in zoo.TABLE if e.small], ids=lambda entry: entry.name)
def test_the_small_one_has_the_same_layers(entry: zoo.Entry) -> None:
    graphs = [zoo.load(entry.name, seed=None, **parameters) for parameters in ({}, entry.small)]
    kinds = [Counter(node.op.op_type for node in graph.walk()) for graph in graphs]
    assert kinds[0] == kinds[1]
    assert [v.type.rank for v in graphs[0].outputs] == [v.type.rank for v in graphs[1].outputs]


def test_the_table_lists_every_network_of_every_file() -> None:
    written = {(path.stem, name) for path in FILES for name in list_networks(path.read_text(encoding="utf-8"))}
    assert {(e.file, e.name) for e in zoo.TABLE} == written
    assert len(zoo.names()) == len(set(zoo.names())) == len(zoo.TABLE)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_is_in_canonical_form_and_cites_its_source(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert format_text(text, path.name) == text
    assert text.startswith("# ")


def test_parameters_of_a_network_are_set() -> None:
    graph = zoo.load("resnet18", seed=None, classes=10, size=96)
    assert [str(v.type) for v in (*graph.inputs, *graph.outputs)] == ["f32[N,3,96,96]", "f32[N,10]"]


def test_an_unknown_network_is_named_with_a_near_one() -> None:
    with pytest.raises(InputError, match=r"^the zoo has no network 'resnet51'; did you mean 'resnet50'\?$"):
        zoo.load("resnet51")
