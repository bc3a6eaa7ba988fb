from __future__ import annotations

from cnncc.passes.bound_suppression import bound_suppression

from .harness import check_rewrite, check_stays

BEFORE = """graph @net(%boxes: f32[1,6,4], %scores: f32[1,2,6], %x: f32[8]) {
  %most = const [3] : i64[]
  %y = NonMaxSuppression(%boxes, %scores, %most) {center_point_box=true} : i64[u0,3]
  %z = Gather(%x, %y) : f32[u0,3]
  return %z
}"""
AFTER = """graph @net(%boxes: f32[1,6,4], %scores: f32[1,2,6], %x: f32[8]) {
  %most = const 3 : i64[]
  %y.kept, %y.counts = SuppressBoxes(%boxes, %scores, %most) {center_point_box=true} : i64[1,2,3], i64[1,2]
  %y.all, %y.total = ListBoxes(%y.kept, %y.counts) : i64[6,3], i64[1]
  %y.zero = const [0] : i64[1]
  %y = Slice(%y.all, %y.zero, %y.total, %y.zero) : i64[u0,3]
  %z = Gather(%x, %y) : f32[u0,3]
  return %z
}"""


def test_it_becomes_two_steps_and_a_slice() -> None:
    check_rewrite(bound_suppression, BEFORE.replace("const [3]", "const 3"), AFTER)


def test_nothing_else_is_touched() -> None:
    check_stays(bound_suppression, AFTER)
