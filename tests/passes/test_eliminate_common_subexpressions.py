from __future__ import annotations

import numpy as np

from cnncc.ir import Graph, TensorType, format_graph, verify
from cnncc.ir.types import DType
from cnncc.ops import OPS
from cnncc.passes.eliminate_common_subexpressions import eliminate_common_subexpressions

from .harness import check_rewrite, check_stays


def test_chain_computed_twice():
    check_rewrite(eliminate_common_subexpressions, """
graph @net(%x: f32[1,2,4,4]) {
  %a = MaxPool(%x) {kernel_shape=[2,2]} : f32[1,2,3,3]
  %b = MaxPool(%x) {kernel_shape=[2,2]} : f32[1,2,3,3]
  %c = Relu(%a) : f32[1,2,3,3]
  %d = Relu(%b) : f32[1,2,3,3]
  %e = Mul(%c, %d) : f32[1,2,3,3]
  return %e, %d
}""", """
graph @net(%x: f32[1,2,4,4]) {
  %a = MaxPool(%x) {kernel_shape=[2,2]} : f32[1,2,3,3]
  %c = Relu(%a) : f32[1,2,3,3]
  %e = Mul(%c, %c) : f32[1,2,3,3]
  return %e, %c as "d"
}""")


def test_equal_constants():
    check_rewrite(eliminate_common_subexpressions, """
graph @net(%x: f32[2,3]) {
  %p = const [2,3] : i64[2]
  %q = const [2,3] : i64[2]
  %0 = Reshape(%x, %p) : f32[2,3]
  %1 = Sigmoid(%0) : f32[2,3]
  %2 = Reshape(%1, %q) : f32[2,3]
  return %2
}""", """
graph @net(%x: f32[2,3]) {
  %p = const [2,3] : i64[2]
  %0 = Reshape(%x, %p) : f32[2,3]
  %1 = Sigmoid(%0) : f32[2,3]
  %2 = Reshape(%1, %p) : f32[2,3]
  return %2
}""")


def test_other_attributes_operands_or_order_stay():
    check_stays(eliminate_common_subexpressions, """
graph @net(%x: f32[1,2,4,4], %y: f32[1,2,4,4]) {
  %0 = MaxPool(%x) {kernel_shape=[2,2]} : f32[1,2,3,3]
  %1 = MaxPool(%x) {kernel_shape=[2,2], strides=[2,2]} : f32[1,2,2,2]
  %2 = MaxPool(%y) {kernel_shape=[2,2]} : f32[1,2,3,3]
  %3, %i = MaxPool(%x) {kernel_shape=[2,2]} : f32[1,2,3,3], i64[1,2,3,3]
  %4 = Sub(%x, %y) : f32[1,2,4,4]
  %5 = Sub(%y, %x) : f32[1,2,4,4]
  return %0, %1, %2, %3, %i, %4, %5
}""")


def test_constants_that_differ_in_one_element_type_or_shape_stay():
    check_stays(eliminate_common_subexpressions, """
graph @net(%x: f32[2,3]) {
  %p = const [2,3] : i64[2]
  %q = const [3,2] : i64[2]
  %r = const [2,3] : i32[2]
  %s = const [[2,3]] : i64[1,2]
  return %p, %q, %r, %s, %x
}""")


def test_large_constants_are_compared_in_full():
    """Contents that agree in every sample but differ elsewhere, and a view without memory of its own."""
    array = np.zeros((64, 64), np.float32)
    other, view = array.copy(), np.broadcast_to(np.float32(0), (64, 64))
    other[17, 31] = 1
    graph = Graph()
    x = graph.add_input("x", TensorType(DType.F32, (64, 64)))
    for name, contents in (("a", array), ("b", other), ("c", view), ("d", -array)):
        x = graph.add_node(OPS["Add"](), [x, graph.add_constant(contents, name)], name=f"with_{name}").output
    graph.set_outputs([x])
    assert eliminate_common_subexpressions(graph)
    verify(graph)
    # -0.0 equals 0.0, but its bytes differ.
    assert [n.inputs[1].name for n in graph.nodes] == ["a", "b", "a", "d"]
    text = format_graph(graph)
    assert not eliminate_common_subexpressions(graph) and format_graph(graph) == text
