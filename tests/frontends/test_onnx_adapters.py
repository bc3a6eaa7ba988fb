"""Older forms of operators: what the imported graph computes is what the model means at its opset."""

from __future__ import annotations

import itertools

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from cnncc.errors import UnsupportedError
from cnncc.frontends.onnx import import_model
from cnncc.frontends.onnx.adapters import ADAPTERS, has_adapter
from cnncc.ir import verify
from cnncc.ops import OPS

from .models import Array, assert_equal, model_of, normal, run_graph, run_onnxruntime

# (opset, shape of x, rank of y, nodes): compared with ONNX Runtime, which runs opsets from 7 on.
CASES: list[tuple[int, tuple[int, ...], int, str]] = [
    (9, (2, 3), 2, "y = Clip<min = -0.5, max = 0.25>(x)"),
    (6, (2, 3), 2, "y = Clip<min = 0.1>(x)"),
    (10, (2, 3), 2, "y = Clip(x)"),
    *((opset, (2, 3, 4), 3, f"y = {op}<axis = {axis}>(x)")
      for opset, op, axis in ((7, "Softmax", 0), (9, "Softmax", 1), (11, "Softmax", -1), (12, "Softmax", -2),
                              (9, "LogSoftmax", 1), (11, "LogSoftmax", 2), (9, "Hardmax", 1), (11, "Hardmax", 0))),
    (9, (2, 3, 4), 3, "y = Softmax(x)"),
    (7, (2, 5, 1, 1), 4, "y = Softmax(x)"),
    (7, (2, 1, 5, 1), 4, "y = LogSoftmax(x)"),
    (7, (1, 1), 2, "y = Softmax<axis = 0>(x)"),
    (13, (2, 3, 4), 3, "y = Softmax<axis = 1>(x)"),
    (7, (2, 1, 3, 1), 2, "y = Squeeze<axes = [1, 3]>(x)"),
    (11, (2, 1, 3, 1), 3, "y = Squeeze<axes = [-1]>(x)"),
    (7, (2, 1, 3, 1), 2, "y = Squeeze(x)"),
    (7, (2, 3), 4, "y = Unsqueeze<axes = [0, 3]>(x)"),
    (11, (2, 3), 3, "y = Unsqueeze<axes = [-1]>(x)"),
    *((opset, (2, 3, 4), 3, f"y = {op}<axes = [{axes}]>(x)")
      for opset, op, axes in ((7, "ReduceMean", "0, 2"), (11, "ReduceSum", "-1"), (13, "ReduceMax", "1"),
                              (13, "ReduceL2", "2"), (17, "ReduceMin", "0"), (9, "ReduceProd", "1"))),
    (11, (2, 3, 4), 0, "y = ReduceSum<keepdims = 0>(x)"),
    (7, (2, 3, 4), 1, "y = ReduceMean<axes = [0, 2], keepdims = 0>(x)"),
    (7, (2, 3), 2, "y = Pad<pads = [1, 0, 2, 1], value = 0.5>(x)"),
    (7, (2, 3), 2, "y = Pad<pads = [0, 1, 0, 2]>(x)"),
    (10, (4, 5), 2, 'y = Pad<pads = [1, 2, 2, 1], mode = "reflect">(x)'),
    (9, (4, 5), 2, 'y = Pad<pads = [1, 2, 2, 1], mode = "edge">(x)'),
    (7, (4, 5), 2, "y = Slice<starts = [1], ends = [3]>(x)"),
    (9, (4, 5), 2, "y = Slice<starts = [0, -3], ends = [-1, 100], axes = [1, 0]>(x)"),
    (7, (4, 6), 2, "a, b = Split<axis = 1, split = [2, 4]>(x) c = Relu(b) y = Concat<axis = 1>(c, a)"),
    (11, (4, 6), 2, "a, b = Split(x) y = Sub(b, a)"),
    (13, (4, 6), 2, "a, b, c = Split<axis = -1>(x) y = Sub(c, a)"),
    (7, (4, 6), 2, "a, b = Split(x) y = Relu(a)"),
    (7, (2, 3, 4), 3, "a, mask = Dropout<ratio = 0.3>(x) y = Relu(a)"),
    (12, (2, 3, 4), 3, "a, mask = Dropout(x) b = Cast<to = 1>(mask) y = Mul(a, b)"),
    (8, (2, 3, 4), 3, "w = Constant<value = float[3] {1, 2, 3}>() y = BatchNormalization<spatial = 1>(x, w, w, w, w)"),
    (9, (2, 3, 4), 3, "w = Constant<value = float[3] {1, 2, 3}>() y = BatchNormalization(x, w, w, w, w)"),
    (8, (2, 3), 2, "w = Constant<value = float[3] {1, 2, 3}>() y = BatchNormalization<spatial = 0>(x, w, w, w, w)"),
    *((16, (1, 2, 4, 5), 4, "g = Constant<value = float[1,2,2,2] {-0.9, 0.1, 0.3, 0.7, 1.2, -0.3, 0.5, -1.1}>() "
       f'y = GridSample<mode = "{mode}">(x, g)') for mode in ("bilinear", "bicubic", "nearest")),
    *((opset, (1, 2, 6, 5), 4, "r = Constant<value = float[2,4] {0, 1, 4, 5, 1, 2, 3, 3}>() "
       "i = Constant<value = int64[2] {0, 0}>() y = RoiAlign<output_height = 2, output_width = 2>(x, r, i)")
      for opset in (10, 16)),
    (7, (2, 3), 2, "w = Constant<value = float[4,3] {1,2,3,4,5,6,7,8,9,10,11,12}>() b = Constant<value = float[4] "
                   "{1,2,3,4}>() y = Gemm<transB = 1, alpha = 0.5>(x, w, b)"),
    (9, (2, 3), 2, "s = Constant<value = int64[2] {2, 3}>() c = ConstantOfShape<value = float[1] {2.5}>(s) "
                   "y = Add(x, c)"),
    (9, (2, 3), 2, "s = Shape(x) c = ConstantOfShape<value = int64[1] {7}>(s) f = Cast<to = 1>(c) y = Add(x, f)"),
    (9, (2, 3), 2, "s = Shape(x) c = ConstantOfShape(s) y = Add(x, c)"),
    (7, (2, 3, 4), 3, "w = Constant<value = float[3,1] {-1, 0.5, 2}>() y = PRelu(x, w)"),
    (7, (2, 3, 4), 3, "w = Constant<value = float[3,1] {-1, 0.5, 2}>() y = Mul(x, w)"),
    (7, (2, 3, 4), 2, "s = Constant<value = int64[2] {0, -1}>() y = Reshape(x, s)"),
    (8, (1, 2, 5, 5), 4, "y = MaxPool<kernel_shape = [2, 2]>(x)"),
    (7, (1, 2, 5, 5), 4, "y = AveragePool<kernel_shape = [2, 2], strides = [2, 2]>(x)"),
    (9, (2, 3, 4), 2, "y = Flatten<axis = 2>(x)"),
    (9, (2, 3), 2, "i = Constant<value = int64[1,2] {1, 0}>() u = Constant<value = float[1,2] {7, 8}>() "
                   "y = Scatter<axis = 1>(x, i, u)"),
    (17, (2, 5, 1), 3, "y = DFT(x)"),
    (18, (2, 3, 4, 2), 4, "y = DFT<axis = 2, inverse = 1>(x)"),
    *((8, (1, 2, 3, 4), 4, f'y = Upsample<mode = "{mode}", scales = [1.0, 1.0, 2.0, 3.0]>(x)')
      for mode in ("nearest", "linear")),
    *((opset, (1, 2, 3, 4), 4, f's = Constant<value = float[4] {{1, 1, {scales}}}>() y = {op}<mode = "{mode}">(x, s)')
      for opset, op, scales, mode in ((9, "Upsample", "2, 2", "nearest"), (9, "Upsample", "2, 3", "linear"),
                                      (10, "Resize", "2, 3", "nearest"), (10, "Resize", "0.7, 0.6", "nearest"),
                                      (10, "Resize", "0.5, 2", "linear"))),
    *((11, (1, 2, 3, 4), 4, f"r = Constant<value = float[0] {{}}>() s = Constant<value = float[4] {{1, 1, 2, 2}}>() "
                            f'y = Resize<mode = "{mode}", coordinate_transformation_mode = "{at}">(x, r, s)')
      for mode, at in (("linear", "half_pixel"), ("nearest", "tf_half_pixel_for_nn"), ("nearest", "asymmetric"))),
    (11, (1, 2, 3, 4), 4, "r = Constant<value = float[0] {}>() s = Constant<value = float[4] {1, 1, 2, 3}>() y = Resize"
                          '<nearest_mode = "floor", coordinate_transformation_mode = "tf_half_pixel_for_nn">(x, r, s)'),
    (11, (1, 2, 3, 4), 4, "r = Constant<value = float[0] {}>() z = Constant<value = int64[4] {1, 2, 5, 3}>() "
                          "y = Resize(x, r, r, z)"),
    (13, (1, 2, 3, 4), 4, "a = Constant<value = float[2] {1, 1}>() b = Constant<value = float[2] {2, 3}>() "
                          "s = Concat<axis = 0>(a, b) y = Resize(x, , s)"),
    (18, (2, 4, 3), 3, "s = Constant<value = float[2] {2, 3}>() b = Constant<value = float[2] {-1, 1}>() "
                       "y = GroupNormalization<num_groups = 2>(x, s, b)"),
]
# The rank would depend on whether N is 1.
FIXED_ONLY = ("y = Squeeze(x)",)


@pytest.mark.parametrize(("opset", "shape", "rank", "nodes"), CASES, ids=[f"{o}-{n}" for o, _, _, n in CASES])
@pytest.mark.parametrize("symbolic", [False, True], ids=["fixed", "symbolic"])
def test_against_onnxruntime(opset: int, shape: tuple[int, ...], rank: int, nodes: str, symbolic: bool) -> None:
    dims = ",".join(map(str, ("N", *shape[1:]) if symbolic else shape))
    result = ",".join(f"r{i}" for i in range(rank))
    model = model_of(f"net (float[{dims}] x) => (float[{result}] y) {{ {nodes} }}", opset)
    if symbolic and nodes in FIXED_ONLY:
        with pytest.raises(UnsupportedError, match="N"):
            import_model(model)
        return
    graph = import_model(model)
    verify(graph)
    feeds = {"x": normal(*shape)}
    expected = run_onnxruntime(model, feeds) if opset >= 7 else [np.maximum(feeds["x"], np.float32(0.1))]
    assert_equal(run_graph(graph, feeds), expected)


def old(nodes: str, x: Array, opset: int = 6, **weights: Array) -> Array:
    """What a model of an opset that ONNX Runtime no longer runs computes."""
    dims = ",".join(map(str, x.shape))
    graph = import_model(model_of(f"net (float[{dims}] x) => (float[n] y) {{ {nodes} }}", opset, **weights))
    verify(graph)
    (result,) = run_graph(graph, {"x": x})
    return result


def test_broadcasting_before_opset_7() -> None:
    """ONNX Add-6: without axis B's axes are A's last; with it they are A's from axis on."""
    x, w3, w34 = normal(2, 3, 4, 5), normal(3), normal(3, 4)
    np.testing.assert_array_equal(old("y = Add<broadcast = 1, axis = 1>(x, w)", x, w=w3), x + w3[:, None, None])
    np.testing.assert_array_equal(old("y = Mul<broadcast = 1, axis = 1>(x, w)", x, w=w34), x * w34[:, :, None])
    np.testing.assert_array_equal(old("y = Sub<broadcast = 1, axis = -3>(x, w)", x, w=w3), x - w3[:, None, None])
    np.testing.assert_array_equal(old("y = Div<broadcast = 1>(x, w)", x, w=normal(4, 5)), x / normal(4, 5))
    np.testing.assert_array_equal(old("y = Add<broadcast = 1, axis = 2>(x, w)", x, w=normal(4, 5)), x + normal(4, 5))
    np.testing.assert_array_equal(old("y = Add(x, w)", x, w=x), x + x)
    scalar = np.array(3, np.float32)
    np.testing.assert_array_equal(old("y = Add<broadcast = 1>(x, w)", x, w=scalar), x + 3)
    with pytest.raises(UnsupportedError, match=r"axis 3 does not place f32\[3,4\] inside f32\[2,3,4,5\]"):
        old("y = Add<broadcast = 1, axis = 3>(x, w)", x, w=w34)


def test_prelu_before_opset_7() -> None:
    x, slope = normal(2, 3, 4, 5), normal(3)
    np.testing.assert_array_equal(old("y = PRelu(x, w)", x, w=slope), np.where(x < 0, slope[:, None, None] * x, x))
    one = np.array([0.5], np.float32)
    np.testing.assert_array_equal(old("y = PRelu(x, w)", x, w=one), np.where(x < 0, one * x, x))
    flat = normal(2, 3)
    np.testing.assert_array_equal(old("y = PRelu(x, w)", flat, w=slope), np.where(flat < 0, slope * flat, flat))


def test_other_forms_before_opset_7() -> None:
    x, w = normal(2, 3), normal(3)
    np.testing.assert_array_equal(old("y = Relu<consumed_inputs = [0]>(x)", x, 5), np.maximum(x, 0))
    np.testing.assert_array_equal(old("y = Reshape<shape = [3, -1]>(x)", x, 4), x.reshape(3, 2))
    np.testing.assert_array_equal(old("y = Concat(x, x)", x, 3), np.concatenate([x, x], 1))
    np.testing.assert_array_equal(old("y = Cast<to = \"FLOAT\">(x)", x, 5), x)
    np.testing.assert_array_equal(old("y = Pad<paddings = [0, 1, 0, 0], value = 2.0>(x)", x, 1),
                                  np.pad(x, ((0, 0), (1, 0)), constant_values=2))
    np.testing.assert_array_equal(old("y, m = Dropout<is_test = 1>(x)", x), x)
    np.testing.assert_allclose(old("y = BatchNormalization<is_test = 1, epsilon = 0.0>(x, w, w, w, v)", x, w=w, v=w**2),
                               w * (x - w) / np.abs(w) + w, rtol=1e-5)
    np.testing.assert_allclose(old("y = Gemm<broadcast = 1>(x, v, w)", x, w=w, v=np.eye(3, dtype=np.float32)), x + w)


def test_selu_keeps_the_defaults_of_its_opset() -> None:
    x = normal(2, 3)
    (node,) = import_model(model_of("net (float[2,3] x) => (float[2,3] y) { y = Selu(x) }", 5)).nodes
    assert (node.op.alpha, node.op.gamma) == (1.6732, 1.0507)  # type: ignore[attr-defined]
    np.testing.assert_allclose(old("y = Selu(x)", x, 5), np.where(x < 0, 1.0507 * 1.6732 * np.expm1(x), 1.0507 * x),
                               rtol=1e-5)


@pytest.mark.parametrize(("opset", "nodes", "said"), [
    (6, "y, m, v = BatchNormalization(x, w, w, w, w) z = Add(m, v)", "in training mode (is_test=0)"),
    (6, "y, m = Dropout(x) z = Relu(m)", "in training mode (is_test=0)"),
    (7, "y, m = Dropout(x) z = Relu(m)", "the mask it returns is not defined in this opset"),
    (8, "y = BatchNormalization<spatial = 0>(x, w, w, w, w) z = Relu(y)", "spatial=0"),
    (5, "y = Cast<to = \"quaternion\">(x) z = Relu(y)", "to='quaternion' is not an element type"),
    (9, "s = Shape(x) y = ConstantOfShape<value = float[2] {1, 2}>(s) z = Relu(y)", "must hold one element, not 2"),
    (9, "y = Softmax<axis = 7>(x) z = Relu(y)", "axis 7 is out of range for an input of 3 dimensions"),
    (9, "s = Constant<value = float[3] {1, 0.5, 2}>() y = Upsample(x, s) z = Relu(y)",
     "it makes one axis longer and another shorter"),
    (9, "y = Cast<to = 16>(x) z = Relu(x)", "'to' is the element type bfloat16"),
    (9, "y = Softmax<axis = 1.5>(x) z = Relu(y)", "must be of type INT, not FLOAT"),
])
def test_forms_without_an_equivalent(opset: int, nodes: str, said: str) -> None:
    model = model_of(f"net (float[2,3,4] x) => (float[n] z) {{ {nodes} }}", opset, w=normal(3))
    with pytest.raises(UnsupportedError) as info:
        import_model(model)
    assert said in str(info.value) and f"opset {opset})" in str(info.value)


# Changes of an operator's form that need no adapter, and why.
NO_ADAPTER = {
    ("Scan", 8): "it is refused by name: its sequences have an axis for the batch",
    ("Selu", 1): "the defaults of the opset are filled in",
    ("Constant", 1): "not an operator of the graph",
}


def changed_forms() -> list[tuple[str, int, int, str]]:
    """(operator, first opset, last opset, what) of the older forms in which a model may say something the newest form
    cannot: attributes that are gone, inputs that were optional or absent, defaults that differ."""
    found = []
    history: dict[str, list[onnx.defs.OpSchema]] = {}
    for schema in onnx.defs.get_all_schemas_with_history():
        if schema.domain == "" and schema.name in OPS:
            history.setdefault(schema.name, []).append(schema)
    for name, schemas in sorted(history.items()):
        schemas.sort(key=lambda s: s.since_version)
        newest = schemas[-1]
        for schema, following in itertools.pairwise(schemas):
            gone = set(schema.attributes) - set(newest.attributes) - {"consumed_inputs"}
            defaults = {a for a in set(schema.attributes) & set(newest.attributes)
                        if schema.attributes[a].default_value != newest.attributes[a].default_value
                        or schema.attributes[a].type != newest.attributes[a].type}
            fewer = schema.min_input < newest.min_input
            if gone or defaults or fewer or (schema.attributes.keys() & {"spatial", "broadcast"}):
                what = f"{sorted(gone)} gone, {sorted(defaults)} changed, inputs {schema.min_input}"
                found.append((name, schema.since_version, following.since_version - 1, what))
    return found


def test_every_changed_form_has_an_adapter() -> None:
    missing = [form for form in changed_forms() if (form[0], form[1]) not in NO_ADAPTER
               and not all(has_adapter(form[0], opset) for opset in (form[1], form[2]))]
    assert not missing
    assert ("Clip", 6, 10, "['max', 'min'] gone, [] changed, inputs 1") in changed_forms()


def test_the_table_names_operators_of_onnx() -> None:
    for name, rows in ADAPTERS.items():
        assert onnx.defs.has(name) or name == "SimplifiedLayerNormalization", name  # which is ONNX Runtime's
        assert all(first <= last for first, last, _ in rows)


def test_cast_by_name_knows_all_types() -> None:
    assert TensorProto.DataType.Value("FLOAT16") == 10
    (y,) = run_graph(import_model(model_of(
        "net (float[2] x) => (float16[2] y) { y = Cast<to = \"FLOAT16\">(x) }", 5)), {"x": normal(2)})
    assert y.dtype == np.float16
