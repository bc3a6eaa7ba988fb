from __future__ import annotations

import pytest

from cnncc.passes.expand_attention_cache import expand_attention_cache

from .harness import check_rewrite, check_same_numbers, check_stays, parse

HEADS = """graph @net(%q: f32[N,2,L,4], %k: f32[N,2,L,4], %v: f32[N,2,L,3], %pk: f32[N,2,P,4], %pv: f32[N,2,P,3]) {
  %y, %nk, %nv = Attention(%q, %k, %v, none, %pk, %pv) {is_causal=true} : f32[N,2,L,3], f32[N,2,L+P,4], f32[N,2,L+P,3]
  return %y, %nk, %nv
}"""
JOINED = """graph @net(%q: f32[1,1,8], %k: f32[1,1,4], %v: f32[1,1,3], %a: f32[1,1,P,4], %b: f32[1,1,P,3]) {
  %y = Attention(%q, %k, %v, none, %a, %b) {kv_num_heads=1, q_num_heads=2} : f32[1,1,6]
  return %y
}"""


def test_heads() -> None:
    check_rewrite(expand_attention_cache, HEADS, HEADS.split("{", 1)[0] + """{
  %y.axis = const [0] : i64[1]
  %y.axis_1 = const [2] : i64[1]
  %nk = Concat(%pk, %k) {axis=2} : f32[N,2,L+P,4]
  %nv = Concat(%pv, %v) {axis=2} : f32[N,2,L+P,3]
  %y.shape = Shape(%nk) : i64[4]
  %y.batch = Gather(%y.shape, %y.axis) : i64[1]
  %y.length = Gather(%y.shape, %y.axis_1) : i64[1]
  %y.lengths = Expand(%y.length, %y.batch) : i64[N]
  %y = Attention(%q, %nk, %nv, none, none, none, %y.lengths) {is_causal=true} : f32[N,2,L,3]
  return %y, %nk, %nv
}""", tolerance=1e-12)


def test_heads_side_by_side_are_brought_to_the_front_and_back() -> None:
    graph = parse(JOINED)
    assert expand_attention_cache(graph)
    [attention] = [node for node in graph.nodes if node.op.op_type == "Attention"]
    assert len(attention.inputs) == 3 and graph.outputs[0].name == "y"
    check_same_numbers(parse(JOINED), graph, tolerance=1e-12)


@pytest.mark.parametrize(("old", "new"), [
    ("is_causal=true", "is_causal=true, left_window_size=1"),
    ("%k: f32[N,2,L,4], %v: f32[N,2,L,3]", "%k: f32[N,2,M,4], %v: f32[N,2,M,3]"),
    ("%pk, %pv)", "none, none)"),
])
def test_it_stays(old: str, new: str) -> None:
    text = HEADS.replace(old, new)
    text = text.replace("L+P", "L" if new == "none, none)" else "M+P" if "M" in new else "L+P")
    check_stays(expand_attention_cache, text)
