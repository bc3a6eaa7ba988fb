"""Every verb does what its help says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import cnncc

from .conftest import LENET, MODEL, Cli

TEXT = """graph @tiny(%x: f32[N,3]) {
  %0 = Relu(%x) : f32[N,3]
  %1 = Relu(%x) : f32[N,3]
  %2 = Add(%0, %1) : f32[N,3]
  return %2
}
"""


@pytest.fixture
def held_back() -> tuple[np.ndarray, np.ndarray]:
    """Twenty held-back digits as LeNet-5 wants them, and their labels."""
    with np.load(LENET / "digits.npz") as data:
        images, labels = data["images"][:20], data["labels"][:20]
    return (images.repeat(4, 1).repeat(4, 2)[:, None] / 16).astype(np.float32), labels


def test_help_names_every_verb_and_each_verb_explains_itself(shell: Cli, cli: Cli) -> None:
    result = shell("--help")
    assert result.code == 0 and shell().out == result.out
    for verb in ("compile", "run", "verify", "inspect", "profile", "bench", "opt", "cache", "version"):
        assert f" {verb} " in result.out
        explained = cli(verb, "--help")
        assert explained.code == 0 and f"cnncc {verb}" in explained.out


def test_compile_run_verify(shell: Cli, tmp_path: Path, held_back: tuple[np.ndarray, np.ndarray]) -> None:
    x, labels = held_back
    np.save(tmp_path / "x.npy", x)
    compiled = shell("compile", MODEL, "-o", "lenet5.plan", "--json")
    assert compiled.code == 0 and compiled.json["plan"] == "lenet5.plan"
    assert compiled.json["weight_bytes"] == 61_706 * 4
    ran = shell("run", "lenet5.plan", "--input", "x.npy", "--output", "y.npz")
    assert (ran.code, ran.out) == (0, "")
    with np.load(tmp_path / "y.npz") as y:
        assert (y["scores"].argmax(axis=1) == labels).all()
        [expected] = cnncc.InferenceSession(tmp_path / "lenet5.plan").run(None, {"image": x})
        np.testing.assert_array_equal(y["scores"], expected)
    verified = shell("verify", "lenet5.plan", "--against", MODEL, "--input", "x.npy", "--layers", "--json")
    assert verified.code == 0 and verified.json["passed"]
    assert verified.json["outputs"][0]["top1"] == 1.0
    assert {"relu1", "pool1", "relu4"} <= {layer["name"] for layer in verified.json["layers"]}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["lenet5.plan", "x.npy", "y.npz"]


def test_compile_names_the_plan_after_the_model(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(MODEL.read_bytes())
    assert cli("compile", "net.onnx", "--shape", "N=2", "-O1", "--dump-ir", "ir").code == 0
    plan = cnncc.Plan.load(tmp_path / "net.plan")
    assert plan.is_static and plan.arena is not None
    assert (tmp_path / "ir" / "00_input.txt").read_text().startswith("graph @lenet5(")


def test_run_on_pictures(shell: Cli, lenet_plan: Path, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("\n".join(f"digit {n}" for n in range(10)))
    one = shell("run", lenet_plan, "-i", LENET / "digit.png", "--top", 2, "--labels", "names.txt")
    assert one.code == 0
    header, first, second = (line.split() for line in one.out.splitlines())
    assert header == ["rank", "class", "score", "label"]
    assert first[:2] == ["1", "2"] and first[3:] == ["digit", "2"] and second[0] == "2"
    two = shell("run", lenet_plan, "-i", LENET / "digit.png", "-i", LENET / "digit.png", "--top", 1, "--json")
    assert [image[0]["class"] for image in two.json["top"]["scores"]] == [2, 2]
    assert two.json["outputs"][0]["shape"] == [2, 10]


def test_run_without_output_describes_the_outputs(cli: Cli, lenet_plan: Path) -> None:
    result = cli("run", lenet_plan, "-i", LENET / "digit.png")
    assert result.out.splitlines()[1].startswith("scores  float32  [1, 10]")


def test_run_compiles_a_model_on_the_way(cli: Cli) -> None:
    assert cli("run", MODEL, "-i", LENET / "digit.png", "--top", 1, "--json").json["top"]["scores"][0][0]["class"] == 2


def test_inspect_shows_steps_and_arena(shell: Cli, lenet_plan: Path) -> None:
    text = shell("inspect", lenet_plan)
    assert text.code == 0
    assert "Conv 5x5+relu" in text.out and "lower bound" in text.out and "image f32[N,1,32,32]" in text.out
    table = shell("inspect", lenet_plan, "--json", "--shape", "N=3").json
    convolutions = [step for step in table["steps"] if step["operator"] == "Conv"]
    assert [step["does"] for step in convolutions] == ["Conv 5x5+relu", "Conv 5x5+relu"]
    assert "MaxPool 2x2/2" in {step["does"] for step in table["steps"]}
    assert convolutions[0]["outputs"] == ["f32[3,6,28,28]"]
    assert sum(w["bytes"] for w in table["weights"]) == table["weight_bytes"] == 61_706 * 4
    assert max(block["offset"] + block["size"] for block in table["arena"]) <= table["arena_bytes"]
    assert table["lower_bound_bytes"] <= table["arena_bytes"]


def test_inspect_filters(cli: Cli, lenet_plan: Path) -> None:
    steps = cli("inspect", lenet_plan, "--steps", "--find", "gemm")
    assert len(steps.out.splitlines()) == 5 and "Conv" not in steps.out  # a header, three steps, an empty line
    weights = cli("inspect", lenet_plan, "--weights", "--find", "fc", "--json").json["weights"]
    assert len(weights) == 6 and all("fc" in w["name"] for w in weights)


def test_opt_runs_named_passes_on_text(shell: Cli, tmp_path: Path) -> None:
    unchanged = shell("opt", "-", stdin=TEXT)
    assert unchanged.out == TEXT
    merged = shell("opt", "-", "-p", "eliminate_common_subexpressions", "--time", stdin=TEXT)
    assert merged.out.count("Relu") == 1 and "Add(%0, %0)" in merged.out
    assert "3 -> 2 nodes" in merged.err
    (tmp_path / "in.txt").write_text(TEXT)
    assert shell("opt", "in.txt", "-O2", "-o", "out.txt").out == ""
    assert (tmp_path / "out.txt").read_text().count("Relu") == 1


def test_opt_reads_a_model_and_lists_passes(cli: Cli) -> None:
    fused = cli("opt", MODEL, "-p", "fuse_activation,eliminate_dead_nodes")
    assert fused.out.count("activation=relu") == 4 and " Relu(" not in fused.out
    names = [row["pass"] for row in cli("opt", "--list", "--json").json]
    assert "fuse_activation" in names and names == sorted(names)


def test_cache_and_version(shell: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    empty = shell("cache", "info", "--json").json
    assert empty == {"path": str(tmp_path / "cache" / "cnncc"), "entries": 0, "bytes": 0}
    (tmp_path / "cache" / "cnncc" / "old.o").write_bytes(b"x")
    assert shell("cache", "clear").out == "removed 1 kernels\n"
    (tmp_path / "one.cnn").write_text("network one:\n  input x: f32[1,4]\n  output y = relu(x)")
    first = shell("cache", "warm", "one.cnn", "--json").json
    assert first["compiled"] == first["entries"] > 0
    assert shell("cache", "warm", "one.cnn", "--json").json == {**first, "compiled": 0}
    assert "nothing" in shell("cache", "warm", "nothing").err and shell("cache", "info", "one.cnn").code == 2
    assert shell("version", "--json").json["cnncc"] == cnncc.__version__


def test_a_closed_pipe_is_quiet(lenet_plan: Path) -> None:
    command = f"{Path(sys.executable).with_name('cnncc')} inspect {lenet_plan} | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""


def test_profile(shell: Cli, tmp_path: Path) -> None:
    plain = shell("profile", MODEL, "--runs", "2", "--threads", "1", "--trace", "trace.json")
    assert plain.code == 0 and "of limit" in plain.out and "gemm" in plain.out
    assert len(json.loads((tmp_path / "trace.json").read_text())["traceEvents"]) > 5
    found = shell("profile", MODEL, "--runs", "2", "--json").json
    assert {"conv1", "fc3"} <= {step["name"] for step in found["steps"]}
    assert shell("profile", MODEL, "--trace", "no/trace.json").code == 2
