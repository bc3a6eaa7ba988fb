"""InferenceSession: its calls, its errors, sizes bound at run time, many threads at once."""

from __future__ import annotations

import dataclasses
import gc
import threading
import weakref
from pathlib import Path

import numpy as np
import pytest

from cnncc import InferenceSession, compile
from cnncc.errors import CnnccError, InputError, PlanInvalid
from cnncc.ir import Graph, evaluate, parse_graph
from cnncc.ops import OPS
from cnncc.plan import REFERENCE
from cnncc.planfile import parse_plan, plan_bytes
from cnncc.runtime.cpu.binding import bind

TEXT = """graph @net(%image: f32[N,3,H,W], %bias: f32[1,8,1,1]) {
  %w = const @w : f32[8,3,3,3]
  %v = const @v : f32[24,8,3,3]
  %0 = Conv(%image, %w) {pads=[1,1,1,1], activation=relu} : f32[N,8,H,W]
  %1 = Add(%0, %bias) : f32[N,8,H,W]
  %2 = Conv(%1, %v) {pads=[1,1,1,1], strides=[2,2]} : f32[N,24,((H-1)//2)+1,((W-1)//2)+1]
  return %2 as "features", %0 as "early"
}"""
rng = np.random.default_rng(0)
WEIGHTS = {"w": rng.standard_normal((8, 3, 3, 3), dtype=np.float32),
           "v": rng.standard_normal((24, 8, 3, 3), dtype=np.float32) / 8}


def graph() -> Graph:
    return parse_graph(TEXT, OPS, WEIGHTS)


def feeds(n: int = 1, h: int = 9, w: int = 12) -> dict[str, np.ndarray]:
    return {"image": rng.standard_normal((n, 3, h, w), dtype=np.float32),
            "bias": rng.standard_normal((1, 8, 1, 1), dtype=np.float32)}


@pytest.fixture(scope="module")
def session() -> InferenceSession:
    return InferenceSession(compile(graph()), threads=2)


def close(given: np.ndarray, wanted: np.ndarray) -> bool:
    return bool(np.abs(given - wanted).max() <= 1e-5 * np.abs(wanted).max())


def test_describes_inputs_and_outputs(session):
    image, bias = session.get_inputs()
    assert (image.name, image.shape, image.type) == ("image", ["N", 3, "H", "W"], "tensor(float)")
    assert (bias.name, bias.shape) == ("bias", [1, 8, 1, 1])
    assert [o.name for o in session.get_outputs()] == ["features", "early"]
    assert session.get_outputs()[1].shape == ["N", 8, "H", "W"]


@pytest.mark.parametrize("sizes", [(1, 9, 12), (3, 16, 16), (2, 5, 33), (1, 9, 12)])
@pytest.mark.parametrize("threads", [1, 2])
def test_sizes_are_bound_at_run_time(sizes, threads):
    session = InferenceSession(compile(graph()), threads=threads)
    given = feeds(*sizes)
    features, early = session.run(None, given)
    wanted = evaluate(graph(), given, fp64=True)
    assert close(features, wanted["features"]) and close(early, wanted["early"])


def test_outputs_by_name(session):
    given = feeds()
    both = session.run(None, given)
    early, features = session.run(["early", "features"], given)
    assert np.array_equal(both[0], features) and np.array_equal(both[1], early)
    assert len(session.run(["early"], given)) == 1


def test_results_are_the_callers_own(session):
    first = session.run(None, feeds())
    kept = [a.copy() for a in first]
    session.run(None, feeds())
    assert all(np.array_equal(a, b) for a, b in zip(first, kept, strict=True))


def test_every_step_can_be_seen(session):
    given = feeds()
    seen = session.run_all(given)
    wanted = evaluate(graph(), given, every=True)
    assert {"0", "1", "2"} <= seen.keys()
    assert all(close(seen[name], wanted[name]) for name in ("0", "1", "2"))


@pytest.mark.parametrize("change", [
    lambda a: np.asfortranarray(a), lambda a: a[:, :, ::-1, :][:, :, ::-1, :], lambda a: a.astype(">f4"),
    lambda a: np.frombuffer(b"\0" + a.tobytes(), np.uint8)[1:].view(np.float32).reshape(a.shape),
    lambda a: a.tolist() and np.require(a, requirements=[]).copy()])
def test_arrays_of_any_making_give_the_same(session, change):
    given = feeds()
    wanted = session.run(None, given)
    changed = session.run(None, given | {"image": change(given["image"])})
    assert all(np.array_equal(a, b) for a, b in zip(wanted, changed, strict=True))


def test_read_only_inputs_are_not_written(session):
    given = feeds()
    given["image"].flags.writeable = False
    before = given["image"].copy()
    session.run(None, given)
    assert np.array_equal(before, given["image"])


@pytest.mark.parametrize("spoil, words", [
    (lambda f: {"image": f["image"]}, "no array was given for the input 'bias'"),
    (lambda f: f | {"imgae": f["image"]}, "did you mean 'image'"),
    (lambda f: {"imgae": f["image"], "bias": f["bias"]}, "did you mean 'image'"),
    (lambda f: f | {"image": f["image"].astype(np.float64)}, r"must be of type f32 .* is f64: .*astype\('float32'\)"),
    (lambda f: f | {"image": f["image"][0]}, r"must have the shape \[N,3,H,W\], but has \[3,9,12\]"),
    (lambda f: f | {"image": f["image"][:, :2]}, r"but has \[1,2,9,12\]"),
])
def test_wrong_feeds_are_explained(session, spoil, words):
    with pytest.raises(InputError, match=words):
        session.run(None, spoil(feeds()))


def test_sizes_that_are_multiples_of_a_dimension():
    graph = parse_graph("graph @net(%x: f32[4*H,H+1]) {\n  %y = Relu(%x) : f32[4*H,H+1]\n  return %y as \"y\"\n}", OPS)
    session = InferenceSession(compile(graph))
    x = np.arange(-12, 12, dtype=np.float32).reshape(8, 3)
    assert np.array_equal(session.run(None, {"x": x})[0], np.maximum(x, 0))
    with pytest.raises(InputError, match=r"axis 0 of the input 'x' must be 4\*H = 8, but is 9"):
        session.run(None, {"x": np.zeros((9, 3), np.float32)})
    with pytest.raises(InputError, match="the dimension H is 2 in one input, but 3 on axis 1 of the input 'x'"):
        session.run(None, {"x": np.zeros((8, 4), np.float32)})


def test_wrong_output_name_is_explained(session):
    with pytest.raises(InputError, match="did you mean 'features'"):
        session.run(["feature"], feeds())


def test_a_session_survives_a_wrong_call(session):
    with pytest.raises(InputError):
        session.run(None, {})
    assert len(session.run(None, feeds())) == 2


def test_an_equal_symbol_must_have_one_size():
    text = """graph @g(%a: f32[N,4], %b: f32[N,4]) {
      %0 = Add(%a, %b) : f32[N,4]
      return %0
    }"""
    session = InferenceSession(compile(parse_graph(text, OPS)))
    with pytest.raises(InputError, match="the dimension N is 2 in one input, but 3"):
        session.run(None, {"a": np.ones((2, 4), np.float32), "b": np.ones((3, 4), np.float32)})


def test_many_threads_at_once_agree_bit_for_bit():
    session = InferenceSession(compile(graph()), threads=2)
    given = [feeds(1 + k % 2) for k in range(4)]
    wanted = [session.run(None, f) for f in given]
    wrong: list[int] = []

    def work(k: int) -> None:
        for _ in range(30):
            got = session.run(None, given[k % 4])
            if not all(np.array_equal(a, b) for a, b in zip(got, wanted[k % 4], strict=True)):
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_sizes_that_vary_keep_a_bounded_number_of_memory_plans(session):
    from cnncc.runtime.cpu.runner import MAX_BINDINGS

    for h in range(3, 3 + 2 * MAX_BINDINGS):
        session.run(None, feeds(h=3))
        session.run(None, feeds(h=h))
    shapes = [key[0] for key in session._runner.pools]
    assert len(shapes) == MAX_BINDINGS
    assert shapes[0][-2] == 3, "what is used often stays"


def test_sizes_that_are_limited():
    plan = parse_plan(plan_bytes(compile(graph(), shapes={"N": range(1, 3)}, warm=False)))
    limited = InferenceSession(plan, threads=1)
    assert limited.run(None, feeds(n=2))[0].shape[0] == 2
    with pytest.raises(InputError, match="the dimension N is 3, but the plan was compiled for sizes from 1 to 2"):
        limited.run(None, feeds(n=3))
    with pytest.raises(InputError, match="the network has no symbolic dimension 'M'"):
        compile(graph(), shapes={"M": range(1, 3)})
    with pytest.raises(InputError, match="cannot be limited to range"):
        compile(graph(), shapes={"N": range(3, 3)})
    with pytest.raises(PlanInvalid, match=r"limits the dimension K to 1\.\.2"):
        plan_bytes(dataclasses.replace(plan, ranges={"K": (1, 2)}))


def test_compiling_gets_kernels_for_all_sizes(monkeypatch):
    """A plan with symbolic sizes has its kernels compiled before any size is known."""
    from cnncc.runtime.cpu import execution

    seen = set()
    monkeypatch.setattr(execution, "warm_kernels", lambda binding, tell: seen.update(
        b.launch.key for b in binding.steps if b.launch is not None))
    plan = compile(graph())
    for h, w in ((3, 3), (9, 12), (31, 17)):
        found = bind(plan, {"N": 2, "H": h, "W": w})
        assert {b.launch.key for b in found.steps if b.launch is not None} <= seen


def test_outputs_that_are_inputs_constants_or_given_twice():
    text = """graph @g(%x: f32[2,3]) {
      %c = const @c : f32[3]
      %0 = Add(%x, %c) : f32[2,3]
      return %0 as "a", %0 as "b", %x as "c", %c as "d"
    }"""
    c = np.arange(3, dtype=np.float32)
    session = InferenceSession(compile(parse_graph(text, OPS, {"c": c})))
    x = np.ones((2, 3), np.float32)
    results = session.run(None, {"x": x})
    for given, wanted in zip(results, [x + c, x + c, x, c], strict=True):
        assert np.array_equal(given, wanted)
    results[0][:] = 9
    assert not np.array_equal(results[0], results[1])


@pytest.mark.parametrize("sizes", [(0, 9, 12), (1, 0, 12), (2, 9, 0), (0, 0, 0)])
@pytest.mark.parametrize("threads", [1, 2])
def test_sizes_of_zero_run(sizes, threads):
    session = InferenceSession(compile(graph()), threads=threads)
    n, h, w = sizes
    features, early = session.run(None, feeds(*sizes))
    assert features.shape == (n, 24, (h - 1) // 2 + 1, (w - 1) // 2 + 1) and early.shape == (n, 8, h, w)
    assert session.run_all(feeds(*sizes))["2"].shape == features.shape


def test_threads_must_be_sensible(monkeypatch):
    plan = compile(graph())
    with pytest.raises(CnnccError, match="threads must be at least 1"):
        InferenceSession(plan, threads=0)
    monkeypatch.setenv("CNNCC_NUM_THREADS", "many")
    with pytest.raises(CnnccError, match="CNNCC_NUM_THREADS"):
        InferenceSession(plan)
    monkeypatch.setenv("CNNCC_NUM_THREADS", "3")
    assert InferenceSession(plan).threads == 3


def test_fallbacks_can_be_refused():
    text = """graph @g(%x: f32[2,3,2,2,2,2]) {
      %w = const @w : f32[4,3,1,1,1,1]
      %0 = Conv(%x, %w) : f32[2,4,2,2,2,2]
      return %0
    }"""
    plan = compile(parse_graph(text, OPS))
    assert [s.kernel for s in plan.steps] == [REFERENCE] and "spatial axes" in plan.fallbacks[0].reason
    with pytest.raises(CnnccError, match=r"1 nodes .* 'Conv|'0' \(Conv\)"):
        compile(parse_graph(text, OPS), allow_fallback=False)


def test_a_size_taken_out_of_a_shape_stays_a_scalar() -> None:
    text = """graph @net(%x: f32[N,4]) {
      %i = const 0 : i64[]
      %axes = const [0] : i64[1]
      %rest = const [2,2] : i64[2]
      %0 = Shape(%x) : i64[2]
      %1 = Gather(%0, %i) : i64[]
      %2 = Unsqueeze(%1, %axes) : i64[1]
      %3 = Concat(%2, %rest) {axis=0} : i64[3]
      %4 = Reshape(%x, %3) : f32[N,2,2]
      return %4
    }"""
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    [y] = InferenceSession(compile(parse_graph(text, OPS), level=0)).run(None, {"x": x})
    assert y.shape == (3, 2, 2) and y.tobytes() == x.tobytes()


@pytest.mark.parametrize("kernel", ["1,1", "3,3"])
@pytest.mark.parametrize("accuracy", ["high", "default"])
def test_a_residual_that_is_the_input_too_is_read_before_it_is_overwritten(kernel, accuracy):
    pads = "0,0,0,0" if kernel == "1,1" else "1,1,1,1"
    size = "20,20" if kernel == "1,1" else "18,18"
    text = f"""graph @g(%x: f32[1,32,20,20]) {{
      %w = const @w : f32[32,32,{kernel}]
      %0 = Conv(%x, %w) : f32[1,32,{size}]
      %1 = Conv(%0, %w, none, %0) {{pads=[{pads}]}} : f32[1,32,{size}]
      %2 = Conv(%1, %w, none, %1) {{pads=[{pads}], activation=relu}} : f32[1,32,{size}]
      return %2
    }}"""
    w = {"w": rng.standard_normal((32, 32, *map(int, kernel.split(","))), dtype=np.float32) / 10}
    x = rng.standard_normal((1, 32, 20, 20), dtype=np.float32)
    wanted = evaluate(parse_graph(text, OPS, w), {"x": x}, fp64=True)["2"]
    for threads in (1, 2):
        session = InferenceSession(compile(parse_graph(text, OPS, w), accuracy=accuracy), threads=threads)
        assert close(session.run(None, {"x": x})[0], wanted)


def test_weights_that_were_packed_are_given_back(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    graph = parse_graph("""graph @net(%x: f32[1,64,9,9]) {
  %w = const @w : f32[64,64,3,3]
  %0 = Conv(%x, %w) {pads=[1,1,1,1]} : f32[1,64,9,9]
  return %0
}""", OPS, {"w": rng.standard_normal((64, 64, 3, 3), np.float32)})
    plan = compile(graph)
    plan.save(tmp_path / "net.plan")
    given, opened = InferenceSession(plan, threads=2), InferenceSession(tmp_path / "net.plan", threads=2)
    assert len(given.plan.weights) == 1 and not opened.plan.weights
    x = {"x": rng.standard_normal((1, 64, 9, 9), np.float32)}
    assert np.array_equal(given.run(None, x)[0], opened.run(None, x)[0])
    assert np.array_equal(given.run_all(x)["0"], opened.run_all(x)["0"])
    assert plan.weights[next(iter(plan.weights))].any()


@pytest.mark.parametrize("channels", [2, 16])
def test_a_constant_of_the_outputs_shape_is_added_by_the_convolution(channels: int) -> None:
    """As position embeddings are to patches."""
    weights = {"w": np.ones((20, channels, 1, 1), np.float32),
               "r": np.arange(1280, dtype=np.float32).reshape(1, 20, 8, 8)}
    network = parse_graph(f"""graph @patches(%x: f32[1,{channels},8,8]) {{
      %w = const @w : f32[20,{channels},1,1]
      %r = const @r : f32[1,20,8,8]
      %0 = Conv(%x, %w) : f32[1,20,8,8]
      %1 = Add(%0, %r) : f32[1,20,8,8]
      return %1 as "y"
    }}""", OPS, weights)
    plan = compile(network)
    assert [s.op.op_type for s in plan.steps if s.op.op_type != "Identity"] == ["Conv"]
    [y] = InferenceSession(plan).run(None, {"x": np.ones((1, channels, 8, 8), np.float32)})
    np.testing.assert_array_equal(y, channels + weights["r"])


def test_memory_is_given_back_with_the_last_use() -> None:
    session = InferenceSession(compile(graph()), threads=2)
    session.run(None, feeds())
    kept = [weakref.ref(session._runner), weakref.ref(session._runner.pool(list(feeds().values())).prepared)]
    gc.disable()
    try:
        del session
        assert [ref() for ref in kept] == [None, None]
    finally:
        gc.enable()
