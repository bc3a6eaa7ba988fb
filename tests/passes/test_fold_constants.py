from __future__ import annotations

import numpy as np
import pytest

from cnncc.errors import GraphError
from cnncc.ir import Graph
from cnncc.passes import fold_constants as module
from cnncc.passes.fold_constants import fold_constants

from .harness import check_rewrite, check_stays, parse


def stored_bytes(graph: Graph) -> int:
    return sum(v.type.nbytes for v in graph.constants)


def test_chain():
    check_rewrite(fold_constants, """
graph @net(%x: f32[N,3]) {
  %w = const @w : f32[4,3]
  %s = const @s : f32[4,1]
  %0 = Mul(%w, %s) : f32[4,3]
  %1 = Transpose(%0) : f32[3,4]
  %2 = MatMul(%x, %1) : f32[N,4]
  return %2, %1
}""", """
graph @net(%x: f32[N,3]) {
  %1 = const @1 : f32[3,4]
  %2 = MatMul(%x, %1) : f32[N,4]
  return %2, %1
}""")


def test_several_outputs_of_which_one_is_read():
    check_rewrite(fold_constants, """
graph @net(%x: f32[N,2]) {
  %w = const @w : f32[4,3]
  %0, %1 = Split(%w) {axis=0, num_outputs=2} : f32[2,3], f32[2,3]
  %2 = MatMul(%x, %1) : f32[N,3]
  return %2
}""", """
graph @net(%x: f32[N,2]) {
  %1 = const @1 : f32[2,3]
  %2 = MatMul(%x, %1) : f32[N,3]
  return %2
}""")


def test_contents_sharpen_the_types_of_what_follows():
    """A size computed in floating point is no shape arithmetic; once it is folded, it is known."""
    graph = parse("""
graph @net(%x: f32[2,6]) {
  %h = const 1.5 : f32[]
  %d = const 2.0 : f32[]
  %0 = Mul(%h, %d) : f32[]
  %1 = Cast(%0) {to=i64} : i64[]
  %a = const [0] : i64[1]
  %2 = Unsqueeze(%1, %a) : i64[1]
  return %2
}""")
    assert fold_constants(graph)
    assert len(graph) == 0 and graph.outputs[0].constant.tolist() == [3]


def test_what_depends_on_inputs_stays():
    check_stays(fold_constants, """
graph @net(%x: f32[N,3]) {
  %w = const @w : f32[3]
  %0 = Add(%x, %w) : f32[N,3]
  %1 = Shape(%x) : i64[2]
  return %0, %1
}""")


@pytest.mark.parametrize("operator", [
    "Expand(%c, %s) : f32[200,100]", "Tile(%c, %s) : f32[200,100]",
    "ConstantOfShape(%s) {value=1.0} : f32[200,100]"])
def test_large_expansions_stay(operator):
    check_stays(fold_constants, f"""
graph @net(%x: f32[200,100]) {{
  %c = const [[0.5]] : f32[1,1]
  %s = const [200,100] : i64[2]
  %0 = {operator}
  %1 = Add(%x, %0) : f32[200,100]
  return %1, %c
}}""")


def test_small_expansion_is_folded():
    check_rewrite(fold_constants, """
graph @net(%x: f32[20,10]) {
  %s = const [20,10] : i64[2]
  %0 = ConstantOfShape(%s) {value=1.5} : f32[20,10]
  %1 = Add(%x, %0) : f32[20,10]
  return %1
}""", """
graph @net(%x: f32[20,10]) {
  %0 = const @0 : f32[20,10]
  %1 = Add(%x, %0) : f32[20,10]
  return %1
}""")


def test_many_small_expansions_do_not_add_up():
    """Each is within what one fold may add, all together are not."""
    count, size = 100, module.GROWTH_EACH // 4
    lines = [f"graph @net(%x: f32[{size}]) {{", f"  %s = const [{size}] : i64[1]"]
    x = "x"
    for i in range(count):
        lines += [f"  %c{i} = ConstantOfShape(%s) {{value={i + 0.5}}} : f32[{size}]",
                  f"  %{i} = Add(%{x}, %c{i}) : f32[{size}]"]
        x = str(i)
    graph = parse("\n".join([*lines, f"  return %{x}", "}"]))
    before = stored_bytes(graph)
    assert fold_constants(graph)
    limit = module.GROWTH_TOTAL + before * module.GROWTH_SHARE
    assert limit - module.GROWTH_EACH < stored_bytes(graph) - before <= limit


def test_constants_that_others_read_are_not_counted_as_freed():
    """The transposed weights would be stored beside the weights themselves."""
    check_stays(fold_constants, """
graph @net(%x: f32[200,200]) {
  %w = const @w : f32[200,200]
  %0 = Transpose(%w) : f32[200,200]
  %1 = Add(%x, %0) : f32[200,200]
  %2 = Mul(%1, %w) : f32[200,200]
  return %2
}""")


def test_weights_are_written_out_whatever_their_size():
    check_rewrite(fold_constants, """
graph @net(%x: f32[N,64,3,3], %y: f32[N,200]) {
  %s = const [64,64,3,3] : i64[4]
  %w = ConstantOfShape(%s) {value=0.5} : f32[64,64,3,3]
  %0 = Conv(%x, %w) : f32[N,64,1,1]
  %v = const @v : f16[300,200]
  %1 = Cast(%v) {to=f32} : f32[300,200]
  %2 = Gemm(%y, %1) {transB=true} : f32[N,300]
  return %0, %2
}""", """
graph @net(%x: f32[N,64,3,3], %y: f32[N,200]) {
  %w = const @w : f32[64,64,3,3]
  %0 = Conv(%x, %w) : f32[N,64,1,1]
  %1 = const @1 : f32[300,200]
  %2 = Gemm(%y, %1) {transB=true} : f32[N,300]
  return %0, %2
}""")


def test_weights_that_are_data_too_stay():
    check_stays(fold_constants, """
graph @net(%x: f32[N,64,3,3]) {
  %s = const [64,64,3,3] : i64[4]
  %w = ConstantOfShape(%s) {value=0.5} : f32[64,64,3,3]
  %0 = Conv(%x, %w) : f32[N,64,1,1]
  return %0, %w
}""")


def test_weights_have_a_limit_too(monkeypatch):
    monkeypatch.setattr(module, "WEIGHTS_TOTAL", 1 << 17)
    check_stays(fold_constants, """
graph @net(%x: f32[N,64,3,3]) {
  %s = const [64,64,3,3] : i64[4]
  %w = ConstantOfShape(%s) {value=0.5} : f32[64,64,3,3]
  %0 = Conv(%x, %w) : f32[N,64,1,1]
  return %0
}""")


def test_constants_that_do_not_fit_are_reported_by_node():
    graph = parse("""
graph @net(%x: f32[N,3]) {
  %w = const @w : f32[3]
  %f = const 3.5 : f32[]
  %s = Add(%f, %f) : f32[]
  %i = Cast(%s) {to=i64} : i64[]
  %0 = Gather(%w, %i) : f32[] @pick
  %1 = Add(%x, %0) : f32[N,3]
  return %1
}""")
    with pytest.raises(GraphError, match=r"Gather 'pick' cannot be computed .*index 7 is outside"):
        fold_constants(graph)


def test_contents_do_not_keep_a_larger_array_alive():
    graph = parse("""
graph @net(%x: f32[N,3]) {
  %w = const @w : f32[40,3]
  %i = const [0] : i64[1]
  %e = const [1] : i64[1]
  %0 = Slice(%w, %i, %e) : f32[1,3]
  %1 = Add(%x, %0) : f32[N,3]
  return %1
}""")
    assert fold_constants(graph)
    (constant,) = graph.constants
    assert constant.constant.base is None and constant.constant.flags.c_contiguous
    assert isinstance(constant.constant, np.ndarray) and constant.constant.shape == (1, 3)
