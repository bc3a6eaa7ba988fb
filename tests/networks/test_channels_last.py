"""A network as converters from TensorFlow write it: channels last, every convolution between Transposes."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import cnncc
from cnncc.compiler import optimise
from cnncc.frontends.onnx import import_model


class Builder:
    """Appends nodes; values are [N, H, W, C]."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def constant(self, array: np.ndarray) -> str:
        self.weights.append(numpy_helper.from_array(array, f"w{len(self.weights)}"))
        return self.weights[-1].name

    def floats(self, *shape: int, scale: float = 0.3) -> str:
        return self.constant((scale * self.rng.standard_normal(shape)).astype(np.float32))

    def ints(self, *numbers: int) -> str:
        return self.constant(np.array(numbers, np.int64))

    def op(self, op_type: str, *inputs: str, outputs: int = 1, **attributes: object) -> str:
        names = [f"v{len(self.nodes)}.{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op_type, inputs, names, **attributes))
        return names[0]

    def conv(self, x: str, channels: int, outputs: int, kernel: int = 1, stride: int = 1, group: int = 1,
             pads: tuple[int, ...] = (0, 0, 0, 0)) -> str:
        first = self.op("Transpose", x, perm=[0, 3, 1, 2])
        weights = self.floats(outputs, channels // group, kernel, kernel)
        y = self.op("Conv", first, weights, strides=[stride] * 2, group=group, pads=pads)
        return self.op("Add", self.op("Transpose", y, perm=[0, 2, 3, 1]), self.floats(outputs))

    def relu6(self, x: str) -> str:
        return self.op("Clip", x, self.constant(np.float32(0)), self.constant(np.float32(6)))


def network() -> onnx.ModelProto:
    b = Builder()
    x = b.op("Sub", b.op("Div", "image", b.constant(np.float32(127.5))), b.constant(np.float32(1)))
    x = b.relu6(b.conv(x, 3, 16, 3, 2, pads=(0, 0, 1, 1)))
    wide = b.op("Pad", b.relu6(b.conv(x, 16, 32)), b.ints(0, 1, 1, 0, 0, 1, 1, 0))
    deep = b.conv(wide, 32, 32, 3, group=32)
    deep = b.op("Mul", b.op("Add", deep, b.floats(1, 1, 1, 32)), b.floats(32))  # a BatchNormalization
    deep = b.op("LeakyRelu", deep, alpha=0.1)
    pooled = b.op("ReduceMean", deep, keepdims=1, axes=[1, 2])
    gate = b.op("Sigmoid", b.conv(b.op("Relu", b.conv(pooled, 32, 8)), 8, 32))
    x = b.op("Add", b.conv(b.op("Mul", deep, gate), 32, 16), x)
    pool = b.op("Transpose", x, perm=[0, 3, 1, 2])
    pool = b.op("MaxPool", pool, kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1])
    pool = b.op("PRelu", b.op("Transpose", pool, perm=[0, 2, 3, 1]), b.floats(1, 1, 16))
    x = b.op("Concat", x, pool, axis=-1)
    left = b.op("Split", x, axis=3, outputs=2)
    x = b.op("Mul", left, b.op("Sigmoid", b.nodes[-1].output[1]))
    cut = b.op("Slice", x, b.ints(1, 1), b.ints(15, 15), b.ints(1, 2))
    x = b.op("HardSwish", b.conv(cut, 16, 24))
    x = b.op("ReduceMean", x, keepdims=0, axes=[1, 2])
    y = b.op("Softmax", b.op("Add", b.op("MatMul", x, b.floats(24, 10)), b.floats(10)))
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 32, 32, 3])
    scores = helper.make_tensor_value_info(y, TensorProto.FLOAT, None)
    graph = helper.make_graph(b.nodes, "channels_last", [image], [scores], b.weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def test_no_transpose_is_left_inside_and_all_is_native() -> None:
    import onnxruntime

    model = network()
    graph = import_model(model)
    optimise(graph, 2)
    turned = [n for n in graph.nodes if n.op.op_type == "Transpose"]
    assert len(turned) == 1, turned  # that of the picture
    assert sum(n.op.op_type == "Conv" for n in graph.nodes) == sum(n.op_type == "Conv" for n in model.graph.node)
    assert not any(n.op.op_type in ("Add", "Pad", "LeakyRelu") for n in graph.nodes)
    image = np.random.default_rng(1).uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)
    plan = cnncc.compile(model, allow_fallback=False)
    [y] = cnncc.InferenceSession(plan).run(None, {"image": image})
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    [want] = onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, {"image": image})
    np.testing.assert_allclose(y, want, rtol=0, atol=1e-5)
