"""fuse_integer_scale: it fires, it must not fire, the numbers stay."""

from __future__ import annotations

import pytest

from cnncc.passes.fuse_integer_scale import fuse_integer_scale

from .harness import check_rewrite, check_stays

TEXT = """graph @net(%x: u8[1,3,5,5], %a: u8[2,6], %s: f32[]) {
  %w = const @w : i8[4,3,3,3]
  %z = const 3 : u8[]
  %b = const @b : f32[4,1,1]
  %m = const @m : i8[6,5]
  %c = const @c : f32[5]
  %0 = ConvInteger(%x, %w, %z) : i32[1,4,3,3]
  %1 = Cast(%0) {to=f32} : f32[1,4,3,3]
  %2 = Mul(%1, %s) : f32[1,4,3,3]
  %3 = Add(%2, %b) : f32[1,4,3,3]
  %4 = Relu(%3) : f32[1,4,3,3]
  %5 = MatMulInteger(%a, %m, %z) : i32[2,5]
  %6 = Cast(%5) {to=f32} : f32[2,5]
  %7 = Mul(%s, %6) : f32[2,5]
  %8 = Add(%7, %c) : f32[2,5]
"""


def test_both() -> None:
    """The scale may be computed: it is that of a dynamically quantised input."""
    check_rewrite(fuse_integer_scale, TEXT + """  return %4, %8
}
""", """graph @net(%x: u8[1,3,5,5], %a: u8[2,6], %s: f32[]) {
  %w = const @w : i8[4,3,3,3]
  %z = const 3 : u8[]
  %b_1 = const @b : f32[4]
  %4 = ConvInteger(%x, %w, %z, none, %s, %b_1) {activation=relu} : f32[1,4,3,3] @0
  %m = const @m : i8[6,5]
  %5.one = const 1.0 : f32[]
  %c_1 = const @c : f32[5]
  %8 = MatMulIntegerToFloat(%a, %m, %s, %5.one, %z, none, %c_1) : f32[2,5] @5
  return %4, %8
}
""")


@pytest.mark.parametrize("text", [
    TEXT + "  return %0, %5\n}\n",
    TEXT.replace("f32", "f64") + "  return %4, %8\n}\n",
    TEXT.replace("%s: f32[]", "%s: f32[3]").replace("Mul(%s, %6)", "Mul(%6, %6)") + "  return %4, %8\n}\n",
], ids=["sums are outputs", "double precision", "a scale along the width"])
def test_it_stays(text: str) -> None:
    check_stays(fuse_integer_scale, text)
