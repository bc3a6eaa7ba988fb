"""Matrix products against float64 over random shapes, all forms and tails."""

import numpy as np
import pytest

import cnncc
from cnncc.ir import parse_graph
from cnncc.ops import OPS
from cnncc.runtime.cpu.kernels import gemm
from cnncc.runtime.cpu.kernels.gemm import GemmShape
from tests.runtime.cpu.harness import UNIT, run


def check(rng, m, n, k, lanes, form, threads=1, packed=False, add=1, tile=None, a_transposed=False, batch=()):
    a = rng.standard_normal((*batch, k, m) if a_transposed else (*batch, m, k)).astype(np.float32)
    b = rng.standard_normal((n, k) if form == "dots" else (k, n)).astype(np.float32)
    c = {0: None, 1: rng.standard_normal((1, n)), 2: rng.standard_normal((m, 1)), 3: rng.standard_normal((m, n))}[add]
    c = None if c is None else c.astype(np.float32)
    per_batch = (m * k,) if batch else ()
    shape = GemmShape(
        m, n, k, (1, m) if a_transposed else (k, 1), (1, k) if form == "dots" else (n, 1),
        None if c is None else (c.shape[1] * (c.shape[0] > 1), int(c.shape[1] > 1)),
        batch, per_batch, (0,) * len(batch), (0,) * len(batch),
    )  # fmt: skip
    step = gemm.launch(shape, lanes, form, tile, packed=packed, p=-1.0, alpha=0.5, beta=2.0)
    y = np.full((*batch, m, n), np.nan, np.float32)
    weights = gemm.pack_weights(b, lanes, dict(step.params)["vectors"]) if packed else b
    run(step, {"a": a, "b": weights, "c": np.zeros(1) if c is None else c, "y": y}, threads)
    left, right = (a.swapaxes(-1, -2) if a_transposed else a), (b.T if form == "dots" else b)
    left, right = left.astype(np.float64), right.astype(np.float64)
    extra = 0 if c is None else 2.0 * c.astype(np.float64)
    want, size = 0.5 * (left @ right) + extra, 0.5 * (abs(left) @ abs(right)) + abs(extra)
    assert np.all(abs(y - np.maximum(want, -1.0)) <= 16 * UNIT * size)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("form", ["rows", "dots", "packed"])
@pytest.mark.parametrize("lanes", [16, 8, 4])
def test_random(lanes: int, form: str, seed: int) -> None:
    rng = np.random.default_rng([lanes, seed, len(form)])
    m = int(rng.choice([1, 2, 5, 8, 30, 70] if lanes == 16 else [1, 5, 70]))
    n, k = int(rng.integers(2, 300)), int(rng.integers(1, 200))
    kind = "rows" if form == "packed" else form
    check(rng, m, n, k, lanes, kind, 1 + seed % 2, form == "packed", add=1 if lanes < 16 else seed % 4)


@pytest.mark.parametrize("m", [3, 40])
def test_batch_and_transposed_a(m: int) -> None:
    rng = np.random.default_rng(m)
    check(rng, m, 37, 50, 16, "rows", 2, a_transposed=True, batch=(3,))
    check(rng, m, 37, 50, 16, "dots", 2, batch=(3,))


def test_two_batch_dimensions_broadcast() -> None:
    rng = np.random.default_rng(0)
    a = rng.standard_normal((2, 1, 5, 7)).astype(np.float32)
    b = rng.standard_normal((3, 7, 11)).astype(np.float32)
    shape = GemmShape(5, 11, 7, (7, 1), (11, 1), None, (2, 3), (35, 0), (0, 77), (0, 0))
    y = np.full((2, 3, 5, 11), np.nan, np.float32)
    run(gemm.launch(shape, 16), {"a": a, "b": b, "y": y}, 2)
    np.testing.assert_allclose(y, a @ b, rtol=1e-5, atol=1e-5)


def test_nothing_to_sum() -> None:
    y = np.full((2, 3), np.nan, np.float32)
    c = np.arange(3, dtype=np.float32)
    run(gemm.launch(GemmShape(2, 3, 0, (0, 1), (3, 1), (0, 1)), 16), {"a": y[:0], "b": y[:0], "c": c, "y": y})
    np.testing.assert_array_equal(y, [c, c])


@pytest.mark.parametrize("m", [1, 3, 40])
@pytest.mark.parametrize("transposed", [0, 1])
def test_small_constant_weights_and_those_for_many_rows_are_packed(m: int, transposed: int) -> None:
    rng = np.random.default_rng(m)
    for k, n, packed in ((50, 33, True), (400, 120, True), (700, 400, m == 40)):
        w = rng.standard_normal((n, k) if transposed else (k, n)).astype(np.float32)
        c = rng.standard_normal(n).astype(np.float32)
        text = f"""graph @net(%x: f32[{m},{k}]) {{
          %w = const @w : f32[{w.shape[0]},{w.shape[1]}]
          %c = const @c : f32[{n}]
          %0 = Gemm(%x, %w, %c) {{transB={transposed}}} : f32[{m},{n}]
          return %0
        }}"""
        plan = cnncc.compile(parse_graph(text, OPS, {"w": w, "c": c}))
        assert ("packed" in plan.steps[-1].params) is packed
        x = rng.standard_normal((m, k)).astype(np.float32)
        [y] = cnncc.InferenceSession(plan, threads=2).run(None, {"x": x})
        b = (w.T if transposed else w).astype(np.float64)
        bound = 16 * UNIT * (abs(x) @ abs(b) + abs(c))
        assert np.all(abs(y - (x @ b + c)) <= bound)


@pytest.mark.parametrize(("shape", "weights"), [
    ((2, 3, 9, 20), (20, 33)), ((2, 1, 30, 20), (20, 33)), ((7, 20), (20, 5)), ((20,), (20, 33)),
    ((2, 3, 9, 20), (3, 20, 33)),
])  # fmt: skip
def test_bias_residual_and_activation_of_a_matmul(shape: tuple[int, ...], weights: tuple[int, ...]) -> None:
    rng = np.random.default_rng(len(shape))
    x, w, c = (rng.standard_normal(s).astype(np.float32) for s in (shape, weights, weights[-1:]))
    r = rng.standard_normal((*shape[:-1], weights[-1])).astype(np.float32)
    types = [",".join(map(str, s)) for s in (shape, r.shape, weights, c.shape)]
    text = f"""graph @net(%x: f32[{types[0]}], %r: f32[{types[1]}]) {{
      %w = const @w : f32[{types[2]}]
      %c = const @c : f32[{types[3]}]
      %0 = MatMul(%x, %w, %c, %r) {{activation=relu}} : f32[{types[1]}]
      return %0
    }}"""
    plan = cnncc.compile(parse_graph(text, OPS, {"w": w, "c": c}), allow_fallback=False)
    assert ("packed" in plan.steps[-1].params) is (len(weights) == 2)
    [y] = cnncc.InferenceSession(plan, threads=2).run(None, {"x": x, "r": r})
    bound = 16 * UNIT * (abs(x).astype(float) @ abs(w) + abs(c) + abs(r))
    assert np.all(abs(y - np.maximum(x.astype(float) @ w + c + r, 0)) <= bound)
