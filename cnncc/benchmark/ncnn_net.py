"""Graphs as ncnn's networks: a .param file of layers and a .bin file of weights, both in float32.

The parameters' numbers are those of ncnn's docs/developer-guide/operators.md, the files those of
docs/developer-guide/param-and-model-file-structure.md. ncnn knows no batch: the first axis is left out, so every image
of a batch is a run of its own. Inputs are named in0, in1, ..., outputs out0, out1, ...
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UnsupportedError
from ..ir import Activation, Graph, Node, Value
from ..ops.activation import ActivationOp
from ..ops.batch_norm import BatchNormalization
from ..ops.concat import Concat
from ..ops.conv import Conv
from ..ops.gemm import Gemm
from ..ops.pool import AveragePool, MaxPool, Pool
from ..ops.softmax import Softmax

__all__ = ["write_ncnn"]

Array = np.ndarray[Any, Any]
Params = dict[int, int | float | list[float]]
Layer = tuple[str, str, list[str], list[str], Params]  # kind, name, blobs read, blobs written

MAGIC = 7767517
LARGEST = 3e38
RAW = b"\0\0\0\0"  # the tag of weights stored as float32

# activations that a layer of weights carries itself: its number
CARRIED = {"relu": 1, "leaky_relu": 2, "clip": 3, "sigmoid": 4, "mish": 5, "hard_swish": 6}
# activations as layers
LAYERS: dict[str, Callable[..., tuple[str, Params]]] = {
    "relu": lambda: ("ReLU", {}),
    "leaky_relu": lambda alpha: ("ReLU", {0: alpha}),
    "clip": lambda low, high: ("Clip", dict(enumerate(_bounded((low, high))))),
    "sigmoid": lambda: ("Sigmoid", {}),
    "tanh": lambda: ("TanH", {}),
    "silu": lambda: ("Swish", {}),
    "mish": lambda: ("Mish", {}),
    "hard_swish": lambda: ("HardSwish", {0: 1 / 6, 1: 0.5}),
    "hard_sigmoid": lambda alpha, beta: ("HardSigmoid", {0: alpha, 1: beta}),
}
BINARY = {"Add": 0, "Sub": 1, "Mul": 2, "Div": 3}


class _Refused(Exception):
    """Why ncnn has no layer for a node."""


def write_ncnn(graph: Graph, param: Path) -> None:
    """Writes `graph`, whose sizes are fixed, as `param` and the .bin file beside it.

    Raises UnsupportedError, listing every node that has no counterpart here.
    """
    problems: list[str] = []
    with param.with_suffix(".bin").open("wb") as weights:
        net = _Net(weights.write)
        for number, value in enumerate(graph.inputs):
            net.places[value] = f"in{number}"
            net.layers.append(("Input", f"in{number}", [], [f"in{number}"], {}))
        for node in graph.walk():
            try:
                net.places |= dict.fromkeys(node.outputs, "")
                net.places[node.output] = _write(net, node)
            except _Refused as refused:
                problems.append(f"'{node.name or node.output.name}' ({node.op.op_type}): {refused}")
        for number, value in enumerate(graph.outputs):
            net.layers.append(("Noop", f"out{number}", [net.blob(value)], [f"out{number}"], {}))
    if problems:
        param.with_suffix(".bin").unlink()
        raise UnsupportedError(f"{len(problems)} nodes cannot be written for ncnn: {'; '.join(problems)}", problems)
    layers = list(_split(net.layers))
    blobs = sum(len(outputs) for _, _, _, outputs, _ in layers)
    param.write_text("\n".join([str(MAGIC), f"{len(layers)} {blobs}", *map(_line, layers)]) + "\n")


class _Net:
    """The layers so far, and the blob that holds each value."""

    def __init__(self, write: Callable[[bytes], Any]) -> None:
        self.layers: list[Layer] = []
        self.places: dict[Value, str] = {}
        self._write = write

    def blob(self, value: Value | None) -> str:
        if value is None or value not in self.places:
            raise _Refused("an operand is a constant")
        return self.places[value]

    def weights(self, array: Array | None, tagged: bool = False) -> None:
        if array is not None:
            self._write((RAW if tagged else b"") + np.ascontiguousarray(array, "<f4").tobytes())

    def add(self, kind: str, inputs: Iterable[str], params: Params) -> str:
        name = f"{kind.lower()}{len(self.layers)}"
        self.layers.append((kind, name, list(inputs), [name], params))
        return name

    def activate(self, blob: str, activation: Activation | None) -> str:
        if activation is None:
            return blob
        if activation.kind not in LAYERS:
            raise _Refused(f"there is no layer for the activation {activation.kind}")
        kind, params = LAYERS[activation.kind](*activation.parameters)
        return self.add(kind, [blob], params)

    def add_weighted(self, kind: str, node: Node, params: Params, activation: Activation | None) -> str:
        """A layer of weights with its residual and activation: inside it where ncnn can, otherwise after it."""
        residual = node.inputs[3] if len(node.inputs) > 3 else None
        if residual is None and activation is not None and activation.kind in CARRIED:
            params[9] = CARRIED[activation.kind]
            values = [1 / 6, 0.5] if activation.kind == "hard_swish" else _bounded(activation.parameters)
            params |= {10: values} if values else {}
            activation = None
        blob = self.add(kind, [self.blob(node.inputs[0])], params)
        if residual is not None:
            blob = self.add("BinaryOp", [blob, self.blob(residual)], {0: BINARY["Add"]})
        return self.activate(blob, activation)


def _bounded(values: Iterable[float]) -> list[float]:
    """ncnn's files know no infinity."""
    return [min(max(v, -LARGEST), LARGEST) for v in values]


def _split(layers: list[Layer]) -> Iterator[Layer]:
    """ncnn lets a blob be read once: a Split layer makes as many of one as there are readers."""
    readers = Counter(blob for _, _, inputs, _, _ in layers for blob in inputs)
    taken: Counter[str] = Counter()
    for kind, name, inputs, outputs, params in layers:
        renamed = []
        for blob in inputs:
            renamed.append(f"{blob}_{taken[blob]}" if readers[blob] > 1 else blob)
            taken[blob] += 1
        yield kind, name, renamed, outputs, params
        for blob in outputs:
            if readers[blob] > 1:
                yield "Split", f"split_{blob}", [blob], [f"{blob}_{n}" for n in range(readers[blob])], {}


def _line(layer: Layer) -> str:
    """kind name inputs outputs input... output... key=value...; an array's key is -23300 less it."""
    kind, name, inputs, outputs, params = layer
    words = []
    for key, value in params.items():
        if isinstance(value, list):
            words.append(",".join([f"{-23300 - key}={len(value)}", *(f"{v:.9e}" for v in value)]))
        else:
            words.append(f"{key}={value:.9e}" if isinstance(value, float) else f"{key}={value}")
    return " ".join([kind, name, str(len(inputs)), str(len(outputs)), *inputs, *outputs, *words])


# --- operators ------------------------------------------------------------------------------------------------------


def _write(net: _Net, node: Node) -> str:
    """Adds the layers of a node; the blob of its first output."""
    op, x = node.op, node.inputs[0]
    assert x is not None
    kind = op.op_type
    if isinstance(op, Conv):
        return _conv(net, node, op)
    if isinstance(op, Gemm):
        return _gemm(net, node, op)
    if isinstance(op, (MaxPool, AveragePool)):
        return _pool(net, node, op)
    if isinstance(op, BatchNormalization):
        return _batch_norm(net, node, op)
    if kind in ("GlobalAveragePool", "GlobalMaxPool"):
        return net.add("Pooling", [net.blob(x)], {0: int(kind == "GlobalAveragePool"), 4: 1})
    if isinstance(op, Concat):
        return net.add("Concat", [net.blob(v) for v in node.inputs], {0: _axis(op.axis, x)})
    if isinstance(op, Softmax):
        return net.add("Softmax", [net.blob(x)], {0: _axis(op.axis, x), 1: 1})
    if kind in BINARY:
        return net.add("BinaryOp", [net.blob(v) for v in node.inputs], {0: BINARY[kind]})
    if isinstance(op, ActivationOp):
        activation = op.as_activation(*(None if v is None else v.operand for v in node.inputs))
        if activation is None:
            raise _Refused("its parameters are no constants")
        return net.activate(net.blob(x), activation)
    if kind in ("Identity", "Dropout"):
        return net.blob(x)
    if kind in ("Flatten", "Reshape") and node.output.type.rank == 2 and node.output.type.shape[0] == x.type.shape[0]:
        return net.add("Flatten", [net.blob(x)], {})
    raise _Refused("there is no layer for it")


def _conv(net: _Net, node: Node, op: Conv) -> str:
    x, w, b = (*node.inputs, None)[:3]
    assert x is not None and w is not None
    if w.constant is None or (b is not None and b.constant is None) or x.type.rank != 4:
        raise _Refused("only convolutions of two spatial axes whose weights are constants have a layer")
    g = op.windows(x.type.static_shape, w.type.static_shape)
    bias = None if b is None else b.constant
    net.weights(w.constant, tagged=True)
    net.weights(bias)
    if x.type.static_shape[2:] == g.kernel == g.output == (1, 1) and op.group == 1:  # what a global pool leaves
        full: Params = {0: w.constant.shape[0], 1: int(bias is not None), 2: w.constant.size}
        return net.add_weighted("InnerProduct", node, full, op.activation)
    params: Params = {
        0: w.constant.shape[0], 1: g.kernel[1], 11: g.kernel[0], 2: g.dilations[1], 12: g.dilations[0],
        3: g.strides[1], 13: g.strides[0], 4: g.begin[1], 15: g.end[1], 14: g.begin[0], 16: g.end[0],
        5: int(bias is not None), 6: w.constant.size}
    params |= {7: op.group} if op.group > 1 else {}
    return net.add_weighted("ConvolutionDepthWise" if op.group > 1 else "Convolution", node, params, op.activation)


def _gemm(net: _Net, node: Node, op: Gemm) -> str:
    _, b, c = (*node.inputs, None)[:3]
    assert b is not None
    if b.constant is None or (c is not None and c.constant is None) or op.transA or (op.alpha, op.beta) != (1, 1):
        raise _Refused("only x W + b with constant W and b has a layer")
    weights = b.constant if op.transB else b.constant.T
    params: Params = {0: weights.shape[0], 1: int(c is not None), 2: weights.size}
    net.weights(weights, tagged=True)
    net.weights(None if c is None or c.constant is None else np.broadcast_to(c.constant, (1, len(weights))))
    return net.add_weighted("InnerProduct", Node(op, node.inputs[:1], node.outputs, node.name), params, op.activation)


def _pool(net: _Net, node: Node, op: Pool) -> str:
    x = node.inputs[0]
    assert x is not None
    g = op.windows(x.type.static_shape)
    if x.type.rank != 4 or len(node.outputs) > 1 or any(d != 1 for d in g.dilations):
        raise _Refused("only pools of two spatial axes without dilation or indices have a layer")
    # The end that makes as many windows as there are: ceil_mode lets the last one hang over.
    end = [(count - 1) * s + k - size - begin for count, s, k, size, begin in
           zip(g.counts, g.strides, g.kernel, x.type.static_shape[2:], g.begin, strict=True)]
    average = isinstance(op, AveragePool)
    if average and any((*g.begin, *(e > 0 for e in end))):
        raise _Refused("an average pool with padding has no layer of the same meaning")
    return net.add("Pooling", [net.blob(x)], {
        0: int(average), 1: g.kernel[1], 11: g.kernel[0], 2: g.strides[1], 12: g.strides[0], 3: g.begin[1],
        14: max(end[1], 0), 13: g.begin[0], 15: max(end[0], 0), 5: 1})


def _batch_norm(net: _Net, node: Node, op: BatchNormalization) -> str:
    scale, bias, mean, variance = (None if v is None else v.constant for v in node.inputs[1:])
    if scale is None or bias is None or mean is None or variance is None:
        raise _Refused("its parameters are no constants")
    for array in (scale, mean, variance, bias):
        net.weights(array)
    blob = net.add("BatchNorm", [net.blob(node.inputs[0])], {0: scale.size, 1: float(op.epsilon)})
    return net.activate(blob, op.activation)


def _axis(axis: int, value: Value) -> int:
    """`axis` where the batch is left out."""
    found = axis % value.type.rank - 1
    if found < 0:
        raise _Refused("it goes across the batch")
    return found
