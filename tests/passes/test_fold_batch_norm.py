from __future__ import annotations

import numpy as np
import pytest

from cnncc.ir import evaluate
from cnncc.passes.fold_batch_norm import fold_batch_norm

from .harness import check_rewrite, check_stays, parse, random_array

ROUNDING = 3e-7  # each weight and bias is rounded to f32 once
STATISTICS = """
  %gamma = const @gamma : f32[4]
  %beta = const @beta : f32[4]
  %mean = const @mean : f32[4]
  %var = const @var : f32[4]"""


def test_into_conv_with_bias_groups_and_symbolic_sizes():
    check_rewrite(fold_batch_norm, f"""
graph @net(%x: f32[N,6,H,8]) {{
  %w = const @w : f32[4,3,3,3]
  %b = const @b : f32[4]{STATISTICS}
  %0 = Conv(%x, %w, %b) {{group=2, pads=[1,1,1,1], strides=[1,2]}} : f32[N,4,H,4] @conv
  %1 = BatchNormalization(%0, %gamma, %beta, %mean, %var) {{epsilon=0.001}} : f32[N,4,H,4]
  return %1
}}""", """
graph @net(%x: f32[N,6,H,8]) {
  %w = const @w : f32[4,3,3,3]
  %b = const @b : f32[4]
  %1 = Conv(%x, %w, %b) {group=2, pads=[1,1,1,1], strides=[1,2]} : f32[N,4,H,4] @conv
  return %1
}""", tolerance=ROUNDING)


def test_into_conv_without_bias_3d():
    check_rewrite(fold_batch_norm, f"""
graph @net(%x: f32[2,3,4,4,4]) {{
  %w = const @w : f32[4,3,2,2,2]{STATISTICS}
  %0 = Conv(%x, %w) : f32[2,4,3,3,3] @conv
  %1 = BatchNormalization(%0, %gamma, %beta, %mean, %var) : f32[2,4,3,3,3]
  return %1
}}""", """
graph @net(%x: f32[2,3,4,4,4]) {
  %w = const @w : f32[4,3,2,2,2]
  %conv.bias = const @conv.bias : f32[4]
  %1 = Conv(%x, %w, %conv.bias) : f32[2,4,3,3,3] @conv
  return %1
}""", tolerance=ROUNDING)


@pytest.mark.parametrize("group", [1, 2])
def test_into_conv_transpose(group):
    check_rewrite(fold_batch_norm, f"""
graph @net(%x: f32[N,6,H,8]) {{
  %w = const @w : f32[6,{4 // group},2,3]{STATISTICS}
  %0 = ConvTranspose(%x, %w) {{group={group}, strides=[2,1]}} : f32[N,4,2*H,10] @up
  %1 = BatchNormalization(%0, %gamma, %beta, %mean, %var) : f32[N,4,2*H,10]
  return %1
}}""".replace("group=1, ", ""), f"""
graph @net(%x: f32[N,6,H,8]) {{
  %w = const @w : f32[6,{4 // group},2,3]
  %up.bias = const @up.bias : f32[4]
  %1 = ConvTranspose(%x, %w, %up.bias) {{group={group}, strides=[2,1]}} : f32[N,4,2*H,10] @up
  return %1
}}""".replace("group=1, ", ""), tolerance=ROUNDING)


@pytest.mark.parametrize(("flag", "shape"), [("", "[3,4]"), ("transB=true, ", "[4,3]")])
def test_into_gemm(flag, shape):
    check_rewrite(fold_batch_norm, f"""
graph @net(%x: f32[N,3]) {{
  %w = const @w : f32{shape}
  %c = const @c : f32[1,4]{STATISTICS}
  %0 = Gemm(%x, %w, %c) {{{flag}alpha=0.5, beta=2.0}} : f32[N,4]
  %1 = BatchNormalization(%0, %gamma, %beta, %mean, %var) : f32[N,4]
  return %1
}}""", f"""
graph @net(%x: f32[N,3]) {{
  %w = const @w : f32{shape}
  %c = const @c : f32[4]
  %1 = Gemm(%x, %w, %c) {{{flag.removesuffix(", ")}}} : f32[N,4] @0
  return %1
}}""", tolerance=ROUNDING)


def test_into_batch_norm():
    check_rewrite(fold_batch_norm, f"""
graph @net(%x: f32[N,4]) {{{STATISTICS}
  %0 = BatchNormalization(%x, %gamma, %beta, %mean, %var) : f32[N,4] @bn
  %1 = BatchNormalization(%0, %gamma, %beta, %mean, %var) : f32[N,4]
  return %1
}}""", """
graph @net(%x: f32[N,4]) {
  %gamma_1 = const @gamma_1 : f32[4]
  %beta_1 = const @beta_1 : f32[4]
  %mean = const @mean : f32[4]
  %var = const @var : f32[4]
  %1 = BatchNormalization(%x, %gamma_1, %beta_1, %mean, %var) : f32[N,4] @bn
  return %1
}""", tolerance=ROUNDING)


def test_weights_that_others_read_are_left_to_them():
    check_rewrite(fold_batch_norm, f"""
graph @net(%x: f32[N,3,4,4]) {{
  %w = const @w : f32[4,3,1,1]{STATISTICS}
  %0 = Conv(%x, %w) : f32[N,4,4,4]
  %1 = BatchNormalization(%0, %gamma, %beta, %mean, %var) : f32[N,4,4,4]
  %2 = Conv(%x, %w) {{strides=[2,2]}} : f32[N,4,2,2]
  return %1, %2
}}""", """
graph @net(%x: f32[N,3,4,4]) {
  %w_1 = const @w_1 : f32[4,3,1,1]
  %0.bias = const @0.bias : f32[4]
  %1 = Conv(%x, %w_1, %0.bias) : f32[N,4,4,4] @0
  %w = const @w : f32[4,3,1,1]
  %2 = Conv(%x, %w) {strides=[2,2]} : f32[N,4,2,2]
  return %1, %2
}""", tolerance=ROUNDING)


def around(statements: str, result: str = "%1", more: str = "") -> str:
    return f"""
graph @net(%x: f32[N,3,4,4], %p: f32[4]{more}) {{
  %w = const @w : f32[4,3,1,1]
  %v = const @v : f32[4,4,1,1]{STATISTICS}
  {statements}
  return {result}
}}"""


BN = "BatchNormalization(%0, %gamma, %beta, %mean, %var) : f32[N,4,4,4]"
STAYS = {
    "read twice": around(f"%0 = Conv(%x, %w) : f32[N,4,4,4]\n  %2 = {BN}\n  %1 = Add(%0, %2) : f32[N,4,4,4]"),
    "an output": around(f"%0 = Conv(%x, %w) : f32[N,4,4,4]\n  %1 = {BN}", "%0, %1"),
    "active": around(f"%0 = Conv(%x, %w) {{activation=relu}} : f32[N,4,4,4]\n  %1 = {BN}"),
    "residual": around(f"%0 = Conv(%x, %w, none, %r) : f32[N,4,4,4]\n  %1 = {BN}", more=", %r: f32[N,4,4,4]"),
    "fed statistics": around("%0 = Conv(%x, %w) : f32[N,4,4,4]\n"
                             "  %1 = BatchNormalization(%0, %gamma, %beta, %p, %var) : f32[N,4,4,4]"),
    "fed weights": around(f"%0 = Conv(%x, %k) : f32[N,4,4,4]\n  %1 = {BN}", more=", %k: f32[4,3,1,1]"),
    "fed bias": around(f"%0 = Conv(%x, %w, %p) : f32[N,4,4,4]\n  %1 = {BN}"),
    "before a convolution": around(f"%2 = {BN}\n  %1 = Conv(%2, %v) : f32[N,4,4,4]", more=", %0: f32[N,4,4,4]"),
}


@pytest.mark.parametrize("text", STAYS.values(), ids=STAYS)
def test_stays(text):
    check_stays(fold_batch_norm, text)


@pytest.mark.parametrize("var", [-1.0, 1e-45])
def test_stays_where_a_weight_would_not_be_finite(var):
    """A negative variance gives NaN; a tiny one, without epsilon, more than f32 can hold."""
    check_stays(fold_batch_norm, f"""
graph @net(%x: f32[1,1,4,4]) {{
  %w = const [[[[1e30]]]] : f32[1,1,1,1]
  %one = const [1.0] : f32[1]
  %tiny = const [{var}] : f32[1]
  %0 = Conv(%x, %w) : f32[1,1,4,4]
  %1 = BatchNormalization(%0, %one, %one, %one, %tiny) {{epsilon=0.0}} : f32[1,1,4,4]
  return %1
}}""")


def test_weights_are_rounded_once():
    """In float32 throughout, gamma / sqrt(var + epsilon) and its product with w would be rounded three times."""
    text = around(f"%0 = Conv(%x, %w) : f32[N,4,4,4]\n  %1 = {BN}")
    graph = parse(text)
    w, gamma, var = (graph.value(n).constant.astype(np.float64) for n in ("w", "gamma", "var"))
    assert fold_batch_norm(graph)
    exact = w * (gamma / np.sqrt(var + 1e-5)).reshape(-1, 1, 1, 1)
    np.testing.assert_array_equal(graph.value("w").constant, exact.astype(np.float32))
    feeds = {v.name: random_array(v.type.bind({"N": 1}), v.name) for v in graph.inputs}
    assert evaluate(graph, feeds)["1"].dtype == np.float32
