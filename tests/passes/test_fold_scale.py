from __future__ import annotations

import pytest

from cnncc.passes.fold_scale import fold_scale

from .harness import check_rewrite, check_stays

ROUNDING = 5e-7
CONSTANTS = """
  %w = const @w : f32[4,3,3,3]
  %b = const @b : f32[4]
  %c = const @c_positive : f32[4,1,1]
  %d = const @d_positive : f32[1,4,1,1]
  %s = const 0.3 : f32[]
  %row = const @row_positive : f32[3]
  %wide = const @wide : f32[2,4,1,1]
  %zero = const [[[1.0]],[[0.0]],[[2.0]],[[3.0]]] : f32[4,1,1]"""

FIRES = ["Mul(%0, %c)", "Mul(%c, %0)", "Mul(%0, %s)", "Add(%0, %c)", "Add(%d, %0)", "Sub(%0, %d)", "Sub(%c, %0)",
         "Div(%0, %c)", "Div(%0, %s)"]


def net(statements: str, result: str = "%1") -> str:
    return f"""
graph @net(%x: f32[N,3,5,5], %f: f32[4,1,1]) {{{CONSTANTS}
  {statements}
  return {result}
}}"""


@pytest.mark.parametrize("operator", FIRES)
def test_into_conv(operator):
    check_rewrite(fold_scale, net(f"%0 = Conv(%x, %w, %b) : f32[N,4,3,3] @conv\n  %1 = {operator} : f32[N,4,3,3]"), """
graph @net(%x: f32[N,3,5,5], %f: f32[4,1,1]) {
  %w = const @w : f32[4,3,3,3]
  %b = const @b : f32[4]
  %1 = Conv(%x, %w, %b) : f32[N,4,3,3] @conv
  return %1
}""", tolerance=ROUNDING)


def test_chain_into_conv_without_bias():
    check_rewrite(fold_scale, net("""
  %0 = Conv(%x, %w) : f32[N,4,3,3] @conv
  %2 = Mul(%0, %c) : f32[N,4,3,3]
  %3 = Add(%2, %d) : f32[N,4,3,3]
  %1 = Div(%3, %s) : f32[N,4,3,3]"""), """
graph @net(%x: f32[N,3,5,5], %f: f32[4,1,1]) {
  %w = const @w : f32[4,3,3,3]
  %conv.bias = const @conv.bias : f32[4]
  %1 = Conv(%x, %w, %conv.bias) : f32[N,4,3,3] @conv
  return %1
}""", tolerance=ROUNDING)


@pytest.mark.parametrize("bias", ["[5]", "[1,5]"])
def test_into_gemm(bias):
    check_rewrite(fold_scale, f"""
graph @net(%x: f32[N,3]) {{
  %w = const @w : f32[3,5]
  %t = const @t : f32{bias}
  %s = const @s : f32{bias}
  %0 = Gemm(%x, %w) {{alpha=3.0}} : f32[N,5]
  %1 = Add(%0, %t) : f32[N,5]
  %2 = Mul(%1, %s) : f32[N,5]
  return %2
}}""", """
graph @net(%x: f32[N,3]) {
  %w = const @w : f32[3,5]
  %0.bias = const @0.bias : f32[5]
  %2 = Gemm(%x, %w, %0.bias) : f32[N,5] @0
  return %2
}""", tolerance=ROUNDING)


def test_into_batch_norm():
    """As a Scale layer of Caffe comes: DenseNet has one after each BatchNormalization."""
    check_rewrite(fold_scale, """
graph @net(%x: f32[N,2,4,4]) {
  %g = const @g : f32[2]
  %b = const @b : f32[2]
  %m = const @m : f32[2]
  %v = const @var : f32[2]
  %s = const @s : f32[2,1,1]
  %t = const @t : f32[2,1,1]
  %0 = BatchNormalization(%x, %g, %b, %m, %v) : f32[N,2,4,4]
  %1 = Mul(%0, %s) : f32[N,2,4,4]
  %2 = Add(%1, %t) : f32[N,2,4,4]
  return %2
}""", """
graph @net(%x: f32[N,2,4,4]) {
  %g = const @g : f32[2]
  %b = const @b : f32[2]
  %m = const @m : f32[2]
  %v = const @var : f32[2]
  %2 = BatchNormalization(%x, %g, %b, %m, %v) : f32[N,2,4,4] @0
  return %2
}""", tolerance=ROUNDING)


CONV = "%0 = Conv(%x, %w, %b) : f32[N,4,3,3]"
STAYS = {
    "read twice": net(f"{CONV}\n  %2 = Mul(%0, %c) : f32[N,4,3,3]\n  %1 = Sub(%0, %2) : f32[N,4,3,3]"),
    "an output": net(f"{CONV}\n  %1 = Mul(%0, %c) : f32[N,4,3,3]", "%0, %1"),
    "along a row": net(f"{CONV}\n  %1 = Mul(%0, %row) : f32[N,4,3,3]"),
    "not constant": net(f"{CONV}\n  %1 = Mul(%0, %f) : f32[N,4,3,3]"),
    "active": net("%0 = Conv(%x, %w, %b) {activation=relu} : f32[N,4,3,3]\n  %1 = Mul(%0, %c) : f32[N,4,3,3]"),
    "residual": net("%2 = Conv(%x, %w) : f32[N,4,3,3]\n  %3 = Relu(%2) : f32[N,4,3,3]\n"
                    "  %0 = Conv(%x, %w, %b, %3) : f32[N,4,3,3]\n  %1 = Mul(%0, %c) : f32[N,4,3,3]"),
    "divisor": net(f"{CONV}\n  %1 = Div(%c, %0) : f32[N,4,3,3]"),
    "division by zero": net(f"{CONV}\n  %1 = Div(%0, %zero) : f32[N,4,3,3]"),
    "after something else": net("%0 = Relu(%x) : f32[N,3,5,5]\n  %1 = Mul(%0, %s) : f32[N,3,5,5]"),
}


@pytest.mark.parametrize("text", STAYS.values(), ids=STAYS)
def test_stays(text):
    check_stays(fold_scale, text)


def test_stays_where_the_shape_is_widened():
    check_stays(fold_scale, """
graph @net(%x: f32[1,3,5,5]) {
  %w = const @w : f32[1,3,3,3]
  %channels = const @channels : f32[4,1,1]
  %batch = const @batch : f32[2,1,1,1]
  %more = const @more : f32[1,1,1,1,1]
  %0 = Conv(%x, %w) : f32[1,1,3,3]
  %1 = Mul(%0, %channels) : f32[1,4,3,3]
  %2 = Conv(%x, %w) : f32[1,1,3,3]
  %3 = Add(%2, %batch) : f32[2,1,3,3]
  %4 = Conv(%x, %w) : f32[1,1,3,3]
  %5 = Mul(%4, %more) : f32[1,1,1,3,3]
  return %1, %3, %5
}""")


def test_stays_where_the_bias_of_a_gemm_differs_by_row():
    check_stays(fold_scale, """
graph @net(%x: f32[2,3]) {
  %w = const @w : f32[3,5]
  %c = const @c : f32[2,1]
  %s = const 2.0 : f32[]
  %0 = Gemm(%x, %w, %c) : f32[2,5]
  %1 = Mul(%0, %s) : f32[2,5]
  return %1
}""")
