"""The models that mutants are made from: one of each operator, and small networks of many."""

from __future__ import annotations

import functools

import numpy as np
import onnx
import onnx.parser

from cnncc import operators
from cnncc.errors import OpError
from cnncc.frontends.onnx import export_model
from cnncc.ir import DType
from cnncc.ops import OPS

__all__ = ["seeds"]

_CONVOLUTIONS = """net (float[N,3,6,6] x) => (float[N,5] y) {
    c = Conv<pads = [1,1,1,1], kernel_shape = [3,3]> (x, w0, b0)
    n = BatchNormalization<epsilon = 0.001> (c, b0, b0, b0, b0)
    r = Relu(n)
    d = Conv<pads = [1,1,1,1], group = 4> (r, w1)
    e = Clip(d, zero, six)
    s = Add(e, r)
    m = MaxPool<kernel_shape = [2,2], strides = [2,2]> (s)
    p = GlobalAveragePool(m)
    f = Flatten(p)
    y = Gemm<transB = 1> (f, w2, b2)
}"""
_GATES = """net (float[1,4,5,5] x) => (float[1,4,5,5] y, float[1,8,5,5] z) {
    p = ReduceMean<axes = [2,3]> (x)
    c = Conv(p, w0)
    r = Sigmoid(c)
    g = Mul(x, r)
    h = HardSwish(g)
    l = LeakyRelu<alpha = 0.2> (h)
    y = Sub(l, x)
    z = Concat<axis = 1> (y, x)
}"""
_SHAPES = """net (float[N,4,H,2] x) => (float[a,b] y, float[c,d] z) {
    s = Shape(x)
    n = Gather<axis = 0> (s, zero)
    u = Unsqueeze(n, axes)
    t = Concat<axis = 0> (u, minus)
    y = Reshape(x, t)
    f = ConstantOfShape<value = int64[1] {3}> (two)
    e = Expand(f, two)
    r = Range(zero, n, one)
    i = Mul(r, r)
    q = Slice(s, axes, two)
    k = Tile(y, one2)
    o = Cast<to = 1> (i)
    v = Unsqueeze(o, axes)
    w = ReduceSum(v, axes)
    z = Mul(k, w)
}"""
_SAMPLING = """net (float[1,2,4,4] x) => (float[1,4,9,9] y) {
    u = Resize<mode = "linear", coordinate_transformation_mode = "asymmetric"> (x, , scales)
    t = ConvTranspose<strides = [2,2]> (x, w0)
    c = Concat<axis = 1> (u, t)
    p = Pad<mode = "reflect"> (c, pads)
    a = AveragePool<kernel_shape = [2,2], ceil_mode = 1> (p)
    d = DepthToSpace<blocksize = 2> (p)
    e = SpaceToDepth<blocksize = 2> (d)
    i = Transpose<perm = [0,1,3,2]> (a)
    j = InstanceNormalization(i, b4, b4)
    l = LRN<size = 3> (j)
    s = Softmax<axis = 1> (l)
    y = MaxPool<kernel_shape = [1,1], dilations = [2,2]> (s)
}"""
_QUANTISED = """net (float[1,4,4,4] x) => (float[1,3,4,4] y, float[1,3,4,4] z) {
    q = QuantizeLinear(x, scale, zero_point)
    d = DequantizeLinear(q, scale, zero_point)
    e = DequantizeLinear(w8, scale, zero_point)
    c = Conv<pads = [1,1,1,1]> (d, e)
    r = Relu(c)
    p = QuantizeLinear(r, scale, zero_point)
    y = DequantizeLinear(p, scale, zero_point)
    g, gs, gz = DynamicQuantizeLinear(x)
    h = ConvInteger<pads = [1,1,1,1]> (g, w8, gz, zero_point)
    f = Cast<to = 1> (h)
    z = Mul(f, gs)
}"""
_BODIES = """net (float[3,2] x, bool k) => (float[3,2] y, float[a,3,2] z, float[2] v, float[3,2] u) {
    y = If (k) <
        then_branch = one () => (float[3,2] t) { t = Relu(x) },
        else_branch = two () => (float[3,2] e) { f = Neg(x) e = Add(f, b2) }
    >
    l, z = Loop (three, yes, x) <
        body = loop (int64 i, bool c, float[3,2] s) => (bool d, float[3,2] o, float[3,2] p) {
            d = Identity(c) o = Add(s, b2) p = Mul(o, x) }
    >
    v, w = Scan (b2, l) <
        num_scan_inputs = 1,
        body = scan (float[2] h, float[2] g) => (float[2] n, float[2] m) { n = Add(h, g) m = Relu(n) }
    >
    u = Identity(w)
}"""
_FUNCTIONS = """net (float[N,2] x) => (float[N,2] y) { h = own.twice<slope = 0.5> (x, b2) y = own.twice(h, b2) }
<domain: "own", opset_import: ["": 17, "own": 1]> twice <slope: float = 0.25> (a, b) => (c) {
    s = own.inner(a, b) c = LeakyRelu<alpha: float = @slope> (s) }
<domain: "own", opset_import: ["": 17]> inner (a, b) => (c) { c = Add(a, b) }
"""
_ATTENTION = """net (float[1,S,8] x) => (float[1,S,8] y) {
    n = LayerNormalization(x, g8, g8)
    q = MatMul(n, w88)
    k = MatMul(n, w88)
    t = Transpose<perm = [0,2,1]> (k)
    s = MatMul(q, t)
    d = Div(s, scale)
    p = Softmax(d)
    o = MatMul(p, n)
    a = Add(o, x)
    e = Erf(a)
    h = Einsum<equation = "bij,jk->bik"> (e, w88)
    y = Where(mask, h, a)
}"""
_DATA = """net (float[6] x, float[1,6,4] boxes) => (float[k] y, int64[a,3] z) {
    n = NonZero(x)
    f = Squeeze(n, axes)
    g = Gather(x, f)
    t, i = TopK(x, two1)
    s = ScatterElements(x, i, t)
    c = Compress(s, bits)
    y = Concat<axis = 0> (g, c)
    z = NonMaxSuppression(boxes, scores, three, scale)
}"""
_OLD = """net (float[2,3,4,4] x) => (float[2,3,8,8] y) {
    a = Add<broadcast = 1, axis = 1> (x, b3)
    b = BatchNormalization<is_test = 1, spatial = 1> (a, b3, b3, b3, b3)
    c = Pad<pads = [0,0,1,1,0,0,1,1]> (b)
    d = Slice<starts = [1,1], ends = [5,5], axes = [2,3]> (c)
    e = Clip<min = 0.0, max = 6.0> (d)
    f = Softmax<axis = 1> (e)
    g = Dropout<is_test = 1> (f)
    h = Squeeze<axes = [0]> (one4)
    i = Reshape(g, shape)
    j = ReduceMax<axes = [1]> (i)
    k = Mul(g, h)
    y = Tile(k, tiles)
}"""
_LSTM = """net (float[3,1,2] x) => (float[3,1,1,4] y, float[1,1,4] h) {
    y, h, c = LSTM<hidden_size = 4> (x, lw, lr, lb)
}"""
_DEFINED = """net (float[2,3] x) => (float[2,3] y) {
    a = Celu(x)
    b = ThresholdedRelu(a)
    c = MeanVarianceNormalization<axes = [0,1]> (b)
    d = Mish(c)
    e = GreaterOrEqual(d, x)
    f = Where(e, d, x)
    g = Softplus(f)
    y = LogSoftmax(g)
}"""
_HALF = """net (float16[1,3,4,4] x) => (float16[1,4,4,4] y) {
    c = Conv<pads = [1,1,1,1]> (x, half)
    y = Relu(c)
}"""

# text, opset, weights
_NETWORKS: tuple[tuple[str, int, tuple[str, ...]], ...] = (
    (_CONVOLUTIONS, 17, ("w0", "b0", "w1", "zero", "six", "w2", "b2")),
    (_GATES, 14, ("w0",)),
    (_SHAPES, 13, ("zero", "axes", "minus", "two", "one", "one2")),
    (_SAMPLING, 13, ("scales", "w0", "pads", "b4")),
    (_QUANTISED, 13, ("scale", "zero_point", "w8")),
    (_BODIES, 17, ("b2", "three", "yes")),
    (_FUNCTIONS, 17, ("b2",)),
    (_ATTENTION, 17, ("g8", "w88", "scale", "mask")),
    (_DATA, 13, ("axes", "two1", "bits", "scores", "three", "scale")),
    (_OLD, 6, ("b3", "one4", "shape", "tiles")),
    (_LSTM, 14, ("lw", "lr", "lb")),
    (_DEFINED, 18, ()),
    (_HALF, 13, ("half",)),
)


def _floats(*shape: int) -> np.ndarray:
    return np.linspace(-1, 1, int(np.prod(shape)), dtype=np.float32).reshape(shape)


# name -> contents; of names that networks give different contents, a dictionary by the number of the network
_WEIGHTS = {
    "w0": {0: _floats(4, 3, 3, 3), 1: _floats(4, 4, 1, 1), 3: _floats(2, 2, 2, 2)}, "w1": _floats(4, 1, 3, 3),
    "b0": np.float32([1, 2, 3, 4]), "w2": _floats(5, 4), "b2": {0: _floats(5), 5: _floats(2), 6: _floats(2)},
    "zero": {0: np.float32(0), 2: np.int64(0)}, "six": np.float32(6), "axes": np.int64([0]), "minus": np.int64([-1]),
    "two": np.int64([2]), "two1": np.int64([2]), "one": np.int64(1), "one2": np.int64([1, 1]),
    "scales": np.float32([1, 1, 2, 2]), "pads": np.int64([0, 0, 1, 1, 0, 0, 1, 1]), "b4": np.float32([1, 2, 3, 4]),
    "scale": np.float32(0.5), "zero_point": np.uint8(3), "w8": np.arange(108, dtype=np.uint8).reshape(3, 4, 3, 3),
    "three": {5: np.int64(3), 8: np.int64(3)}, "yes": np.bool_(True), "g8": _floats(8), "w88": _floats(8, 8),
    "mask": np.array(True), "bits": np.array([True, False, True]), "scores": np.float32([[[6, 5, 4, 3, 2, 1]]]),
    "b3": np.float32([1, 2, 3]), "one4": np.float32([1]), "shape": np.int64([2, -1]), "tiles": np.int64([1, 1, 2, 2]),
    "lw": _floats(1, 16, 2), "lr": _floats(1, 16, 4), "lb": _floats(1, 32), "half": _floats(4, 3, 3, 3).astype("f2"),
}


@functools.cache
def seeds() -> list[bytes]:
    """Models of the networks above, each some times, and of every operator."""
    networks = [_network(number) for number in range(len(_NETWORKS))]
    return networks * 8 + [model for name in OPS for model in _operator(name)]


def _network(number: int) -> bytes:
    text, opset, names = _NETWORKS[number]
    imports = f'"": {opset}' + (', "own": 1' if "own." in text else "")
    model = onnx.parser.parse_model(f"<ir_version: 8, opset_import: [{imports}]> {text}")
    for name in names:
        found = _WEIGHTS[name]
        array = found[number] if isinstance(found, dict) else found
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(array), name))
    return bytes(model.SerializeToString())


def _operator(name: str) -> list[bytes]:
    """Models of one operator, by the sample that the table of operators is made from: for one or two element types."""
    models: list[bytes] = []
    if OPS[name].domain == operators.INTERNAL or OPS[name].body_fields:
        return models
    for dtype in (DType.F32, DType.I64, DType.BOOL, DType.U8):
        try:
            models.append(export_model(operators._network(name, dtype)).SerializeToString())
        except OpError:
            continue
    return models[:2]
