from __future__ import annotations

import pytest

from cnncc.passes.fuse_residual import fuse_residual

from .harness import check_rewrite, check_stays

WEIGHTS = """  %w = const @w : f32[3,3,3,3]
  %b = const @b : f32[3]"""


def net(statements: str, result: str = "%9", weights: str = WEIGHTS) -> str:
    return f"graph @net(%x: f32[N,3,4,4], %y: f32[N,3,4,4]) {{\n{weights}\n{statements}\n  return {result}\n}}"


@pytest.mark.parametrize("operands", ["%0, %y", "%y, %0"])
def test_either_side(operands):
    check_rewrite(fuse_residual, net(f"""
  %0 = Conv(%x, %w, %b) {{pads=[1,1,1,1]}} : f32[N,3,4,4] @conv
  %9 = Add({operands}) : f32[N,3,4,4]"""), net("""
  %9 = Conv(%x, %w, %b, %y) {pads=[1,1,1,1]} : f32[N,3,4,4] @conv"""), tolerance=1e-12)


def test_without_bias_and_with_the_residual_computed_later():
    check_rewrite(fuse_residual, net("""
  %0 = Conv(%x, %w) {pads=[1,1,1,1]} : f32[N,3,4,4] @conv
  %1 = Relu(%y) : f32[N,3,4,4]
  %9 = Add(%0, %1) : f32[N,3,4,4]""", weights="  %w = const @w : f32[3,3,3,3]"), net("""
  %1 = Relu(%y) : f32[N,3,4,4]
  %9 = Conv(%x, %w, none, %1) {pads=[1,1,1,1]} : f32[N,3,4,4] @conv""", weights="  %w = const @w : f32[3,3,3,3]"),
                  tolerance=1e-12)


def test_of_two_convolutions_the_later_takes_the_other():
    check_rewrite(fuse_residual, net("""
  %0 = Conv(%x, %w, %b) {pads=[1,1,1,1]} : f32[N,3,4,4] @first
  %1 = Conv(%y, %w, %b) {pads=[1,1,1,1]} : f32[N,3,4,4] @second
  %9 = Add(%0, %1) : f32[N,3,4,4]"""), net("""
  %0 = Conv(%x, %w, %b) {pads=[1,1,1,1]} : f32[N,3,4,4] @first
  %9 = Conv(%y, %w, %b, %0) {pads=[1,1,1,1]} : f32[N,3,4,4] @second"""), tolerance=1e-12)


def test_the_earlier_convolution_where_the_later_cannot():
    check_rewrite(fuse_residual, net("""
  %0 = Conv(%x, %w, %b) {pads=[1,1,1,1]} : f32[N,3,4,4] @first
  %1 = Conv(%y, %w, %b) {pads=[1,1,1,1], activation=relu} : f32[N,3,4,4] @second
  %9 = Add(%0, %1) : f32[N,3,4,4]"""), net("""
  %1 = Conv(%y, %w, %b) {pads=[1,1,1,1], activation=relu} : f32[N,3,4,4] @second
  %9 = Conv(%x, %w, %b, %1) {pads=[1,1,1,1]} : f32[N,3,4,4] @first"""), tolerance=1e-12)


def test_blocks_in_a_row():
    check_rewrite(fuse_residual, net("""
  %0 = Conv(%x, %w, %b) {pads=[1,1,1,1]} : f32[N,3,4,4]
  %1 = Add(%0, %x) : f32[N,3,4,4]
  %2 = Relu(%1) : f32[N,3,4,4]
  %3 = Conv(%2, %w, %b) {pads=[1,1,1,1]} : f32[N,3,4,4]
  %9 = Add(%2, %3) : f32[N,3,4,4]"""), net("""
  %1 = Conv(%x, %w, %b, %x) {pads=[1,1,1,1]} : f32[N,3,4,4] @0
  %2 = Relu(%1) : f32[N,3,4,4]
  %9 = Conv(%2, %w, %b, %2) {pads=[1,1,1,1]} : f32[N,3,4,4] @3"""), tolerance=1e-12)


def test_matrix_products():
    head = """graph @net(%x: f32[N,T,4], %y: f32[N,T,3], %z: f32[N,4]) {
  %w = const @w : f32[4,3]
  %v = const @v : f32[3,4]"""
    check_rewrite(fuse_residual, head + """
  %0 = MatMul(%x, %w) : f32[N,T,3]
  %1 = Add(%y, %0) : f32[N,T,3]
  %2 = Gemm(%z, %w) : f32[N,3]
  %3 = Gemm(%2, %v) : f32[N,4]
  %4 = Add(%3, %z) : f32[N,4]
  return %1, %4
}""", head + """
  %1 = MatMul(%x, %w, none, %y) : f32[N,T,3] @0
  %2 = Gemm(%z, %w) : f32[N,3]
  %4 = Gemm(%2, %v, none, %z) : f32[N,4] @3
  return %1, %4
}""", tolerance=1e-12)


STAYS = {
    "of integers": """graph @net(%x: i32[N,4], %w: i32[4,3], %y: i32[N,3]) {
  %0 = MatMul(%x, %w) : i32[N,3]
  %9 = Add(%0, %y) : i32[N,3]
  return %9
}""",
    "read twice": net("""
  %0 = Conv(%x, %w, %b) {pads=[1,1,1,1]} : f32[N,3,4,4]
  %1 = Relu(%0) : f32[N,3,4,4]
  %9 = Add(%0, %1) : f32[N,3,4,4]"""),
    "added to itself": net("""
  %0 = Conv(%x, %w, %b) {pads=[1,1,1,1]} : f32[N,3,4,4]
  %9 = Add(%0, %0) : f32[N,3,4,4]"""),
    "an output": net("""
  %0 = Conv(%x, %w, %b) {pads=[1,1,1,1]} : f32[N,3,4,4]
  %9 = Add(%0, %y) : f32[N,3,4,4]""", "%0, %9"),
    "active already": net("""
  %0 = Conv(%x, %w, %b) {pads=[1,1,1,1], activation=relu} : f32[N,3,4,4]
  %9 = Add(%0, %y) : f32[N,3,4,4]"""),
    "residual already": net("""
  %0 = Conv(%x, %w, %b, %y) {pads=[1,1,1,1]} : f32[N,3,4,4]
  %9 = Add(%0, %y) : f32[N,3,4,4]"""),
    "broadcast": net("""
  %0 = Conv(%x, %w, %b) {pads=[1,1,1,1]} : f32[N,3,4,4]
  %1 = GlobalAveragePool(%y) : f32[N,3,1,1]
  %9 = Add(%0, %1) : f32[N,3,4,4]"""),
    "widened": net("""
  %0 = Conv(%x, %w, %b) : f32[N,3,2,2]
  %1 = GlobalAveragePool(%0) : f32[N,3,1,1]
  %2 = Conv(%1, %w, %b) {pads=[1,1,1,1]} : f32[N,3,1,1]
  %9 = Add(%2, %y) : f32[N,3,4,4]"""),
    "subtracted": net("""
  %0 = Conv(%x, %w, %b) {pads=[1,1,1,1]} : f32[N,3,4,4]
  %9 = Sub(%y, %0) : f32[N,3,4,4]"""),
}


@pytest.mark.parametrize("text", STAYS.values(), ids=STAYS)
def test_stays(text):
    check_stays(fuse_residual, text)
