"""Profiles: every executed step, consistent figures, a valid trace. No time is judged."""

import json
from itertools import pairwise

import numpy as np
import pytest

import cnncc
from cnncc.ir import parse_graph
from cnncc.ops import OPS

TEXT = """graph @net(%x: f32[1,3,12,12]) {
  %w = const @w : f32[8,3,3,3]
  %0 = Conv(%x, %w) {pads=[1,1,1,1]} : f32[1,8,12,12]
  %1 = Relu(%0) : f32[1,8,12,12]
  %2 = ReduceMean(%1) : f32[1,1,1,1]
  return %1, %2
}
"""


@pytest.fixture(scope="module")
def plan():
    w = np.random.default_rng(0).standard_normal((8, 3, 3, 3)).astype(np.float32)
    return cnncc.compile(parse_graph(TEXT, OPS, {"w": w}))


@pytest.mark.parametrize("threads", [1, 2])
def test_profile(plan, threads: int) -> None:
    x = np.random.default_rng(1).standard_normal((1, 3, 12, 12)).astype(np.float32)
    session = cnncc.InferenceSession(plan, threads=threads)
    found = session.profile({"x": x}, runs=3)
    executed = [s for s in plan.steps if s.kernel not in ("alias", "known")]
    assert [s.name for s in found.steps] == [s.name for s in executed]
    assert found.steps[0].macs == 8 * 144 * 27 and "1x3x12x12" in found.steps[0].shapes
    assert all(s.seconds >= 0 for s in found.steps) and found.seconds > 0
    assert found.flops > 0 and found.bandwidth > 0 and found.threads == threads
    assert sum(count for _, count, _, _ in found.families()) == len(found.steps)
    events = json.loads(found.trace())["traceEvents"]
    assert len(events) == len(found.steps)
    assert all(a["ts"] + a["dur"] <= b["ts"] + 1e-6 for a, b in pairwise(events))
    assert json.loads(json.dumps(found.as_json()))["steps"][0]["operator"] == "Conv"


def test_runs_after_a_profile_are_the_same(plan) -> None:
    x = np.ones((1, 3, 12, 12), np.float32)
    session = cnncc.InferenceSession(plan, threads=2)
    before = session.run(None, {"x": x})
    session.profile({"x": x}, runs=1)
    for a, b in zip(before, session.run(None, {"x": x}), strict=True):
        np.testing.assert_array_equal(a, b)
