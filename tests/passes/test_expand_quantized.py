"""expand_quantized: it fires, it must not fire, the numbers stay."""

from __future__ import annotations

from cnncc.passes.expand_quantized import expand_quantized

from .harness import check_rewrite, check_stays


def test_all() -> None:
    """A part of a QLinearConcat that has its scale and zero point already is left alone."""
    check_rewrite(expand_quantized, """graph @net(%x: u8[1,2,4,4], %y: u8[1,3,4,4], %f: f32[2,6]) {
  %s = const 0.05 : f32[]
  %z = const 3 : u8[]
  %t = const 0.1 : f32[]
  %w = const @w : i8[6,5]
  %0 = QLinearConcat(%s, %z, %x, %s, %z, %y, %t, %z) {axis=1} : u8[1,5,4,4]
  %1 = QLinearAveragePool(%0, %s, %z, %t, %z) {kernel_shape=[2,2]} : u8[1,5,3,3]
  %2 = QLinearSoftmax(%1, %s, %z, %t, %z) {opset=13} : u8[1,5,3,3]
  %3 = DynamicQuantizeMatMul(%f, %w, %t) : f32[2,5]
  return %2, %3
}
""", """graph @net(%x: u8[1,2,4,4], %y: u8[1,3,4,4], %f: f32[2,6]) {
  %t = const 0.1 : f32[]
  %z = const 3 : u8[]
  %s = const 0.05 : f32[]
  %0.1 = QLinearActivation(%y, %t, %z, %s, %z) : u8[1,3,4,4]
  %0 = Concat(%x, %0.1) {axis=1} : u8[1,5,4,4]
  %1.real = DequantizeLinear(%0, %s, %z) : f32[1,5,4,4] @1.dequantize
  %1.done = AveragePool(%1.real) {kernel_shape=[2,2]} : f32[1,5,3,3] @1.real
  %1 = QuantizeLinear(%1.done, %t, %z) : u8[1,5,3,3]
  %2.real = DequantizeLinear(%1, %s, %z) : f32[1,5,3,3] @2.dequantize
  %2.done = Softmax(%2.real) : f32[1,5,3,3] @2.real
  %2 = QuantizeLinear(%2.done, %t, %z) : u8[1,5,3,3]
  %3.levels, %3.scale, %3.zero = DynamicQuantizeLinear(%f) : u8[2,6], f32[], u8[] @3.quantize
  %w = const @w : i8[6,5]
  %3 = MatMulIntegerToFloat(%3.levels, %w, %3.scale, %t, %3.zero) : f32[2,5]
  return %2, %3
}
""")


def test_it_stays() -> None:
    """Softmax over all axes from one on, as before opset 13, has no equivalent here."""
    check_stays(expand_quantized, """graph @net(%x: u8[2,3,4]) {
  %s = const 0.05 : f32[]
  %z = const 3 : u8[]
  %0 = QLinearSoftmax(%x, %s, %z, %s, %z) {opset=11, axis=1} : u8[2,3,4]
  return %0
}
""")


MATMUL = """graph @net(%x: u8[2,K,16], %y: i8[2,16,5]) {
  %s = const 0.05 : f32[]
  %z = const 3 : u8[]
  %t = const 0.25 : f32[]
  %w = const 1 : i8[]
  %0 = QLinearMatMul(%x, %s, %z, %y, %t, %w, %s, %z) : u8[2,K,5]
  return %0
}
"""


def test_a_product_of_computed_matrices() -> None:
    check_rewrite(expand_quantized, MATMUL, """graph @net(%x: u8[2,K,16], %y: i8[2,16,5]) {
  %0.one = const 1.0 : f32[]
  %z = const 3 : u8[]
  %0.left = DequantizeLinear(%x, %0.one, %z) : f32[2,K,16]
  %w = const 1 : i8[]
  %0.right = DequantizeLinear(%y, %0.one, %w) : f32[2,16,5]
  %0.product = MatMul(%0.left, %0.right) : f32[2,K,5]
  %0.scale = const 0.25 : f32[]
  %0.scaled = Mul(%0.product, %0.scale) : f32[2,K,5]
  %0 = QuantizeLinear(%0.scaled, %0.one, %z) : u8[2,K,5]
  return %0
}
""")


def test_sums_that_float32_does_not_hold_stay() -> None:
    check_stays(expand_quantized, MATMUL.replace("16", "259"))
    check_stays(expand_quantized, MATMUL.replace("%t = const 0.25 : f32[]", "%t = const @t : f32[5]"))
