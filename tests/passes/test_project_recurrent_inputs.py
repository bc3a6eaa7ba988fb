"""project_recurrent_inputs, by IR text."""

from __future__ import annotations

from cnncc.passes.project_recurrent_inputs import project_recurrent_inputs

from .harness import check_rewrite, check_stays


def test_lstm() -> None:
    check_rewrite(project_recurrent_inputs, """
        graph @net(%x: f32[T,N,3]) {
          %w = const @w : f32[1,16,3]
          %r = const @r : f32[1,16,4]
          %b = const @b : f32[1,32]
          %y, %h = LSTM(%x, %w, %r, %b) {direction="reverse"} : f32[T,1,N,4], f32[1,N,4]
          return %y, %h
        }""", """
        graph @net(%x: f32[T,N,3]) {
          %w = const @w : f32[3,16]
          %y.input = MatMul(%x, %w) : f32[T,N,16]
          %r = const @r : f32[1,16,4]
          %b = const @b : f32[1,32]
          %y, %h = LSTM(%y.input, none, %r, %b) {direction="reverse", projected=true} : f32[T,1,N,4], f32[1,N,4]
          return %y, %h
        }""", tolerance=1e-6)


def test_not_with_computed_weights() -> None:
    check_stays(project_recurrent_inputs, """
        graph @net(%x: f32[T,N,3], %w: f32[1,4,3]) {
          %r = const @r : f32[1,4,4]
          %y = RNN(%x, %w, %r) : f32[T,1,N,4]
          return %y
        }""")
