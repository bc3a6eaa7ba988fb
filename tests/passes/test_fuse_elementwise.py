"""fuse_elementwise: chains of elementwise operators."""

from __future__ import annotations

import pytest

from cnncc.errors import OpError
from cnncc.ir import Operand, parse_type
from cnncc.ops.chain import Chain
from cnncc.passes.fuse_elementwise import fuse_elementwise

from .harness import check_rewrite, check_stays


def graph(body: str) -> str:
    return f"""
graph @net(%x: f32[N,4,5,5], %s: f32[N,4,1,1], %y: f32[N,4,5,5]) {{
{body}
}}"""


def test_a_scaled_residual_and_its_activation() -> None:
    check_rewrite(fuse_elementwise, graph("""
  %0 = Mul(%x, %s) : f32[N,4,5,5]
  %1 = Add(%0, %y) : f32[N,4,5,5]
  %2 = Relu(%1) : f32[N,4,5,5]
  return %2"""), graph("""
  %2 = Chain(%x, %s, %y) {parts=["Mul(0,1)","Add(3,2)","Relu(4)"]} : f32[N,4,5,5]
  return %2"""))


def test_two_branches_join_and_attributes_stay() -> None:
    check_rewrite(fuse_elementwise, graph("""
  %0 = LeakyRelu(%x) {alpha=0.25} : f32[N,4,5,5]
  %1 = Sub(%x, %y) : f32[N,4,5,5]
  %2 = Mul(%0, %1) : f32[N,4,5,5]
  return %2"""), graph("""
  %2 = Chain(%x, %y) {parts=["Sub(0,1)","LeakyRelu(0) {alpha=0.25}","Mul(3,2)"]} : f32[N,4,5,5]
  return %2"""))


@pytest.mark.parametrize("body", [
    "  %0 = Sigmoid(%s) : f32[N,4,1,1]\n  %1 = Mul(%x, %0) : f32[N,4,5,5]\n  return %1",  # broadcast
    "  %0 = Exp(%x) : f32[N,4,5,5]\n  %1 = Add(%0, %y) : f32[N,4,5,5]\n  %2 = Conv(%0, %w) : f32[N,4,5,5]\n"
    "  return %1, %2",  # read twice
    "  %0 = Exp(%x) : f32[N,4,5,5]\n  %1 = Neg(%0) : f32[N,4,5,5]\n  return %0, %1",  # an output
    "  %0 = Cast(%x) {to=f64} : f64[N,4,5,5]\n  %1 = Exp(%0) : f64[N,4,5,5]\n  %2 = Neg(%1) : f64[N,4,5,5]\n"
    "  return %2",  # not f32
])
def test_it_must_not_fire(body: str) -> None:
    if "%w" in body:
        body = "  %w = const @w : f32[4,4,1,1]\n" + body
    check_stays(fuse_elementwise, graph(body))


def test_it_stops_at_what_a_kernel_takes() -> None:
    lines = ["  %0 = Exp(%x) : f32[N,4,5,5]"]
    lines += [f"  %{i} = Neg(%{i - 1}) : f32[N,4,5,5]" for i in range(1, 7)]
    check_rewrite(fuse_elementwise, graph("\n".join([*lines, "  return %6"])), graph(
        """  %5 = Chain(%x) {parts=["Exp(0)","Neg(1)","Neg(2)","Neg(3)","Neg(4)","Neg(5)"]} : f32[N,4,5,5]
  %6 = Neg(%5) : f32[N,4,5,5]
  return %6"""))


@pytest.mark.parametrize(("parts", "message"), [
    ((), "there must be 1 to 16 parts"), (("Conv(0,1)",), "'Conv(0,1)' is no part of a chain"),
    (("Mul(0)",), "lacks its input"), (("Relu(0) {no=1}",), "has no attribute 'no'"),
    (("Relu(2)",), "reads what is computed after it"), (("Relu(1)", "Add(0,2)"), "all parts must have one type")])
def test_a_wrong_chain_is_refused(parts: tuple[str, ...], message: str) -> None:
    with pytest.raises(OpError) as caught:
        Chain(parts).infer(Operand(parse_type("f32[2,3]")), Operand(parse_type("f32[3]")))
    assert message in str(caught.value)
