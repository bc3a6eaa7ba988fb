"""Bad input ends in one clear sentence, the right exit code, and no file left behind."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from cnncc.lower import lower
from cnncc.runtime.cpu.lower.table import LOWERINGS

from ..fuzz.plan_seeds import Net
from .conftest import LENET, MODEL, Cli, Result

PICTURE = LENET / "digit.png"


def assert_refused(result: Result, *words: str, code: int = 2) -> None:
    """One sentence on stderr that holds all words, a list of problems below it if need be; nothing on stdout."""
    assert result.code == code, result
    assert result.out == "", result
    lines = [line for line in result.err.splitlines() if line]
    assert lines[0].startswith("error: ") and all(line.startswith("  - ") for line in lines[1:]), result.err
    assert "Traceback" not in result.err and "internal error" not in result.err
    for word in words:
        assert word in result.err, f"{word!r} is not in {result.err!r}"


def files(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


@pytest.fixture
def bad_model(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    path = tmp_path / "bad.onnx"
    if request.param == "truncated":
        path.write_bytes(MODEL.read_bytes()[:100_000])
    elif request.param == "text":
        path.write_text("this is not a network\n" * 10)
    elif request.param == "empty":
        path.write_bytes(b"")
    elif request.param == "folder":
        path.mkdir()
    elif request.param == "operator":
        value = helper.make_tensor_value_info
        graph = helper.make_graph([helper.make_node("Frobnicate", ["x"], ["y"], name="odd", domain="com.example")], "g",
                                  [value("x", TensorProto.FLOAT, [1])], [value("y", TensorProto.FLOAT, [1])])
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17),
                                                          helper.make_opsetid("com.example", 1)]), path)
    return path


@pytest.mark.parametrize(("bad_model", "words"), [
    ("truncated", ["bad.onnx"]),
    ("text", ["bad.onnx"]),
    ("empty", ["bad.onnx"]),
    ("folder", ["bad.onnx"]),
    ("missing", ["bad.onnx"]),
    ("operator", ["Frobnicate", "odd", "com.example"]),
], indirect=["bad_model"])
def test_a_model_that_cannot_be_compiled(cli: Cli, bad_model: Path, words: list[str], tmp_path: Path) -> None:
    before = files(tmp_path)
    assert_refused(cli("compile", "bad.onnx", "-o", "out.plan"), *words)
    assert files(tmp_path) == before


@pytest.mark.parametrize(("array", "words"), [
    (np.zeros((1, 1, 32, 32)), ["image", "f64", "f32", "astype"]),
    (np.zeros((1, 1, 28, 28), np.float32), ["image", "[1,1,28,28]", "[N,1,32,32]"]),
    (np.zeros((32, 32), np.float32), ["image", "[32,32]", "[N,1,32,32]"]),
], ids=["dtype", "shape", "rank"])
def test_a_feed_of_the_wrong_type_or_shape(cli: Cli, lenet_plan: Path, tmp_path: Path, array: np.ndarray,
                                           words: list[str]) -> None:
    np.save(tmp_path / "x.npy", array)
    assert_refused(cli("run", lenet_plan, "--input", "x.npy", "-o", "y.npz"), *words)
    assert files(tmp_path) == ["x.npy"]


def test_a_missing_feed(cli: Cli, lenet_plan: Path) -> None:
    assert_refused(cli("run", lenet_plan), "nothing was given for the input 'image'", "--input image=")


def test_a_misspelled_feed(cli: Cli, lenet_plan: Path, tmp_path: Path) -> None:
    assert_refused(cli("run", lenet_plan, "--input", f"imgae={PICTURE}"), "imgae", "did you mean 'image'?")
    np.savez(tmp_path / "x.npz", imgae=np.zeros(3), other=np.zeros(3))
    assert_refused(cli("run", lenet_plan, "--input", "x.npz"), "imgae", "did you mean 'image'?")


def test_input_files_that_cannot_be_read(cli: Cli, lenet_plan: Path, tmp_path: Path) -> None:
    for name in ("text.npy", "text.npz", "text.png", "text.csv"):
        (tmp_path / name).write_text("1, 2, 3")
        assert_refused(cli("run", lenet_plan, "--input", name), name)
    assert_refused(cli("run", lenet_plan, "--input", "none.npy"), "none.npy")
    assert_refused(cli("run", lenet_plan, "--input", PICTURE, "--mean", "0.5,x"), "--mean", "0.5,x")
    assert_refused(cli("run", lenet_plan, "--input", PICTURE, "--std", "1,1,1"), "--std", "1 channels")


def test_a_plan_of_a_newer_version(cli: Cli, lenet_plan: Path, tmp_path: Path) -> None:
    data = bytearray(lenet_plan.read_bytes())
    data[8:12] = struct.pack("<I", 99)
    data[60:64] = struct.pack("<I", zlib.crc32(data[:60]))
    (tmp_path / "new.plan").write_bytes(data)
    assert_refused(cli("run", "new.plan", "-i", PICTURE), "new.plan", "99", "upgrade cnncc")


@pytest.mark.parametrize("damage", ["cut", "header", "weights", "longer", "text", "model", "empty", "missing"])
def test_a_damaged_plan(cli: Cli, lenet_plan: Path, tmp_path: Path, damage: str) -> None:
    data = bytearray(lenet_plan.read_bytes())
    if damage == "cut":
        del data[-1000:]
    elif damage in ("header", "weights"):
        data[200 if damage == "header" else -200] ^= 4
    elif damage == "longer":
        data += b"\0"
    elif damage == "text":
        data = bytearray(b"a plan to run\n" * 20)
    elif damage == "model":
        data = bytearray(MODEL.read_bytes())
    elif damage == "empty":
        data.clear()
    if damage != "missing":
        (tmp_path / "bad.plan").write_bytes(data)
    words = {"cut": "cut off", "header": "header", "weights": "weights", "longer": "damaged", "text": "text",
             "model": "ONNX model", "empty": "empty", "missing": "No such file"}
    assert_refused(cli("run", "bad.plan", "-i", PICTURE, "-o", "y.npz"), "bad.plan", words[damage])
    assert "y.npz" not in files(tmp_path)


@pytest.mark.parametrize(("target", "words"), [
    ("none/out", ["none", "does not exist"]),
    ("file/out", ["file", "is not a folder"]),
    ("folder", ["folder", "is a folder"]),
])
def test_an_unwritable_output(cli: Cli, lenet_plan: Path, tmp_path: Path, target: str, words: list[str]) -> None:
    (tmp_path / "file").write_text("")
    for suffix in (".plan", ".npz", ".txt"):
        (tmp_path / f"folder{suffix}").mkdir()
    before = files(tmp_path)
    assert_refused(cli("compile", MODEL, "-o", f"{target}.plan"), *words)
    assert_refused(cli("run", lenet_plan, "-i", PICTURE, "-o", f"{target}.npz"), *words)
    assert_refused(cli("opt", MODEL, "-o", f"{target}.txt"), *words)
    assert files(tmp_path) == before


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    assert_refused(cli("compile", MODEL, "-o", "closed/out.plan"), "closed", "may not write")


def test_outputs_that_do_not_fit_the_file(cli: Cli, lenet_plan: Path) -> None:
    assert_refused(cli("run", lenet_plan, "-i", PICTURE, "-o", "y.csv"), "y.csv", ".npz")


def test_exit_codes_of_the_process(shell: Cli, tmp_path: Path, lenet_plan: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((1, 1, 32, 32)))
    assert_refused(shell("run", lenet_plan, "-i", "x.npy", "-o", "y.npz"), "f64")
    assert_refused(shell("compile", "x.npy", "-o", "x.plan"), "x.npy")
    assert shell("verify", lenet_plan, "--against", MODEL, "--tolerance", 0).code == 1
    assert files(tmp_path) == ["x.npy"]


def test_verification_that_fails(cli: Cli, tmp_path: Path, lenet_plan: Path) -> None:
    model = onnx.load(MODEL)
    bias = next(i for i in model.graph.initializer if i.name == "fc3.bias")
    bias.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias) + np.float32(1), "fc3.bias"))
    onnx.save(model, tmp_path / "other.onnx")
    result = cli("verify", lenet_plan, "--against", "other.onnx", "--json")
    assert result.code == 1 and not result.json["passed"]
    assert result.err.startswith("error: the output 'scores' differs") and len(result.err.splitlines()) == 1
    model.graph.output[0].name = "relu4"
    onnx.save(model, tmp_path / "unrelated.onnx")
    assert_refused(cli("verify", lenet_plan, "--against", "unrelated.onnx"), "no output 'scores'")
    assert_refused(cli("verify", lenet_plan, "--against", "none.onnx"), "none.onnx")


def test_wrong_usage(cli: Cli, lenet_plan: Path) -> None:
    assert_refused(cli("comple"), "comple", "compile")
    assert_refused(cli("compile"), "model", "--help")
    assert_refused(cli("compile", MODEL, "--level", 7), "--level", "2")
    assert_refused(cli("compile", MODEL, "--shape", "N"), "'N' is not a shape")
    assert_refused(cli("compile", MODEL, "--shape", "M=1", "-o", "m.plan"), "'M'", "it has N")
    assert_refused(cli("inspect", lenet_plan, "--shape", "M=1"), "'M'", "it has N")
    assert_refused(cli("opt", MODEL, "-p", "fuse_activaton"), "did you mean 'fuse_activation'?")
    assert_refused(cli("opt", "-", stdin="graph @g(%x: f32[1]) {\n  %y = Nope(%x) : f32[1]\n"), "line 2", "Nope")


def test_debug_shows_the_traceback(cli: Cli) -> None:
    result = cli("compile", "none.onnx", "--debug")
    assert result.code == 2 and "Traceback" in result.err and result.err.splitlines()[-1].startswith("error: ")


def test_names_in_files_do_not_command_the_terminal(cli: Cli, tmp_path: Path) -> None:
    names = "a\x1b[2Jb\u202ec\ud800d"
    net = Net(names)
    x = net.input(names, "f32[1,2]")
    plan = lower(net.done(net.Relu(x)), LOWERINGS, 16)
    plan.save(tmp_path / "it.plan")
    for arguments in (["inspect"], ["inspect", "--json"]):
        result = cli(*arguments, str(tmp_path / "it.plan"))
        assert result.code == 0 and "a\\u001b[2Jb\\u202ec\\ud800d" in result.out
        assert not set("\x1b\u202e\ud800") & set(result.out)
    result = cli("run", str(tmp_path / "it.plan"), "--input", "b=1")
    assert result.code != 0 and "\x1b" not in result.err
