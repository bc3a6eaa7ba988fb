from __future__ import annotations

import pytest

from cnncc.passes.resolve_auto_pad import resolve_auto_pad

from .harness import check_rewrite, check_stays


def net(attributes: str, result: str, x: str = "f32[1,2,5,6]", operator: str = "Conv(%x, %w)") -> str:
    weights = "\n  %w = const @w : f32[4,2,3,2]" if "%w" in operator else ""
    return f"graph @net(%x: {x}) {{{weights}\n  %0 = {operator}{attributes} : {result}\n  return %0\n}}"


@pytest.mark.parametrize(("before", "after", "result"), [
    ('{auto_pad="SAME_UPPER"}', " {pads=[1,0,1,1]}", "f32[1,4,5,6]"),
    ('{auto_pad="SAME_LOWER"}', " {pads=[1,1,1,0]}", "f32[1,4,5,6]"),
    ('{auto_pad="SAME_UPPER", strides=[2,2]}', " {pads=[1,0,1,0], strides=[2,2]}", "f32[1,4,3,3]"),
    ('{auto_pad="SAME_LOWER", dilations=[1,3]}', " {dilations=[1,3], pads=[1,2,1,1]}", "f32[1,4,5,6]"),
    ('{auto_pad="VALID"}', "", "f32[1,4,3,5]"),
])
def test_conv(before, after, result):
    check_rewrite(resolve_auto_pad, net(" " + before, result), net(after, result))


@pytest.mark.parametrize(("before", "after", "result"), [
    ('{auto_pad="SAME_UPPER", strides=[2,2]}', " {pads=[0,0,1,0], strides=[2,2]}", "f32[1,2,10,12]"),
    ('{auto_pad="SAME_LOWER", strides=[2,2]}', " {pads=[1,0,0,0], strides=[2,2]}", "f32[1,2,10,12]"),
    ('{auto_pad="VALID"}', "", "f32[1,2,7,7]"),
    ("{output_shape=[9,11], strides=[2,2]}", " {pads=[1,1,1,0], strides=[2,2]}", "f32[1,2,9,11]"),
])
def test_conv_transpose(before, after, result):
    x, operator = "f32[1,4,5,6]", "ConvTranspose(%x, %w)"
    check_rewrite(resolve_auto_pad, net(" " + before, result, x, operator), net(after, result, x, operator))


def test_conv_transpose_of_a_larger_shape_stays():
    check_stays(resolve_auto_pad,
                net(" {output_shape=[9,11]}", "f32[1,2,9,11]", "f32[1,4,5,6]", "ConvTranspose(%x, %w)"))


def test_symbolic_sizes_with_stride_1():
    check_rewrite(resolve_auto_pad, net(' {auto_pad="SAME_UPPER"}', "f32[N,4,H,W]", "f32[N,2,H,W]"),
                  net(" {pads=[1,0,1,1]}", "f32[N,4,H,W]", "f32[N,2,H,W]"))


@pytest.mark.parametrize("pool", ["AveragePool", "MaxPool", "LpPool"])
def test_pools(pool):
    operator = f"{pool}(%x)"
    check_rewrite(resolve_auto_pad,
                  net(' {kernel_shape=[3,3], auto_pad="SAME_UPPER", strides=[2,2]}', "f32[1,2,3,3]", operator=operator),
                  net(" {kernel_shape=[3,3], pads=[1,0,1,1], strides=[2,2]}", "f32[1,2,3,3]", operator=operator))


def test_explicit_pads_stay():
    check_stays(resolve_auto_pad, net(" {pads=[1,0,1,1]}", "f32[1,4,5,6]"))


def test_dilated_pool():
    operator, result = "MaxPool(%x)", "f32[1,2,5,6]"
    check_rewrite(resolve_auto_pad,
                  net(' {kernel_shape=[2,2], auto_pad="SAME_UPPER", dilations=[4,4]}', result, operator=operator),
                  net(" {kernel_shape=[2,2], dilations=[4,4], pads=[2,2,2,2]}", result, operator=operator))
