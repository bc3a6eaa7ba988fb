"""compile --tune and --explain: findings are kept, followed and mistrusted. No time is judged."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest

import cnncc
from cnncc.errors import InputError
from cnncc.frontends.onnx import export_model
from cnncc.runtime.cpu import kernel_cache
from cnncc.runtime.cpu.kernel_cache import CacheInfo
from cnncc.runtime.cpu.native import host_lanes
from cnncc.runtime.cpu.tuning import tune as tuning
from cnncc.runtime.cpu.tuning.explain import explain
from cnncc.runtime.cpu.tuning.findings import Findings
from cnncc.runtime.cpu.tuning.measure import Trial, candidates_for, convolution
from cnncc.runtime.cpu.tuning.tune import TunedConvLowering, native_convolutions

from .conftest import Cli

TEXT = """
network small:
  input image: f32[N,3,20,20]
  x = conv1: conv 16 3x3 pad 1 -> relu
  y = x -> conv2: conv 16 3x3 pad 1
  z = y + x -> relu
  z -> depthwise: conv 16 3x3 pad 1 group 16 -> silu
  output scores = last: conv 5 1x1
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where findings are kept."""
    path = tmp_path / "cache"
    path.mkdir()
    monkeypatch.setattr(kernel_cache, "cache_info", lambda: CacheInfo(path, 0, 0))
    monkeypatch.setattr(tuning, "EACH", 0.0)  # the first rounds only
    return path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "small.onnx"
    path.write_bytes(export_model(cnncc.network(TEXT)).SerializeToString())
    return path


def tuned(model: Path, **options: object) -> cnncc.Plan:
    return cnncc.compile(model, shapes={"N": 1}, tune=True, threads=1, **options)  # type: ignore[arg-type]


def output(plan: cnncc.Plan) -> np.ndarray:
    x = np.random.default_rng(0).standard_normal((1, 3, 20, 20)).astype(np.float32)
    [found] = cnncc.InferenceSession(plan, threads=1).run(None, {"image": x})
    return np.asarray(found)


def kernels(plan: cnncc.Plan) -> dict[str, tuple[str, dict[str, int | str]]]:
    return {s.name: (s.kernel, dict(s.params)) for s in plan.steps if s.op.op_type == "Conv"}


def test_tune_measures_once_and_explain_shows_it(cli: Cli, folder: Path, model: Path,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ("compile", model, "-o", "small.plan", "--shape", "N=1", "--tune", "--threads", 1, "--explain")
    first = cli(*arguments, "--json")
    assert first.code == 0, first.err
    convolutions = first.json["convolutions"]
    planned = kernels(cnncc.Plan.load(model.with_suffix(".plan")))
    assert [c["name"] for c in convolutions] == list(planned)
    for one in convolutions:
        assert one["seconds"] > 0 and one["estimate"] > 0 and one["chosen"] and one["shapes"].startswith("1x")
        number, _, what = one["bound"].partition(" u ")
        if "m" in planned[one["name"]][1]:  # for 16 channels at most twice what it is for many, and for 3 thrice
            assert what == "max|x| sum|w|" and 3 <= int(number) <= 3 * 20 * 5
        else:
            assert what == "sum|x||w|" and int(number) == (36 if one["name"] == "conv2" else 16)  # 144, 27, 9, 16 terms
        assert all(a["estimate"] > 0 and a["candidate"] != one["chosen"] for a in one["alternatives"])
    [path] = folder.iterdir()
    assert path.name.startswith("tuning-") and json.loads(path.read_text())["machine"]["threads"] == 1

    monkeypatch.setattr(tuning, "measure", lambda *_: pytest.fail("it was measured again"))
    again = cli(*arguments)
    assert again.code == 0 and [c["name"] in again.out for c in convolutions] == [True] * 4
    assert "alternatives" in again.out and "u sum|x||w|" in again.out


def test_explain_without_tuning_has_estimates_only(cli: Cli, folder: Path, model: Path) -> None:
    found = cli("compile", model, "--explain", "--json").json["convolutions"]
    assert len(found) == 4 and all(c["seconds"] is None and c["estimate"] > 0 for c in found)
    assert not list(folder.iterdir())


def test_what_has_no_kernel_says_why(folder: Path) -> None:
    text = "network double:\n  input x: f64[1,16,9,9]\n  output y = conv 16 3x3"
    plan = cnncc.compile(cnncc.network(text), warm=False)
    [found] = explain(plan, "default", Findings({}))
    assert found.chosen == "reference" and "f32 only" in found.reason


def test_two_convolutions_in_one_pass_have_one_line(folder: Path) -> None:
    """Estimated for one image where the batch is symbolic."""
    text = "network pair:\n  input x: f32[N,4,30,30]\n  conv 48 1x1\n  relu\n  output z = depthwise 3x3"
    plan = cnncc.compile(cnncc.network(text), warm=False, lanes=16)
    [found] = explain(plan, "default", Findings({}))
    assert found.chosen == "conv_pointwise_depthwise rows=8 vectors=3" and found.bound == "32 u sum|v|sum|x||w|"
    assert round(found.estimate * 16e6) == 30 * 30 * 4 * 48 + 28 * 28 * 48 * 9 and not found.alternatives


def test_a_tuned_plan_computes_the_same(folder: Path, model: Path) -> None:
    plain = cnncc.compile(model, shapes={"N": 1})
    expected = output(plain)
    np.testing.assert_allclose(output(tuned(model)), expected, rtol=1e-4, atol=1e-5)
    [file] = folder.iterdir()
    content = json.loads(file.read_text())
    assert len(content["seconds"]) >= 4 and all(len(times) > 1 for times in content["seconds"].values())


def test_every_candidate_that_findings_favour_is_taken_and_computes_the_same(folder: Path, model: Path) -> None:
    """The findings are made up: each candidate in its turn is said to be the fastest."""
    plain = cnncc.compile(model, shapes={"N": 1})
    expected = output(plain)
    tuned(model)
    [file] = folder.iterdir()
    written = json.loads(file.read_text())
    most = max(len(times) for times in written["seconds"].values())
    taken: dict[str, set[str]] = {}
    for turn in range(most):
        for times in written["seconds"].values():
            for number, candidate in enumerate(sorted(times)):
                times[candidate] = 1e-6 if number == turn % len(times) else 1.0
        file.write_text(json.dumps(written))
        plan = tuned(model)
        for name, (kernel, params) in kernels(plan).items():
            taken.setdefault(name, set()).add(f"{kernel} {sorted(params.items())}")
        np.testing.assert_allclose(output(plan), expected, rtol=1e-4, atol=1e-5)
    assert all(len(found) > 1 for found in taken.values())
    assert any("winograd" in one for one in taken["conv2"])


def test_accuracy_outweighs_findings(folder: Path, model: Path) -> None:
    """Winograd was measured, and is said to be the fastest, but is not allowed."""
    tuned(model)
    [file] = folder.iterdir()
    written = json.loads(file.read_text())
    for times in written["seconds"].values():
        times.update({c: 1e-9 if "winograd" in c else 1.0 for c in times})
    file.write_text(json.dumps(written))
    assert any("winograd" in kernel for kernel, _ in kernels(tuned(model)).values())
    assert not any("winograd" in kernel for kernel, _ in kernels(tuned(model, accuracy="high")).values())


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff\xfe", b"[]", b'{"format": 1, "seconds": {"a": {"b": -1.0}}}',
                                    b'{"format": 1, "seconds": {"a": 3}}', b'{"format": 2, "seconds": {}}'])
def test_a_damaged_file_is_ignored_with_one_warning(folder: Path, damage: bytes) -> None:
    findings = Findings.load(host_lanes(), 1, "1")
    findings.add("a convolution", {"a kernel": 0.5})
    findings.save()
    [file] = folder.iterdir()
    assert Findings.load(host_lanes(), 1, "1").of("a convolution") == {"a kernel": 0.5}
    file.write_bytes(damage)
    with pytest.warns(UserWarning, match="is damaged") as caught:
        assert Findings.load(host_lanes(), 1, "1").of("a convolution") == {}
    assert len(caught) == 1


def test_findings_of_other_machines_threads_and_versions_do_not_count(folder: Path) -> None:
    findings = Findings.load(16, 2, "1")
    findings.add("a convolution", {"a kernel": 0.5})
    findings.save()
    others = [Findings.load(*key) for key in ((8, 2, "1"), (16, 1, "1"), (16, 2, "2"))]
    assert len({f.path for f in (findings, *others)}) == 4
    assert all(f.of("a convolution") == {} for f in others)


def test_two_processes_keep_both_their_findings(folder: Path) -> None:
    one, other = Findings.load(16, 1, "1"), Findings.load(16, 1, "1")
    one.add("first", {"k": 0.5})
    other.add("second", {"k": 0.25})
    one.save()
    other.save()
    both = Findings.load(16, 1, "1")
    assert both.of("first") == {"k": 0.5} and both.of("second") == {"k": 0.25}
    assert len(list(folder.iterdir())) == 1


def test_without_a_cache_folder_findings_serve_this_process(monkeypatch: pytest.MonkeyPatch, model: Path) -> None:
    monkeypatch.setattr(kernel_cache, "cache_info", lambda: CacheInfo(None, 0, 0))
    monkeypatch.setattr(tuning, "EACH", 0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert output(tuned(model)).shape == (1, 5, 20, 20)


def test_a_symbolic_batch_is_tuned_for_a_batch_of_one(folder: Path, model: Path) -> None:
    plan = cnncc.compile(model, tune=True, threads=1)
    assert not plan.is_static and output(plan).shape == (1, 5, 20, 20)
    [file] = folder.iterdir()
    assert all(key.startswith("1x") for key in json.loads(file.read_text())["seconds"])


def test_other_vectors_than_this_machines_cannot_be_tuned(folder: Path, model: Path) -> None:
    with pytest.raises(InputError, match="cannot be tuned"):
        tuned(model, lanes=4 if host_lanes() != 4 else 8)


def test_convolutions_are_seen_before_reorders(folder: Path) -> None:
    """Otherwise they would be measured without them, and not be found again."""
    graph = cnncc.network("network wide:\n  input x: f32[1,32,9,9]\n  output y = conv 32 3x3")
    plan = cnncc.compile(graph, warm=False)
    assert [s.kernel for s in plan.steps].count("reorder") == 2
    [(_, inputs)] = native_convolutions(plan)
    assert inputs[0] is not None and inputs[0].layout == "plain"


def test_a_trial_gives_what_the_plan_would(folder: Path, model: Path) -> None:
    """A residual, reorders on both sides, groups: each candidate's plan binds and runs."""
    plan = cnncc.compile(model, shapes={"N": 1})
    seen = set()
    for op, inputs in native_convolutions(plan):
        candidates = candidates_for(op, inputs, plan.lanes, "default")
        own = TunedConvLowering("default", Findings({}), False)
        name, params = own.pick(op, inputs, own.costs(op, inputs, plan.lanes), plan.lanes)
        assert (candidates[0].name, dict(candidates[0].params)) == (name, params)
        assert convolution(op, inputs, True) != convolution(op, inputs, False)
        for candidate in candidates:
            trial = Trial(op, inputs, candidate, plan.lanes)
            trial.prepare(1)
            assert trial.run() > 0
            seen.add(candidate.name)
    assert {"conv_direct", "conv_depthwise"} <= seen
