from __future__ import annotations

from cnncc.passes.simplify_bodies import simplify_bodies

from .harness import check_rewrite, check_same_numbers, check_stays, parse


def test_captures():
    check_rewrite(simplify_bodies, """
graph @net(%x: f32[N,4], %m: i64[]) {
  %w = const @w : f32[4]
  %y = Loop(%m, none, %x, %w, %x, %x, %m) {carried=1} : f32[N,4]
    body = graph @body(%i: i64[], %go: bool[], %v: f32[N,4], %w: f32[4], %a: f32[N,4], %b: f32[N,4], %m: i64[]) {
      %0 = Add(%v, %w) : f32[N,4]
      %1 = Mul(%a, %b) : f32[N,4]
      %2 = Add(%0, %1) : f32[N,4]
      return %go, %2
    }
  return %y
}""", """
graph @net(%x: f32[N,4], %m: i64[]) {
  %y = Loop(%m, none, %x, %x) {carried=1} : f32[N,4]
    body = graph @body(%i: i64[], %go: bool[], %v: f32[N,4], %a: f32[N,4]) {
      %w = const @w : f32[4]
      %0 = Add(%v, %w) : f32[N,4]
      %1 = Mul(%a, %a) : f32[N,4]
      %2 = Add(%0, %1) : f32[N,4]
      return %go, %2
    }
  return %y
}""")


BRANCHES = """
graph @net(%x: f32[2,4], %c: bool[], %s: i64[2]) {
  %shape = Shape(%x) : i64[2]
  %y = If(%c, %x, %shape) : f32[u0,4]
    then_branch = graph @then(%x: f32[K,4], %shape: i64[2]) {
      %0 = ConstantOfShape(%shape) : f32[a,b]
      %1 = Add(%x, %0) : f32[K,4]
      return %1
    }
    else_branch = graph @else(%x: f32[L,4], %shape: i64[2]) {
      %2 = Concat(%x, %x) {axis=0} : f32[2*L,4]
      return %2
    }
  return %y
}"""


def test_sizes_and_what_follows_from_shapes():
    check_rewrite(simplify_bodies, BRANCHES, """
graph @net(%x: f32[2,4], %c: bool[], %s: i64[2]) {
  %shape = Shape(%x) : i64[2]
  %y = If(%c, %x) : f32[u0,4]
    then_branch = graph @then(%x: f32[2,4]) {
      %shape = const [2,4] : i64[2]
      %0 = ConstantOfShape(%shape) : f32[2,4]
      %1 = Add(%x, %0) : f32[2,4]
      return %1
    }
    else_branch = graph @else(%x: f32[2,4]) {
      %2 = Concat(%x, %x) {axis=0} : f32[4,4]
      return %2
    }
  return %y
}""")


def test_a_size_that_varies_stays():
    text = """
graph @net(%x: f32[2], %m: i64[]) {
  %y = Loop(%m, none, %x) {carried=1} : f32[u0]
    body = graph @body(%i: i64[], %go: bool[], %v: f32[L]) {
      %0 = Concat(%v, %v) {axis=0} : f32[2*L]
      return %go, %0
    }
  return %y
}"""
    check_stays(simplify_bodies, text)
    check_same_numbers(parse(text), parse(text))
