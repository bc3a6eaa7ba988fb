"""`cnncc zoo`."""

from __future__ import annotations

from pathlib import Path

import onnx

from cnncc import zoo

from .conftest import Cli


def test_list(cli: Cli) -> None:
    lines = cli("zoo", "list").out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == zoo.names()
    [resnet] = [line for line in lines if line.startswith("resnet50 ")]
    assert resnet.split()[:4] == ["resnet50", "25,557,032", "f32[N,3,224,224]", "f32[N,1000]"]
    found = cli("zoo", "list", "--json").json
    assert [entry["name"] for entry in found] == zoo.names()
    assert found[0] == {"name": "lenet5", "file": "lenet5.cnn", "parameters": 61_706, "gmacs": None,
                        "inputs": ["f32[N,1,32,32]"], "outputs": ["f32[N,10]"], "source": zoo.find("lenet5").source}


def test_show_prints_a_text_that_is_a_network_of_ones_own(cli: Cli) -> None:
    text = zoo.find("resnet18").path.read_text(encoding="utf-8")
    assert cli("zoo", "show", "resnet18").out == text
    assert cli("zoo", "show", "resnet18", "--json").json["text"] == text
    Path("mine.cnn").write_text(text, encoding="utf-8")
    assert cli("check", "mine.cnn").code == 0


def test_compile_and_export_write_files_named_after_the_network(cli: Cli) -> None:
    compiled = cli("zoo", "compile", "lenet5", "--json")
    assert compiled.code == 0 and compiled.json["plan"] == "lenet5.plan" and compiled.json["fallbacks"] == 0
    exported = cli("zoo", "export", "lenet5", "--json")
    assert exported.code == 0 and exported.json["model"] == "lenet5.onnx"
    assert cli("verify", "lenet5.plan", "--against", "lenet5.onnx").code == 0


def test_a_network_of_a_file_with_several_and_its_parameters(cli: Cli) -> None:
    done = cli("zoo", "export", "resnet34", "--set", "classes=5", "--set", "size=32", "--shape", "N=2", "-o", "x.onnx")
    assert done.code == 0
    graph = onnx.load("x.onnx").graph
    assert graph.name == "resnet34"
    assert [[d.dim_value for d in v.type.tensor_type.shape.dim] for v in (graph.input[0], graph.output[0])] \
        == [[2, 3, 32, 32], [2, 5]]


def test_errors(cli: Cli) -> None:
    done = cli("zoo", "compile", "resnet5")
    assert (done.code, done.err) == (2, "error: the zoo has no network 'resnet5'; did you mean 'resnet50'?\n")
    assert "no parameter 'clases'; did you mean 'classes'?" in cli("zoo", "export", "alexnet", "--set", "clases=5").err
    assert "show" in cli("zoo").out
