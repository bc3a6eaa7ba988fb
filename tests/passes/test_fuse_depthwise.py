"""fuse_depthwise: a 1x1 convolution and the depthwise one behind it."""

from __future__ import annotations

import pytest

from cnncc.compiler import compile
from cnncc.passes.fuse_depthwise import fuse_depthwise

from .harness import check_rewrite, check_stays, parse

BOTH = """
graph @net(%x: f32[N,3,28,30]) {
  %w = const @w : f32[6,3,1,1]
  %b = const @b : f32[6]
  %v = const @v : f32[6,1,3,3]
  %d = const @d : f32[6]
  %0 = Conv(%x, %w, %b) {activation=silu} : f32[N,6,28,30]
  %1 = Conv(%0, %v, %d) {activation=relu, group=6, pads=[1,1,1,1], strides=[2,2]} : f32[N,6,14,15]
  return %1
}"""


def test_both_become_one() -> None:
    check_rewrite(fuse_depthwise, BOTH, """
graph @net(%x: f32[N,3,28,30]) {
  %w = const @w : f32[6,3,1,1]
  %b = const @b : f32[6]
  %v = const @v : f32[6,1,3,3]
  %d = const @d : f32[6]
  %1 = PointwiseDepthwiseConv(%x, %w, %v, %b, %d) {activation=relu, inner=silu, pads=[1,1,1,1], strides=[2,2]} """
                  """: f32[N,6,14,15]
  return %1
}""")


def test_biases_may_be_missing_and_the_kernel_5x5() -> None:
    body = BOTH.replace("(%x, %w, %b)", "(%x, %w)").replace("(%0, %v, %d)", "(%0, %v)")
    body = body.replace("  %b = const @b : f32[6]\n", "").replace("  %d = const @d : f32[6]\n", "")
    body = body.replace("[6,1,3,3]", "[6,1,5,5]").replace("pads=[1,1,1,1]", "pads=[2,2,2,2]")
    found = check_rewrite(fuse_depthwise, body, """
graph @net(%x: f32[N,3,28,30]) {
  %w = const @w : f32[6,3,1,1]
  %v = const @v : f32[6,1,5,5]
  %1 = PointwiseDepthwiseConv(%x, %w, %v) {activation=relu, inner=silu, pads=[2,2,2,2], strides=[2,2]} """
                          """: f32[N,6,14,15]
  return %1
}""")
    assert not compile(found, warm=False).fallbacks


@pytest.mark.parametrize("changes", [
    {"  return %1": "  return %1, %0"},
    {"  return %1": "  %2 = Relu(%0) : f32[N,6,28,30]\n  return %1, %2"},
    {"[N,3,28,30]": "[N,3,27,30]", "[N,6,28,30]": "[N,6,27,30]"},  # a small picture
    {"[N,3,28,30]": "[N,3,28,W]", "[N,6,28,30]": "[N,6,28,W]", "[N,6,14,15]": "[N,6,28,W]", ", strides=[2,2]": ""},
    {"[N,3,28,30]": "[N,4,28,30]", "[6,3,1,1]": "[6,4,1,1]"},  # it does not grow
    {"[N,3,28,30]": "[N,33,28,30]", "6": "66", "[66,3,1,1]": "[66,33,1,1]"},  # many channels
    {"group=6, pads=[1,1,1,1]": "dilations=[2,2], group=6, pads=[2,2,2,2]"},
    {"strides=[2,2]": "strides=[1,2]", "[N,6,14,15]": "[N,6,28,15]"},
    {"[6,1,3,3]": "[6,2,3,3]", "group=6": "group=3"},
    {"[6,1,3,3]": "[6,1,7,7]", "pads=[1,1,1,1]": "pads=[3,3,3,3]"},
    {"(%x, %w, %b)": "(%x, %w, %b, %r)", "%0 =": "%r = Conv(%x, %w) : f32[N,6,28,30]\n  %0 ="},
    {"%x: f32[N,3,28,30]": "%x: f32[N,3,28,30], %v: f32[6,1,3,3]", "  %v = const @v : f32[6,1,3,3]\n": ""},
    {"f32": "f64"},
    {"%0 = Conv(%x, %w, %b) {activation=silu} : f32[N,6,28,30]": "%0 = Relu(%x) : f32[N,3,28,30]",
     "[6,1,3,3]": "[3,1,3,3]", "f32[6]": "f32[3]", "group=6": "group=3", "[N,6,14,15]": "[N,3,14,15]"},
])
def test_it_must_not_fire(changes: dict[str, str]) -> None:
    body = BOTH
    for old, new in changes.items():
        assert old in body
        body = body.replace(old, new)
    check_stays(fuse_depthwise, body)


def test_whatever_it_makes_has_a_kernel() -> None:
    """The least and the largest pictures, kernels and strides, with and without padding, for vectors of each length."""
    for size in (28, 512):
        for k, s, p in ((3, 1, 0), (3, 2, 0), (5, 1, 4), (5, 2, 0)):
            out = (size + 2 * p - k) // s + 1
            body = BOTH.replace("28,30", f"{size},{size}").replace("14,15", f"{out},{out}")
            body = body.replace("[6,1,3,3]", f"[6,1,{k},{k}]").replace("[1,1,1,1]", str([p] * 4).replace(" ", ""))
            for lanes in (16, 8, 4):
                graph = parse(body.replace("strides=[2,2]", f"strides=[{s},{s}]"))
                plan = compile(graph, lanes=lanes, warm=False)
                assert "conv_pointwise_depthwise" in {step.kernel for step in plan.steps} and not plan.fallbacks
