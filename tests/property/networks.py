"""Random networks: graphs of convolutions, pools, arithmetic, shapes and normalisations, with ways around and several
outputs, of sizes that are multiples of nothing.

Parameters that kernels are compiled for (activations behind convolutions, kinds of arithmetic) are drawn from few.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from cnncc.errors import GraphError
from cnncc.ir import Graph, TensorType, Value, parse_type
from cnncc.ops import OPS

__all__ = ["feeds_of", "random_network"]

CHANNELS = (1, 2, 3, 5, 8, 16, 17, 20, 32, 33)
SIZES = (1, 2, 5, 7, 8, 13, 19)
LARGEST = 60_000  # elements of a value
EPILOGUES = ("Relu", "Relu", "Clip", "HardSwish")
ALONE = ("Sigmoid", "Tanh", "LeakyRelu", "Softplus", "Abs", "Relu", "Gelu")


class Network:
    """Appends nodes to a graph; `values` are what the next one may read, all f32."""

    def __init__(self, seed: int, number: int) -> None:
        self.rng = np.random.default_rng([seed, number])
        self.graph = Graph(f"network_{seed}_{number}")
        self.batch = int(self.rng.choice([1, 1, 2, 3]))
        symbolic = self.rng.random() < 0.2
        side = (32, 28) if self.rng.random() < 0.1 else [int(s) for s in self.rng.choice(SIZES, 2)]
        shape = ("N" if symbolic else self.batch, int(self.rng.choice(CHANNELS)), *side)
        self.values = [self.graph.add_input("x", parse_type(f"f32[{','.join(map(str, shape))}]"))]
        if self.rng.random() < 0.2:
            self.values.append(self.graph.add_input("z", self.values[0].type))

    # -- what steps are made of --------------------------------------------------------------------------------------

    def pick(self) -> Value:
        """A value, most often one of the latest."""
        return self.values[-1 - min(int(self.rng.geometric(0.6)) - 1, len(self.values) - 1)]

    def picture(self) -> tuple[Value, int, tuple[int, int]]:
        """A value [N, C, H, W], its channels and size."""
        found = [v for v in self.values if v.type.rank == 4]
        x = found[-1 - min(int(self.rng.geometric(0.6)) - 1, len(found) - 1)]
        c, h, w = x.type.shape[1:]
        assert isinstance(c, int) and isinstance(h, int) and isinstance(w, int)
        return x, c, (h, w)

    def like(self, x: Value) -> Value:
        """Another value of the same shape, if there is one."""
        same = [v for v in self.values if v.type == x.type] or [x]
        return same[self.rng.integers(len(same))]

    def weights(self, *shape: int, scale: float = 1.0, around: float = 0.0) -> Value:
        array = self.rng.standard_normal(shape, np.float32) * np.float32(scale) + np.float32(around)
        return self.graph.add_constant(array, "w")

    def ints(self, *numbers: int) -> Value:
        return self.graph.add_constant(np.array(numbers, np.int64), "i")

    def op(self, op_type: str, *inputs: Value | None, **attributes: object) -> Value:
        node = self.graph.add_node(OPS[op_type](**attributes), inputs, name=f"{op_type.lower()}{len(self.graph)}")
        return node.output

    def one_of(self, *options: str) -> str:
        return str(self.rng.choice(options))

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    # -- steps -------------------------------------------------------------------------------------------------------

    def window(self, size: tuple[int, int], kernels: tuple[tuple[int, int], ...]) -> dict[str, tuple[int, ...]]:
        """Attributes of a window that fits."""
        kernel = kernels[self.rng.integers(len(kernels))]
        dilation = 2 if self.chance(0.15) else 1
        pads = [int(self.rng.integers(0, k // 2 + 1)) if self.chance(0.3) else k // 2 * dilation for k in kernel] * 2
        for axis in (0, 1):
            while size[axis] + pads[axis] + pads[axis + 2] < (kernel[axis] - 1) * dilation + 1:
                pads[axis] += 1
        stride = (1, 1, 1, 2)[self.rng.integers(4)]
        return {"kernel_shape": kernel, "pads": tuple(pads), "strides": (stride, stride), "dilations": (dilation,) * 2}

    def conv(self) -> Value:
        x, c, size = self.picture()
        window = self.window(size, ((1, 1), (1, 1), (3, 3), (3, 3), (3, 3), (5, 5), (1, 3), (3, 1)))
        group = c if self.chance(0.2) else 2 if c % 2 == 0 and self.chance(0.15) else 1
        outs = c * int(self.rng.integers(1, 3)) if group == c else group * int(self.rng.choice(CHANNELS))
        fan = c // group * math.prod(window["kernel_shape"])
        w = self.weights(outs, c // group, *window["kernel_shape"], scale=fan**-0.5)
        y = self.op("Conv", x, w, self.weights(outs) if self.chance(0.5) else None, group=group, **window)
        if self.chance(0.3):
            y = self.batch_norm(y)
        if self.chance(0.3) and self.like(y) is not y:
            y = self.op("Add", *(y, self.like(y))[::1 if self.chance(0.5) else -1])
        return self.op(self.one_of(*EPILOGUES), y) if self.chance(0.6) else y

    def conv_transpose(self) -> Value:
        x, c, _ = self.picture()
        kernel, stride = int(self.rng.integers(1, 4)), int(self.rng.integers(1, 3))
        outs = int(self.rng.choice(CHANNELS[:6]))
        w = self.weights(c, outs, kernel, kernel, scale=(c * kernel) ** -0.5)
        y = self.op("ConvTranspose", x, w, self.weights(outs) if self.chance(0.5) else None, strides=(stride, stride))
        return self.op("Relu", y) if self.chance(0.4) else y

    def batch_norm(self, x: Value | None = None) -> Value:
        x = x or self.picture()[0]
        c = int(x.type.shape[1])  # type: ignore[arg-type]
        variance = self.graph.add_constant(self.rng.uniform(0.5, 2, c).astype(np.float32), "w")
        return self.op("BatchNormalization", x, self.weights(c), self.weights(c), self.weights(c), variance)

    def activation(self) -> Value:
        return self.op(self.one_of(*ALONE), self.pick())

    def pool(self) -> Value:
        x, _, size = self.picture()
        window = self.window(size, ((2, 2), (3, 3)))
        window["pads"] = tuple(min(p, k - 1) for p, k in zip(window["pads"], window["kernel_shape"] * 2, strict=True))
        ceil = bool(self.chance(0.3))
        if self.chance(0.5):
            return self.op("MaxPool", x, ceil_mode=ceil, **window)
        window["dilations"] = (1, 1)  # of a window with nothing of the picture in it ONNX Runtime's mean is NaN
        return self.op("AveragePool", x, ceil_mode=ceil, count_include_pad=bool(self.chance(0.3)), **window)

    def whole_pool(self) -> Value:
        return self.op(self.one_of("GlobalAveragePool", "GlobalMaxPool"), self.picture()[0])

    def arithmetic(self) -> Value:
        x = self.pick()
        dims = [d if isinstance(d, int) else 1 for d in x.type.shape]
        kept = [d if self.chance(0.4) else 1 for d in dims][int(self.rng.integers(len(dims) + 1)):]
        kind = self.one_of("Add", "Sub", "Mul", "Div", "Min", "Max")
        other = self.weights(*kept, scale=0.2, around=1.0)
        return self.op(kind, *((x, other) if kind == "Div" or self.chance(0.7) else (other, x)))

    def both(self) -> Value:
        x = self.pick()
        return self.op(self.one_of("Add", "Mul", "Sub", "Max"), x, self.like(x))

    def gate(self) -> Value:
        """Squeeze and excitation."""
        x, c, _ = self.picture()
        flat = self.op("Flatten", self.op("GlobalAveragePool", x))
        hidden = self.op("Relu", self.op("Gemm", flat, self.weights(c, 4, scale=c**-0.5), self.weights(4)))
        dense = self.op("MatMul", hidden, self.weights(4, c, scale=0.5))
        return self.op("Mul", x, self.op("Reshape", self.op("Sigmoid", dense), self.ints(0, c, 1, 1)))

    def concat(self) -> Value:
        x = self.pick()
        axis = int(self.rng.integers(1, x.type.rank))
        fits = [v for v in self.values if v.type.rank == x.type.rank and all(
            a == b for i, (a, b) in enumerate(zip(v.type.shape, x.type.shape, strict=True)) if i != axis)]
        parts = [x, *(fits[self.rng.integers(len(fits))] for _ in range(int(self.rng.integers(1, 3))))]
        return self.op("Concat", *parts, axis=axis - x.type.rank if self.chance(0.3) else axis)

    def slice(self) -> Value:
        x = self.pick()
        axis = int(self.rng.integers(1, x.type.rank))
        size = int(x.type.shape[axis])  # type: ignore[arg-type]
        begin = int(self.rng.integers(size))
        if self.chance(0.15):
            return self.op("Slice", x, self.ints(-1), self.ints(-(1 << 40)), self.ints(axis), self.ints(-1))
        end = int(self.rng.integers(begin + 1, size + 1))
        return self.op("Slice", x, self.ints(begin), self.ints(end), self.ints(axis), self.ints(1 + self.chance(0.3)))

    def split(self) -> Value:
        """Two parts that meet again, the other way round or after something was done to one of them."""
        x, c, _ = self.picture()
        if c < 2:
            return self.activation()
        first = int(self.rng.integers(1, c))
        node = self.graph.add_node(OPS["Split"](axis=1), [x, self.ints(first, c - first)], outputs=2)
        left = self.op("Tanh", node.outputs[0]) if self.chance(0.5) else node.outputs[0]
        return self.op("Concat", node.outputs[1], left, axis=1)

    def reduce(self) -> Value:
        x = self.pick()
        axes = sorted({int(a) for a in self.rng.integers(1, x.type.rank, 2)})
        kind = self.one_of("ReduceMean", "ReduceMax", "ReduceSum", "ReduceMean")
        y = self.op(kind, x, self.ints(*axes), keepdims=True)
        return self.op("Sub", x, y) if self.chance(0.5) else self.op("Mul", y, self.weights(scale=0.3))

    def linear(self) -> Value:
        x = self.pick()
        k = int(x.type.shape[-1])  # type: ignore[arg-type]
        outs = int(self.rng.choice(CHANNELS))
        y = self.op("MatMul", x, self.weights(k, outs, scale=k**-0.5))
        y = self.op("Add", y, self.weights(outs)) if self.chance(0.6) else y
        return self.op("Relu", y) if self.chance(0.3) else y

    def resize(self) -> Value:
        x, _, (h, w) = self.picture()
        scales = [(2.0, 2.0), (1.5, 2.0), (0.5, 0.5), (3.0, 1.0)][self.rng.integers(4)]
        scales = tuple(s if int(d * s) >= 1 else 1.0 for s, d in zip(scales, (h, w), strict=True))
        how = ({"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
               {"mode": "linear"}, {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
               {"mode": "linear", "coordinate_transformation_mode": "asymmetric"})[self.rng.integers(4)]
        return self.op("Resize", x, None, self.graph.add_constant(np.array([1, 1, *scales], np.float32), "i"), **how)

    def normalize(self) -> Value:
        x, c, (h, w) = self.picture()
        kind = self.one_of("instance", "group", "layer", "lrn", "softmax")
        if kind == "instance" and h * w > 3:
            return self.op("InstanceNormalization", x, self.weights(c), self.weights(c), epsilon=0.1)
        if kind == "group" and h * w > 3:
            return self.op("GroupNormalization", x, self.weights(c), self.weights(c), num_groups=1 if c % 2 else 2,
                           epsilon=0.1)
        if kind == "layer" and w > 3:
            return self.op("LayerNormalization", x, self.weights(w), self.weights(w), epsilon=0.1)
        if kind == "lrn":
            return self.op("LRN", x, size=3, alpha=0.1)
        return self.op("Softmax", x, axis=int(self.rng.integers(1, 4)))

    def channels_last(self) -> Value:
        """Something along the last axis between two Transposes."""
        x, c, _ = self.picture()
        y = self.op("Transpose", x, perm=(0, 2, 3, 1))
        kind = self.one_of("Softmax", "Add", "MatMul", "Concat", "Sigmoid", "Pad")
        if kind == "Add":
            y = self.op("Add", y, self.weights(c))
        elif kind == "MatMul":
            y = self.op("MatMul", y, self.weights(c, c, scale=c**-0.5))
        elif kind == "Concat":
            y = self.op("Concat", y, y, axis=3)
        elif kind == "Pad":
            y = self.op("Pad", y, self.ints(0, 1, 0, 0, 0, 0, 2, 0))
        else:
            y = self.op(kind, y)
        return self.op("Transpose", y, perm=(0, 3, 1, 2))

    def turn(self) -> Value:
        x = self.pick()
        return self.op("Transpose", x, perm=(0, *(1 + int(a) for a in self.rng.permutation(x.type.rank - 1))))

    def shuffle(self) -> Value:
        x, c, (h, w) = self.picture()
        group = next((g for g in (2, 3, 5) if c % g == 0), 1)
        parts = self.op("Reshape", x, self.ints(0, group, c // group, h, w))
        return self.op("Reshape", self.op("Transpose", parts, perm=(0, 2, 1, 3, 4)), self.ints(0, c, h, w))

    def blocks(self) -> Value:
        x, c, (h, w) = self.picture()
        if c % 4 == 0:
            return self.op("DepthToSpace", x, blocksize=2, mode=self.one_of("DCR", "CRD"))
        if h % 2 == 0 and w % 2 == 0:
            return self.op("SpaceToDepth", x, blocksize=2)
        return self.activation()

    def pad(self) -> Value:
        x, _, (h, w) = self.picture()
        mode = self.one_of("constant", "edge", "reflect")
        room = min(h, w) - 1 if mode == "reflect" else 3
        t, le, b, r = (int(p) for p in self.rng.integers(0, min(room, 3) + 1, 4))
        return self.op("Pad", x, self.ints(0, 0, t, le, 0, 0, b, r), mode=mode)

    def flat(self) -> Value:
        """Of rank 3, or back to a picture."""
        x = self.pick()
        if x.type.rank == 4:
            return self.op("Reshape", x, self.ints(0, 0, -1))
        return self.op("Unsqueeze", x, self.ints(-1))

    def attention(self) -> Value:
        x, _, _ = self.picture()
        k, v = self.like(x), self.like(x)
        scores = self.op("MatMul", x, self.op("Transpose", k, perm=(0, 1, 3, 2)))
        scores = self.op("Mul", scores, self.graph.add_constant(np.float32(0.1)))
        return self.op("MatMul", self.op("Softmax", scores), v)

    def steps(self) -> tuple[tuple[Callable[[], Value], int], ...]:
        return (
            (self.conv, 10), (self.activation, 2), (self.pool, 3), (self.arithmetic, 3), (self.both, 2), (self.gate, 1),
            (self.concat, 2), (self.slice, 2), (self.split, 1), (self.reduce, 1), (self.linear, 1), (self.resize, 1),
            (self.normalize, 2), (self.channels_last, 1), (self.turn, 1), (self.shuffle, 1), (self.blocks, 1),
            (self.pad, 1), (self.flat, 1), (self.attention, 1), (self.conv_transpose, 1), (self.whole_pool, 1),
            (self.batch_norm, 1))


def random_network(seed: int, number: int) -> Graph:
    """The network of this number: 3 to 12 steps, one to three outputs. Its constants are given, its sizes small."""
    b = Network(seed, number)
    steps = b.steps()
    chances = np.array([weight for _, weight in steps], np.float64)
    for _ in range(int(b.rng.integers(3, 13))):
        try:
            value = steps[b.rng.choice(len(steps), p=chances / chances.sum())][0]()
        except GraphError:  # what was drawn does not fit
            continue
        elements = math.prod(b.batch if not isinstance(d, int) else d for d in value.type.shape)
        if 0 < elements <= LARGEST and value.type.rank in (3, 4):
            b.values.append(value)
    latest = b.values[-1]
    others = [v for v in (b.values[int(i)] for i in b.rng.integers(0, len(b.values), 2)) if v.producer is not None]
    outputs = list(dict.fromkeys([latest, *others[:int(b.rng.integers(3))]]))
    b.graph.set_outputs(outputs, [f"out{i}" for i in range(len(outputs))])
    return b.graph


def feeds_of(graph: Graph, seed: int, number: int) -> dict[str, np.ndarray]:
    """Normal numbers for every input; a symbolic batch is 2."""
    rng = np.random.default_rng([seed, number, 1])
    types: dict[str, TensorType] = {v.name: v.type.bind({"N": 2}) for v in graph.inputs}
    return {name: rng.standard_normal(t.static_shape, np.float32) for name, t in types.items()}
