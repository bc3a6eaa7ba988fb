"""Runs of plans through the executor: what the driver is told, where arrays lie, and that the numbers are right."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import cnncc
from cnncc import InferenceSession
from cnncc.errors import InputError
from cnncc.ir import parse_graph
from cnncc.ops import OPS

CHAIN = """graph @chain(%x: f32[N,3,3], %z: f32[N,3,3]) {
  %0 = Add(%x, %z) : f32[N,3,3]
  %1 = Exp(%0) : f32[N,3,3]
  %2 = Mul(%1, %0) : f32[N,3,3]
  %3 = Identity(%2) : f32[N,3,3]
  return %2, %x, %3
}"""
ON_CPU = """graph @on_cpu(%x: f32[2,3,3], %z: f32[2,3,3]) {
  %0 = Add(%x, %z) : f32[2,3,3]
  %1 = Det(%0) : f32[2]
  %2 = Neg(%1) : f32[2]
  return %2, %0
}"""
BRANCH = """graph @branch(%x: f32[2,3], %c: bool[]) {
  %0 = Neg(%x) : f32[2,3]
  %1 = If(%c, %0) : f32[2,3]
    then_branch = graph @then(%a: f32[2,3]) {
      %b = Abs(%a) : f32[2,3]
      return %b
    }
    else_branch = graph @else(%a: f32[2,3]) {
      %b = Exp(%a) : f32[2,3]
      return %b
    }
  %2 = Add(%1, %x) : f32[2,3]
  return %2
}"""


def compiled(text: str, target: str = "cuda", **options: Any) -> cnncc.Plan:
    """At -O1, which fuses nothing: what is one step stays one."""
    return cnncc.compile(parse_graph(text, OPS), target=target, **({"fallback": "cpu", "level": 1} | options))


def feeds_of(session: InferenceSession, n: int = 2) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(n)
    return {i.name: rng.standard_normal([n if isinstance(d, str) else d for d in i.shape]).astype(np.float32)
            for i in session.get_inputs()}


def calls() -> list[str]:
    from cnncc.runtime.cuda import simulated_driver

    return simulated_driver.calls


def assert_equal(found: list[Any], text: str, feeds: dict[str, np.ndarray]) -> None:
    expected = InferenceSession(compiled(text, "cpu", fallback="none")).run(None, feeds)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a if isinstance(a, np.ndarray) else a.numpy(), b, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("text", [CHAIN, ON_CPU], ids=["chain", "on the CPU"])
def test_runs_equal_the_cpu_s(text: str) -> None:
    session = InferenceSession(compiled(text), providers=["CUDA"])
    assert session.get_providers() == ["CUDAExecutionProvider"]
    for n in (2, 2, 2, 3, 2) if text is CHAIN else (2, 2, 2):
        feeds = feeds_of(session, n)
        assert_equal(session.run(None, feeds), text, feeds)


def test_a_run_allocates_nothing_waits_once_and_is_a_graph_from_the_second_time_on() -> None:
    session = InferenceSession(compiled(CHAIN, shapes={"N": 2}))
    feeds, told = feeds_of(session), []
    for _ in range(3):
        calls().clear()
        session.run(None, feeds)
        told.append(list(calls()))
    direct, captured, graph = told
    kernels = ["cuLaunchKernel"] * 3
    copies = ["cuMemcpyHtoDAsync"] * 2, ["cuMemcpyDtoHAsync"] * 3
    assert direct == [*copies[0], *kernels, *copies[1], "cuStreamSynchronize"]
    assert captured == ["cuStreamBeginCapture", *direct[:-1], "cuStreamEndCapture", "cuGraphInstantiate",
                        "cuGraphLaunch", "cuStreamSynchronize"]
    assert graph == ["cuGraphLaunch", "cuStreamSynchronize"]


def test_weights_are_uploaded_once() -> None:
    text = """graph @weighted(%x: f32[N,4]) {
  %w = const [1.0, 2.0, 3.0, 4.0] : f32[4]
  %0 = Mul(%x, %w) : f32[N,4]
  return %0
}"""
    calls().clear()
    session = InferenceSession(compiled(text))
    for n in (1, 2, 3):
        feeds = feeds_of(session, n)
        assert_equal(session.run(None, feeds), text, feeds)
    assert calls().count("cuMemcpyHtoDAsync") == 4  # three inputs and one constant


class Foreign:
    """Another library's array: by DLPack only, or by the array interface only."""

    def __init__(self, array: Any, by: str) -> None:
        self.array = array
        if by == "interface":
            self.__cuda_array_interface__ = array.__cuda_array_interface__ | {"stream": 1}
        else:
            self.__dlpack__, self.__dlpack_device__ = array.__dlpack__, array.__dlpack_device__


@pytest.mark.parametrize("by", ["own", "interface", "dlpack"])
def test_device_arrays_are_used_where_they_lie(by: str) -> None:
    from cnncc.runtime.cuda.device_array import empty

    session = InferenceSession(compiled(CHAIN))
    feeds = feeds_of(session)
    x, y = empty((2, 3, 3), np.float32), empty((2, 3, 3), np.float32)
    x.fill(feeds["x"])
    session.run(None, feeds)
    given = x if by == "own" else Foreign(x, by)
    name = session.get_outputs()[0].name
    calls().clear()
    found = session.run_on_device({"x": given, "z": feeds["z"]}, {name: y})
    assert calls().count("cuMemcpyHtoDAsync") == 1 and "cuMemcpyDtoHAsync" not in calls()
    assert calls().count("cuMemcpyDtoDAsync") == 2  # of the outputs that no step writes
    assert found[0].address == y.address
    assert_equal(found, CHAIN, feeds)
    assert_equal(session.run(None, {"x": given, "z": feeds["z"]}), CHAIN, feeds)


def test_device_arrays_at_odd_addresses_are_copied() -> None:
    """Kernels read by 128 bits; a slice of another library's array may begin anywhere."""
    from cnncc.runtime.cuda.device_array import DeviceArray, empty

    session = InferenceSession(compiled(CHAIN))
    feeds, memory, results = feeds_of(session), empty((2, 64), np.float32), empty((2, 64), np.float32)

    def inside(whole: DeviceArray, at: int) -> DeviceArray:
        return DeviceArray(whole.address + at, (2, 3, 3), np.dtype(np.float32), whole)

    name = session.get_outputs()[0].name
    for at in (4, 4, 260, 8, 4):  # as a graph, too, and at other places with the same alignment
        x, y = inside(memory, at), inside(results, at)
        x.fill(feeds["x"])
        found = session.run_on_device({"x": x, "z": feeds["z"]}, {name: y})
        assert found[0].address == results.address + at
        assert_equal(found, CHAIN, feeds)
        feeds = {k: v + 1 for k, v in feeds.items()}
    assert calls().count("cuMemcpyDtoDAsync") > 0


def test_parts_of_a_concat_lie_where_kernels_can_write_them() -> None:
    text = """graph @parts(%x: f32[1,8]) {
  %v = const @v : f32[3,8]
  %w = const @w : f32[4,8]
  %0 = Gemm(%x, %v) {transB=true} : f32[1,3]
  %1 = Gemm(%x, %w) {transB=true} : f32[1,4]
  %2 = Relu(%0) : f32[1,3]
  %3 = Sigmoid(%1) : f32[1,4]
  %4 = Concat(%2, %3, %1) {axis=1} : f32[1,11]
  return %4
}"""
    session = InferenceSession(compiled(text))
    feeds = feeds_of(session)
    assert_equal(session.run(None, feeds), text, feeds)


def test_an_exported_array_lives_until_its_consumer_lets_go() -> None:
    from cnncc.runtime.cuda import dlpack
    from cnncc.runtime.cuda.device_array import as_device_array, empty

    x = empty((2, 3), np.float32)
    capsule, unused = x.__dlpack__(), x.__dlpack__()
    before = len(dlpack._given)
    del unused
    assert len(dlpack._given) == before - 1
    address, shape, dtype, owner = dlpack.read(capsule)
    assert (address, shape, dtype.value) == (x.address, (2, 3), "f32")
    with pytest.raises(InputError, match="can be used once"):
        dlpack.read(capsule)
    del owner
    assert len(dlpack._given) == before - 2
    assert as_device_array(x) is x


def test_arrays_that_do_not_fit_are_named() -> None:
    from cnncc.runtime.cuda.device_array import empty

    session = InferenceSession(compiled(CHAIN))
    feeds = feeds_of(session)
    with pytest.raises(InputError, match="the input 'x' must be of type f32"):
        session.run(None, feeds | {"x": empty((2, 3, 3), np.int32)})
    with pytest.raises(InputError, match="must have the shape"):
        session.run(None, feeds | {"x": empty((2, 3), np.float32)})
    with pytest.raises(InputError, match=r"the output '2' is float32\[2, 3, 3\], but the array given"):
        session.run_on_device(feeds, {session.get_outputs()[0].name: empty((2, 3), np.float32)})
    on_cpu = InferenceSession(compiled(CHAIN, "cpu", fallback="none"))
    with pytest.raises(InputError, match="lies in a GPU's memory"):
        on_cpu.run(None, feeds | {"x": empty((2, 3, 3), np.float32)})
    with pytest.raises(InputError, match="compiled for the CPU"):
        on_cpu.run_on_device(feeds)


def test_bodies_run_on_the_cpu() -> None:
    plan = compiled(BRANCH)
    assert [s.kernel for s in plan.steps].count("body") == 1 and plan.fallbacks
    session = InferenceSession(plan)
    for c in (True, False, True):
        feeds = {"x": np.arange(6, dtype=np.float32).reshape(2, 3) / 6, "c": np.array(c)}
        assert_equal(session.run(None, feeds), BRANCH, feeds)


def test_a_step_on_the_cpu_that_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(op: Any, *arrays: Any) -> Any:
        raise ValueError("no")

    session = InferenceSession(compiled(ON_CPU))
    monkeypatch.setattr(OPS["Det"], "reference", fails)
    with pytest.raises(InputError, match=r"^step '1' \(Det\) cannot compute what it is given \(no\)"):
        session.run(None, feeds_of(session))


def test_every_step_can_be_looked_at_and_timed() -> None:
    session = InferenceSession(compiled(ON_CPU))
    feeds = feeds_of(session)
    found = session.run_all(feeds)
    np.testing.assert_array_equal(found["0"], feeds["x"] + feeds["z"])
    np.testing.assert_allclose(found["1"], np.linalg.det(feeds["x"] + feeds["z"]), rtol=1e-5)
    times = session._runner.run_timed([feeds["x"], feeds["z"]])
    assert [t.bound.step.kernel for t in times] == [s.kernel for s in session.plan.steps]
    assert all(a.begin <= a.end == b.begin for a, b in pairwise(times))


def test_an_interrupted_run_leaves_nothing_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    from cnncc.runtime.cuda.device import Stream

    session = InferenceSession(compiled(CHAIN))
    feeds, launch = feeds_of(session), Stream.launch
    session.run(None, feeds)

    def interrupted(*arguments: Any) -> None:
        raise KeyboardInterrupt

    for _ in range(2):  # while a graph is captured, and in a run at addresses that are new
        monkeypatch.setattr(Stream, "launch", interrupted)
        calls().clear()
        with pytest.raises(KeyboardInterrupt):
            session.run(None, feeds)
        assert calls()[-1] == "cuStreamSynchronize"
        monkeypatch.setattr(Stream, "launch", launch)
        assert_equal(session.run(None, feeds), CHAIN, feeds)
        feeds = feeds_of(session, 3)


def test_a_forked_process_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    session = InferenceSession(compiled(CHAIN))
    feeds, process = feeds_of(session), os.getpid()
    session.run(None, feeds)
    monkeypatch.setattr(os, "getpid", lambda: process + 1)
    with pytest.raises(InputError, match="cannot be used after it"):
        session.run(None, feeds)
