from __future__ import annotations

import pytest

from cnncc.passes.canonicalize import canonicalize

from .harness import check_rewrite, check_stays


def net(statements: str, x: str = "f32[N,3,4,5]", result: str = "%0", more: str = "") -> str:
    return f"graph @net(%x: {x}{more}) {{\n  {statements}\n  return {result}\n}}"


AXES = "%a = const [-1,2] : i64[2]\n  "
FIRES = {
    "Sum": ("%0 = Sum(%x, %x) : f32[N,3,4,5]", "%0 = Add(%x, %x) : f32[N,3,4,5]"),
    "AveragePool": ("%0 = AveragePool(%x) {kernel_shape=[4,5], strides=[2,2]} : f32[N,3,1,1]",
                    "%0 = GlobalAveragePool(%x) : f32[N,3,1,1]"),
    "MaxPool": ("%0 = MaxPool(%x) {kernel_shape=[4,5]} : f32[N,3,1,1]", "%0 = GlobalMaxPool(%x) : f32[N,3,1,1]"),
    "ReduceMean": (f"{AXES}%0 = ReduceMean(%x, %a) : f32[N,3,1,1]", "%0 = GlobalAveragePool(%x) : f32[N,3,1,1]"),
    "ReduceMax": (f"{AXES}%0 = ReduceMax(%x, %a) : f32[N,3,1,1]", "%0 = GlobalMaxPool(%x) : f32[N,3,1,1]"),
    "ReduceMean without keepdims": (
        f"{AXES}%0 = ReduceMean(%x, %a) {{keepdims=false}} : f32[N,3]",
        f"%0.kept = GlobalAveragePool(%x) : f32[N,3,1,1]\n  {AXES}%0 = Squeeze(%0.kept, %a) : f32[N,3]"),
}


@pytest.mark.parametrize(("before", "after"), FIRES.values(), ids=FIRES)
def test_fires(before, after):
    check_rewrite(canonicalize, net(before), net(after), tolerance=1e-12)


def test_matmul():
    check_rewrite(canonicalize, net("%w = const @w : f32[4,5]\n  %0 = MatMul(%x, %w) : f32[N,5]", "f32[N,4]"),
                  net("%w = const @w : f32[4,5]\n  %0 = Gemm(%x, %w) : f32[N,5]", "f32[N,4]"))


STAYS = {
    "three operands": net("%0 = Sum(%x, %x, %x) : f32[N,3,4,5]"),
    "several windows": net("%0 = AveragePool(%x) {kernel_shape=[4,4]} : f32[N,3,1,2]"),
    "part of the input": net("%0 = MaxPool(%x) {kernel_shape=[3,3], strides=[9,9]} : f32[N,3,1,1]"),
    "padded": net("%0 = AveragePool(%x) {kernel_shape=[4,5], pads=[1,1,1,1], strides=[9,9]} : f32[N,3,1,1]"),
    "unknown size": net("%0 = AveragePool(%x) {kernel_shape=[4,5], strides=[9,9]} : f32[N,3,(H+5)//9,1]",
                        "f32[N,3,H,5]"),
    "indices": net("%0, %1 = MaxPool(%x) {kernel_shape=[4,5]} : f32[N,3,1,1], i64[N,3,1,1]", result="%1"),
    "bytes": net("%0 = MaxPool(%x) {kernel_shape=[4,5]} : u8[N,3,1,1]", "u8[N,3,4,5]"),
    "one spatial axis": net("%a = const [2] : i64[1]\n  %0 = ReduceMean(%x, %a) : f32[N,3,1,5]"),
    "channels too": net("%a = const [1,2,3] : i64[3]\n  %0 = ReduceMean(%x, %a) : f32[N,1,1,1]"),
    "all axes": net("%0 = ReduceMean(%x) : f32[1,1,1,1]"),
    "no spatial axis": net("%a = const [1] : i64[1]\n  %0 = ReduceMean(%x, %a) : f32[N,1]", "f32[N,3]"),
    "integers": net("%a = const [2,3] : i64[2]\n  %0 = ReduceMax(%x, %a) : i64[N,3,1,1]", "i64[N,3,4,5]"),
    "matrices in a batch": net("%w = const @w : f32[5,2]\n  %0 = MatMul(%x, %w) : f32[N,3,4,2]"),
    "a matrix that is fed": net("%0 = MatMul(%x, %y) : f32[N,5]", "f32[N,4]", more=", %y: f32[4,5]"),
}


@pytest.mark.parametrize("text", STAYS.values(), ids=STAYS)
def test_stays(text):
    check_stays(canonicalize, text)
