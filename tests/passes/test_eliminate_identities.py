from __future__ import annotations

import pytest

from cnncc.passes.eliminate_identities import eliminate_identities

from .harness import check_rewrite, check_stays


def wrap(statements: str, x: str = "f32[1,2,4,4]", result: str = "%1") -> str:
    return f"graph @net(%x: {x}) {{\n{statements}\n  return {result}\n}}"


IDENTITIES = {
    "Identity": "%0 = Identity(%x) : f32[1,2,4,4]",
    "Dropout": "%r = const 0.5 : f32[]\n  %0 = Dropout(%x, %r) : f32[1,2,4,4]",
    "Dropout with an unread mask": "%0, %m = Dropout(%x) : f32[1,2,4,4], bool[1,2,4,4]",
    "Cast": "%0 = Cast(%x) {to=f32} : f32[1,2,4,4]",
    "Reshape": "%s = const [1,2,4,-1] : i64[4]\n  %0 = Reshape(%x, %s) : f32[1,2,4,4]",
    "Transpose": "%0 = Transpose(%x) {perm=[0,1,2,3]} : f32[1,2,4,4]",
    "Pad": "%p = const [0,0,0,0,0,0,0,0] : i64[8]\n  %0 = Pad(%x, %p) : f32[1,2,4,4]",
    "Concat": "%0 = Concat(%x) {axis=1} : f32[1,2,4,4]",
    "Slice": "%s = const [0] : i64[1]\n  %e = const [9] : i64[1]\n  %0 = Slice(%x, %s, %e) : f32[1,2,4,4]",
    "Add": "%c = const 0.0 : f32[]\n  %0 = Add(%x, %c) : f32[1,2,4,4]",
    "Add on the left": "%c = const 0.0 : f32[]\n  %0 = Add(%c, %x) : f32[1,2,4,4]",
    "Sub": "%c = const 0.0 : f32[]\n  %0 = Sub(%x, %c) : f32[1,2,4,4]",
    "Mul": "%c = const 1.0 : f32[]\n  %0 = Mul(%c, %x) : f32[1,2,4,4]",
    "Div": "%c = const 1.0 : f32[]\n  %0 = Div(%x, %c) : f32[1,2,4,4]",
    "Pow": "%c = const 1 : i64[]\n  %0 = Pow(%x, %c) : f32[1,2,4,4]",
    "Sum": "%0 = Sum(%x) : f32[1,2,4,4]",
    "Expand": "%s = const [2,1,4] : i64[3]\n  %0 = Expand(%x, %s) : f32[1,2,4,4]",
    "MaxPool": "%0 = MaxPool(%x) {kernel_shape=[1,1]} : f32[1,2,4,4]",
    "AveragePool": "%0 = AveragePool(%x) {kernel_shape=[1,1]} : f32[1,2,4,4]",
    "Split": "%s = const [2] : i64[1]\n  %0 = Split(%x, %s) {axis=1} : f32[1,2,4,4]",
}


@pytest.mark.parametrize("statements", IDENTITIES.values(), ids=IDENTITIES)
def test_removed(statements):
    check_rewrite(eliminate_identities, wrap(f"  {statements}\n  %1 = Relu(%0) : f32[1,2,4,4]"),
                  wrap("  %1 = Relu(%x) : f32[1,2,4,4]"))


def test_flatten_of_a_matrix_and_symbolic_sizes():
    check_rewrite(eliminate_identities, wrap("""
  %0 = Flatten(%x) : f32[N,8]
  %s = const [0,-1] : i64[2]
  %1 = Reshape(%0, %s) : f32[N,8]
  %2 = Relu(%1) : f32[N,8]""", "f32[N,8]", "%2"), wrap("  %2 = Relu(%x) : f32[N,8]", "f32[N,8]", "%2"))


def test_pools_of_what_is_1x1_already():
    check_rewrite(eliminate_identities, wrap("""
  %0 = GlobalAveragePool(%x) : f32[1,2,1,1]
  %1 = AveragePool(%0) {kernel_shape=[1,1], strides=[2,2]} : f32[1,2,1,1]
  %2 = GlobalMaxPool(%1) : f32[1,2,1,1]""", "f32[1,2,1,1]", "%2"), wrap("", "f32[1,2,1,1]", '%x as "2"'))


def test_output_of_the_graph_keeps_its_name():
    check_rewrite(eliminate_identities, wrap("""
  %0 = Relu(%x) : f32[1,2,4,4]
  %1 = Identity(%0) : f32[1,2,4,4]"""), wrap("""
  %0 = Relu(%x) : f32[1,2,4,4]""", result='%0 as "1"'))


STAYS = {
    "mask is an output": "%0, %1 = Dropout(%x) : f32[1,2,4,4], bool[1,2,4,4]",
    "indices are an output": "%0, %1 = MaxPool(%x) {kernel_shape=[1,1]} : f32[1,2,4,4], i64[1,2,4,4]",
    "other type": "%1 = Cast(%x) {to=f64} : f64[1,2,4,4]",
    "other shape": "%0 = const [2,1,4,4] : i64[4]\n  %1 = Reshape(%x, %0) : f32[2,1,4,4]",
    "moved axes of equal size": "%1 = Transpose(%x) {perm=[0,1,3,2]} : f32[1,2,4,4]",
    "shifted by padding": "%p = const [0,0,1,0,0,0,-1,0] : i64[8]\n  %1 = Pad(%x, %p) : f32[1,2,4,4]",
    "reversed": "%s = const [-1] : i64[1]\n  %e = const [-9] : i64[1]\n  %a = const [3] : i64[1]\n"
                "  %1 = Slice(%x, %s, %e, %a, %s) : f32[1,2,4,4]",
    "two operands": "%1 = Sum(%x, %x) : f32[1,2,4,4]",
    "widened by the constant": "%c = const [[[[1.0]]],[[[1.0]]],[[[1.0]]]] : f32[3,1,1,1]\n"
                               "  %1 = Mul(%x, %c) : f32[3,2,4,4]",
    "divisor on the right": "%c = const 1.0 : f32[]\n  %1 = Div(%c, %x) : f32[1,2,4,4]",
    "subtrahend": "%c = const 0.0 : f32[]\n  %1 = Sub(%c, %x) : f32[1,2,4,4]",
    "not neutral": "%c = const @c : f32[2,1,1]\n  %1 = Mul(%x, %c) : f32[1,2,4,4]",
    "window of padding": "%1 = AveragePool(%x) {kernel_shape=[1,2], pads=[0,0,0,1]} : f32[1,2,4,4]",
}


@pytest.mark.parametrize("statements", STAYS.values(), ids=STAYS)
def test_stays(statements):
    check_stays(eliminate_identities, wrap(f"  {statements}"))
