"""The verbs of the language: check, summary, show, export, fmt, and compile of a .cnn file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import cnncc
from cnncc.frontends.dsl import weights_of

from .conftest import MODEL, Cli

LENET = Path(cnncc.__file__).parent / "zoo" / "lenet5.cnn"
TEXT = "network small(width = 4):\n  input x: f32[N,3,8,8]\n  conv width 3x3 -> relu -> global_avgpool -> flatten\n" \
       "  output y = fc: linear 5\n"
BROKEN = TEXT.replace("relu", "relo").replace("linear 5", "linear 5 biass false")


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.cnn"
    path.write_text(TEXT)
    return path


def test_check_lists_all_errors(cli: Cli, small: Path) -> None:
    assert cli("check", small).code == 0
    small.write_text(BROKEN)
    result = cli("check", small)
    assert result.code == 2 and result.out == ""
    assert "small.cnn:3:21: there is no layer, block or value 'relo'; did you mean 'relu'?" in result.err
    assert "small.cnn:4:27: 'biass' is neither an attribute" in result.err
    assert [line.split()[-1] for line in result.err.splitlines() if "^" in line] == ["^^^^", "^^^^^"]


def test_check_all_networks_and_weights(cli: Cli, small: Path, tmp_path: Path) -> None:
    small.write_text(TEXT + TEXT.replace("small", "other").replace("3x3", "9x9"))
    assert "window" in cli("check", small).err
    assert cli("check", small, "--network", "small").code == 0
    weights = weights_of(cnncc.network(TEXT))
    np.savez(tmp_path / "w.npz", **weights)
    assert cli("check", small, "--weights", "w.npz").code == 0
    np.savez(tmp_path / "w.npz", **{n: a for n, a in weights.items() if n != "fc.bias"})
    assert "missing: fc.bias f32[5]" in cli("check", small, "--weights", "w.npz").err


@pytest.mark.parametrize("arguments", [("check", MODEL), ("summary", MODEL, "--set", "a=1"),
                                       ("show", MODEL, "--weights", "w.npz"), ("check", "none.cnn"),
                                       ("summary", "none.txt"), ("summary", LENET, "--set", "a"),
                                       ("summary", LENET, "--set", "a=1"), ("summary", LENET, "--network", "b"),
                                       ("summary", LENET, "--shape", "M=1"), ("export", MODEL, "-o", MODEL),
                                       ("export", LENET, "-o", "lenet.txt"), ("fmt", "none.cnn")])
def test_wrong_use_is_one_sentence(cli: Cli, arguments: tuple[object, ...]) -> None:
    result = cli(*arguments)
    assert result.code == 2 and result.out == ""
    assert result.err.startswith("error: ") and "internal" not in result.err


def test_summary_of_text_and_model_agree(cli: Cli) -> None:
    table = cli("summary", LENET)
    assert table.code == 0
    assert "conv2  Conv         f32[N,16,10,10]       2,416  240,000  14x14" in table.out
    assert table.out.splitlines()[-1] == "lenet5: 12 layers, 61,706 parameters, 416,520 MACs"
    facts = cli("summary", LENET, "--json").json
    assert facts["parameters"] == 61_706 and facts["layers"][3]["receptive_field"] == [14, 14]
    assert cli("export", LENET, "-o", "l.onnx").code == 0
    assert cli("summary", "l.onnx", "--json").json["layers"] == facts["layers"]


def test_summary_for_sizes_and_parameters(cli: Cli, small: Path) -> None:
    assert cli("summary", small, "--shape", "N=2", "--json").json["macs"] == 2 * (4 * 27 * 36 + 20)
    assert cli("summary", small, "--set", "width=8", "--json").json["parameters"] == 8 * 27 + 8 + 45


def test_export_is_valid_and_seeded(cli: Cli, small: Path, tmp_path: Path) -> None:
    for seed, name in ((1, "a"), (1, "b"), (2, "c")):
        assert cli("export", small, "--seed", seed, "-o", f"{name}.onnx", "-q").err == ""
    a, b, c = ((tmp_path / f"{n}.onnx").read_bytes() for n in "abc")
    assert a == b != c
    onnx.checker.check_model(onnx.load_from_string(a), full_check=True)


@pytest.mark.parametrize("model", [MODEL, LENET], ids=["onnx", "cnn"])
def test_show_reads_back(cli: Cli, tmp_path: Path, model: Path) -> None:
    shown = cli("show", model, "--as", "dsl", "--save-weights", "w.safetensors")
    (tmp_path / "again.cnn").write_text(shown.out)
    assert cli("check", "again.cnn", "--weights", "w.safetensors").code == 0
    assert cli("show", "again.cnn", "--as", "ir").out == cli("show", model, "--as", "ir").out
    assert cli("fmt", "--check", "again.cnn").code == 0
    assert "ir_version" in cli("show", model, "--as", "onnx-text").out


def test_fmt(cli: Cli, small: Path) -> None:
    assert cli("fmt", "--check", small).code == 0
    small.write_text(TEXT.replace(" -> ", "->").replace("linear 5", "linear   5 # the end"))
    result = cli("fmt", "--check", small)
    assert (result.code, result.out.strip()) == (1, str(small))
    assert cli("fmt", small).code == 0
    assert small.read_text() == TEXT.replace("linear 5", "linear 5  # the end")
    assert cli("fmt", "-", stdin="network a :\n  relu\n").out == "network a:\n  relu\n"
    small.write_text(BROKEN.replace(":", "", 1))
    assert cli("fmt", small).code == 2 and small.read_text() == BROKEN.replace(":", "", 1)


def test_compile_and_run(cli: Cli, tmp_path: Path) -> None:
    assert cli("compile", LENET, "--seed", 3, "--shape", "N=1", "-o", "l.plan", "-q").code == 0
    assert cli("export", LENET, "--seed", 3, "-o", "l.onnx", "-q").code == 0
    result = cli("verify", "l.plan", "--against", "l.onnx", "-q")
    assert result.code == 0, result
