from __future__ import annotations

import pytest

from cnncc.passes.fuse_activation import fuse_activation

from .harness import check_rewrite, check_stays

ACTIVATIONS = {
    "Relu(%0)": "relu",
    "LeakyRelu(%0) {alpha=0.25}": "leaky_relu(0.25)",
    "Elu(%0)": "elu(1.0)",
    "Sigmoid(%0)": "sigmoid",
    "Tanh(%0)": "tanh",
    "HardSigmoid(%0) {alpha=0.5, beta=0.25}": "hard_sigmoid(0.5,0.25)",
    "HardSwish(%0)": "hard_swish",
    "Swish(%0)": "silu",
    "Softplus(%0)": "softplus",
    "Mish(%0)": "mish",
    'Gelu(%0) {approximate="tanh"}': "gelu_tanh",
    "Clip(%0, %low, %high)": "clip(0.0,6.0)",
    "Clip(%0, none, %high)": "clip(-inf,6.0)",
    "Clip(%0)": "clip(-inf,inf)",
    "PRelu(%0, %slope)": "leaky_relu(0.5)",
}

BOUNDS = """
  %low = const 0.0 : f32[]
  %high = const 6.0 : f32[]
  %slope = const [[[0.5]],[[0.5]]] : f32[2,1,1]
  %slopes = const [[[0.5]],[[0.25]]] : f32[2,1,1]"""


@pytest.mark.parametrize(("operator", "activation"), ACTIVATIONS.items())
def test_conv(operator, activation):
    check_rewrite(fuse_activation, f"""
graph @net(%x: f32[N,3,5,5], %r: f32[N,2,3,3]) {{
  %w = const @w : f32[2,3,3,3]
  %b = const @b : f32[2]{BOUNDS}
  %0 = Conv(%x, %w, %b, %r) : f32[N,2,3,3] @conv
  %1 = {operator} : f32[N,2,3,3]
  return %1
}}""", f"""
graph @net(%x: f32[N,3,5,5], %r: f32[N,2,3,3]) {{
  %w = const @w : f32[2,3,3,3]
  %b = const @b : f32[2]
  %1 = Conv(%x, %w, %b, %r) {{activation={activation}}} : f32[N,2,3,3] @conv
  return %1
}}""")


def test_gemm():
    check_rewrite(fuse_activation, """
graph @net(%x: f32[N,3]) {
  %w = const @w : f32[2,3]
  %0 = Gemm(%x, %w) {transB=true} : f32[N,2]
  %1 = Relu(%0) : f32[N,2]
  %2 = Softmax(%1) : f32[N,2]
  return %2
}""", """
graph @net(%x: f32[N,3]) {
  %w = const @w : f32[2,3]
  %1 = Gemm(%x, %w) {transB=true, activation=relu} : f32[N,2] @0
  %2 = Softmax(%1) : f32[N,2]
  return %2
}""")


@pytest.mark.parametrize(("operator", "weights"), [
    ("ConvTranspose(%x, %w)", "%w = const @w : f32[3,2,3,3]"),
    ("BatchNormalization(%t, %p, %p, %p, %p)", "%p = const @positive : f32[2]"),
])
def test_other_anchors(operator, weights):
    shape = "f32[N,2,7,7]"
    check_rewrite(fuse_activation, f"""
graph @net(%x: f32[N,3,5,5], %t: {shape}) {{
  {weights}
  %0 = {operator} : {shape} @anchor
  %1 = Relu(%0) : {shape}
  return %1
}}""", f"""
graph @net(%x: f32[N,3,5,5], %t: {shape}) {{
  {weights}
  %1 = {operator} {{activation=relu}} : {shape} @anchor
  return %1
}}""")


def around(statements: str, result: str = "%1") -> str:
    return f"""
graph @net(%x: f32[N,3,5,5], %bound: f32[]) {{
  %w = const @w : f32[2,3,3,3]{BOUNDS}
  {statements}
  return {result}
}}"""


STAYS = {
    "read twice": around("%0 = Conv(%x, %w) : f32[N,2,3,3]\n  %1 = Relu(%0) : f32[N,2,3,3]\n"
                         "  %2 = Add(%0, %1) : f32[N,2,3,3]", "%2"),
    "an output": around("%0 = Conv(%x, %w) : f32[N,2,3,3]\n  %1 = Relu(%0) : f32[N,2,3,3]", "%0, %1"),
    "active already": around("%0 = Conv(%x, %w) {activation=tanh} : f32[N,2,3,3]\n  %1 = Relu(%0) : f32[N,2,3,3]"),
    "a slope each channel": around("%0 = Conv(%x, %w) : f32[N,2,3,3]\n  %1 = PRelu(%0, %slopes) : f32[N,2,3,3]"),
    "unknown bound": around("%0 = Conv(%x, %w) : f32[N,2,3,3]\n  %1 = Clip(%0, %bound) : f32[N,2,3,3]"),
    "no fusible form": around("%0 = Conv(%x, %w) : f32[N,2,3,3]\n  %1 = Softsign(%0) : f32[N,2,3,3]"),
    "of an input": around("%1 = Relu(%x) : f32[N,3,5,5]"),
    "of something else": around("%0 = Add(%x, %x) : f32[N,3,5,5]\n  %1 = Relu(%0) : f32[N,3,5,5]"),
    "as a parameter": around("%0 = Conv(%x, %w) : f32[N,2,3,3]\n  %1 = PRelu(%x, %x) : f32[N,3,5,5]\n"
                             "  %2 = Concat(%0, %0) {axis=0} : f32[2*N,2,3,3]", "%1, %2"),
}


@pytest.mark.parametrize("text", STAYS.values(), ids=STAYS)
def test_stays(text):
    check_stays(fuse_activation, text)
