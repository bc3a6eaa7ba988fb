"""The pipelines: the levels agree, end where they should, and take time that grows with the graph's size only."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from cnncc.ir import Graph, evaluate, format_graph, verify
from cnncc.ops import OPS
from cnncc.passes import PASSES, PIPELINES, TARGETS, run_passes
from cnncc.passes.fold_constants import GROWTH_SHARE, GROWTH_TOTAL
from cnncc.passes.manager import MAX_ROUNDS

from .harness import parse, random_array
from .random_graph import random_graph

SEEDS = range(40)


def optimised(graph: Graph, level: int) -> Graph:
    run_passes(graph, PIPELINES[level], verify=True)
    return graph


@pytest.mark.parametrize("seed", SEEDS)
def test_levels_agree(seed):
    reference = random_graph(seed)
    verify(reference)
    feeds = {"x": random_array(reference.inputs[0].type.bind({"N": 2}), "x", seed)}
    expected = evaluate(reference, feeds, fp64=True)
    for level in PIPELINES:
        found = evaluate(optimised(random_graph(seed), level), feeds, fp64=True)
        assert list(found) == list(expected)
        for name, array in expected.items():
            tolerance = 1e-5 * np.abs(array).max()
            np.testing.assert_allclose(found[name], array, rtol=0, atol=tolerance, err_msg=f"-O{level}")


@pytest.mark.parametrize("level", PIPELINES)
@pytest.mark.parametrize("seed", SEEDS[:10])
def test_the_result_is_final_and_the_same_every_time(level, seed):
    graph, again = optimised(random_graph(seed), level), optimised(random_graph(seed), level)
    text = format_graph(graph)
    assert format_graph(again) == text
    changed = [r.name for r in run_passes(graph, PIPELINES[level]) if r.changed]
    assert not changed and format_graph(graph) == text


@pytest.mark.parametrize("seed", SEEDS[:10])
def test_higher_levels_leave_fewer_nodes(seed):
    sizes = [len(optimised(random_graph(seed), level)) for level in (0, 1, 2)]
    assert sizes[0] >= sizes[1] >= sizes[2] and sizes[2] < len(random_graph(seed))


@pytest.mark.parametrize("seed", SEEDS[:10])
def test_no_level_inflates_the_model(seed):
    before = sum(v.type.nbytes for v in random_graph(seed).constants)
    for level in PIPELINES:
        after = sum(v.type.nbytes for v in optimised(random_graph(seed), level).constants)
        assert after <= before + GROWTH_TOTAL + GROWTH_SHARE * before


def test_every_pass_stands_in_the_highest_pipeline_or_in_that_of_a_target():
    steps = (*PIPELINES[2], *(step for target in TARGETS.values() for step in target))
    flat = [one for step in steps for one in (step if isinstance(step, tuple) else (step,))]
    assert {one.__name__ for one in flat} == set(PASSES)


BLOCK = """
graph @block(%x: f32[N,8,6,6]) {
  %w1 = const @w1 : f32[8,8,3,3]
  %g = const @g : f32[8]
  %b = const @b : f32[8]
  %m = const @m : f32[8]
  %v = const @var : f32[8]
  %p = const [0,0,1,1,0,0,1,1] : i64[8]
  %0 = Pad(%x, %p) : f32[N,8,8,8]
  %1 = Conv(%0, %w1) : f32[N,8,6,6] @conv1
  %2 = BatchNormalization(%1, %g, %b, %m, %v) : f32[N,8,6,6]
  %3 = Relu(%2) : f32[N,8,6,6]
  %w2 = const @w2 : f32[8,8,3,3]
  %4 = Conv(%3, %w2) {auto_pad="SAME_UPPER"} : f32[N,8,6,6] @conv2
  %b2 = const @b2 : f32[8]
  %5 = BatchNormalization(%4, %g, %b2, %m, %v) : f32[N,8,6,6]
  %w3 = const @w3 : f32[8,8,1,1]
  %6 = Conv(%x, %w3) : f32[N,8,6,6] @down
  %b3 = const @b3 : f32[8]
  %7 = BatchNormalization(%6, %g, %b3, %m, %v) : f32[N,8,6,6]
  %8 = Add(%5, %7) : f32[N,8,6,6]
  %9 = Relu(%8) : f32[N,8,6,6]
  %a = const [2,3] : i64[2]
  %10 = ReduceMean(%9, %a) {keepdims=false} : f32[N,8]
  %w4 = const @w4 : f32[8,5]
  %11 = MatMul(%10, %w4) : f32[N,5]
  %c = const @c : f32[5]
  %12 = Add(%11, %c) : f32[N,5]
  %13 = Sigmoid(%12) : f32[N,5]
  return %13 as "scores"
}"""


def test_residual_block_and_classifier_become_one_node_a_layer():
    graph = optimised(parse(BLOCK), 2)
    assert format_graph(graph) == format_graph(parse("""
graph @block(%x: f32[N,8,6,6]) {
  %w1 = const @w1 : f32[8,8,3,3]
  %conv1.bias = const @conv1.bias : f32[8]
  %3 = Conv(%x, %w1, %conv1.bias) {pads=[1,1,1,1], activation=relu} : f32[N,8,6,6] @conv1
  %w2 = const @w2 : f32[8,8,3,3]
  %conv2.bias = const @conv2.bias : f32[8]
  %5 = Conv(%3, %w2, %conv2.bias) {pads=[1,1,1,1]} : f32[N,8,6,6] @conv2
  %w3 = const @w3 : f32[8,8,1,1]
  %down.bias = const @down.bias : f32[8]
  %9 = Conv(%x, %w3, %down.bias, %5) {activation=relu} : f32[N,8,6,6] @down
  %10.kept = GlobalAveragePool(%9) : f32[N,8,1,1]
  %a = const [2,3] : i64[2]
  %10 = Squeeze(%10.kept, %a) : f32[N,8]
  %w4 = const @w4 : f32[8,5]
  %11.bias = const @11.bias : f32[5]
  %13 = Gemm(%10, %w4, %11.bias) {activation=sigmoid} : f32[N,5] @11
  return %13 as "scores"
}"""))


def chain(blocks: int) -> Graph:
    """`blocks` times Conv, BatchNormalization, Identity, Add, Relu, with one shared set of parameters."""
    graph = parse("graph @chain(%x: f32[1,1,1,1]) {\n  return %x\n}")
    x = graph.inputs[0]
    w, one = graph.add_constant(np.full((1, 1, 1, 1), 0.5, np.float32)), graph.add_constant(np.ones(1, np.float32))
    for _ in range(blocks):
        y = graph.add_node(OPS["Conv"](), [x, w], name="conv").output
        y = graph.add_node(OPS["BatchNormalization"](), [y, one, one, one, one]).output
        y = graph.add_node(OPS["Identity"](), [y]).output
        y = graph.add_node(OPS["Add"](), [y, x]).output
        x = graph.add_node(OPS["Relu"](), [y]).output
    graph.set_outputs([x])
    return graph


@pytest.mark.parametrize("level", PIPELINES)
def test_work_grows_with_the_nodes(level, monkeypatch):
    """Values handed out by walking and changes of operands, counted: both may grow no faster than the graph."""
    steps = Counter()
    walk, set_input = Graph.walk, Graph.set_input

    def counted_walk(self):
        for node in walk(self):
            steps["visits"] += 1
            yield node

    def counted_set_input(self, *arguments):
        steps["edits"] += 1
        set_input(self, *arguments)

    monkeypatch.setattr(Graph, "walk", counted_walk)
    monkeypatch.setattr(Graph, "set_input", counted_set_input)
    counts = []
    for blocks in (50, 200):
        graph = chain(blocks)
        steps.clear()
        records = run_passes(graph, PIPELINES[level])
        assert len(records) <= 2 * len(PASSES) + 4 * MAX_ROUNDS
        counts.append(dict(steps))
    for kind, few in counts[0].items():
        assert counts[1][kind] <= 4.2 * few, kind


def test_light_resnet50_of_the_installed_onnx():
    onnx = pytest.importorskip("onnx")
    path = Path(onnx.__file__).parent / "backend/test/data/light/light_resnet50.onnx"
    if not path.exists():
        pytest.skip(f"the installed onnx {onnx.__version__} comes without light_resnet50.onnx")
    from cnncc.frontends import load_graph

    kinds = Counter(n.op.op_type for n in optimised(load_graph(path), 2).walk())
    assert kinds == {"Conv": 53, "MaxPool": 1, "GlobalAveragePool": 1, "Reshape": 1, "Gemm": 1, "Softmax": 1}
