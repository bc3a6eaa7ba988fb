"""IR text: what is printed is read back, and what is wrong is named with its line."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnncc.errors import GraphError, OpError
from cnncc.ir import (
    Activation,
    DType,
    Graph,
    Op,
    TensorType,
    format_graph,
    format_op,
    make_op,
    parse_attributes,
    parse_graph,
    parse_type,
    symbol,
    verify,
)
from cnncc.ops import OPS

TEXT = """\
graph @net(%x: f32[N,3,8,8], %shift: f32[]) {
  %conv.w = const @conv.w : f32[8,3,3,3]
  %conv = Conv(%x, %conv.w) {pads=[1,1,1,1], activation=clip(0.0,6.0)} : f32[N,8,8,8]
  %1, %places = MaxPool(%conv) {kernel_shape=[2,2], strides=[2,2]} : f32[N,8,4,4], i64[N,8,4,4] @pool
  %2 = Add(%1, %shift) : f32[N,8,4,4]
  %low = const -0.5 : f32[]
  %3 = Clip(%2, %low, none) : f32[N,8,4,4]
  return %3 as "features", %places, %x
}
"""


def read(text: str) -> Graph:
    return parse_graph(text, OPS)


def test_round_trip() -> None:
    graph = read(TEXT)
    verify(graph)
    assert format_graph(graph) == TEXT
    assert graph.name == "net"
    assert graph.output_names == ["features", "places", "x"]
    assert [n.name for n in graph.nodes] == ["conv", "pool", "2", "3"]
    assert graph.nodes[0].op == OPS["Conv"](  # type: ignore[call-arg]
        pads=(1, 1, 1, 1), activation=Activation("clip", (0.0, 6.0)))


def test_space_and_comments_do_not_count() -> None:
    loose = TEXT.replace(", ", " ,  ").replace(" = ", "=").replace("{\n", "{   # a graph\n\n# its statements\n", 1)
    assert format_graph(read(loose)) == TEXT


def test_weights_are_found_by_name() -> None:
    weights = {"conv.w": np.ones((8, 3, 3, 3), np.float32)}
    assert parse_graph(TEXT, OPS, weights).value("conv.w").constant is weights["conv.w"]
    assert not read(TEXT).value("conv.w").constant.any()  # type: ignore[union-attr]


names = st.text(st.characters(codec="utf-8"), max_size=8)
arrays: st.SearchStrategy[np.ndarray] = st.sampled_from([
    np.array([1, -2, 3]), np.array([[True], [False]]), np.array(7, np.uint8), np.zeros((0, 3), np.int32),
    np.zeros((2, 0), np.int64), np.array([2**64 - 1], np.uint64), np.array(-(2**63)), np.array([np.nan], np.float32),
    np.array(-np.inf), np.array([[1e-7]], np.float32), np.array(-0.0), np.array(65504, np.float16),
    np.zeros((0,), np.float32), np.array(0.1, np.float32),
])


@settings(max_examples=150, deadline=None, derandomize=True)
@given(data=st.data())
def test_any_names_and_small_constants_round_trip(data: st.DataObject) -> None:
    given_names = data.draw(st.lists(names, min_size=5, max_size=5, unique=True))
    graph = Graph(data.draw(names))
    x = graph.add_input(given_names[0], TensorType(DType.F32, (symbol("N"),)))
    constant = data.draw(arrays)
    c = graph.add_constant(constant, given_names[1])
    first = graph.add_node(OPS["Identity"](), [c], name=given_names[2], outputs=[given_names[3]])
    second = graph.add_node(OPS["Relu"](), [x], outputs=[given_names[4]])
    graph.set_outputs([first.output, second.output, x], [data.draw(names) for _ in range(3)])

    again = read(format_graph(graph))
    verify(again)
    assert format_graph(again) == format_graph(graph)
    assert again.name == graph.name and again.output_names == graph.output_names
    assert {v.name for v in again.values} == {v.name for v in graph.values}
    read_back = again.value(c.name).constant
    assert read_back is not None and read_back.dtype == constant.dtype and read_back.shape == constant.shape
    assert read_back.tobytes() == constant.tobytes()


def lines(*statements: str) -> str:
    return "\n".join(["graph @g(%x: f32[2,3]) {", *statements, "}"])


@pytest.mark.parametrize(("text", "message"), [
    ("", "the text ends before the graph's closing brace"),
    ("graph @g(%x: f32[2]) {", "the text ends before the graph's closing brace"),
    ("net {", "line 1: 'net {' is not the start of a graph: expected 'graph @name(%x: type) {'"),
    ("graph @g(x: f32[2]) {", "line 1: expected an input '%x: f32[...]' at 'x: f32[2]'"),
    ("graph @g(%x: f32[2], %x: f32[3]) {", "line 1: the graph 'g' already has a value named 'x'"),
    ("graph @g(%x: float[2]) {", "line 1: 'float[2]' is not a tensor type: write it as f32[N,3,224,224]"),
    ("graph @g(%x: f32[-2]) {", "line 1: 'f32[-2]' is not a tensor type: a dimension is at least 0"),
    ("graph @g(%x: f32[2 2]) {", "line 1: '2 2' is not a dimension: unexpected '2'"),
    (lines("%y = Relu(%x) : f32[2,3]", "return %y") + "\n%z", "line 5: '%z' stands after the end of the graph"),
    (lines("%y Relu(%x)"), "line 2: '%y Relu(%x)' is not a statement: expected '%y = Op(%x) {...} : type'"),
    (lines("", "%y = Relu(%z) : f32[2,3]"), "line 3: %z is read before it is defined"),
    (lines("%y = Relu(z) : f32[2,3]"), "line 2: expected an operand '%x' or 'none' at 'z'"),
    (lines("%x = Relu(%x) : f32[2,3]"), "line 2: %x is defined twice"),
    (lines("%y = Relo(%x) : f32[2,3]"), "line 2: there is no operator 'Relo'"),
    (lines("%y = Relu(%x, %x) : f32[2,3]"), "line 2: Relu takes at most 1 inputs, but has 2"),
    (lines("%y = Relu(none) : f32[2,3]"), "line 2: Relu lacks its input X"),
    (lines("%y = Relu(%x) : f32[2,4]"), "line 2: %y is declared f32[2,4], but Relu gives f32[2,3]"),
    (lines("%y, %z = Relu(%x) : f32[2,3], f32[2,3]"), "line 2: Relu has 1 outputs, but 2 are used"),
    (lines("%y = Relu(%x) : f32[2,3], f32[2,3]"), "line 2: Relu has 1 outputs, but 2 types"),
    (lines("%y = Relu(%x) {alpha=1.0} : f32[2,3]"), "line 2: Relu has no attribute 'alpha'; it has none"),
    (lines("%y = Elu(%x) {alpha=big} : f32[2,3]"), "line 2: 'big' is not the value of an attribute"),
    (lines("%y = Softmax(%x) {axis=7} : f32[2,3]"),
     "line 2: Softmax: axis 7 is outside [-2, 1], the axes of a tensor of rank 2"),
    (lines("return %y"), "line 2: %y is read before it is defined"),
    (lines("return y"), "line 2: expected an output '%y' at 'y'"),
    (lines("%c = const [1,2] : i64[3]"), "line 2: the constant %c is declared i64[3], but is int64[2]"),
    (lines("%c = const [1,[2]] : i64[2]"), "line 2: '[1,[2]]' is not a constant"),
    (lines("%c = const one : i64[]"), "line 2: 'one' is not a constant"),
    (lines('%c = const "1" : i64[]'), "line 2: the constant '\"1\"' is not of type i64"),
    (lines("%c = const null : f32[]"), "line 2: the constant 'null' is not of type f32"),
    (lines("%c = const 1.5 : i64[]"), "line 2: the constant '1.5' is not of type i64"),
    (lines("%c = const 300 : u8[]"), "line 2: the constant '300' is not of type u8"),
    (lines("%c = const -1 : u64[]"), "line 2: the constant '-1' is not of type u64"),
    (lines("%c = const 2 : bool[]"), "line 2: the constant '2' is not of type bool"),
    (lines("%c = const true : f32[]"), "line 2: the constant 'true' is not of type f32"),
    (lines("%c = const " + "[" * 100_000 + " : i64[]"), "is not a constant"),
    (lines("%c = const 1 : i64[N]"), "line 2: the shape of i64[N] is not known yet"),
    (lines("%c = const @w : f32[9999999999999,9999999999999]"),
     "line 2: a constant of shape [9999999999999, 9999999999999] is too large"),
])
def test_errors_name_the_line(text: str, message: str) -> None:
    with pytest.raises(GraphError) as caught:
        read(text)
    assert message in str(caught.value)


def test_weights_of_another_type_are_refused() -> None:
    with pytest.raises(GraphError, match=r"line 2: the constant %conv\.w is declared f32\[8,3,3,3\], but is float64"):
        parse_graph(TEXT, OPS, {"conv.w": np.ones((8, 3, 3, 3))})


# -- attributes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "values"), [
    ("", {}),
    ("pads=[1,0], strides=[]", {"pads": [1, 0], "strides": []}),
    ("a=1.0, b=-2e-05, c=inf, d=-inf, e=-3", {"a": 1.0, "b": -2e-05, "c": math.inf, "d": -math.inf, "e": -3}),
    ("on=true, off=false", {"on": True, "off": False}),
    (r'mode="a \"b\", {c}"', {"mode": 'a "b", {c}'}),
    ("to=f16", {"to": DType.F16}),
    ("act=relu, b=clip(0.0,6.0)", {"act": Activation("relu"), "b": Activation("clip", (0.0, 6.0))}),
    ("nested=[[1],[2,3]]", {"nested": [[1], [2, 3]]}),
])
def test_parse_attributes(text: str, values: dict[str, object]) -> None:
    assert parse_attributes(text) == values


@pytest.mark.parametrize("op", [
    make_op(OPS, "Conv", {"pads": [1, 1], "auto_pad": "VALID", "activation": Activation("leaky_relu", (0.3,))}),
    make_op(OPS, "Elu", {"alpha": 2}),
    make_op(OPS, "Gemm", {"alpha": math.inf, "beta": -1e-30, "transB": 1}),
    make_op(OPS, "MaxPool", {"kernel_shape": (3,), "ceil_mode": True}),
    make_op(OPS, "Dropout", {"seed": 5}),
], ids=str)
def test_operators_round_trip(op: Op) -> None:
    text = format_op(op).strip().removeprefix("{").removesuffix("}")
    assert make_op(OPS, op.op_type, parse_attributes(text)) == op


@pytest.mark.parametrize(("text", "message"), [
    ("pads", "expected name=value in '{pads}', found 'pads'"),
    ("pads=", "'the end' is not the value of an attribute"),
    ("a=1 b=2", "expected a comma in '{a=1 b=2}', found 'b'"),
    ("a=1, a=2", "the attribute 'a' is given twice"),
    ("a=[1 2]", "expected ',' or ']' in a list, found '2'"),
    ("a=[1", "expected ',' or ']' in a list, found 'the end'"),
    ("a=[[[[[1]]]]]", "'[' is not the value of an attribute"),
    ("a=$", "'$' is not the text of an attribute"),
    ("a=clip(0,1,2)", "the activation clip takes 2 parameters, not 3"),
])
def test_wrong_attribute_text(text: str, message: str) -> None:
    with pytest.raises(GraphError) as caught:
        parse_attributes(text)
    assert message in str(caught.value)


@pytest.mark.parametrize(("op_type", "attributes", "message"), [
    ("Cnov", {}, "there is no operator 'Cnov'"),
    ("Elu", {"beta": 1.0}, "Elu has no attribute 'beta'; it has alpha"),
    ("MaxPool", {}, "MaxPool needs the attribute 'kernel_shape'"),
    ("Elu", {"alpha": "x"}, "Elu: the attribute 'alpha' must be float, not 'x'"),
    ("Elu", {"alpha": True}, "Elu: the attribute 'alpha' must be float, not True"),
    ("Softmax", {"axis": 1.5}, "Softmax: the attribute 'axis' must be int, not 1.5"),
    ("Softmax", {"axis": True}, "Softmax: the attribute 'axis' must be int, not True"),
    ("Gemm", {"transA": 2}, "Gemm: the attribute 'transA' must be bool, not 2"),
    ("Conv", {"pads": 1}, "Conv: the attribute 'pads' must be tuple, not 1"),
    ("Conv", {"pads": [1.5]}, "Conv: the attribute 'pads' must be int, not 1.5"),
    ("Conv", {"activation": "relu"}, "Conv: the attribute 'activation' must be"),
])
def test_wrong_attributes(op_type: str, attributes: dict[str, object], message: str) -> None:
    with pytest.raises(OpError) as caught:
        make_op(OPS, op_type, attributes)
    assert message in str(caught.value)


# -- types -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["f32[]", "i64[3]", "bool[N,(H+1)//2,0]", "f16[2*N,C,H//2,W]"])
def test_types_round_trip(text: str) -> None:
    assert str(parse_type(text)) == text


def test_type_properties() -> None:
    type_ = parse_type("f32[N,3,H//2]")
    assert (type_.rank, type_.is_static, type_.symbols) == (3, False, {"N", "H"})
    bound = type_.bind({"N": 2, "H": 9})
    assert (str(bound), bound.nbytes, bound.size) == ("f32[2,3,4]", 96, 24)
    with pytest.raises(GraphError, match=r"the shape of .* is not known yet"):
        type_.nbytes  # noqa: B018


def test_element_types() -> None:
    import onnx

    for dtype in DType:
        assert DType.of(dtype.numpy) is dtype
        assert DType.of(dtype.numpy.newbyteorder(">")) is dtype
        assert DType.from_onnx(dtype.onnx) is dtype
        assert onnx.helper.tensor_dtype_to_np_dtype(dtype.onnx) == dtype.numpy
        assert dtype.itemsize == dtype.numpy.itemsize
    assert DType.from_onnx(onnx.TensorProto.STRING) is None
    with pytest.raises(GraphError, match="the element type complex64 is not supported"):
        DType.of(np.complex64)
