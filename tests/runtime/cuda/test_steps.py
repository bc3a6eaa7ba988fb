"""Steps of most kinds in one plan, run by the executor: operands bound by word, parts in place, tables, chains."""

from __future__ import annotations

import numpy as np
import pytest

import cnncc
from cnncc.ir import evaluate, parse_graph
from cnncc.ops import OPS

TEXT = """graph @steps(%x: f32[N,4,5,6], %s: f32[N,4,1,1]) {
  %sizes = const [1.0, 1.0, 2.0, 1.5] : f32[4]
  %pads = const [0, 0, 1, 0, 0, 0, 0, 2] : i64[8]
  %starts = const [1, -1] : i64[2]
  %ends = const [4, -4] : i64[2]
  %axes = const [2, 3] : i64[2]
  %by = const [1, -1] : i64[2]
  %0 = Mul(%x, %s) : f32[N,4,5,6]
  %1 = Add(%0, %x) : f32[N,4,5,6]
  %2 = Sigmoid(%1) : f32[N,4,5,6]
  %3 = LRN(%x) {size=3} : f32[N,4,5,6]
  %4 = Concat(%2, %3) {axis=1} : f32[N,8,5,6]
  %5 = MaxPool(%4) {kernel_shape=[3,3], pads=[1,1,1,1], strides=[2,2]} : f32[N,8,3,3]
  %6 = Resize(%4, none, %sizes) {mode="linear"} : f32[N,8,10,9]
  %7 = Pad(%5, %pads) : f32[N,8,4,5]
  %8 = Slice(%4, %starts, %ends, %axes, %by) : f32[N,8,3,3]
  %9 = Transpose(%8) {perm=[0,2,3,1]} : f32[N,3,3,8]
  %10 = Softmax(%9) : f32[N,3,3,8]
  %11 = GlobalAveragePool(%6) : f32[N,8,1,1]
  %12 = Flatten(%11) : f32[N,8]
  %13, %14 = Split(%12) {axis=1, num_outputs=2} : f32[N,4], f32[N,4]
  %15 = Sub(%13, %14) : f32[N,4]
  %16 = Sum(%13, %14, %15, %13, %14) : f32[N,4]
  return %7, %10, %16
}"""


@pytest.mark.parametrize("images", [1, 2])
def test_steps_of_most_kinds(images: int) -> None:
    rng = np.random.default_rng(images)
    feeds = {"x": rng.standard_normal((images, 4, 5, 6)).astype(np.float32),
             "s": rng.standard_normal((images, 4, 1, 1)).astype(np.float32)}
    wanted = evaluate(parse_graph(TEXT, OPS), feeds, fp64=True)
    plan = cnncc.compile(parse_graph(TEXT, OPS), shapes={"N": images}, target="cuda")
    assert any(step.op.op_type == "Chain" for step in plan.steps) and not plan.fallbacks
    session = cnncc.InferenceSession(plan, providers=["CUDA"])
    for _ in range(2):  # then as a graph
        for got, name in zip(session.run(None, feeds), wanted, strict=True):
            np.testing.assert_allclose(got, wanted[name], rtol=1e-5, atol=1e-6)
