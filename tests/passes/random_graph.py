"""Small random convolutional graphs, with all that passes look for and all that must stop them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cnncc.ir import Graph, TensorType, Value, parse_type
from cnncc.ops import OPS

__all__ = ["random_graph"]

CHANNELS = 4
SIZE = 6


class _Builder:
    """Appends nodes to a graph; every value is f32[N,CHANNELS,SIZE,SIZE] between two steps."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.graph = Graph(f"random{seed}")
        self.values = [self.graph.add_input("x", parse_type(f"f32[N,{CHANNELS},{SIZE},{SIZE}]"))]

    def pick(self) -> Value:
        """A value, most often one of the latest."""
        return self.values[-1 - min(int(self.rng.geometric(0.6)) - 1, len(self.values) - 1)]

    def weights(self, *shape: int, low: float = -1.0) -> Value:
        return self.graph.add_constant(self.rng.uniform(low, low + 1.5, shape).astype(np.float32), "w")

    def ints(self, *numbers: int) -> Value:
        return self.graph.add_constant(np.array(numbers, np.int64), "i")

    def op(self, op_type: str, *inputs: Value | None, **attributes: object) -> Value:
        name = f"{op_type.lower()}{len(self.graph)}"
        return self.graph.add_node(OPS[op_type](**attributes), inputs, name=name).output

    def conv(self) -> Value:
        kernel = int(self.rng.choice([1, 3]))
        bias = self.weights(CHANNELS) if self.rng.random() < 0.5 else None
        scale = self.op("Mul", self.weights(CHANNELS, CHANNELS, kernel, kernel),
                        self.graph.add_constant(np.float32(0.4)))
        x = self.pick()
        if kernel == 3 and self.rng.random() < 0.4:
            x, pads = self.op("Pad", x, self.ints(0, 0, 1, 1, 0, 0, 1, 1)), {}
        elif kernel == 3 and self.rng.random() < 0.4:
            pads = {"auto_pad": "SAME_UPPER"}
        else:
            pads = {"pads": (kernel // 2,) * 4}
        return self.op("Conv", x, scale, bias, **pads)

    def batch_norm(self) -> Value:
        return self.op("BatchNormalization", self.pick(), *(self.weights(CHANNELS) for _ in range(3)),
                       self.weights(CHANNELS, low=0.5))

    def arithmetic(self) -> Value:
        shape = [(CHANNELS, 1, 1), (1, CHANNELS, 1, 1), (), (SIZE,)][self.rng.integers(4)]
        operands = [self.pick(), self.weights(*shape, low=0.5)]
        kind = str(self.rng.choice(["Add", "Sub", "Mul", "Div"]))
        return self.op(kind, *(operands[::-1] if self.rng.random() < 0.3 and kind != "Div" else operands))

    def add(self) -> Value:
        return self.op(str(self.rng.choice(["Add", "Sum"])), self.pick(), self.pick())

    def activation(self) -> Value:
        kinds = ["Relu", "Tanh", "HardSwish", "LeakyRelu", "Clip", "Softsign"]
        return self.op(str(self.rng.choice(kinds)), self.pick())

    def swish(self) -> Value:
        x = self.pick()
        return self.op("Mul", x, self.op("Sigmoid", x))

    def pool(self) -> Value:
        kind = str(self.rng.choice(["AveragePool", "MaxPool"]))
        if self.rng.random() < 0.5:
            padded = self.op("Pad", self.op("Relu", self.pick()), self.ints(0, 0, 1, 0, 0, 0, 1, 2))
            return self.op(kind, padded, kernel_shape=(3, 3))
        return self.op(kind, self.pick(), kernel_shape=(3, 3), pads=(1, 1, 1, 1))

    def gate(self) -> Value:
        """Squeeze and excitation."""
        x = self.pick()
        flat = self.op("Flatten", self.op("AveragePool", x, kernel_shape=(SIZE, SIZE)))
        dense = self.op("Add", self.op("MatMul", flat, self.weights(CHANNELS, CHANNELS)), self.weights(CHANNELS))
        return self.op("Mul", x, self.op("Reshape", self.op("Sigmoid", dense), self.ints(0, CHANNELS, 1, 1)))

    def shuffle(self) -> Value:
        parts = self.op("Reshape", self.pick(), self.ints(0, 2, 2, SIZE, SIZE))
        return self.op("Reshape", self.op("Transpose", parts, perm=(0, 2, 1, 3, 4)), self.ints(0, 4, SIZE, -1))

    def detour(self) -> Value:
        x = self.op("Identity", self.op("Dropout", self.op("Transpose", self.pick(), perm=(0, 2, 3, 1))))
        return self.op("Squeeze", self.op("Unsqueeze", self.op("Transpose", x, perm=(0, 3, 1, 2)), self.ints(1)),
                       self.ints(1))

    def channels_last(self) -> Value:
        """Channels last between two Transposes, as TensorFlow has them."""
        x = self.op("Transpose", self.pick(), perm=(0, 2, 3, 1))
        kind = str(self.rng.choice(["Add", "Mul", "Concat", "Pad", "Softmax"]))
        if kind == "Concat":
            left = self.op("Slice", x, self.ints(0), self.ints(1), self.ints(3))
            x = self.op("Concat", self.op("Slice", x, self.ints(1), self.ints(CHANNELS), self.ints(-1)), left, axis=-1)
        elif kind == "Pad":
            x = self.op("Pad", self.op("Relu", x), self.ints(0, 1, 0, 0, 0, -1, 0, 0))
        else:
            x = self.op(kind, x) if kind == "Softmax" else self.op(kind, x, self.weights(CHANNELS, low=0.5))
        return self.op("Transpose", x, perm=(0, 3, 1, 2))

    def linear(self) -> Value:
        """Layer normalization in arithmetic, then a linear layer along the last axis and the way around it."""
        x, axes = self.pick(), self.ints(-1)
        centred = self.op("Sub", x, self.op("ReduceMean", x, axes))
        mean = self.op("ReduceMean", self.op("Mul", centred, centred), axes)
        deviation = self.op("Sqrt", self.op("Add", mean, self.graph.add_constant(np.float32(0.1))))
        normal = self.op("Mul", self.op("Div", centred, deviation), self.weights(SIZE))
        dense = self.op("Add", self.op("MatMul", normal, self.weights(SIZE, SIZE)), self.weights(SIZE))
        return self.op("Add", x, dense)

    def attention(self) -> Value:
        """Of the rows of each channel."""
        q, k, v = self.pick(), self.pick(), self.pick()
        scores = self.op("MatMul", q, self.op("Transpose", k, perm=(0, 1, 3, 2)))
        scores = self.op("Mul", scores, self.graph.add_constant(np.float32(0.1)))
        return self.op("MatMul", self.op("Softmax", scores), v)

    def through_shape(self) -> Value:
        x = self.pick()
        batch = self.op("Gather", self.op("Shape", x), self.ints(0))
        flat = self.op("Reshape", x, self.op("Concat", batch, self.ints(-1), axis=0))
        return self.op("Reshape", flat, self.ints(-1, CHANNELS, SIZE, SIZE))

    def repeat(self) -> Value:
        """The same as an earlier node, once more."""
        nodes = [n for n in self.graph.walk() if n.outputs[0] in self.values]
        if not nodes:
            return self.activation()
        node = nodes[self.rng.integers(len(nodes))]
        return self.graph.add_node(node.op, node.inputs, name=f"again{len(self.graph)}").output


def random_graph(seed: int, steps: int = 12) -> Graph:
    """A graph of about three nodes a step from one input x: f32[N,4,6,6], with one to three outputs."""
    b = _Builder(seed)
    kinds: list[tuple[Callable[[], Value], int]] = [
        (b.conv, 6), (b.batch_norm, 3), (b.arithmetic, 3), (b.add, 3), (b.activation, 3), (b.swish, 1), (b.pool, 1),
        (b.gate, 1), (b.shuffle, 1), (b.detour, 1), (b.through_shape, 1), (b.repeat, 1), (b.channels_last, 1),
        (b.linear, 1), (b.attention, 1)]
    chances = np.array([weight for _, weight in kinds], np.float64)
    for _ in range(steps):
        value = kinds[b.rng.choice(len(kinds), p=chances / chances.sum())][0]()
        assert value.type == TensorType(value.type.dtype, b.values[0].type.shape), value
        b.values.append(value)
    count = int(b.rng.integers(1, 4))
    others = [b.values[int(i)] for i in b.rng.integers(0, len(b.values), count - 1)]
    b.graph.set_outputs([b.values[-1], *others], [f"out{i}" for i in range(count)])
    return b.graph
