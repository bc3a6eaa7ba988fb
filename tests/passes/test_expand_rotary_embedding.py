from __future__ import annotations

import pytest

from cnncc.passes.expand_rotary_embedding import expand_rotary_embedding

from .harness import check_rewrite, check_same_numbers, check_stays, parse


def net(x: str, cache: str, attributes: str = "", ids: str = "") -> str:
    more, read = (f", %p: {ids}", ", %p") if ids else ("", "")
    return (f"graph @net(%x: f32[{x}], %c: f32[{cache}], %s: f32[{cache}]{more}) {{\n"
            f"  %y = RotaryEmbedding(%x, %c, %s{read}) {{{attributes}}} : f32[{x}]\n  return %y\n}}")


def test_halves() -> None:
    check_rewrite(expand_rotary_embedding, net("N,2,L,6", "N,L,2", "rotary_embedding_dim=4"),
                  """graph @net(%x: f32[N,2,L,6], %c: f32[N,L,2], %s: f32[N,L,2]) {
  %y.number = const [0] : i64[1]
  %y.number_1 = const [2] : i64[1]
  %y.number_2 = const [3] : i64[1]
  %y.number_3 = const [1] : i64[1]
  %y.a = Slice(%x, %y.number, %y.number_1, %y.number_2, %y.number_3) : f32[N,2,L,2]
  %y.number_4 = const [2] : i64[1]
  %y.number_5 = const [4] : i64[1]
  %y.number_6 = const [3] : i64[1]
  %y.number_7 = const [1] : i64[1]
  %y.b = Slice(%x, %y.number_4, %y.number_5, %y.number_6, %y.number_7) : f32[N,2,L,2]
  %y.number_8 = const [1] : i64[1]
  %y.cos = Unsqueeze(%c, %y.number_8) : f32[N,1,L,2]
  %y.number_9 = const [1] : i64[1]
  %y.sin = Unsqueeze(%s, %y.number_9) : f32[N,1,L,2]
  %y.a_cos = Mul(%y.a, %y.cos) : f32[N,2,L,2]
  %y.b_sin = Mul(%y.b, %y.sin) : f32[N,2,L,2]
  %y.a_sin = Mul(%y.a, %y.sin) : f32[N,2,L,2]
  %y.b_cos = Mul(%y.b, %y.cos) : f32[N,2,L,2]
  %y.real = Sub(%y.a_cos, %y.b_sin) : f32[N,2,L,2]
  %y.imaginary = Add(%y.a_sin, %y.b_cos) : f32[N,2,L,2]
  %y.number_10 = const [4] : i64[1]
  %y.number_11 = const [6] : i64[1]
  %y.number_12 = const [3] : i64[1]
  %y.number_13 = const [1] : i64[1]
  %y.rest = Slice(%x, %y.number_10, %y.number_11, %y.number_12, %y.number_13) : f32[N,2,L,2]
  %y = Concat(%y.real, %y.imaginary, %y.rest) {axis=3} : f32[N,2,L,6]
  return %y
}""")


EQUAL = {
    "pairs": net("N,2,L,6", "N,L,3", "interleaved=true"),
    "part of the pairs": net("N,2,L,6", "N,L,2", "interleaved=true, rotary_embedding_dim=4"),
    "heads in one axis": net("N,L,12", "N,L,3", "num_heads=2"),
    "pairs of heads in one axis": net("N,L,12", "N,L,3", "interleaved=true, num_heads=2"),
    "positions": net("N,L,12", "8,2", "num_heads=2, rotary_embedding_dim=4", "i64[N,L]"),
}


@pytest.mark.parametrize("text", EQUAL.values(), ids=EQUAL)
def test_every_form_gives_the_same(text: str) -> None:
    graph = parse(text)
    assert expand_rotary_embedding(graph)
    assert "RotaryEmbedding" not in {node.op.op_type for node in graph.nodes}
    check_same_numbers(parse(text), graph)


def test_the_size_of_a_head_must_be_known() -> None:
    check_stays(expand_rotary_embedding, net("N,2,L,D", "N,L,D//2"))
