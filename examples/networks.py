"""Published networks with plausible weights, for the demo, the benchmarks and the tests.

The `onnx` package carries well-known networks of the ONNX model zoo without their weights: every parameter is
generated, and nearly all are the constant 0.02, with which a layer cannot tell its channels apart. `load` keeps the
graph as it was published and gives every parameter seeded random values:

- weights of convolutions and full connections: normal, of variance 2 / fan-in (He et al., 2015, arXiv:1502.01852);
- batch normalization: scale and variance uniform in [0.5, 1.5], mean and bias normal with deviation 0.1; the scale at
  the end of a residual branch is a fifth of that, so that a deep sum does not explode;
- biases normal with deviation 0.1; the last layer is scaled so that the scores do not saturate a softmax.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

__all__ = ["NETWORKS", "Network", "load"]


@dataclass(frozen=True)
class Network:
    """A network of the onnx package: the file's name, and a factor for the weights of its last layer."""

    title: str
    file: str
    gain: float = 1.0


NETWORKS = {
    "alexnet": Network("AlexNet", "light_bvlc_alexnet.onnx", gain=0.4),
    "zfnet512": Network("ZFNet-512", "light_zfnet512.onnx"),
    "vgg19": Network("VGG-19", "light_vgg19.onnx", gain=0.4),
    "inception_v1": Network("Inception v1", "light_inception_v1.onnx", gain=0.4),
    "inception_v2": Network("Inception v2", "light_inception_v2.onnx", gain=0.03),
    "resnet50": Network("ResNet-50", "light_resnet50.onnx", gain=6),
    "densenet121": Network("DenseNet-121", "light_densenet121.onnx", gain=0.1),
    "squeezenet": Network("SqueezeNet", "light_squeezenet.onnx"),
    "shufflenet": Network("ShuffleNet", "light_shufflenet.onnx", gain=0.07),
}


def load(name: str, *, batch: int | str = 1, seed: int = 0) -> onnx.ModelProto:
    """The network `name` of NETWORKS for a batch of fixed or (a string) symbolic size, input [batch, 3, 224, 224]."""
    network = NETWORKS[name]
    model = onnx.load(_folder() / network.file)
    _fill(model, network.gain, np.random.default_rng(seed))
    if batch != 1:
        _set_batch(model, batch)
    return model


def _folder() -> Path:
    return Path(os.path.dirname(onnx.__file__)) / "backend" / "test" / "data" / "light"


def _fill(model: onnx.ModelProto, gain: float, random: np.random.Generator) -> None:
    """Replaces every floating-point parameter, generated or stored, by an initializer with random values."""
    graph = model.graph
    stored = {i.name: i for i in graph.initializer}
    readers: dict[str, list[tuple[onnx.NodeProto, int]]] = {}
    for node in graph.node:
        for index, name in enumerate(node.input):
            readers.setdefault(name, []).append((node, index))
    shapes = {n.output[0]: tuple(numpy_helper.to_array(stored[n.input[0]])) for n in graph.node
              if n.op_type == "ConstantOfShape"}
    shapes |= {i.name: tuple(i.dims) for i in graph.initializer if i.data_type == TensorProto.FLOAT}
    last = next(n for n in reversed(graph.node) if n.op_type in ("Conv", "Gemm"))
    parameters = []
    for name, shape in shapes.items():
        role, node = _role(name, readers)
        values = _values(role, shape, _ends_branch(node, readers), random)
        if node is last and role == "weight":
            values *= np.float32(gain)
        parameters.append(numpy_helper.from_array(values, name))
    kept = [i for i in graph.initializer if i.data_type != TensorProto.FLOAT and any(
        node.op_type != "ConstantOfShape" for node, _ in readers.get(i.name, []))]
    nodes = [n for n in graph.node if n.op_type != "ConstantOfShape"]
    inputs = [i for i in graph.input if i.name not in stored]
    for field, content in ((graph.initializer, kept + parameters), (graph.node, nodes), (graph.input, inputs)):
        del field[:]
        field.extend(content)
    model.ir_version = 8  # initializers need not be inputs since version 4


def _role(name: str, readers: dict[str, list[tuple[onnx.NodeProto, int]]]) -> tuple[str, onnx.NodeProto | None]:
    """What the parameter is for, and the node that it is a parameter of."""
    if not readers.get(name):
        return "unused", None
    node, index = readers[name][0]
    if node.op_type in ("Unsqueeze", "Reshape"):
        return _role(node.output[0], readers)
    table = {"Conv": ("input", "weight", "bias"), "Gemm": ("input", "weight", "bias"), "Mul": ("scale",) * 2,
             "Add": ("bias",) * 2, "BatchNormalization": ("input", "scale", "bias", "bias", "variance")}
    return table[node.op_type][index], node


def _ends_branch(node: onnx.NodeProto | None, readers: dict[str, list[tuple[onnx.NodeProto, int]]]) -> bool:
    return node is not None and node.op_type == "BatchNormalization" and any(
        reader.op_type == "Sum" for reader, _ in readers.get(node.output[0], []))


def _values(role: str, shape: tuple[int, ...], ends_branch: bool, random: np.random.Generator) -> np.ndarray:
    if role == "weight":
        outputs = next(size for size in shape if size != 1)  # Inception v1 stores a matrix as [1, 1, 1000, 1024]
        return random.standard_normal(shape, np.float32) * np.float32(np.sqrt(2 * outputs / np.prod(shape)))
    if role in ("scale", "variance"):
        values = random.uniform(0.5, 1.5, shape).astype(np.float32)
        return values * np.float32(0.2) if ends_branch and role == "scale" else values
    return random.standard_normal(shape, np.float32) * np.float32(0.1)


def _set_batch(model: onnx.ModelProto, batch: int | str) -> None:
    """Makes the first dimension of inputs and outputs `batch`, and lets reshapes copy it (a 0 in their shapes)."""
    for value in (*model.graph.input, *model.graph.output):
        dim = value.type.tensor_type.shape.dim[0]
        dim.Clear()
        setattr(dim, "dim_param" if isinstance(batch, str) else "dim_value", batch)
    stored = {i.name: i for i in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Reshape" and stored[node.input[1]].dims and node.input[0] not in stored:
            shape = numpy_helper.to_array(stored[node.input[1]]).copy()
            shape[0] = 0
            stored[node.input[1]].CopyFrom(numpy_helper.from_array(shape, node.input[1]))
    del model.graph.value_info[:]
