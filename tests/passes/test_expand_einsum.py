from __future__ import annotations

import pytest

from cnncc.passes.expand_einsum import expand_einsum

from .harness import check_rewrite, check_same_numbers, check_stays, parse


def net(equation: str, y: str, *shapes: str) -> str:
    inputs = ", ".join(f"%x{i}: f32[{shape}]" for i, shape in enumerate(shapes))
    read = ", ".join(f"%x{i}" for i in range(len(shapes)))
    return f'graph @net({inputs}) {{\n  %y = Einsum({read}) {{equation="{equation}"}} : f32[{y}]\n  return %y\n}}'


def test_heads_of_attention() -> None:
    check_rewrite(expand_einsum, net("bqhd,bkhd->bhqk", "B,4,Q,K", "B,Q,4,8", "B,K,4,8"),
                  """graph @net(%x0: f32[B,Q,4,8], %x1: f32[B,K,4,8]) {
  %y.turned = Transpose(%x0) {perm=[0,2,1,3]} : f32[B,4,Q,8]
  %y.turned_1 = Transpose(%x1) {perm=[0,2,3,1]} : f32[B,4,8,K]
  %y = MatMul(%y.turned, %y.turned_1) : f32[B,4,Q,K]
  return %y
}""", tolerance=1e-12)


def test_several_letters_become_one_axis() -> None:
    check_rewrite(expand_einsum, net("bqc,bchw->bqhw", "B,5,6,7", "B,5,3", "B,3,6,7"),
                  """graph @net(%x0: f32[B,5,3], %x1: f32[B,3,6,7]) {
  %y.right.shape = const [0,3,42] : i64[3]
  %y.right = Reshape(%x1, %y.right.shape) : f32[B,3,42]
  %y.product = MatMul(%x0, %y.right) : f32[B,5,42]
  %y.split.shape = const [0,5,6,7] : i64[4]
  %y = Reshape(%y.product, %y.split.shape) : f32[B,5,6,7] @y.split
  return %y
}""", tolerance=1e-12)


EQUAL = {
    "positions of SAM": net("bhwc,hkc->bhwk", "2,3,4,3", "2,3,4,5", "3,3,5"),
    "nothing summed": net("i,j->ji", "4,3", "3", "4"),
    "elementwise, broadcast": net("...ij,...ij->...ji", "5,2,4,3", "5,2,3,4", "1,3,4"),
    "matrices in more axes": net("...ij,...jk->...ik", "5,2,3,2", "5,2,3,4", "5,1,4,2"),
    "a letter of one factor": net("aib,bj->aj", "2,3", "2,3,4", "4,3"),
    "two letters summed": net("abij,cijb->ca", "5,2", "2,3,4,6", "5,4,6,3"),
    "three factors": net("ab,bc,cd->ad", "2,2", "2,3", "3,4", "4,2"),
    "one factor": net("bij->jb", "4,2", "2,3,4"),
    "nothing left": net("ij,ij->", "", "3,4", "3,4"),
    "a size that is 1": net("bi,bi->b", "5", "1,4", "5,4"),
}


@pytest.mark.parametrize("text", EQUAL.values(), ids=EQUAL)
def test_every_form_gives_the_same(text: str) -> None:
    graph = parse(text)
    assert expand_einsum(graph)
    assert "Einsum" not in {node.op.op_type for node in graph.nodes} and graph.outputs[0].name == "y"
    check_same_numbers(parse(text), graph, tolerance=1e-12)


@pytest.mark.parametrize("text", [
    net("ii->i", "4", "4,4"),
    net("ij->ij", "3,4", "3,4"),
    net("bij,bjk->bik", "2,3,5", "2,3,4", "2,1,5"),
    net("abij,cijb->ca", "C,A", "A,B,I,J", "C,I,J,B"),
    net("i,i->i", "4", "4", "4").replace("f32", "i32"),
], ids=["diagonal", "nothing to do", "a sum that broadcasts", "unknown sizes", "integers"])
def test_it_stays(text: str) -> None:
    check_stays(expand_einsum, text)
