from __future__ import annotations

import numpy as np

from cnncc.ir import format_graph
from cnncc.passes.eliminate_dead_nodes import eliminate_dead_nodes

from .harness import check_rewrite, check_stays, parse


def test_chain_nobody_reads():
    check_rewrite(eliminate_dead_nodes, """
graph @net(%x: f32[2,4], %unread: f32[3]) {
  %w = const @w : f32[4]
  %0 = Add(%x, %w) : f32[2,4]
  %1 = Sigmoid(%0) : f32[2,4]
  %2 = Relu(%x) : f32[2,4]
  return %2
}""", """
graph @net(%x: f32[2,4], %unread: f32[3]) {
  %2 = Relu(%x) : f32[2,4]
  return %2
}""")


def test_trailing_outputs():
    check_rewrite(eliminate_dead_nodes, """
graph @net(%x: f32[1,2,4,4]) {
  %y, %i = MaxPool(%x) {kernel_shape=[2,2]} : f32[1,2,3,3], i64[1,2,3,3] @pool
  return %y
}""", """
graph @net(%x: f32[1,2,4,4]) {
  %y = MaxPool(%x) {kernel_shape=[2,2]} : f32[1,2,3,3] @pool
  return %y
}""")


def test_unused_constant_only():
    graph = parse("graph @net(%x: f32[2]) {\n  %0 = Relu(%x) : f32[2]\n  return %0\n}")
    text = format_graph(graph)
    graph.add_constant(np.ones(3, np.float32), "c")
    assert eliminate_dead_nodes(graph)
    assert format_graph(graph) == text and not eliminate_dead_nodes(graph)


def test_what_is_read_stays():
    check_stays(eliminate_dead_nodes, """
graph @net(%x: f32[1,2,4,4]) {
  %c = const [2.0] : f32[1]
  %y, %i = MaxPool(%x) {kernel_shape=[2,2]} : f32[1,2,3,3], i64[1,2,3,3]
  %0 = Mul(%x, %c) : f32[1,2,4,4]
  return %i, %0
}""")


def test_constant_that_is_an_output_stays():
    check_stays(eliminate_dead_nodes, """
graph @net(%x: f32[2]) {
  %c = const [2.0] : f32[1]
  return %c, %x
}""")
