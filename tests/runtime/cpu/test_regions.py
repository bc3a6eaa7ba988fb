"""Plans whose sizes depend on data, against the same graph on its references."""

from __future__ import annotations

import dataclasses
import threading

import numpy as np
import pytest

from cnncc import InferenceSession, compile
from cnncc.errors import CnnccError, PlanInvalid
from cnncc.ir import Graph, evaluate, parse_graph
from cnncc.ops import OPS
from cnncc.plan import Plan
from cnncc.plan_checks import check_plan
from cnncc.planfile import parse_plan, plan_bytes
from cnncc.runtime.cpu.binding import bind
from cnncc.runtime.cpu.runner import MAX_REGIONS
from tests.running.networks import REGIONS

# %r is blocked, and read on both sides of the step whose result's size depends on data; %m is data that are a shape.
TEXT = REGIONS.replace("  return %y, %z, %nz\n", """\
  %axis = const [1] : i64[1]
  %one = const [1] : i64[1]
  %m = ReduceMax(%nz, %axis) {keepdims=false} : i64[4]
  %end = const [3] : i64[1]
  %zero = const [0] : i64[1]
  %kept = Slice(%m, %axis, %end, %zero) : i64[2]
  %area = Add(%kept, %one) : i64[2]
  %grid = ConstantOfShape(%area) {value=1.5} : f32[a,b]
  %twice = Add(%grid, %grid) : f32[a,b]
  return %y, %z, %nz, %twice, %x as "same", %half
""")


def graph() -> Graph:
    weights = np.random.default_rng(5).standard_normal((20, 3, 3, 3)).astype(np.float32) / 6
    return parse_graph(TEXT, OPS, {"w": weights})


def feeds(h: int, seed: int = 0, scale: float = 1.0) -> dict[str, np.ndarray]:
    x = np.random.default_rng([h, seed]).standard_normal((1, 3, h, 8)).astype(np.float32)
    x[:] *= scale
    x[0, 0, 0, 0] = 30  # something is found
    return {"x": x}


@pytest.fixture(scope="module")
def plan() -> Plan:
    return compile(graph())


@pytest.fixture(scope="module")
def session(plan: Plan) -> InferenceSession:
    return InferenceSession(parse_plan(plan_bytes(plan)), threads=2)


def check(session: InferenceSession, given: dict[str, np.ndarray]) -> None:
    found = session.run(None, given)
    wanted = evaluate(graph(), given)
    for got, name in zip(found, wanted, strict=True):
        np.testing.assert_allclose(got, wanted[name], rtol=1e-5, atol=1e-5, strict=True)
    assert not any(np.shares_memory(a, b) for i, a in enumerate(found) for b in [*found[:i], given["x"]])


def test_agrees_with_references(session: InferenceSession) -> None:
    for seed in (0, 1, 0):
        for h in (4, 9):
            check(session, feeds(h, seed))


def test_nothing_is_bound_twice(session: InferenceSession) -> None:
    session.run(None, feeds(4, 7))
    count = len(session._runner._later)
    session.run(None, feeds(4, 7))
    assert len(session._runner._later) == count


def test_bindings_are_bounded(session: InferenceSession) -> None:
    for seed in range(MAX_REGIONS):
        session.run(None, feeds(4, 100 + seed, 0.3 + seed / 50))
    assert len(session._runner._later) == MAX_REGIONS
    check(session, feeds(9, 1))


def test_by_the_step(session: InferenceSession) -> None:
    given = feeds(5)
    found, wanted = session.run_all(given), evaluate(graph(), given, every=True)
    for name in ("r", "nz", "places", "y", "grid", "twice", "same"):
        np.testing.assert_allclose(found[name], wanted["x" if name == "same" else name], rtol=1e-5, atol=1e-5)
    steps = {s.name: s for s in session.profile(given, runs=1).steps}
    assert steps["nz"].kernel == "reference" and steps["nz"].shapes.endswith(f"4x{wanted['y'].size}")


def test_from_many_threads(session: InferenceSession) -> None:
    wrong: list[object] = []

    def run(seed: int) -> None:
        try:
            for i in range(8):
                check(session, feeds(4 + seed, i))
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_sizes_that_a_binding_tells_split_nothing() -> None:
    text = """
graph @smaller(%x: f32[N,4]) {
  %most = const [3] : i64[1]
  %s = Shape(%x) {start=0, end=1} : i64[1]
  %k = Min(%s, %most) : i64[1]
  %v = TopK(%x, %k) {axis=0} : f32[k,4]
  %y = Relu(%v) : f32[k,4]
  return %y
}
"""
    session = InferenceSession(compile(parse_graph(text, OPS)))
    for n in (2, 7):
        x = np.random.default_rng(n).standard_normal((n, 4)).astype(np.float32)
        (y,) = session.run(None, {"x": x})
        np.testing.assert_array_equal(y, np.maximum(-np.sort(-x, 0)[:3], 0))
    assert not session._runner._later


def test_errors(plan: Plan) -> None:
    with pytest.raises(PlanInvalid, match=r"'nz' \(NonZero\): the shape of its output depends on data"):
        bind(plan, {"H": 4})
    number = next(i for i, s in enumerate(plan.steps) if s.op.op_type == "NonZero")
    buffer = plan.steps[number].outputs[0]
    fixed = dataclasses.replace(plan.buffers[buffer], type=plan.buffers[buffer].type.bind({"found": 7}))
    lying = dataclasses.replace(plan, buffers=(*plan.buffers[:buffer], fixed, *plan.buffers[buffer + 1:]))
    with pytest.raises(PlanInvalid, match="step 'nz'"):
        check_plan(lying)
    native = dataclasses.replace(plan.steps[number], kernel="copy")
    session = InferenceSession(dataclasses.replace(plan, steps=(*plan.steps[:number], native,
                                                                *plan.steps[number + 1:])))
    with pytest.raises(PlanInvalid, match="so it must run on its reference"):
        session.run(None, feeds(4))


def test_what_does_not_fit_is_told_in_the_run() -> None:
    text = """
graph @wrong(%x: f32[6], %s: i64[2]) {
  %y = Reshape(%x, %s) : f32[a,b]
  return %y
}
"""
    session = InferenceSession(compile(parse_graph(text, OPS)))
    x = np.arange(6, dtype=np.float32)
    assert session.run(None, {"x": x, "s": np.array([3, -1])})[0].shape == (3, 2)
    with pytest.raises(CnnccError, match=r"step 'y' \(Reshape\): Reshape: the input \[6\] does not have the number"):
        session.run(None, {"x": x, "s": np.array([4, 2])})
