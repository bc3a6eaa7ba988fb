from __future__ import annotations

from cnncc.passes.fold_shape_arithmetic import fold_shape_arithmetic

from .harness import check_rewrite, check_stays


def test_known_sizes():
    check_rewrite(fold_shape_arithmetic, """
graph @net(%x: f32[N,3,4,4]) {
  %0 = Shape(%x) {start=1} : i64[3]
  %1 = Shape(%x) {start=0, end=1} : i64[1]
  %2 = Concat(%1, %0) {axis=0} : i64[4]
  %3 = Reshape(%x, %2) : f32[N,3,4,4]
  return %3, %0
}""", """
graph @net(%x: f32[N,3,4,4]) {
  %1 = Shape(%x) {start=0, end=1} : i64[1]
  %0 = const [3,4,4] : i64[3]
  %2 = Concat(%1, %0) {axis=0} : i64[4]
  %3 = Reshape(%x, %2) : f32[N,3,4,4]
  return %3, %0
}""")


def test_other_integer_and_boolean_types():
    check_rewrite(fold_shape_arithmetic, """
graph @net(%x: f32[2,3]) {
  %0 = Shape(%x) : i64[2]
  %1 = Cast(%0) {to=i32} : i32[2]
  %2 = Equal(%1, %1) : bool[2]
  return %1, %2
}""", """
graph @net(%x: f32[2,3]) {
  %1 = const [2,3] : i32[2]
  %2 = const [true,true] : bool[2]
  return %1, %2
}""")


def test_symbolic_sizes_and_data_stay():
    check_stays(fold_shape_arithmetic, """
graph @net(%x: f32[N,3], %i: i64[2]) {
  %0 = Shape(%x) : i64[2]
  %1 = Add(%i, %0) : i64[2]
  return %0, %1
}""")
