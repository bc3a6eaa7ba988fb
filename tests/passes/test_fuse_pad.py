from __future__ import annotations

import pytest

from cnncc.passes.fuse_pad import fuse_pad

from .harness import check_rewrite, check_stays

PADS = "%p = const [0,0,1,2,0,0,0,1] : i64[8]"  # [N,C,H,W] -> [N,C,H+1,W+3]


def net(statements: str, x: str = "f32[N,2,5,5]", result: str = "%1", more: str = "") -> str:
    return f"graph @net(%x: {x}{more}) {{\n  %w = const @w : f32[4,2,3,3]\n  {statements}\n  return {result}\n}}"


def without_weights(text: str) -> str:
    return text.replace("  %w = const @w : f32[4,2,3,3]\n", "")


@pytest.mark.parametrize(("own", "both"), [("", "[1,2,0,1]"), ("pads=[1,1,0,0]", "[2,3,0,1]")])
def test_conv(own, both):
    height, width = (4, 6) if not own else (5, 7)
    check_rewrite(fuse_pad, net(f"""{PADS}
  %0 = Pad(%x, %p) : f32[N,2,6,8]
  %1 = Conv(%0, %w) {{{own}}} : f32[N,4,{height},{width}]"""), net(f"""
  %1 = Conv(%x, %w) {{pads={both}}} : f32[N,4,{height},{width}]"""))


def test_conv_with_auto_pad_valid_explicit_value_and_axes():
    check_rewrite(fuse_pad, net("""
  %p = const [1,2,0,1] : i64[4]
  %z = const 0.0 : f32[]
  %a = const [2,-1] : i64[2]
  %0 = Pad(%x, %p, %z, %a) : f32[N,2,6,8]
  %1 = Conv(%0, %w) {auto_pad="VALID", strides=[2,1]} : f32[N,4,2,6]"""), net("""
  %1 = Conv(%x, %w) {pads=[1,2,0,1], strides=[2,1]} : f32[N,4,2,6]"""))


def test_symbolic_sizes():
    check_rewrite(fuse_pad, net(f"""{PADS}
  %0 = Pad(%x, %p) : f32[N,2,H+1,W+3]
  %1 = Conv(%0, %w) : f32[N,4,H-1,W+1]""", "f32[N,2,H,W]"), net("""
  %1 = Conv(%x, %w) {pads=[1,2,0,1]} : f32[N,4,H-1,W+1]""", "f32[N,2,H,W]"))


def test_other_readers_keep_the_pad():
    check_rewrite(fuse_pad, net(f"""{PADS}
  %0 = Pad(%x, %p) : f32[N,2,6,8]
  %1 = Conv(%0, %w) : f32[N,4,4,6]
  %2 = Relu(%0) : f32[N,2,6,8]""", result="%1, %2"), net(f"""{PADS}
  %0 = Pad(%x, %p) : f32[N,2,6,8]
  %1 = Conv(%x, %w) {{pads=[1,2,0,1]}} : f32[N,4,4,6]
  %2 = Relu(%0) : f32[N,2,6,8]""", result="%1, %2"))


@pytest.mark.parametrize("own", ["", ", pads=[1,0,1,0], count_include_pad=true"])
def test_average_pool(own):
    both, height = ("[1,2,0,1]", 4) if not own else ("[2,2,1,1]", 6)
    check_rewrite(fuse_pad, without_weights(net(f"""{PADS}
  %0 = Pad(%x, %p) : f32[N,2,6,8]
  %1 = AveragePool(%0) {{kernel_shape=[3,3]{own}}} : f32[N,2,{height},6]""")), without_weights(net(f"""
  %1 = AveragePool(%x) {{kernel_shape=[3,3], pads={both}, count_include_pad=true}} : f32[N,2,{height},6]""")),
                  tolerance=1e-12)


def test_max_pool_of_infinity():
    check_rewrite(fuse_pad, without_weights(net(f"""{PADS}
  %i = const -inf : f32[]
  %0 = Pad(%x, %p, %i) : f32[N,2,6,8]
  %1 = MaxPool(%0) {{kernel_shape=[3,3]}} : f32[N,2,4,6]""")), without_weights(net("""
  %1 = MaxPool(%x) {kernel_shape=[3,3], pads=[1,2,0,1]} : f32[N,2,4,6]""")))


NON_NEGATIVE = {
    "Relu": "%y = Relu(%x) : f32[N,2,5,5]",
    "Clip": "%l = const 0.0 : f32[]\n  %y = Clip(%x, %l) : f32[N,2,5,5]",
    "through a pool": "%a = Sigmoid(%x) : f32[N,2,5,5]\n  %y = MaxPool(%a) {kernel_shape=[1,1]} : f32[N,2,5,5]",
    "fused": "%v = const @v : f32[2,2,1,1]\n  %y = Conv(%x, %v) {activation=relu} : f32[N,2,5,5]",
}


@pytest.mark.parametrize("before", NON_NEGATIVE.values(), ids=NON_NEGATIVE)
def test_max_pool_of_zeros_beside_what_is_not_negative(before):
    check_rewrite(fuse_pad, without_weights(net(f"""{before}
  {PADS}
  %0 = Pad(%y, %p) : f32[N,2,6,8]
  %1 = MaxPool(%0) {{kernel_shape=[3,3]}} : f32[N,2,4,6]""")), without_weights(net(f"""{before}
  %1 = MaxPool(%y) {{kernel_shape=[3,3], pads=[1,2,0,1]}} : f32[N,2,4,6]""")))


CONV = "%1 = Conv(%0, %w) : f32[N,4,4,6]"
STAYS = {
    "not zero": net(f"{PADS}\n  %v = const 1.0 : f32[]\n  %0 = Pad(%x, %p, %v) : f32[N,2,6,8]\n  {CONV}"),
    "unknown value": net(f"{PADS}\n  %0 = Pad(%x, %p, %v) : f32[N,2,6,8]\n  {CONV}", more=", %v: f32[]"),
    "mirrored": net(f'{PADS}\n  %0 = Pad(%x, %p) {{mode="reflect"}} : f32[N,2,6,8]\n  {CONV}'),
    "cut off": net("%p = const [0,0,-1,1,0,0,2,2] : i64[8]\n  %0 = Pad(%x, %p) : f32[N,2,6,8]\n  " + CONV),
    "channels": net("%p = const [0,1,0,0,0,0,1,3] : i64[8]\n  %0 = Pad(%x, %p) : f32[N,2,6,8]\n  " + CONV,
                    "f32[N,1,5,5]"),
    "batch": net(f"%p = const [1,0,0,0,0,0,1,3] : i64[8]\n  %0 = Pad(%x, %p) : f32[N+1,2,6,8]\n  "
                 f"{CONV.replace('N,', 'N+1,')}"),
    "SAME depends on the size": net(f'{PADS}\n  %0 = Pad(%x, %p) : f32[N,2,6,8]\n'
                                    '  %1 = Conv(%0, %w) {auto_pad="SAME_UPPER"} : f32[N,4,6,8]'),
    "as weights": net("%p = const [0,0,0,0,0,0,1,1] : i64[8]\n  %0 = Pad(%w, %p) : f32[4,2,4,4]\n"
                      "  %1 = Conv(%x, %0) : f32[N,4,2,2]"),
    "own pads that do not count": net(
        f"{PADS}\n  %0 = Pad(%x, %p) : f32[N,2,6,8]\n"
        "  %1 = AveragePool(%0) {kernel_shape=[3,3], pads=[1,1,1,1]} : f32[N,2,6,8]"),
    "ceil_mode": net(f"{PADS}\n  %0 = Pad(%x, %p) : f32[N,2,6,8]\n"
                     "  %1 = AveragePool(%0) {kernel_shape=[3,3], ceil_mode=true, strides=[2,2]} : f32[N,2,3,4]"),
    "maximum of zeros and negatives": net(f"{PADS}\n  %0 = Pad(%x, %p) : f32[N,2,6,8]\n"
                                          "  %1 = MaxPool(%0) {kernel_shape=[3,3]} : f32[N,2,4,6]"),
    "below zero": net(f"%l = const -1.0 : f32[]\n  %y = Clip(%x, %l) : f32[N,2,5,5]\n  {PADS}\n"
                      "  %0 = Pad(%y, %p) : f32[N,2,6,8]\n  %1 = MaxPool(%0) {kernel_shape=[3,3]} : f32[N,2,4,6]"),
    "windows of padding only": net(f"%y = Relu(%x) : f32[N,2,5,5]\n  {PADS}\n  %0 = Pad(%y, %p) : f32[N,2,6,8]\n"
                                   "  %1 = MaxPool(%0) {kernel_shape=[2,2]} : f32[N,2,5,7]"),
    "dilated windows": net(f"%y = Relu(%x) : f32[N,2,5,5]\n  {PADS}\n  %0 = Pad(%y, %p) : f32[N,2,6,8]\n"
                           "  %1 = MaxPool(%0) {kernel_shape=[3,3], dilations=[2,2]} : f32[N,2,2,4]"),
    "indices": net(f"%i = const -inf : f32[]\n  {PADS}\n  %0 = Pad(%x, %p, %i) : f32[N,2,6,8]\n"
                   "  %1, %2 = MaxPool(%0) {kernel_shape=[3,3]} : f32[N,2,4,6], i64[N,2,4,6]", result="%1, %2"),
    "norm": net(f"{PADS}\n  %0 = Pad(%x, %p) : f32[N,2,6,8]\n  %1 = LpPool(%0) {{kernel_shape=[3,3]}} : f32[N,2,4,6]"),
}


@pytest.mark.parametrize("text", STAYS.values(), ids=STAYS)
def test_stays(text):
    check_stays(fuse_pad, text)
