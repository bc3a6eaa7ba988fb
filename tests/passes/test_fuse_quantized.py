"""fuse_quantized: it fires, it must not fire, the numbers stay."""

from __future__ import annotations

import pytest

from cnncc.passes.fuse_quantized import fuse_quantized

from .harness import check_rewrite, check_stays

CONV = """graph @net(%x: u8[1,3,5,5]) {
  %s = const 0.05 : f32[]
  %z = const 3 : u8[]
  %t = const 2.5 : f32[]
  %u = const 7 : u8[]
  %w = const @w : i8[4,3,3,3]
  %ws = const 0.02 : f32[]
  %wz = const 0 : i8[]
  %b = const @b : i32[4]
  %bs = const 0.001 : f32[]
  %0 = DequantizeLinear(%x, %s, %z) : f32[1,3,5,5]
  %1 = DequantizeLinear(%w, %ws, %wz) : f32[4,3,3,3]
  %2 = DequantizeLinear(%b, %bs) : f32[4]
  %3 = Conv(%0, %1, %2) {pads=[1,1,1,1]} : f32[1,4,5,5]
"""
END = """  %4 = Relu(%3) : f32[1,4,5,5]
  %5 = QuantizeLinear(%4, %t, %u) : u8[1,4,5,5]
  return %5
}
"""


def test_conv() -> None:
    """The bias, in units of the sums already, stays as it is; Relu becomes a limit."""
    check_rewrite(fuse_quantized, CONV + END, """graph @net(%x: u8[1,3,5,5]) {
  %s = const 0.05 : f32[]
  %z = const 3 : u8[]
  %w = const @w : i8[4,3,3,3]
  %ws = const 0.02 : f32[]
  %wz = const 0 : i8[]
  %t = const 2.5 : f32[]
  %u = const 7 : u8[]
  %b = const @b : i32[4]
  %5 = QLinearConv(%x, %s, %z, %w, %ws, %wz, %t, %u, %b) {pads=[1,1,1,1], activation=relu} : u8[1,4,5,5] @3
  return %5
}
""")


def test_conv_with_a_real_result() -> None:
    before = CONV.replace("  %b = const @b : i32[4]\n  %bs = const 0.001 : f32[]\n", "  %2 = const @c : f32[4]\n")
    check_rewrite(fuse_quantized, before.replace("  %2 = DequantizeLinear(%b, %bs) : f32[4]\n", "") + """  return %3
}
""", """graph @net(%x: u8[1,3,5,5]) {
  %w = const @w : i8[4,3,3,3]
  %z = const 3 : u8[]
  %wz = const 0 : i8[]
  %3.scale = const 0.0010000000474974513 : f32[]
  %2 = const @c : f32[4]
  %3 = ConvInteger(%x, %w, %z, %wz, %3.scale, %2) {pads=[1,1,1,1]} : f32[1,4,5,5]
  return %3
}
""", tolerance=1e-6)


def test_products() -> None:
    """Weights with a scale for each column; what is read twice gives real numbers."""
    check_rewrite(fuse_quantized, """graph @net(%x: u8[2,6]) {
  %s = const 0.05 : f32[]
  %z = const 3 : u8[]
  %t = const 0.25 : f32[]
  %u = const 7 : u8[]
  %w = const @w : i8[6,5]
  %ws = const @ws_positive : f32[5]
  %c = const @c : f32[5]
  %0 = DequantizeLinear(%x, %s, %z) : f32[2,6]
  %1 = DequantizeLinear(%w, %ws) {axis=1} : f32[6,5]
  %2 = MatMul(%0, %1) : f32[2,5]
  %3 = QuantizeLinear(%2, %t, %u) : u8[2,5]
  %4 = MatMul(%0, %1) : f32[2,5]
  %5 = Gemm(%0, %1, %c) : f32[2,5]
  %6 = Relu(%5) : f32[2,5]
  %7 = QuantizeLinear(%6, %t, %u) : u8[2,5]
  return %3, %4, %7
}
""", """graph @net(%x: u8[2,6]) {
  %s = const 0.05 : f32[]
  %z = const 3 : u8[]
  %w = const @w : i8[6,5]
  %ws = const @ws_positive : f32[5]
  %2.w.zero = const [0,0,0,0,0] : i8[5]
  %t = const 0.25 : f32[]
  %u = const 7 : u8[]
  %3 = QLinearMatMul(%x, %s, %z, %w, %ws, %2.w.zero, %t, %u) : u8[2,5] @2
  %4 = MatMulIntegerToFloat(%x, %w, %s, %ws, %z) : f32[2,5]
  %5.w.zero = const [0,0,0,0,0] : i8[5]
  %5.bias = const [-9,-4,10,16,6] : i32[5]
  %7 = QGemm(%x, %s, %z, %w, %ws, %5.w.zero, %5.bias, %t, %u) {activation=relu} : u8[2,5] @5
  return %3, %4, %7
}
""", tolerance=1e-6)


def test_between_quantised_tensors() -> None:
    check_rewrite(fuse_quantized, """graph @net(%x: u8[2,6,2,2], %y: u8[2,6,2,2]) {
  %s = const 0.05 : f32[]
  %z = const 3 : u8[]
  %t = const 0.25 : f32[]
  %u = const 7 : u8[]
  %0 = DequantizeLinear(%x, %s, %z) : f32[2,6,2,2]
  %1 = DequantizeLinear(%y, %t, %u) : f32[2,6,2,2]
  %2 = Add(%0, %1) : f32[2,6,2,2]
  %3 = QuantizeLinear(%2, %t, %z) : u8[2,6,2,2]
  %4 = Sigmoid(%1) : f32[2,6,2,2]
  %5 = QuantizeLinear(%4, %s, %z) : u8[2,6,2,2]
  %6 = Concat(%0, %1) {axis=0} : f32[4,6,2,2]
  %7 = QuantizeLinear(%6, %t, %u) : u8[4,6,2,2]
  %8 = GlobalAveragePool(%0) : f32[2,6,1,1]
  %9 = QuantizeLinear(%8, %t, %u) : u8[2,6,1,1]
  return %3, %5, %7, %9
}
""", """graph @net(%x: u8[2,6,2,2], %y: u8[2,6,2,2]) {
  %s = const 0.05 : f32[]
  %z = const 3 : u8[]
  %t = const 0.25 : f32[]
  %u = const 7 : u8[]
  %3 = QLinearAdd(%x, %s, %z, %y, %t, %u, %t, %z) : u8[2,6,2,2] @2
  %5 = QLinearActivation(%y, %t, %u, %s, %z) {activation=sigmoid} : u8[2,6,2,2] @4
  %7 = QLinearConcat(%t, %u, %x, %s, %z, %y, %t, %u) {axis=0} : u8[4,6,2,2] @6
  %9 = QLinearGlobalAveragePool(%x, %s, %z, %t, %u) : u8[2,6,1,1] @8
  return %3, %5, %7, %9
}
""")


@pytest.mark.parametrize("text", [
    CONV.replace("(%0, %1, %2)", "(%0, %1, %2, none)").replace("u8[1,3,5,5]", "u16[1,3,5,5]").replace(
        "%z = const 3 : u8", "%z = const 3 : u16").replace(", none)", ")") + END,
    CONV.replace("%x: u8[1,3,5,5]", "%x: u8[1,3,5,5], %s: f32[]").replace("  %s = const 0.05 : f32[]\n", "") + END,
    CONV.replace("%x: u8[1,3,5,5]", "%x: u8[1,3,5,5], %w: i8[4,3,3,3]").replace(
        "  %w = const @w : i8[4,3,3,3]\n", "") + END,
    CONV.replace("%x: u8[1,3,5,5]", "%x: u8[1,3,5,5], %b: i32[4]").replace("  %b = const @b : i32[4]\n", "") + END,
    CONV.replace("%s = const 0.05 : f32[]", "%s = const -0.05 : f32[]") + END,
], ids=["16 bits", "a computed scale", "computed weights", "a computed bias", "a negative scale"])
def test_it_stays(text: str) -> None:
    check_stays(fuse_quantized, text)
