"""move_dequantize: it fires, it must not fire, the numbers stay."""

from __future__ import annotations

import pytest

from cnncc.passes.move_dequantize import move_dequantize

from .harness import check_rewrite, check_stays


def test_moves() -> None:
    """Bytes are put together, pooled, padded (with the zero point) and transposed; equal parameters cancel out."""
    check_rewrite(move_dequantize, """graph @net(%x: u8[1,2,4,4], %y: u8[1,2,4,4]) {
  %s = const 0.05 : f32[]
  %z = const 3 : u8[]
  %t = const 0.1 : f32[]
  %pads = const [0,0,1,1,0,0,1,1] : i64[8]
  %0 = DequantizeLinear(%x, %s, %z) : f32[1,2,4,4]
  %1 = DequantizeLinear(%y, %s, %z) : f32[1,2,4,4]
  %2 = Concat(%0, %1) {axis=1} : f32[1,4,4,4]
  %3 = MaxPool(%2) {kernel_shape=[2,2]} : f32[1,4,3,3]
  %4 = Pad(%3, %pads) : f32[1,4,5,5]
  %5 = Transpose(%4) {perm=[0,2,3,1]} : f32[1,5,5,4]
  %6 = QuantizeLinear(%5, %s, %z) : u8[1,5,5,4]
  %7 = Flatten(%6) : u8[1,100]
  %8 = QuantizeLinear(%0, %t, %z) : u8[1,2,4,4]
  return %7, %8
}
""", """graph @net(%x: u8[1,2,4,4], %y: u8[1,2,4,4]) {
  %2.integers = Concat(%x, %y) {axis=1} : u8[1,4,4,4] @2
  %3.integers = MaxPool(%2.integers) {kernel_shape=[2,2]} : u8[1,4,3,3] @3
  %pads = const [0,0,1,1,0,0,1,1] : i64[8]
  %z = const 3 : u8[]
  %4.integers = Pad(%3.integers, %pads, %z) : u8[1,4,5,5] @4
  %5.integers = Transpose(%4.integers) {perm=[0,2,3,1]} : u8[1,5,5,4] @5
  %7 = Flatten(%5.integers) : u8[1,100]
  %s = const 0.05 : f32[]
  %t = const 0.1 : f32[]
  %8 = QLinearActivation(%x, %s, %z, %t, %z) : u8[1,2,4,4]
  return %7, %8
}
""")


def test_the_output_keeps_its_name() -> None:
    check_rewrite(move_dequantize, """graph @net(%x: i8[2,6]) {
  %s = const 0.05 : f32[]
  %0 = DequantizeLinear(%x, %s) : f32[2,6]
  %1 = Transpose(%0) : f32[6,2]
  return %1
}
""", """graph @net(%x: i8[2,6]) {
  %1.integers = Transpose(%x) : i8[6,2] @1
  %s = const 0.05 : f32[]
  %1 = DequantizeLinear(%1.integers, %s) : f32[6,2] @1.dequantize
  return %1
}
""")


TEXT = """graph @net(%x: u8[1,2,4,4], %y: u8[1,2,4,4]) {
  %s = const 0.05 : f32[]
  %z = const 3 : u8[]
  %t = const 0.1 : f32[]
  %v = const @v_positive : f32[2]
  %0 = DequantizeLinear(%x, %s, %z) : f32[1,2,4,4]
  %1 = DequantizeLinear(%y, %t, %z) : f32[1,2,4,4]
"""


@pytest.mark.parametrize("rest", [
    """  %2 = Concat(%0, %1) {axis=1} : f32[1,4,4,4]
  return %2
}
""", """  %2 = Relu(%0) : f32[1,2,4,4]
  %3 = Add(%2, %1) : f32[1,2,4,4]
  return %3
}
""", """  %2 = DequantizeLinear(%x, %v) : f32[1,2,4,4]
  %3 = Transpose(%2) : f32[4,4,2,1]
  %4 = Add(%0, %1) : f32[1,2,4,4]
  return %3, %4
}
"""], ids=["other parameters", "arithmetic", "a scale for each channel"])
def test_it_stays(rest: str) -> None:
    check_stays(move_dequantize, TEXT + rest)
