"""Exported models: checked by onnx, run by ONNX Runtime, and imported again as the graph they came from."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator

import numpy as np
import onnx
import pytest

import tests.ops
from cnncc.errors import ModelError
from cnncc.frontends.onnx import export_model, exporter, import_model
from cnncc.ir import ACTIVATIONS, DType, Graph, TensorType, evaluate, format_graph, parse_graph, verify
from cnncc.ops import OPS

from ..ops.cases import Case
from .models import assert_equal, model_of, normal, run_graph, run_onnxruntime


def exported(graph: Graph) -> onnx.ModelProto:
    verify(graph)
    model = export_model(graph)
    onnx.checker.check_model(model, full_check=True)
    return model


def assert_same_numbers(graph: Graph, **feeds: np.ndarray) -> onnx.ModelProto:
    model = exported(graph)
    assert_equal(run_onnxruntime(model, feeds), run_graph(graph, feeds))
    assert_equal(run_graph(import_model(model), feeds), run_graph(graph, feeds))
    return model


def case_modules() -> list[str]:
    return [m.name for m in pkgutil.iter_modules(tests.ops.__path__) if m.name.startswith("test_")]


def cases_of(module: str) -> Iterator[Case]:
    """What a family's tests run that ONNX can express."""
    for case in getattr(importlib.import_module(f"tests.ops.{module}"), "CASES", ()):
        if case.is_onnx:
            yield case


def graph_of(case: Case) -> Graph:
    graph = Graph("case")
    values = [None if x is None else graph.add_constant(x, f"x{i}") if i in case.constants else
              graph.add_input(f"x{i}", TensorType(DType.of(x.dtype), x.shape)) for i, x in enumerate(case.inputs)]
    while values[-1] is None:
        values.pop()
    outputs = [f"y{i}" for i in range(case.outputs)]
    graph.set_outputs(graph.add_node(case.op, values, name="y0", outputs=outputs).outputs)
    return graph


@pytest.mark.parametrize("module", case_modules())
def test_every_operator_comes_back(module: str) -> None:
    """import_model(export_model(graph)) is the graph, operator by operator."""
    for case in cases_of(module):
        graph = graph_of(case)
        back = import_model(exported(graph))
        if is_rewritten(case):
            feeds = {v.name: x for v, x in zip(graph.inputs, [x for x in case.inputs if x is not None], strict=True)}
            assert_equal(run_graph(back, feeds), run_graph(graph, feeds))
        else:
            assert format_graph(back) == format_graph(graph), case


def is_rewritten(case: Case) -> bool:
    """Whether the importer makes more nodes of it: Attention's mask of booleans becomes numbers that are added."""
    mask = case.inputs[3] if case.op.op_type == "Attention" and len(case.inputs) > 3 else None
    return mask is not None and mask.dtype == bool


def test_every_operator_is_tried() -> None:
    tried = {case.op.op_type for module in case_modules() for case in cases_of(module)}
    assert {"Conv", "Gemm", "MaxPool", "Reshape", "ConstantOfShape", "Softmax", "Clip"} <= tried


RESIDUAL = """graph @net(%x: f32[N,4,5,5], %r: f32[N,3,5,5]) {{
  %w = const @w : f32[3,4,3,3]
  %b = const @b : f32[3]
  %y = Conv(%x, %w, {b}, {r}) {{pads=[1,1,1,1]{activation}}} : f32[N,3,5,5] @last
  return %y
}}"""
WEIGHTS = {"w": normal(3, 4, 3, 3), "b": normal(3)}


@pytest.mark.parametrize(("b", "r"), [("%b", "%r"), ("none", "%r"), ("%b", "none")])
@pytest.mark.parametrize("activation", ["", ", activation=relu", ", activation=clip(-1.0,0.5)"])
def test_a_fused_residual_and_activation_become_nodes(b: str, r: str, activation: str) -> None:
    graph = parse_graph(RESIDUAL.format(b=b, r=r, activation=activation), OPS, WEIGHTS)
    model = assert_same_numbers(graph, x=normal(2, 4, 5, 5), r=normal(2, 3, 5, 5))
    last = {"": [], ", activation=relu": ["Relu"]}.get(activation, ["Clip"])
    assert [n.op_type for n in model.graph.node] == ["Conv"] + ["Add"] * (r != "none") + last
    assert model.graph.node[-1].output == ["y"] and model.graph.node[0].name == "last"


@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_every_activation(kind: str) -> None:
    parameters = {"clip": "(-0.5,0.25)", "leaky_relu": "(0.3)", "elu": "(0.7)", "selu": "(1.5,0.9)",
                  "hard_sigmoid": "(0.3,0.4)"}.get(kind, "")
    assert set(ACTIVATIONS[kind]) == set() or parameters
    graph = parse_graph(f"""graph @net(%x: f32[N,4]) {{
      %w = const @w : f32[4,3]
      %y = Gemm(%x, %w) {{activation={kind}{parameters}}} : f32[N,3]
      return %y
    }}""", OPS, {"w": normal(4, 3)})
    assert_same_numbers(graph, x=4 * normal(5, 4))


def test_symbolic_dimensions_are_parameters() -> None:
    graph = import_model(model_of("net (float[N,3,H,8] x) => (float[N,a,b,c] y) { y = MaxPool<kernel_shape = [2,2],"
                                  " strides = [2,2]>(x) }"))
    model = assert_same_numbers(graph, x=normal(2, 3, 7, 8))
    dims = [[d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim]
            for v in (*model.graph.input, *model.graph.output)]
    assert dims == [["N", 3, "H", 8], ["N", 3, str(graph.outputs[0].type.shape[2]), 4]]


def test_names_of_outputs() -> None:
    """Outputs may be renamed, given twice, inputs or constants; a value bearing an output's name gives way."""
    graph = Graph("net")
    x = graph.add_input("x", TensorType(DType.F32, (2,)))
    w = graph.add_constant(np.array([1, 2], np.float32), "w")
    a = graph.add_node(OPS["Add"](), [x, w], name="first", outputs=["features"]).output
    b = graph.add_node(OPS["Relu"](), [a], name="second", outputs=["b"]).output
    graph.set_outputs([b, b, x, w, a], ["features", "again", "copy", "weights", "sum"])
    model = assert_same_numbers(graph, x=np.array([-3, 3], np.float32))
    assert [v.name for v in model.graph.output] == ["features", "again", "copy", "weights", "sum"]
    assert list(evaluate(import_model(model), {"x": np.zeros(2, np.float32)})) == graph.output_names


def test_outputs_that_are_inputs_or_weights_under_their_own_names() -> None:
    graph = import_model(model_of("net (float[2] x) => (float[2] x, float[2] w, float[2] y) { y = Add(x, w) }",
                                  w=np.array([1, 2], np.float32)))
    assert_same_numbers(graph, x=normal(2))


def test_every_value_keeps_its_name() -> None:
    graph = import_model(model_of("""net (float[N,4] x) => (float[N,2] y) {
        h = Relu(x) a, b = Split<axis = 1>(h) s = Add(a, b) y = Softmax(s) }"""))
    model = exported(graph)
    computed = {name for node in model.graph.node for name in node.output}
    assert computed == {v.name for v in graph.values if v.producer is not None}
    assert [n.name for n in model.graph.node] == [n.name for n in graph.nodes]


def test_nodes_of_one_name_are_told_apart() -> None:
    """ONNX Runtime refuses a model in which two nodes have one name."""
    graph = Graph("net")
    x = graph.add_input("x", TensorType(DType.F32, (2,)))
    for output in ("a", "b", "c"):
        x = graph.add_node(OPS["Add"](), [x, x], name="add", outputs=[output]).output
    graph.set_outputs([x])
    model = assert_same_numbers(graph, x=np.array([-3, 3], np.float32))
    assert [n.name for n in model.graph.node] == ["add", "add_1", "add_2"]


def test_the_opset_is_the_first_that_has_every_operator() -> None:
    def opset(text: str, written: int) -> int:
        return int(exported(import_model(model_of(text, written))).opset_import[0].version)

    assert opset("net (float[2] x) => (float[2] y) { y = Relu(x) }", 7) == 22
    assert opset("net (float[2] x) => (float[2] y) { y = Swish(x) }", 24) == 24


def test_weights_that_exceed_one_file(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = import_model(model_of("net (float[2] x) => (float[2] y) { y = Add(x, w) }", w=np.ones(2, np.float32)))
    monkeypatch.setattr(exporter, "_MAX_BYTES", 7)
    with pytest.raises(ModelError, match=r"'net' has 8 bytes of weights; one ONNX file holds 7"):
        export_model(graph)
