from __future__ import annotations

import pytest

from cnncc.passes.simplify_reshapes import simplify_reshapes

from .harness import check_rewrite, check_stays


def net(x: str, statements: str, result: str) -> str:
    return f"graph @net(%x: {x}) {{\n{statements}\n  return {result}\n}}"


def test_chain_becomes_one():
    check_rewrite(simplify_reshapes, net("f32[N,2,3,4]", """
  %a = const [0] : i64[1]
  %0 = Unsqueeze(%x, %a) : f32[1,N,2,3,4]
  %s = const [-1,6,4] : i64[3]
  %1 = Reshape(%0, %s) : f32[N,6,4]
  %2 = Flatten(%1) : f32[N,24]
  %3 = Relu(%2) : f32[N,24]""", "%3"), net("f32[N,2,3,4]", """
  %a = const [0] : i64[1]
  %0 = Unsqueeze(%x, %a) : f32[1,N,2,3,4]
  %1.shape = const [0,6,4] : i64[3]
  %1 = Reshape(%x, %1.shape) : f32[N,6,4]
  %2.shape = const [0,24] : i64[2]
  %2 = Reshape(%x, %2.shape) : f32[N,24]
  %3 = Relu(%2) : f32[N,24]""", "%3"))


def test_there_and_back_again():
    check_rewrite(simplify_reshapes, net("f32[N,2,3,4]", """
  %s = const [0,24] : i64[2]
  %0 = Reshape(%x, %s) : f32[N,24]
  %t = const [0,2,3,4] : i64[4]
  %1 = Reshape(%0, %t) : f32[N,2,3,4]
  %2 = Relu(%1) : f32[N,2,3,4]""", "%2"), net("f32[N,2,3,4]", """
  %s = const [0,24] : i64[2]
  %0 = Reshape(%x, %s) : f32[N,24]
  %2 = Relu(%x) : f32[N,2,3,4]""", "%2"))


def test_shape_computed_from_a_symbolic_one():
    """x.view(x.size(0), -1), as PyTorch exports it."""
    check_rewrite(simplify_reshapes, net("f32[N,2,H,W]", """
  %0 = Shape(%x) {start=0, end=1} : i64[1]
  %m = const [-1] : i64[1]
  %1 = Concat(%0, %m) {axis=0} : i64[2]
  %2 = Reshape(%x, %1) : f32[N,2*H*W]""", "%2"), net("f32[N,2,H,W]", """
  %0 = Shape(%x) {start=0, end=1} : i64[1]
  %m = const [-1] : i64[1]
  %1 = Concat(%0, %m) {axis=0} : i64[2]
  %2.shape = const [0,-1] : i64[2]
  %2 = Reshape(%x, %2.shape) : f32[N,2*H*W]""", "%2"))


def test_transposes_merge():
    check_rewrite(simplify_reshapes, net("f32[2,3,4,5]", """
  %0 = Transpose(%x) {perm=[0,2,3,1]} : f32[2,4,5,3]
  %1 = Transpose(%0) : f32[3,5,4,2]""", "%1"), net("f32[2,3,4,5]", """
  %0 = Transpose(%x) {perm=[0,2,3,1]} : f32[2,4,5,3]
  %1 = Transpose(%x) {perm=[1,3,2,0]} : f32[3,5,4,2]""", "%1"))


def test_transposes_cancel():
    check_rewrite(simplify_reshapes, net("f32[N,3,H,5]", """
  %0 = Transpose(%x) {perm=[0,2,3,1]} : f32[N,H,5,3]
  %1 = Transpose(%0) {perm=[0,3,1,2]} : f32[N,3,H,5]
  %2 = Relu(%1) : f32[N,3,H,5]""", "%2"), net("f32[N,3,H,5]", """
  %0 = Transpose(%x) {perm=[0,2,3,1]} : f32[N,H,5,3]
  %2 = Relu(%x) : f32[N,3,H,5]""", "%2"))


def test_transpose_of_axes_of_size_1():
    check_rewrite(simplify_reshapes, net("f32[N,8,1,1]", "  %0 = Transpose(%x) {perm=[0,2,3,1]} : f32[N,1,1,8]", "%0"),
                  net("f32[N,8,1,1]", """
  %0.shape = const [0,1,1,8] : i64[4]
  %0 = Reshape(%x, %0.shape) : f32[N,1,1,8]""", "%0"))


STAYS = {
    "a channel shuffle": net("f32[1,4,3,3]", """
  %s = const [1,2,2,3,3] : i64[5]
  %0 = Reshape(%x, %s) : f32[1,2,2,3,3]
  %1 = Transpose(%0) {perm=[0,2,1,3,4]} : f32[1,2,2,3,3]
  %t = const [1,4,3,3] : i64[4]
  %2 = Reshape(%1, %t) : f32[1,4,3,3]""", "%2"),
    "one of each": net("f32[1,4,3,1]", """
  %0 = Flatten(%x) : f32[1,12]
  %1 = Relu(%0) : f32[1,12]
  %a = const [0] : i64[1]
  %2 = Squeeze(%1, %a) : f32[12]""", "%2"),
    "moved symbolic sizes": net("f32[1,4,H,W]", "  %0 = Transpose(%x) {perm=[0,1,3,2]} : f32[1,4,W,H]", "%0"),
    "two sizes that no constant expresses": net("f32[A,B,C]", """
  %a = const [0] : i64[1]
  %0 = Unsqueeze(%x, %a) : f32[1,A,B,C]
  %b = const [1] : i64[1]
  %1 = Unsqueeze(%0, %b) : f32[1,1,A,B,C]""", "%1"),
    "sizes of 0": net("f32[0,4]", """
  %s = const [0,2,2] : i64[3]
  %0 = Reshape(%x, %s) : f32[0,2,2]
  %a = const [0] : i64[1]
  %1 = Unsqueeze(%0, %a) : f32[1,0,2,2]""", "%1"),
}


@pytest.mark.parametrize("text", STAYS.values(), ids=STAYS)
def test_stays(text):
    check_stays(simplify_reshapes, text)


def test_another_output_of_a_node_that_passes_its_first_on():
    check_stays(simplify_reshapes, net("f32[4]", """
  %0, %1 = Dropout(%x) : f32[4], bool[4]
  %s = const [2,2] : i64[2]
  %2 = Reshape(%1, %s) : bool[2,2]""", "%2, %0"))
