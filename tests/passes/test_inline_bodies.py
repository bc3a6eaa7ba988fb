from __future__ import annotations

import pytest

from cnncc.passes.inline_bodies import UNROLLED_NODES, inline_bodies

from .harness import check_rewrite, check_stays

IF = """
graph @net(%x: f32[N,4]) {
  %c = const CONDITION : bool[]
  %w = const @w : f32[4]
  %y = If(%c, %x, %w) : f32[N,4] @choice
    then_branch = graph @then(%x: f32[N,4], %w: f32[4]) {
      %a = Add(%x, %w) : f32[N,4]
      return %a
    }
    else_branch = graph @else(%x: f32[N,4], %w: f32[4]) {
      %b = Neg(%x) : f32[N,4]
      return %b
    }
  %z = Relu(%y) : f32[N,4]
  return %z
}"""


@pytest.mark.parametrize(("condition", "nodes", "result"), [
    ("true", "  %w = const @w : f32[4]\n  %choice.a = Add(%x, %w) : f32[N,4]", "choice.a"),
    ("false", "  %choice.b = Neg(%x) : f32[N,4]", "choice.b"),
])
def test_if(condition, nodes, result):
    check_rewrite(inline_bodies, IF.replace("CONDITION", condition), f"""
graph @net(%x: f32[N,4]) {{
{nodes}
  %z = Relu(%{result}) : f32[N,4]
  return %z
}}""")


LOOP = """
graph @net(%x: f32[N,4], %c: bool[], %n: i64[]) {
  %m = const COUNT : i64[]
  %last, %all = Loop(%m, GOES, %x) {carried=1} : f32[N,4], f32[TRIPS,N,4]
    body = graph @body(%i: i64[], %go: bool[], %v: f32[N,4]) {
      %k = Cast(%i) {to=f32} : f32[]
      %r = Add(%v, %k) : f32[N,4]
      return %go, %r, %v
    }
  return %last, %all
}"""


def test_loop():
    check_rewrite(inline_bodies, LOOP.replace("COUNT", "2").replace("GOES", "none").replace("TRIPS", "2"), """
graph @net(%x: f32[N,4], %c: bool[], %n: i64[]) {
  %last.0.number = const 0 : i64[]
  %last.0.k = Cast(%last.0.number) {to=f32} : f32[]
  %last.0.r = Add(%x, %last.0.k) : f32[N,4]
  %last.1.number = const 1 : i64[]
  %last.1.k = Cast(%last.1.number) {to=f32} : f32[]
  %last.1.r = Add(%last.0.r, %last.1.k) : f32[N,4]
  %last.axes = const [0] : i64[1]
  %last.row = Unsqueeze(%x, %last.axes) : f32[1,N,4]
  %last.row_1 = Unsqueeze(%last.0.r, %last.axes) : f32[1,N,4] @last.row
  %last.stack = Concat(%last.row, %last.row_1) {axis=0} : f32[2,N,4]
  return %last.1.r as "last", %last.stack as "all"
}""")


@pytest.mark.parametrize("text", [
    LOOP.replace("COUNT", str(UNROLLED_NODES)).replace("GOES", "none").replace("TRIPS", str(UNROLLED_NODES)),
    LOOP.replace("COUNT", "0").replace("GOES", "none").replace("TRIPS", "0"),
    LOOP.replace("COUNT", "2").replace("GOES", "%c").replace("TRIPS", "u0"),
    LOOP.replace("COUNT", "2").replace("GOES", "none").replace("Loop(%m", "Loop(%n").replace("TRIPS", "u0").replace(
        "  %m = const 2 : i64[]\n", ""),
    IF.replace("%c = const CONDITION : bool[]", "").replace("(%x: f32[N,4]) {\n  \n",
                                                            "(%x: f32[N,4], %c: bool[]) {\n", 1),
], ids=["too often", "never", "condition", "count", "if"])
def test_stays(text):
    check_stays(inline_bodies, text)


def test_scan():
    attributes = ("num_scan_inputs=1, states=1, scan_input_axes=[-1], scan_input_directions=[1], "
                  "scan_output_axes=[1]")
    check_rewrite(inline_bodies, """
graph @net(%h: f32[4], %x: f32[2,4,3]) {
  %s, %y = Scan(%h, %x, %h) {ATTRIBUTES} : f32[4], f32[2,3,4]
    body = graph @body(%s: f32[4], %e: f32[2,4], %h: f32[4]) {
      %t = Tanh(%s) : f32[4]
      %r = Mul(%e, %h) : f32[2,4]
      return %t, %r
    }
  return %s, %y
}""".replace("ATTRIBUTES", attributes), """
graph @net(%h: f32[4], %x: f32[2,4,3]) {
  %s.0.at = const 2 : i64[]
  %s.0.element = Gather(%x, %s.0.at) {axis=2} : f32[2,4]
  %s.0.t = Tanh(%h) : f32[4]
  %s.0.r = Mul(%s.0.element, %h) : f32[2,4]
  %s.1.at = const 1 : i64[]
  %s.1.element = Gather(%x, %s.1.at) {axis=2} : f32[2,4]
  %s.1.t = Tanh(%s.0.t) : f32[4]
  %s.1.r = Mul(%s.1.element, %h) : f32[2,4]
  %s.2.at = const 0 : i64[]
  %s.2.element = Gather(%x, %s.2.at) {axis=2} : f32[2,4]
  %s.2.t = Tanh(%s.1.t) : f32[4]
  %s.2.r = Mul(%s.2.element, %h) : f32[2,4]
  %s.axes = const [1] : i64[1]
  %s.row = Unsqueeze(%s.0.r, %s.axes) : f32[2,1,4]
  %s.row_1 = Unsqueeze(%s.1.r, %s.axes) : f32[2,1,4] @s.row
  %s.row_2 = Unsqueeze(%s.2.r, %s.axes) : f32[2,1,4] @s.row
  %s.stack = Concat(%s.row, %s.row_1, %s.row_2) {axis=1} : f32[2,3,4]
  return %s.2.t as "s", %s.stack as "y"
}""")
