"""widen_float16, by IR text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import cnncc
from cnncc.ir import evaluate, format_graph, parse_graph, verify
from cnncc.ops import OPS
from cnncc.passes.widen_float16 import widen_float16

from .harness import check_stays, parse, random_array


def check_rewrite(before: str, after: str) -> None:
    """As harness.check_rewrite; the numbers differ by float16's rounding."""
    graph = parse(before)
    assert widen_float16(graph)
    verify(graph)
    assert format_graph(graph) == format_graph(parse(after))
    assert not widen_float16(graph)
    feeds = {v.name: random_array(v.type, v.name) for v in graph.inputs}
    for got, want in zip(evaluate(graph, feeds).values(), evaluate(parse(before), feeds).values(), strict=True):
        assert got.dtype == want.dtype
        np.testing.assert_allclose(got, want, rtol=2e-3, atol=2e-3)


def test_weights_inputs_and_outputs() -> None:
    check_rewrite("""
        graph @net(%x: f16[1,2,4,4]) {
          %w = const @w : f16[3,2,1,1]
          %0 = Conv(%x, %w) : f16[1,3,4,4]
          %y = Relu(%0) : f16[1,3,4,4]
          return %y, %0
        }""", """
        graph @net(%x: f16[1,2,4,4]) {
          %x.f32 = Cast(%x) {to=f32} : f32[1,2,4,4]
          %w = const @w : f32[3,2,1,1]
          %0.f32 = Conv(%x.f32, %w) : f32[1,3,4,4] @0
          %y.f32 = Relu(%0.f32) : f32[1,3,4,4] @y
          %y = Cast(%y.f32) {to=f16} : f16[1,3,4,4]
          %0 = Cast(%0.f32) {to=f16} : f16[1,3,4,4]
          return %y, %0
        }""")


def test_casts_of_the_model_round() -> None:
    check_rewrite("""
        graph @net(%x: f16[4], %s: f32[4]) {
          %0 = Cast(%s) {to=f16} : f16[4]
          %1 = CastLike(%s, %x) : f16[4]
          %2 = Add(%0, %1) : f16[4]
          %3 = Cast(%2) {to=f32} : f32[4]
          %4 = Mul(%3, %s) : f32[4]
          return %4
        }""", """
        graph @net(%x: f16[4], %s: f32[4]) {
          %0 = Cast(%s) {to=f16} : f16[4]
          %1 = Cast(%s) {to=f16} : f16[4]
          %0.f32 = Cast(%0) {to=f32} : f32[4]
          %1.f32 = Cast(%1) {to=f32} : f32[4]
          %2 = Add(%0.f32, %1.f32) : f32[4]
          %3 = Cast(%2) {to=f32} : f32[4]
          %4 = Mul(%3, %s) : f32[4]
          return %4
        }""")


def test_an_operator_that_names_the_type() -> None:
    check_rewrite("""
        graph @net(%x: f16[2,3]) {
          %0 = const [2,3] : i64[2]
          %1 = ConstantOfShape(%0) {value=1.5, dtype=f16} : f16[2,3]
          %2 = Add(%x, %1) : f16[2,3]
          %k = const [2] : i64[1]
          %3, %4 = TopK(%2, %k) : f16[2,2], i64[2,2]
          return %4
        }""", """
        graph @net(%x: f16[2,3]) {
          %0 = const [2,3] : i64[2]
          %1 = ConstantOfShape(%0) {value=1.5} : f32[2,3]
          %x.f32 = Cast(%x) {to=f32} : f32[2,3]
          %2 = Add(%x.f32, %1) : f32[2,3]
          %k = const [2] : i64[1]
          %3, %4 = TopK(%2, %k) : f32[2,2], i64[2,2]
          return %4
        }""")


def test_bodies_keep_their_types() -> None:
    check_rewrite("""
        graph @net(%c: bool[], %x: f16[4]) {
          %0 = Exp(%x) : f16[4]
          %1 = If(%c, %0) : f16[4]
            then_branch = graph @then(%v: f16[4]) {
              return %v
            }
            else_branch = graph @else(%v: f16[4]) {
              return %v
            }
          %2 = Neg(%1) : f16[4]
          %3 = ArgMax(%2) : i64[1]
          return %3
        }""", """
        graph @net(%c: bool[], %x: f16[4]) {
          %x.f32 = Cast(%x) {to=f32} : f32[4]
          %0 = Exp(%x.f32) : f32[4]
          %0.f16 = Cast(%0) {to=f16} : f16[4]
          %1 = If(%c, %0.f16) : f16[4]
            then_branch = graph @then(%v: f16[4]) {
              return %v
            }
            else_branch = graph @else(%v: f16[4]) {
              return %v
            }
          %1.f32 = Cast(%1) {to=f32} : f32[4]
          %2 = Neg(%1.f32) : f32[4]
          %3 = ArgMax(%2) : i64[1]
          return %3
        }""")


@pytest.mark.parametrize("body", [
    "%0 = Relu(%s) : f32[4]",
    "%0 = Cast(%x) {to=f32} : f32[4]",
    "%1 = Cast(%s) {to=f16} : f16[4]\n %0 = Cast(%1) {to=i32} : i32[4]",
])
def test_nothing_computed_in_float16(body: str) -> None:
    check_stays(widen_float16, f"graph @net(%x: f16[4], %s: f32[4]) {{\n {body}\n return %0, %x\n}}")


TEXT = """
graph @net(%x: f16[1,8,9,9]) {
  %w = const @w : f16[64,8,3,3]
  %b = const @b : f16[64]
  %0 = Conv(%x, %w, %b) {pads=[1,1,1,1]} : f16[1,64,9,9]
  %1 = Mul(%0, %0) : f16[1,64,9,9]
  %a = const [2,3] : i64[2]
  %2 = ReduceMean(%1, %a) {keepdims=0} : f16[1,64]
  %3 = Sqrt(%2) : f16[1,64]
  return %3
}"""


def test_compiled(tmp_path: Path) -> None:
    """Native altogether, right where float16 would overflow, and no larger on the disk than the model."""
    rng = np.random.default_rng(0)
    weights = {"w": rng.standard_normal((64, 8, 3, 3)).astype(np.float16),
               "b": rng.standard_normal(64).astype(np.float16)}
    x = (100 * rng.standard_normal((1, 8, 9, 9))).astype(np.float16)
    plan = cnncc.compile(parse_graph(TEXT, OPS, weights))
    assert not plan.fallbacks
    [exact] = evaluate(parse_graph(TEXT, OPS, weights), {"x": x}, fp64=True).values()
    path = tmp_path / "half.plan"
    plan.save(path)
    assert path.stat().st_size < weights["w"].nbytes + 4096
    for one in (plan, cnncc.Plan.load(path)):
        [y] = cnncc.InferenceSession(one).run(None, {"x": x})
        assert y.dtype == np.float16
        np.testing.assert_array_equal(one.weights[next(iter(one.weights))], plan.weights[next(iter(plan.weights))])
        np.testing.assert_allclose(y, exact.astype(np.float16), rtol=1e-3)
        assert exact.max() ** 2 > np.finfo(np.float16).max
