"""Names, order, inputs and shapes of imported models, and the report of what is unsupported."""

from __future__ import annotations

import itertools
import re
import time

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from cnncc.errors import InputError, ModelError, UnsupportedError
from cnncc.frontends.onnx import import_model
from cnncc.ir import Graph, evaluate, format_graph, symbol, verify

from .models import assert_equal, model_of, normal, run_graph, run_onnxruntime


def imported(text: str, opset: int = 13, **weights: np.ndarray) -> Graph:
    graph = import_model(model_of(text, opset, **weights))
    verify(graph)
    return graph


def refused(text: str, opset: int = 13, **weights: np.ndarray) -> str:
    with pytest.raises(ModelError) as info:
        import_model(model_of(text, opset, **weights))
    return str(info.value)


# -- names and order -------------------------------------------------------------------------------------------------

def test_the_text_of_an_imported_graph() -> None:
    model = model_of("""net (float[N,3,8,8] x) => (float[N,4,8,8] y) {
        conv = Conv<pads = [1,1,1,1], kernel_shape = [3,3]> (x, w)
        y = Relu(conv)
    }""", w=normal(4, 3, 3, 3))
    model.graph.node[0].name = "first"
    assert format_graph(import_model(model)) == """\
graph @net(%x: f32[N,3,8,8]) {
  %w = const @w : f32[4,3,3,3]
  %conv = Conv(%x, %w) {kernel_shape=[3,3], pads=[1,1,1,1]} : f32[N,4,8,8] @first
  %y = Relu(%conv) : f32[N,4,8,8]
  return %y
}
"""


def test_names() -> None:
    model = model_of("net (float[2] x) => (float[2] y) { a = Relu(x) y = Tanh(a) }")
    model.graph.node[0].name = "named"
    graph = import_model(model, name="mine")
    assert graph.name == "mine"
    assert [n.name for n in graph.nodes] == ["named", "y"]
    assert graph.value("a").producer is graph.nodes[0]


def test_a_made_name_gives_way_to_the_models_own() -> None:
    """Clip-6's bound becomes a constant, whose name the model uses for something else further on."""
    model = model_of("net (float[2] x) => (float[2] y) { y0 = Clip<min = 0.0>(x) z = Tanh(y0) y = Relu(z) }", 6)
    model.graph.node[1].output[0] = model.graph.node[2].input[0] = "y0.min"
    graph = import_model(model)
    assert [n.name for n in graph.nodes] == ["y0", "y0.min", "y"]
    assert [v.name for v in graph.constants] == ["y0.min_1"]


def test_nodes_in_any_order() -> None:
    model = model_of("net (float[2] x) => (float[2] y) { a = Relu(x) b = Tanh(a) c = Add(a, b) y = Mul(b, c) }")
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(nodes[::-1])
    graph = import_model(model)
    verify(graph)
    assert [n.name for n in graph.nodes] == ["a", "b", "c", "y"]


def test_a_long_chain_backwards() -> None:
    names = ["x", *(f"v{i}" for i in range(3000))]
    nodes = [helper.make_node("Relu", [a], [b]) for a, b in itertools.pairwise(names)]
    value = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [2]) for n in ("x", names[-1])]
    graph = import_model(helper.make_model(helper.make_graph(nodes[::-1], "chain", value[:1], value[1:]),
                                           opset_imports=[helper.make_opsetid("", 13)], ir_version=8))
    assert len(graph) == 3000


@pytest.mark.parametrize(("text", "said"), [
    ("net (float[2] x) => (float[2] y) { a = Add(x, b) b = Relu(a) y = Relu(b) }",
     r"cycle through 'a' \(Add\), 'b' \(Relu\)"),
    ("net (float[2] x) => (float[2] y) { y = Add(x, y) }", r"cycle through 'y' \(Add\)"),
    ("net (float[2] x) => (float[2] y) { y = Add(x, ghost) }", r"nothing defines: 'ghost' of 'y' \(Add\)"),
    ("net (float[2] x) => (float[2] y, float[2] z) { y = Relu(x) }", "'z', an output of the model"),
    ("net (float[2] x) => (float[2] y) { a = Relu(x) a = Tanh(x) y = Relu(a) }", "defines 'a' more than once"),
    ("net (float[2] x) => (float[2] x) { x = Relu(x) }", "defines 'x' more than once"),
    ("net (float[2] x, float[2] x) => (float[2] y) { y = Relu(x) }", "defines 'x' more than once"),
    ("net (float[2] x) => (float[2] y, float[2] y) { y = Relu(x) }", "defines 'y' more than once"),
    ("net (float[2] x) => (float[2] y) <float[2] w = {1,2}> { w = Relu(x) y = Add(x, w) }", "defines 'w' more"),
], ids=["cycle", "self", "undefined", "output", "twice", "input", "inputs", "outputs", "weight"])
def test_structure_that_is_wrong(text: str, said: str) -> None:
    assert re.search(said, refused(text))


def test_outputs_that_are_inputs_or_weights() -> None:
    graph = imported("net (float[2] x) => (float[2] x, float[2] w, float[2] y) <float[2] w = {1,2}> { y = Add(x, w) }")
    results = evaluate(graph, {"x": np.array([5, 6], np.float32)})
    assert {name: r.tolist() for name, r in results.items()} == {"x": [5, 6], "w": [1, 2], "y": [6, 8]}


def test_absent_inputs_and_unread_outputs() -> None:
    """An empty name is an absent input; outputs that nobody reads are left away at the end of the list."""
    graph = imported("""net (float[2] x) => (float[2] y) {
        a, mask = Dropout(x)
        y = Clip(a, , top)
    }""", top=np.float32(1))
    dropout, clip = graph.nodes
    assert [v.name for v in dropout.outputs] == ["a"]
    assert [v and v.name for v in clip.inputs] == ["a", None, "top"]
    kept = imported("net (float[2] x) => (float[2] y, bool[2] mask) { y, mask = Dropout(x) }")
    assert kept.output_names == ["y", "mask"]
    trailing = imported("net (float[2] x) => (float[2] y) { y = Clip(x, , ) }")
    assert [v and v.name for v in trailing.nodes[0].inputs] == ["x"]


# -- inputs and their shapes -----------------------------------------------------------------------------------------

def test_weights_listed_as_inputs_are_constants() -> None:
    graph = imported("net (float[2] x, float[2] w) => (float[2] y) { y = Add(x, w) }", w=np.ones(2, np.float32))
    assert [v.name for v in graph.inputs] == ["x"] and [v.name for v in graph.constants] == ["w"]


def test_unused_inputs_are_kept_and_unused_weights_are_not() -> None:
    graph = imported("net (float[2] x, int64[1] spare) => (float[2] y) { y = Relu(x) }", w=np.ones(2, np.float32))
    assert [repr(v) for v in graph.inputs] == ["%x: f32[2]", "%spare: i64[1]"]
    assert [v.name for v in graph.values] == ["x", "spare", "y"]


def model_with_dims(*dims: int | str | None, other: tuple[int | str | None, ...] = ()) -> onnx.ModelProto:
    value = helper.make_tensor_value_info
    inputs = [value("x:0", TensorProto.FLOAT, dims)] + ([value("z", TensorProto.FLOAT, other)] if other else [])
    graph = helper.make_graph([helper.make_node("Relu", ["x:0"], ["y"])], "net", inputs,
                              [value("y", TensorProto.FLOAT, None)])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def shapes_of(model: onnx.ModelProto, **shapes: list[int | str]) -> list[str]:
    graph = import_model(model, shapes={"x:0" if k == "x" else k: v for k, v in shapes.items()})
    verify(graph)
    return [str(v.type) for v in graph.inputs]


def test_symbolic_dimensions() -> None:
    assert shapes_of(model_with_dims("N", 3, None, "N")) == ["f32[N,3,x_0_d2,N]"]
    assert shapes_of(model_with_dims("batch size", "batch-size", "2H", "")) == [
        "f32[batch_size,batch_size_1,d2H,x_0_d3]"]
    assert shapes_of(model_with_dims("x_0_d1", None)) == ["f32[x_0_d1,x_0_d1_1]"]
    assert shapes_of(model_with_dims("N", other=("N", "M"))) == ["f32[N]", "f32[N,M]"]
    assert shapes_of(model_with_dims("größe", 0)) == ["f32[gr__e,0]"]


def test_shapes_of_the_callers() -> None:
    assert shapes_of(model_with_dims("N", 3, "H"), x=[2, 3, "H"]) == ["f32[2,3,H]"]
    assert shapes_of(model_with_dims(None), x=["2*k"]) == ["f32[2*k]"]
    # A fixed size is a default of the exporter's: it may be replaced.
    assert shapes_of(model_with_dims(1, 3), x=["N", 3]) == ["f32[N,3]"]
    # A named dimension is one size everywhere.
    assert shapes_of(model_with_dims("N", 3, other=("N", "M")), x=[4, 3]) == ["f32[4,3]", "f32[4,M]"]
    graph = import_model(model_with_dims("N"), shapes={"x:0": (symbol("B"),)})
    assert graph.symbols == ["B"]


@pytest.mark.parametrize(("shapes", "said"), [
    ({"y": [1]}, "a shape or contents are given for 'y', but the model's inputs are x:0, z"),
    ({"x:0": [1]}, r"'x:0' has 2 dimensions, but the shape given for it, \[1\], has 1"),
    ({"x:0": [1, 3], "z": [2]}, "the dimension 'N' both 1 and 2"),
    ({"x:0": [-1, 3]}, "has the dimension -1"),
    ({"x:0": [1.5, 3]}, "has the dimension 1.5"),
    ({"x:0": ["a b", 3]}, "'a b' is not a dimension"),
    ({"x:0": "N3"}, "must be a list"),
])
def test_shapes_that_do_not_fit(shapes: dict[str, list[int]], said: str) -> None:
    with pytest.raises(InputError, match=said):
        import_model(model_with_dims("N", 3, other=("N",)), shapes=shapes)


def test_inputs_that_are_fixed() -> None:
    """A shape that comes with the data must have a known length, unless its contents are given."""
    model = model_of("net (float[N,1] x, int64[k] size) => (float[a,b] y) { y = Expand(x, size) }")
    with pytest.raises(UnsupportedError, match=r"the rank of the output depends on data: shape is i64\[k\]"):
        import_model(model)
    size = np.array([1, 4])
    graph = import_model(model, constants={"size": size})
    size[1] = 5
    verify(graph)
    assert [v.name for v in graph.inputs] == ["x"] and str(graph.outputs[0].type) == "f32[N,4]"


@pytest.mark.parametrize(("constants", "said"), [
    ({"ghost": [1]}, "given for 'ghost', but the model's inputs are x"),
    ({"x": np.zeros((2, 3))}, r"for the input 'x' are float64\[2, 3\], but it is f32\[N,3\]"),
    ({"x": np.zeros((2, 4), np.float32)}, r"float32\[2, 4\], but it is f32\[N,3\]"),
    ({"x": np.zeros(3, np.float32)}, r"float32\[3\], but it is f32\[N,3\]"),
])
def test_fixed_inputs_that_do_not_fit(constants: dict[str, np.ndarray], said: str) -> None:
    with pytest.raises(InputError, match=said):
        import_model(model_of("net (float[N,3] x) => (float[N,3] y) { y = Relu(x) }"), constants=constants)


def test_unknown_rank_needs_a_shape() -> None:
    model = model_with_dims(1)
    model.graph.input[0].type.tensor_type.ClearField("shape")
    with pytest.raises(ModelError, match=r"no known number of dimensions; give its shape, as in shapes="):
        import_model(model)
    assert shapes_of(model, x=["N", 5]) == ["f32[N,5]"]


@pytest.mark.parametrize(("dims", "said"), [
    ((-1, 3), "negative dimension"), ((2**31, 2**31), "bytes that a tensor may have")])
def test_sizes_that_cannot_be(dims: tuple[int, ...], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        import_model(model_with_dims(*dims))


def test_a_huge_intermediate_is_refused_before_it_is_made() -> None:
    start = time.monotonic()
    message = refused("net (float[65536,1] x) => (float[a,b,c] y) { t = Transpose<perm = [1, 0]>(x) m = MatMul(x, t)"
                      " y = Add(m, w) }", w=np.zeros((65536, 1, 1), np.float32))
    assert "'y', which Add 'y' computes, is f32[65536,65536,65536]" in message
    assert time.monotonic() - start < 30


# -- constants -------------------------------------------------------------------------------------------------------

def test_constant_nodes() -> None:
    graph = imported("""net (float[2] x) => (float[2] y, int64 i, int64[2] k) {
        a = Constant<value = float[2] {1, 2}>()
        b = Constant<value_float = 0.5>()
        c = Constant<value_floats = [3.0, 4.0]>()
        i = Constant<value_int = 7>()
        k = Constant<value_ints = [8, 9]>()
        s = Add(a, b)
        t = Add(c, s)
        y = Add(x, t)
    }""")
    results = evaluate(graph, {"x": np.zeros(2, np.float32)})
    assert [r.tolist() for r in results.values()] == [[4.5, 6.5], 7, [8, 9]]
    assert [r.dtype for r in results.values()] == [np.float32, np.int64, np.int64]
    assert [n.op.op_type for n in graph.nodes] == ["Add"] * 3


def test_constants_that_are_not_supported() -> None:
    message = refused("""net (float[2] x) => (float[2] y) {
        a = Constant<value_string = "text">()
        b = Constant<value_int = 1, value_float = 2.0>()
        y = Sum(x, a, b)
    }""")
    assert "node 'a' (Constant, opset 13): its attribute 'value_string' is not supported" in message
    assert "node 'b' (Constant, opset 13): it must have one attribute, not 2" in message


# -- functions -------------------------------------------------------------------------------------------------------

def test_functions_are_inlined() -> None:
    model = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["" : 13, "own" : 1]>
        net (float[N,2] x) => (float[N,2] y) <float[2] w = {1.0, -3.0}> { h = own.twice(x, w) y = own.twice(h, w) }
        <domain: "own", opset_import: ["" : 13]> twice (a, b) => (c) { s = Add(a, b) c = Relu(s) }
    """)
    graph = import_model(model)
    verify(graph)
    assert [n.op.op_type for n in graph.nodes] == ["Add", "Relu"] * 2
    feeds = {"x": normal(3, 2)}
    assert_equal(run_graph(graph, feeds), run_onnxruntime(model, feeds))


def test_recursive_functions_are_refused() -> None:
    model = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["" : 13, "own" : 1]> net (float[2] x) => (float[2] y) { y = own.f(x) }
        <domain: "own", opset_import: ["" : 13, "own" : 1]> f (a) => (c) { c = own.f(a) }
    """)
    with pytest.raises(ModelError, match="the function 'f' of the model calls itself"):
        import_model(model)


# -- the report ------------------------------------------------------------------------------------------------------

def test_everything_unsupported_is_reported_at_once() -> None:
    model = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["" : 13, "ai.onnx.ml" : 3]>
        net (float[N,4] x, string[2] words) => (float[N,4] y, float[N,4] z)
            <float[4] w = {1,2,3,4}, float[3] v = {1,2,3}> {
            a = RandomNormalLike(x)
            b = Relu(a)
            c = ai.onnx.ml.Scaler<scale = [1.0]>(b)
            d = Add(x, v)
            e = Mul(d, w)
            f = RandomNormalLike(e)
            g = Softmax<axis = 9>(x)
            h = Relu<slope = 1.0>(x)
            i = LeakyRelu<alpha = "steep">(d)
            y = Add(c, f)
            z = Add(g, h)
        }
    """)
    with pytest.raises(UnsupportedError) as info:
        import_model(model)
    problems = info.value.problems
    assert [p.partition(":")[0] for p in problems] == [
        "the input 'words' has the element type string; export the model with tensors of float32",
        "node 'a' (RandomNormalLike, opset 13)", "node 'c' (ai.onnx.ml.Scaler, opset 3)", "node 'd' (Add, opset 13)",
        "node 'f' (RandomNormalLike, opset 13)", "node 'g' (Softmax, opset 13)", "node 'h' (Relu, opset 13)",
        "node 'i' (LeakyRelu, opset 13)"]
    assert "cnncc has no such operator" in problems[1] and "cnncc has no such operator" in problems[2]
    assert "the shapes [N,4] and [3] do not broadcast" in problems[3]
    assert "axis" in problems[5]
    assert "ONNX gives it no attribute 'slope'" in problems[6]
    assert "its attribute 'alpha' must be of type FLOAT, not STRING" in problems[7]
    assert all(p in str(info.value) for p in problems)


@pytest.mark.parametrize(("text", "said"), [
    ("net (float[2] x) => (float[2] y) { y = Swish(x) }", "ONNX has no such operator in this opset"),
    ("net (float[2] x) => (float[2] y) { y = Relu(x, x) }", "2 inputs and 1 outputs, which ONNX does not allow"),
    ("net (float[1,1,2,2] x) => (float[1,1,2,2] y) { y = Conv(x, w, , x) }", "4 inputs and 1 outputs"),
    ("net (float[1,1,2,2] x) => (float[1,1,2,2] y) { y = Conv<activation = \"relu\">(x, w) }", "'activation'"),
    ("net (float[1,4,2,2] x) => (float[1,4,2,2] y) { y = Conv(x, w) }", "X must have 1 channels"),
    ("net (bfloat16[2] x) => (bfloat16[2] y) { y = Relu(x) }", "the input 'x' has the element type bfloat16"),
    ("net (seq(float[2]) x) => (float[2] y) { y = Relu(x) }", "the input 'x' is a sequence, not a tensor"),
    ("net (float[2] x) => (float[2] y) { y = Add(x, q) }", "the initialiser 'q' has the element type bfloat16"),
    ("net (float[2] x) => (float[2] y) { y = strange.Relu(x) }", "imports no opset of 'strange'"),
])
def test_single_reasons(text: str, said: str) -> None:
    model = model_of(text, w=np.ones((1, 1, 1, 1), np.float32))
    model.graph.initializer.append(TensorProto(name="q", data_type=TensorProto.BFLOAT16, dims=[2], raw_data=b"1234"))
    with pytest.raises(ModelError) as info:
        import_model(model)
    assert said in str(info.value)


def test_a_model_without_unsupported_parts_downstream_of_a_bad_node_reports_one_problem() -> None:
    message = refused("""net (float[2] x) => (float[2] y) {
        a = RandomNormalLike(x) b = Relu(a) c, d = Dropout(b) e = Clip(c) f = Add(b, e) y = Mul(f, x) }""")
    assert message.count("\n  - ") == 1


def test_training_only_attributes_at_their_defaults_are_accepted() -> None:
    """BatchNormalization's momentum and the like say nothing about inference."""
    graph = imported("""net (float[2,3] x) => (float[2,3] y) <float[3] w = {1,2,3}> {
        y = BatchNormalization<momentum = 0.5, training_mode = 0>(x, w, w, w, w) }""", 15)
    assert graph.nodes[0].op.op_type == "BatchNormalization"
    message = refused("""net (float[2,3] x) => (float[2,3] y) <float[3] w = {1,2,3}> {
        y = BatchNormalization<training_mode = 1>(x, w, w, w, w) }""", 15)
    assert "training" in message
