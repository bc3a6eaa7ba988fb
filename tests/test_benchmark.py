"""Measuring against other runtimes: what is left out and why, agreement of outputs, tables and files. No time is
judged."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import cnncc
from cnncc.benchmark import compare as comparing
from cnncc.benchmark.compare import Case, Comparison, Effort, Timing, compare
from cnncc.benchmark.machine import describe_machine
from cnncc.benchmark.ncnn_net import write_ncnn
from cnncc.benchmark.prepare import graph_of_plan, prepare, random_inputs
from cnncc.benchmark.report import comparison_table, left_out_lines, markdown, write_results
from cnncc.benchmark.startup import measure_startup, startup_table
from cnncc.cli import bench
from cnncc.errors import InputError, UnsupportedError
from cnncc.frontends.onnx import export_model
from cnncc.ir import evaluate

LENET = Path(__file__).parents[1] / "examples" / "lenet" / "lenet5.onnx"
SHAPE = (1, 1, 32, 32)
BRIEF = Effort(seconds=0.02, rounds=2, pause=0.0)


@pytest.fixture(scope="module")
def lenet(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return prepare("lenet", LENET, tmp_path_factory.mktemp("lenet"), ["cnncc", "onnxruntime"], random_inputs([SHAPE]))


def test_engines_take_turns_and_agree(lenet: Case) -> None:
    found = compare(lenet, ["cnncc", "onnxruntime"], 1, BRIEF)
    assert list(found.timings) == ["cnncc", "onnxruntime"] and not found.left_out
    for timing in found.timings.values():
        assert 0 < timing.low <= timing.median <= timing.high
        assert timing.runs >= BRIEF.rounds * BRIEF.least and timing.load > 0
    assert found.timings["cnncc"].error < 1e-5 and found.timings["onnxruntime"].error == 0
    assert found.fastest_peer == "onnxruntime"
    assert found.ratio == pytest.approx(found.timings["onnxruntime"].median / found.timings["cnncc"].median)
    content = json.loads(json.dumps(found.as_json()))
    assert set(content) == {"network", "batch", "threads", "fastest_peer", "ratio", "left_out", "engines"}
    assert set(content["engines"]["cnncc"]) == {"version", "median_ms", "low_ms", "high_ms", "runs", "load_ms", "error"}


def test_an_engine_that_is_not_installed_is_named(lenet: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparing, "installed_version", lambda engine: None if engine == "openvino" else "1")
    found = compare(replace(lenet, models={**lenet.models, "openvino": LENET}), ["cnncc", "openvino"], 1, BRIEF)
    assert list(found.timings) == ["cnncc"] and found.ratio is None
    assert left_out_lines([found]) == ["openvino was left out of lenet: the package openvino is not installed"]


def test_an_engine_that_cannot_open_the_network_is_named(lenet: Case, tmp_path: Path) -> None:
    models = {**lenet.models, "onnxruntime": tmp_path / "absent.onnx"}
    found = compare(replace(lenet, models=models), ["cnncc", "onnxruntime"], 1, BRIEF)
    assert list(found.timings) == ["cnncc"] and "absent.onnx" in found.left_out["onnxruntime"]


def test_an_engine_that_computes_something_else_is_not_timed(lenet: Case, tmp_path: Path) -> None:
    graph = cnncc.network(Path(cnncc.__file__).parent / "zoo" / "lenet5.cnn", seed=3)
    other = tmp_path / "other.plan"
    cnncc.compile(graph).save(other)
    found = compare(replace(lenet, models={**lenet.models, "cnncc": other}), ["cnncc", "onnxruntime"], 1, BRIEF)
    assert list(found.timings) == ["onnxruntime"] and "its outputs differ by" in found.left_out["cnncc"]


def test_more_threads_than_cpus_are_refused(lenet: Case) -> None:
    with pytest.raises(InputError, match="cannot measure with 4096 threads"):
        compare(lenet, ["cnncc"], 4096, BRIEF)


def test_a_plan_gives_back_its_network() -> None:
    plan = cnncc.compile(LENET, shapes={"N": 1})
    graph = graph_of_plan(plan)
    x = random_inputs([SHAPE])[0]
    [expected] = cnncc.InferenceSession(plan).run(None, {"image": x})
    [found] = evaluate(graph, {"image": x}).values()
    assert graph.output_names == ["scores"]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("bias", ["", " nobias"])
def test_convolutions_in_one_pass_are_given_back_one_by_one(bias: str) -> None:
    text = f"network pair:\n  input x: f32[1,4,30,30]\n  conv 48 1x1{bias}\n  relu\n  output y = depthwise 3x3{bias}"
    plan = cnncc.compile(cnncc.network(text))
    assert "conv_pointwise_depthwise" in {step.kernel for step in plan.steps}
    graph = graph_of_plan(plan)
    assert [node.op.op_type for node in graph.nodes] == ["Conv", "Conv"]
    assert [node.op_type for node in export_model(graph).graph.node] == ["Conv", "Relu", "Conv"]
    x = random_inputs([(1, 4, 30, 30)])[0]
    [found], expected = evaluate(graph, {"x": x}).values(), cnncc.InferenceSession(plan).run(None, {"x": x})[0]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_startup(lenet: Case) -> None:
    found, left_out = measure_startup(lenet, ["cnncc", "onnxruntime"], 1, repeats=1)
    assert [s.engine for s in found] == ["cnncc", "onnxruntime"] and not left_out
    assert all(s.first_result > s.load > 0 and s.peak > 2**20 for s in found)
    table = startup_table(found)
    assert table.columns == ("network", "what", "cnncc", "onnxruntime") and len(table.rows) == 3


# --- reports --------------------------------------------------------------------------------------------------------


def timing(milliseconds: float) -> Timing:
    return Timing("1.0", milliseconds / 1e3, milliseconds * 0.9 / 1e3, milliseconds * 1.1 / 1e3, 9, 0.1, 0.0)


COMPARISONS = [
    Comparison("A", 1, 2, {"cnncc": timing(10), "onnxruntime": timing(25), "ncnn": timing(20)}, {}),
    Comparison("B", 1, 2, {"cnncc": timing(0.5), "onnxruntime": timing(4)}, {"ncnn": "no layer"}),
    Comparison("A", 8, 2, {"cnncc": timing(80)}, {"onnxruntime": "it failed", "ncnn": "no layer"}),
]


def test_the_table_has_ratios_floors_and_their_mean() -> None:
    table = comparison_table(COMPARISONS, ["cnncc", "onnxruntime", "ncnn"], {"A": 1.5, "B": 2, "geometric mean": 1.4})
    assert markdown(table).splitlines() == [
        "| network | batch | threads | cnncc ms | onnxruntime ms | ncnn ms | images/s | fastest peer | ratio | floor |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- | ---: | ---: |",
        "| A | 1 | 2 | 10.00 ±10% | 25.00 ±10% | 20.00 ±10% | 100 | ncnn | 2.00 | 1.50 |",
        "| B | 1 | 2 | 0.500 ±10% | 4.00 ±10% | - | 2,000 | onnxruntime | 8.00 | 2.00 |",
        "| A | 8 | 2 | 80.00 ±10% | - | - | 100 | - | - |  |",
        "| geometric mean | 1 | 2 |  |  |  |  |  | 4.00 | 1.40 |",
    ]
    assert left_out_lines(COMPARISONS) == ["ncnn was left out of B, A: no layer",
                                           "onnxruntime was left out of A: it failed"]


def test_results_are_written_with_their_machine(tmp_path: Path) -> None:
    table = comparison_table(COMPARISONS, ["cnncc", "onnxruntime"])
    assert "floor" not in table.columns
    machine = describe_machine(["cnncc", "onnxruntime"])
    assert {"date", "cpu", "cpus", "python", "numba", "cnncc", "onnxruntime"} <= set(machine)
    paths = write_results(tmp_path / "results", "today", machine, {"Time": table}, ["a note"],
                          {"comparisons": [c.as_json() for c in COMPARISONS]})
    text, content = paths[0].read_text(), json.loads(paths[1].read_text())
    assert [p.name for p in paths] == ["today.md", "today.json"] and len(list(paths[0].parent.iterdir())) == 2
    assert f"- cpu: {machine['cpu']}" in text and "## Time" in text and "- a note" in text
    assert content["machine"] == machine and content["comparisons"][0]["ratio"] == 2


# --- ncnn -----------------------------------------------------------------------------------------------------------


BRANCHES = """
network small:
  input image: f32[1,3,22,19]
  x = conv 8 3x3 stride 2 pad 1 -> relu -> maxpool 3x3 stride 2
  a = x -> conv 8 3x3 pad 1 nobias -> bn -> relu6
  b = a -> conv 8 3x3 pad 1 -> bn
  c = b + x -> relu
  d = c -> bn -> relu -> conv 12 1x1 -> conv 12 5x3 pad 2x1 group 12 -> silu
  e = d*(d -> global_avgpool -> conv 4 1x1 -> relu -> conv 12 1x1 -> sigmoid)
  f = concat(e, c) -> conv 20 3x3 pad 1 group 4 -> hardswish -> avgpool 2x2
  f -> flatten -> linear 9 -> tanh
  output scores = linear 5 -> softmax
"""


@pytest.mark.parametrize("engine", ["ncnn", "openvino"])
def test_peers_compute_the_same_network(engine: str, tmp_path: Path) -> None:
    """With a batch of two, for which ncnn runs twice."""
    pytest.importorskip(engine, reason=f"{engine} is not installed")
    onnx = tmp_path / "small.onnx"
    graph = cnncc.network(BRANCHES.replace("f32[1,", "f32[N,"))
    onnx.write_bytes(export_model(graph).SerializeToString())
    case = prepare("small", onnx, tmp_path, ["onnxruntime", engine], random_inputs([(2, 3, 22, 19)]))
    found = compare(case, ["onnxruntime", engine], 1, BRIEF)
    assert not found.left_out and found.batch == 2
    assert found.timings[engine].error < 1e-5


def test_what_ncnn_has_no_layer_for_is_listed(tmp_path: Path) -> None:
    text = ("network odd:\n  input x: f32[1,3,8,8]\n  y = conv 4 3x3 -> lrn size 5 -> gelu\n"
            "  output z = y -> avgpool 3x3 pad 1")
    with pytest.raises(UnsupportedError) as caught:
        write_ncnn(cnncc.network(text), tmp_path / "odd.param")
    assert len(caught.value.problems) == 3 and "average pool with padding" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


# --- the verb -------------------------------------------------------------------------------------------------------


def run_bench(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    plan = tmp_path / "lenet.plan"
    cnncc.compile(LENET).save(plan)
    command = [str(Path(sys.executable).with_name("cnncc")), "bench", str(plan), *arguments]
    return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)


def test_bench_runs_the_network_of_the_plan_in_the_peer(tmp_path: Path) -> None:
    done = run_bench(tmp_path, "--vs", "onnxruntime", "--seconds", "0.02", "-n", "2", "-t", "1", "--shape", "N=3",
                     "--json")
    assert done.returncode == 0, done.stderr
    [found] = json.loads(done.stdout)
    assert found["batch"] == 3 and found["threads"] == 1 and list(found["engines"]) == ["cnncc", "onnxruntime"]
    assert found["engines"]["cnncc"]["error"] < 1e-5


def test_bench_names_unknown_and_missing_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="cannot be compared with 'tvm'"):
        bench.chosen_peers(["onnxruntime", "tvm"])
    monkeypatch.setattr("cnncc.benchmark.worker.installed_version", lambda engine: None)
    with pytest.raises(InputError, match="ncnn is not installed: pip install"):
        bench.chosen_peers(["ncnn"])


def test_several_peers_may_follow_one_option(tmp_path: Path) -> None:
    done = run_bench(tmp_path, "--vs", "onnxruntime", "tvm")
    assert done.returncode == 2 and "cannot be compared with 'tvm'" in done.stderr
