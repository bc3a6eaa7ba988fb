"""Models made to do harm: each is refused in one sentence that names the node or value, or is as harmless as any.

What would take memory or time is in the corpus of tests/fuzz, which is tried under limits.
"""

from __future__ import annotations

import os
import re
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import AttributeProto, GraphProto, TensorProto, helper

import cnncc
from cnncc.errors import InputError, ModelError, UnsupportedError
from cnncc.frontends.onnx import import_model, limits
from cnncc.ir import verify
from cnncc.passes import fold_constants

from .models import assert_equal, model_of, normal, run_onnxruntime

LARGEST = 2**63 - 1


def refused(model: onnx.ModelProto | bytes | Path, **options: int) -> str:
    """What is said of a model that is refused; hardly any memory is taken for it."""
    tracemalloc.start()
    try:
        with pytest.raises(ModelError) as info:
            import_model(model, **options)  # type: ignore[arg-type]
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
    return str(info.value)


# -- bytes -------------------------------------------------------------------------------------------------------------


def test_every_truncation_of_a_model_with_functions_and_bodies() -> None:
    model = onnx.parser.parse_model("""<ir_version: 8, opset_import: ["": 17, "own": 1]>
        net (float[2] x, bool k) => (float[2] y) <float[2] w = {1, 2}> {
            h = own.f(x)
            y = If (k) <then_branch = a () => (float[2] t) { t = Add(h, w) }, else_branch = b () => (float[2] e)
                        { e = Relu(x) }> }
        <domain: "own", opset_import: ["": 17]> f (a) => (c) { c = Neg(a) }""")
    whole = model.SerializeToString()
    verify(import_model(whole))
    for length in range(len(whole)):
        with pytest.raises(ModelError):
            import_model(whole[:length])


def test_names_within_bodies_and_functions_that_are_not_text() -> None:
    model = onnx.parser.parse_model("""<ir_version: 8, opset_import: ["": 17, "own": 1]>
        net (float[2] x, bool k) => (float[2] y) { h = own.f(x)
            y = If (k) <then_branch = a () => (float[2] qqq) { qqq = Relu(h) }, else_branch = b () => (float[2] e)
                        { e = Relu(x) }> }
        <domain: "own", opset_import: ["": 17]> f (aaa) => (c) { c = Neg(aaa) }""")
    for name in (b"qqq", b"aaa"):
        assert "not valid UTF-8" in refused(model.SerializeToString().replace(name, b"\xff\xff\xff"))


def test_files_that_are_no_files(tmp_path: Path) -> None:
    """Opening a pipe would wait for ever, reading a device would never end."""
    os.mkfifo(tmp_path / "pipe.onnx")
    (tmp_path / "zero.onnx").symlink_to("/dev/zero")
    for name in ("pipe.onnx", "zero.onnx"):
        assert "is not a regular file; save the model to one" in refused(tmp_path / name)
    with (tmp_path / "sparse.onnx").open("wb") as file:
        file.truncate(1 << 40)
    assert "1,099,511,627,776 bytes, but an ONNX file at most 2,147,483,647" in refused(tmp_path / "sparse.onnx")


# -- sizes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dims", "said"), [
    ([LARGEST], "bytes that a tensor may have; set the limit by max_bytes or CNNCC_MAX_BYTES"),
    ([2**32, 2**32], "bytes that a tensor may have"), ([2**31, 2**31, 4], "bytes that a tensor may have"),
    ([0, LARGEST], "bytes that a tensor may have"), ([-1], "negative dimension"), ([-2**63, 2], "negative dimension"),
    ([1] * 9, "has 9 dimensions, but may have at most 8"), ([1] * 10000, "has 10000 dimensions"),
], ids=["largest", "64 bits", "more than 64 bits", "empty", "negative", "least", "rank 9", "rank 10000"])
def test_sizes_of_inputs_weights_and_what_is_computed(dims: list[int], said: str) -> None:
    given = helper.make_model(helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])], "net", [helper.make_tensor_value_info("x", TensorProto.FLOAT, dims)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]),
        opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    assert f"the input 'x' {'is' if 'bytes' in said else 'has'}" in (message := refused(given)) and said in message
    weight = model_of("net (float[1] x) => (float[1] y) { y = Add(x, w) }")
    weight.graph.initializer.append(TensorProto(name="w", data_type=1, dims=dims, raw_data=b"1234"))
    assert "the initialiser 'w'" in (message := refused(weight)) and said in message
    computed = refused(model_of("net (float[1] x) => (float[1] y) { y = Expand(x, s) }", s=np.array(dims)))
    assert "Expand" in computed and "'y'" in computed
    assert said in computed or "too large to be the shape of a tensor" in computed or "sizes are at least 0" in computed


def test_the_limit_can_be_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of("net (float[N,1024] x) => (float[N,1024] y) { y = Relu(x) }")
    assert "more than the 4,095 bytes" in refused(model, max_bytes=4095)
    verify(import_model(model, max_bytes=4096))
    monkeypatch.setenv("CNNCC_MAX_BYTES", "4095")
    assert "more than the 4,095 bytes" in refused(model)
    verify(import_model(model, max_bytes=4096))
    assert cnncc.compile(model, max_bytes=4096, warm=False).steps
    monkeypatch.setenv("CNNCC_MAX_BYTES", str(2**40))
    large = model_of(f"net (float[{2**36}] x) => (float[{2**36}] y) {{ y = Relu(x) }}")
    verify(import_model(large))
    for text in ("all", "-1", "1e9"):
        monkeypatch.setenv("CNNCC_MAX_BYTES", text)
        with pytest.raises(InputError, match=f"CNNCC_MAX_BYTES must be a whole number of bytes, not '{text}'"):
            import_model(model)


# -- attributes --------------------------------------------------------------------------------------------------------

WINDOWS = {
    "Conv": "Conv<{0}>(x, w)", "ConvTranspose": "ConvTranspose<{0}>(x, w)", "MaxPool": "MaxPool<{0}>(x)",
    "AveragePool": "AveragePool<{0}>(x)", "LpPool": "LpPool<{0}>(x)", "ConvInteger": "ConvInteger<{0}>(i, j)",
    "QLinearConv": "QLinearConv<{0}>(i, s, z, j, s, z, s, z)",
}


@pytest.mark.parametrize("op_type", WINDOWS)
@pytest.mark.parametrize("attribute", [
    "pads = [-1,0,0,0]", "pads = [0,0,0,-9223372036854775808]", "pads = [1,1]", "pads = [0,0,0]", "strides = [0,1]",
    "strides = [1,-1]", "strides = [1]", "dilations = [0,1]", "dilations = [1,-2]", "kernel_shape = [0,3]",
    "kernel_shape = [3,-3]", "kernel_shape = [3,3,3]", "kernel_shape = [9223372036854775807,9223372036854775807]",
    "auto_pad = \"UP\"", "strides = [1.5, 2.0]", "pads = 1",
])
def test_windows_that_cannot_be(op_type: str, attribute: str) -> None:
    name = attribute.partition(" ")[0]
    given = attribute if op_type[-4:] != "Pool" or name == "kernel_shape" else f"kernel_shape = [3,3], {attribute}"
    message = refused(model_of(
        f"net (float[1,2,5,5] x, uint8[1,2,5,5] i) => (float[a,b,c,d] y) {{ y = {WINDOWS[op_type].format(given)} }}",
        22, w=normal(2, 2, 3, 3), j=np.ones((2, 2, 3, 3), np.uint8), s=np.float32(1),
        z=np.uint8(0)))
    assert f"node 'y' ({op_type}, opset 22): " in message
    assert name in message or "does not fit" in message or "window of" in message


@pytest.mark.parametrize(("node", "said"), [
    ("Conv<group = 0> (x, w)", "group must be at least 1, not 0"),
    ("Conv<group = -2> (x, w)", "group must be at least 1, not -2"),
    ("Conv<group = 3> (x, w)", "X must have 6 channels"),
    ("Conv<group = 9223372036854775807> (x, w)", "with group 9223372036854775807"),
    ("ConvTranspose<group = 0> (x, w)", "group must be at least 1, not 0"),
    ("ConvTranspose<group = 3> (x, w)", "not divisible by 3|group 3"),
    ("Conv (x, v)", "a window of 9 does not fit the padded input of 5"),
    ("Conv<dilations = [4,1]> (x, w)", "a window of 9 does not fit"),
    ("MaxPool<kernel_shape = [9,9]> (x)", "a window of 9 does not fit"),
    ("GroupNormalization<num_groups = 0> (x, b, b)", "num_groups must be at least 1, not 0"),
    ("GroupNormalization<num_groups = -1> (x, b, b)", "num_groups must be at least 1, not -1"),
    ("DepthToSpace<blocksize = 0> (x)", "blocksize must be at least 1, not 0"),
    ("SpaceToDepth<blocksize = -1> (x)", "blocksize must be at least 1, not -1"),
    ("LRN<size = 0> (x)", "size must be at least 1, not 0"),
    ("Transpose<perm = [0,0,1,2]> (x)", "perm"),
    ("Softmax<axis = 4> (x)", "axis"),
    ("Resize<mode = \"linear\"> (x, , f)", "scales must be greater than 0, not nan"),
])
def test_attributes_that_cannot_be(node: str, said: str) -> None:
    message = refused(model_of(f"net (float[1,2,5,5] x) => (float[a,b,c,d] y) {{ y = {node} }}", 18,
                               w=normal(2, 2, 3, 3), v=normal(2, 2, 9, 9), b=np.ones(2, np.float32),
                               f=np.array([1, 1, np.nan, 1], np.float32)))
    op_type = node.partition("<")[0].partition(" ")[0]
    assert re.search(rf"node 'y' \({op_type}, opset 18\): .*({said})", message), message


@pytest.mark.parametrize("kind", [AttributeProto.AttributeType.Name(n) for n in range(15)])
def test_attributes_of_the_wrong_type(kind: str) -> None:
    """An attribute says of itself what it is: each type in turn, with and without its contents."""
    model = model_of("net (float[1,1,5,5] x) => (float[a,b,c,d] y) { y = Conv<pads = [1,1,1,1], group = 1> (x, w) }",
                     w=normal(1, 1, 3, 3))
    number = AttributeProto.AttributeType.Value(kind)
    for index, right in ((0, "INTS"), (1, "INT")):
        changed = onnx.ModelProto.FromString(model.SerializeToString())
        attribute = changed.graph.node[0].attribute[index]
        attribute.type = number
        attribute.g.CopyFrom(GraphProto(name="inner"))
        if kind == right:
            verify(import_model(changed))
        else:
            message = refused(changed)
            assert f"its attribute '{attribute.name}' must be of type {right}, not {kind}" in message


# -- names and bodies --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("field", "index", "name", "said"), [
    ("input", 0, "", "an input or an initialiser without a name"),
    ("initializer", 0, "", "an input or an initialiser without a name"),
    ("initializer", 0, "v", "defines 'v' more than once"),
    ("output", 0, "", "'', an output of the model"),
    ("output", 0, "ghost", "'ghost', an output of the model"),
])
def test_names_that_are_empty_or_not_there(field: str, index: int, name: str, said: str) -> None:
    model = model_of("net (float[2] x) => (float[2] y) { a = Add(x, w) y = Add(a, v) }", w=normal(2), v=normal(2))
    getattr(model.graph, field)[index].name = name
    assert said in refused(model)


def test_a_node_without_outputs_or_operator() -> None:
    model = model_of("net (float[2] x) => (float[2] y) { y = Relu(x) }")
    model.graph.node.add(op_type="Relu", input=["x"])
    assert "1 inputs and 0 outputs" in refused(model)
    model.graph.node[1].CopyFrom(onnx.NodeProto(input=["x"], output=["z"]))
    assert "node 'z' (, opset 13): cnncc has no such operator" in refused(model)


def nested(depth: int, kind: str) -> onnx.ModelProto:
    """An If or Loop within each other `depth` times, built in place: parsing would refuse it sooner."""
    model = model_of("net (float[2] x, bool k) => (float[2] y) { }", 17)
    graph, output = model.graph, "y"
    for level in range(depth):
        node = graph.node.add(op_type=kind, input=["k"] if kind == "If" else ["", "k", "x"], output=[output])
        inner = node.attribute.add(name="then_branch" if kind == "If" else "body", type=AttributeProto.GRAPH).g
        if kind == "If":
            other = node.attribute.add(name="else_branch", type=AttributeProto.GRAPH).g
            other.node.add(op_type="Relu", input=["x"], output=["r"])
            other.output.add(name="r")
        else:
            for name in ("i", "c", "s"):
                inner.input.add(name=f"{name}{level}")
            inner.output.add(name=f"c{level}")
        graph, output = inner, f"o{level}"
        graph.output.add(name=output)
    graph.node.add(op_type="Neg", input=["x"], output=[output])
    return model


@pytest.mark.parametrize("kind", ["If", "Loop"])
def test_bodies_within_bodies(kind: str) -> None:
    plan = cnncc.compile(nested(16, kind), warm=False)
    (y,) = cnncc.InferenceSession(plan, threads=1).run(None, {"x": np.float32([1, 2]), "k": np.array(True)}) \
        if kind == "If" else (np.float32([-1, -2]),)
    assert y.tolist() == [-1, -2]
    for depth in (17, 5000):
        assert "bodies of If, Loop or Scan that stand more than 16 deep" in refused_deep(nested(depth, kind))


def refused_deep(model: onnx.ModelProto) -> str:
    with pytest.raises(ModelError) as info:
        import_model(model)
    return str(info.value)


def functions(*bodies: str) -> onnx.ModelProto:
    """A model that calls f0; function f<i> has the i-th body."""
    return onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17, "own": 1]> net (float[2] x) => (float[2] y) { y = own.f0(x) }\n'
        + "\n".join(f'<domain: "own", opset_import: ["": 17, "own": 1]> f{i} (a) => (c) {{ {body} }}'
                    for i, body in enumerate(bodies)))


def test_functions_that_call_each_other() -> None:
    many = ["t0 = Relu(a) " + " ".join(f"t{k + 1} = own.f{i + 1}(t{k})" for k in range(10)) + " c = Relu(t10)"
            for i in range(12)]
    assert "stand for more than 100,146 nodes; export it without functions" in refused(functions(*many, "c = Relu(a)"))
    chain = [f"c = own.f{i + 1}(a)" for i in range(300)]
    assert "call each other more than 64 deep" in refused(functions(*chain, "c = Relu(a)"))
    assert len(import_model(functions(*chain[:63], "c = Relu(a)"))) == 1
    assert "the function 'f1' of the model calls itself" in refused(functions("c = own.f1(a)", "c = own.f1(a)"))
    assert "calls itself" in refused(functions("c = own.f1(a)", "c = own.f2(a)", "c = own.f0(a)"))
    hidden = "b = Equal(a, a) c = If (b) <then_branch = t () => (r) { r = own.f0(a) }, " \
             "else_branch = e () => (r) { r = Relu(a) }>"
    assert "the function 'f0' of the model calls itself" in refused(functions(hidden))
    twice = functions("c = Relu(a)")
    twice.functions.add().CopyFrom(twice.functions[0])
    assert "two functions of one name" in refused(twice)


def test_bodies_that_are_read_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Loop's body is read until its sizes settle; of Loops within each other, each multiplies that."""
    monkeypatch.setattr(limits, "MAX_GROWTH", 500)
    body = None
    for level in range(8):
        nodes = [helper.make_node("Identity", [f"c{level}"], [f"d{level}"])]
        if body is not None:
            nodes.append(helper.make_node("Loop", ["m", "", f"v{level}"], [f"w{level}"], body=body))
        nodes.append(helper.make_node("Concat", [f"w{level}" if body else f"v{level}", "x"], [f"o{level}"], axis=0))
        value = helper.make_tensor_value_info
        body = helper.make_graph(nodes, f"b{level}", [value(f"i{level}", 7, []), value(f"c{level}", 9, []),
                                                      value(f"v{level}", 1, None)],
                                 [value(f"d{level}", 9, []), value(f"o{level}", 1, None)])
    model = model_of("net (float[2] x, int64 m) => (float[k] y) { }", 17)
    model.graph.node.append(helper.make_node("Loop", ["m", "", "x"], ["y"], body=body))
    assert "stand within each other make 500 nodes more of the model than its file has" in refused_deep(model)


def test_a_branch_that_gives_too_little() -> None:
    model = model_of("""net (float[2] x) => (float[2] y, float[2] z) {
        y, z = If (k) <then_branch = t () => (float[2] r) { r = Relu(x) }, else_branch = e () => (float[2] s)
                       { s = Neg(x) }> }""", k=np.array(True))
    assert "node 'y' (If, opset 13): it has 2 outputs, but its branch 't' gives 1" in refused(model)


# -- contents ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite(number: float, level: int) -> None:
    """Accepted with a warning, without Winograd, and a channel that does not read them is untouched."""
    w = normal(32, 32, 3, 3)
    w[3, 2, 1, 0] = number
    model = model_of("net (float[1,32,32,32] x) => (float[1,32,32,32] y) { y = Conv<pads = [1,1,1,1]> (x, w) }", w=w)
    with pytest.warns(UserWarning, match="'net' has weights that are NaN or infinite.*: 'w'"):
        plan = cnncc.compile(model, level=level)
    assert "conv_winograd" not in {step.kernel for step in plan.steps}
    x = normal(1, 32, 32, 32)
    (y,) = cnncc.InferenceSession(plan, threads=1).run(None, {"x": x})
    (right,) = run_onnxruntime(model, {"x": x})
    assert np.isfinite(np.delete(y, 3, 1)).all() and not np.isfinite(y[:, 3, 1:, 1:]).any()
    assert_equal([np.delete(y, 3, 1)], [np.delete(right, 3, 1)])


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("text", ["y = BatchNormalization(x, s, s, s, v)",
                                  "c = Conv(x, w) y = BatchNormalization(c, s, s, s, v)"])
def test_variances_below_zero(text: str, level: int) -> None:
    """The root of a negative number is NaN: in its channel, and with a warning. Within epsilon it is a variance."""
    model = model_of(f"net (float[1,2,3,3] x) => (float[1,2,3,3] y) {{ {text} }}", 15, s=np.float32([1, 2]),
                     v=np.float32([-1, 1]), w=normal(2, 2, 1, 1))
    with pytest.warns(UserWarning, match="or variances below zero: 'v'"):
        plan = cnncc.compile(model, level=level)
    x = normal(1, 2, 3, 3)
    (y,) = cnncc.InferenceSession(plan, threads=1).run(None, {"x": x})
    assert np.isnan(y[:, 0]).all() and np.isfinite(y[:, 1]).all()
    assert_equal([y[:, 1]], [run_onnxruntime(model, {"x": x})[0][:, 1]])
    model.graph.initializer[1].CopyFrom(onnx.numpy_helper.from_array(np.float32([-1e-6, 1]), "v"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cnncc.compile(model, level=level)


def test_masks_may_be_infinite() -> None:
    model = model_of("net (float[2] x, bool[2] k) => (float[2] y) { y = Where(k, x, m) }", m=np.float32(-np.inf))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cnncc.compile(model)


# -- work --------------------------------------------------------------------------------------------------------------


def test_laborious_operators_are_folded_only_if_small() -> None:
    small, large = (model_of(
        f"net (float[1] x) => (float[a,b,c,d] y) {{ p = MaxPool<kernel_shape = [{k},{k}], pads = "
        f"{[k - 1] * 4}> (w) y = Add(p, x) }}", w=normal(1, 1, 4, 4)) for k in (2, 50))
    assert [s.op.op_type for s in cnncc.compile(small, warm=False).steps] == ["Add"]
    assert [s.op.op_type for s in cnncc.compile(large, warm=False).steps] == ["MaxPool", "Add"]


def test_what_does_not_fit_into_memory_is_not_folded(monkeypatch: pytest.MonkeyPatch) -> None:
    from cnncc.ops import OPS

    def full(*arrays: object) -> None:
        raise MemoryError

    model = model_of("net (float[2] x) => (float[2] y) { a = Sin(w) y = Add(a, x) }", w=normal(2))
    graph = import_model(model)
    monkeypatch.setattr(OPS["Sin"], "reference", full)
    assert not fold_constants.fold_constants(graph)
    assert [n.op.op_type for n in graph.nodes] == ["Sin", "Add"]


def test_endless_loops_are_not_computed_when_compiling() -> None:
    plan = cnncc.compile(model_of("""net (float[1] x) => (float[1] y) {
        l = Loop (m, k, w) <body = b (int64 i, bool c, float[1] s) => (bool d, float[1] t)
                            { d = Identity(c) t = Add(s, s) }>
        y = Add(x, l) }""", 17, m=np.int64(LARGEST), k=np.array(True), w=normal(1)), warm=False)
    assert [s.op.op_type for s in plan.steps] == ["Loop", "Add"]


def test_endless_text_is_shortened() -> None:
    message = refused(model_of(f'net (float[1] x) => (float y) {{ y = Einsum<equation = "{"a" * 100_000}->">(x) }}'))
    assert "node 'y' (Einsum, opset 13): Einsum: 'aaa" in message and len(message) < 5000


def test_many_problems_are_all_told() -> None:
    nodes = " ".join(f"n{i} = RandomNormalLike(x)" for i in range(50))
    with pytest.raises(UnsupportedError) as info:
        import_model(model_of(f"net (float[1] x) => (float[1] y) {{ {nodes} y = Relu(x) }}"))
    assert len(info.value.problems) == 50


def test_many_inputs_and_outputs() -> None:
    names = [f"a{i}" for i in range(4096)]
    nodes = " ".join(f"{name} = Relu(x)" for name in names)
    listed = ", ".join(f"float[1] {name}" for name in names)
    assert "has 4097 inputs and outputs, but may have at most 4096" in refused_deep(
        model_of(f"net (float[1] x) => ({listed}) {{ {nodes} }}"))


def test_names_that_are_all_alike() -> None:
    """Each gets a number; how many there are already is not counted anew."""
    model = model_of("net (float[2] x) => (float[1] y) { y = Relu(x) }")
    for i in range(3000):
        model.graph.node.append(helper.make_node("Split", ["x"], ["", f"s{i}"], name="n", axis=0))
    model.graph.output.extend(helper.make_tensor_value_info(f"s{i}", 1, [1]) for i in range(3000))
    names = [f"a{chr(0x4e00 + i)}" for i in range(1000)]
    model.graph.input.extend(helper.make_tensor_value_info(f"i{i}", 1, [name]) for i, name in enumerate(names))
    graph = import_model(model)
    assert graph.symbols[:3] == ["a_", "a__1", "a__2"] and graph.symbols[-1] == "a__999"
    assert len({v.name for n in graph.nodes for v in n.outputs}) == 6001


def test_a_range_without_end() -> None:
    for start, limit in ((0, np.inf), (np.nan, 1), (-np.inf, np.inf)):
        message = refused(model_of("net (float[1] x) => (float[k] y) { r = Range(s, l, d) y = Add(r, x) }",
                                   s=np.float32(start), l=np.float32(limit), d=np.float32(1)))
        assert "node 'r' (Range, opset 13): Range: from" in message and "no finite number of steps" in message


@pytest.mark.parametrize("name", ["scan_input_directions", "scan_output_directions"])
def test_directions_of_a_scan(name: str) -> None:
    model = model_of(f"""net (float[3,2] x) => (float[2] y, float[3,2] z) {{
        y, z = Scan (s, x) <num_scan_inputs = 1, {name} = [1, 0, 1], body = b (float[2] h, float[2] g)
                            => (float[2] n, float[2] m) {{ n = Add(h, g) m = Relu(n) }}> }}""", 17, s=normal(2))
    assert f"node 'y' (Scan, opset 17): Scan: {name} has 3 numbers, but must have 1" in refused(model)


@pytest.mark.parametrize("shape", [(0, 4, 3, 3), (0, 1, 3, 3)])
def test_convolutions_without_output_channels(shape: tuple[int, ...]) -> None:
    text = f"net (float[1,4,6,6] x) => (float[a,b,c,d] y) {{ y = Conv<group = {4 // shape[1]}> (x, w) }}"
    for level in (0, 2):
        plan = cnncc.compile(model_of(text, w=np.zeros(shape, np.float32)), level=level)
        (y,) = cnncc.InferenceSession(plan, threads=1).run(None, {"x": normal(1, 4, 6, 6)})
        assert y.shape == (1, 0, 4, 4)


def test_convolutions_without_pixels() -> None:
    model = model_of("net (float[1,4,0,6] x) => (float[a,b,c,d] y) { y = Conv (x, w) }", w=normal(3, 4, 1, 1))
    for level in (0, 2):
        (y,) = cnncc.InferenceSession(cnncc.compile(model, level=level), threads=1).run(
            None, {"x": np.zeros((1, 4, 0, 6), np.float32)})
        assert y.shape == (1, 3, 0, 6)
