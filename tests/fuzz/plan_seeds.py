"""The plans that mutants are made of: small networks, lowered for three widths of vectors, that together have every
kind of step, storage and region that a plan can have."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from cnncc.compiler import optimise
from cnncc.errors import CnnccError
from cnncc.ir import Activation, DType, Graph, Value, parse_type
from cnncc.lower import lower
from cnncc.ops import OPS
from cnncc.plan import Buffer, Plan, Port, Step
from cnncc.plan_checks import check_plan
from cnncc.planfile import plan_bytes
from cnncc.runtime.cpu.binding import bind
from cnncc.runtime.cpu.lower.table import LOWERINGS

__all__ = ["SEEDS", "seed_plan", "seeds"]

Array = np.ndarray[Any, Any]
RELU = Activation("relu")
F2, F4 = ("conv_winograd_raw", {"m": 2}), ("conv_winograd", {"m": 4, "rows": 8, "vectors": 2})


class Net:
    """A graph in the making: `net.Conv(x, w, pads=[1,1,1,1])` adds a node and gives its output."""

    def __init__(self, name: str) -> None:
        self.graph = Graph(name)
        self.random = np.random.default_rng(len(name))

    def input(self, name: str, type_: str) -> Value:
        return self.graph.add_input(name, parse_type(type_))

    def weight(self, *shape: int) -> Value:
        return self.graph.add_constant(self.random.uniform(-0.5, 0.5, shape).astype(np.float32), "w")

    def const(self, values: Any, dtype: str = "i64") -> Value:
        return self.graph.add_constant(np.array(values, DType(dtype).numpy), "c")

    def add(self, op_type: str, *inputs: Value | None, outputs: int = 1, **attributes: Any) -> Any:
        attributes = {k: tuple(v) if isinstance(v, list) else v for k, v in attributes.items()}
        node = self.graph.add_node(OPS[op_type](**attributes), inputs, outputs=outputs)
        return node.outputs[0] if outputs == 1 else node.outputs

    def __getattr__(self, op_type: str) -> Callable[..., Any]:
        return functools.partial(self.add, op_type)

    def done(self, *outputs: Value) -> Graph:
        self.graph.set_outputs(outputs)
        return self.graph


def residual(n: Net) -> Graph:
    x = n.input("x", "f32[1,3,6,6]")
    a = n.Conv(x, n.weight(20, 3, 3, 3), n.weight(20), pads=[1, 1, 1, 1], activation=RELU)
    b = n.Conv(a, n.weight(20, 20, 3, 3), n.weight(20), pads=[1, 1, 1, 1], activation=RELU)
    c = n.Conv(b, n.weight(20, 20, 1, 1), None, a, activation=Activation("clip", (0.0, 6.0)))
    return n.done(n.Gemm(n.Flatten(n.GlobalAveragePool(c)), n.weight(20, 5), n.weight(5)))


def branches(n: Net) -> Graph:
    x = n.input("x", "f32[1,16,4,4]")
    a, b = n.Conv(x, n.weight(16, 16, 1, 1)), n.MaxPool(x, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    whole = n.Concat(a, b, n.Relu(x), axis=1)
    left, right = n.Split(whole, n.const([16, 32]), outputs=2, axis=1)
    return n.done(n.Add(n.Sigmoid(left), a), n.AveragePool(right, kernel_shape=[2, 2], strides=[2, 2]), left)


def depthwise(n: Net) -> Graph:
    x = n.input("x", "f32[1,18,5,5]")
    a = n.Conv(x, n.weight(18, 1, 3, 3), n.weight(18), group=18, pads=[1, 1, 1, 1], activation=Activation("hard_swish"))
    b = n.Conv(a, n.weight(12, 9, 1, 1), group=2)
    return n.done(n.ConvTranspose(n.Conv(b, n.weight(12, 3, 3, 1), group=4), n.weight(12, 3, 2, 2), strides=[2, 2]))


def symbolic(n: Net) -> Graph:
    x = n.input("x", "f32[N,4,H,2*W+1]")
    a = n.Conv(x, n.weight(8, 4, 3, 3), n.weight(8), pads=[1, 1, 1, 1], strides=[1, 2])
    flat = n.Reshape(a, n.Concat(n.Slice(n.Shape(a), n.const([0]), n.const([1])), n.const([-1]), axis=0))
    return n.done(flat, n.MaxPool(a, kernel_shape=[2, 2]), n.ReduceMean(a, n.const([2, 3]), keepdims=False))


def attention(n: Net) -> Graph:
    x = n.input("x", "f32[2,5,8]")
    q, k, v = (n.MatMul(x, n.weight(8, 8)) for _ in range(3))
    p = n.Softmax(n.MatMul(q, n.Transpose(k, perm=[0, 2, 1])), axis=-1)
    y = n.LayerNormalization(n.Add(n.MatMul(p, v), x), n.weight(8), n.weight(8), axis=-1)
    return n.done(n.Attention(y, k, v, q_num_heads=2, kv_num_heads=2), n.Gelu(n.MatMul(y, n.weight(8, 8), n.weight(8))))


def pointwise(n: Net) -> Graph:
    x, y = n.input("x", "f32[1,18,3,2]"), n.input("y", "f32[18,1,1]")
    a = n.Mul(n.Add(x, y), n.const(0.5, "f32"))
    b = n.Where(n.Greater(a, n.const([[0.25]], "f32")), n.Exp(a), n.Clip(x, n.const(-0.5, "f32"), None))
    c = n.Cast(n.Mul(b, n.const(8, "f32")), to=DType.I32)
    return n.done(n.Pow(n.Abs(b), n.const(2.0, "f32")), n.BitwiseAnd(c, n.const(3, "i32")), n.Cast(x, to=DType.F64),
                  n.BatchNormalization(x, n.weight(18), n.weight(18), n.weight(18), n.Abs(n.weight(18))))


def moving(n: Net) -> Graph:
    x = n.input("x", "f32[1,4,4,4]")
    a = n.Pad(x, n.const([0, 0, 1, 2, 0, 0, 1, 0]), mode="reflect")
    b = n.Slice(a, n.const([3, 0]), n.const([-10, 5]), n.const([2, 3]), n.const([-1, 2]))
    c = n.DepthToSpace(x, blocksize=2)
    d = n.Tile(n.Expand(n.SpaceToDepth(c, blocksize=2), n.const([2, 4, 4, 4])), n.const([1, 1, 2, 1]))
    e = n.Gather(d, n.input("i", "i64[3]"), axis=1)
    return n.done(b, n.Transpose(e, perm=[3, 1, 0, 2]), n.GatherElements(x, n.const(np.zeros((1, 4, 4, 1))), axis=3))


def sampling(n: Net) -> Graph:
    x, grid = n.input("x", "f32[1,4,4,4]"), n.input("grid", "f32[1,3,3,2]")
    a = n.Resize(x, None, n.const([1.0, 1.0, 1.5, 2.0], "f32"), mode="linear")
    y, places = n.MaxPool(x, kernel_shape=[2, 2], strides=[2, 2], outputs=2)
    b = n.MaxUnpool(y, places, kernel_shape=[2, 2], strides=[2, 2])
    rois = n.input("rois", "f32[2,4]")
    c = n.RoiAlign(x, rois, n.const([0, 0]), output_height=2, output_width=2, spatial_scale=1.0)
    return n.done(a, n.GridSample(x, grid, padding_mode="border"), b, c, n.ArgMax(x, axis=1), n.LRN(x, size=3))


def recurrent(n: Net) -> Graph:
    x = n.input("x", "f32[3,2,4]")
    y, h, c = n.LSTM(x, n.weight(1, 16, 4), n.weight(1, 16, 4), n.weight(1, 32), hidden_size=4, outputs=3)
    z = n.GRU(n.Squeeze(y, n.const([1])), n.weight(1, 12, 4), n.weight(1, 12, 4), n.weight(1, 24), hidden_size=4)
    return n.done(z, h, n.CumSum(c, n.const(0)))


def quantized(n: Net) -> Graph:
    x = n.input("x", "u8[1,4,5,5]")
    scale, zero = n.const(0.05, "f32"), n.const(7, "u8")
    w = n.const(n.random.integers(-9, 9, (8, 4, 3, 3)), "i8")
    a = n.QLinearConv(x, scale, zero, w, scale, n.const(0, "i8"), scale, zero, n.const(range(8), "i32"))
    b = n.DequantizeLinear(a, scale, zero)
    c = n.QuantizeLinear(n.Relu(b), scale, zero)
    f = n.Reshape(c, n.const([1, -1]))
    g = n.MatMulInteger(f, n.const(n.random.integers(-9, 9, (72, 6)), "i8"), zero)
    return n.done(g, n.QLinearAdd(a, scale, zero, c, scale, zero, scale, zero))


def found(n: Net) -> Graph:
    x = n.input("x", "f32[2,M]")
    a = n.Relu(x)
    places = n.NonZero(n.Greater(a, n.const(0.25, "f32")))
    y = n.Sigmoid(n.GatherND(a, n.Transpose(places, perm=[1, 0])))
    values, numbers = n.TopK(x, n.Reshape(n.ReduceMax(n.Shape(x)), n.const([1])), outputs=2)
    return n.done(y, n.Add(y, y), values, numbers)


def body(name: str, inputs: dict[str, str], make: Callable[..., Any]) -> Graph:
    n = Net(name)
    made = make(n, *[n.input(key, type_) for key, type_ in inputs.items()])
    return n.done(*made)


def control(n: Net) -> Graph:
    x, go = n.input("x", "f32[2,3]"), n.input("go", "bool[]")
    then = body("then", {"a": "f32[2,3]"}, lambda n, a: (n.Exp(a),))
    other = body("other", {"a": "f32[2,3]"}, lambda n, a: (n.Add(a, n.weight(3)),))
    y = n.If(go, x, then_branch=then, else_branch=other)
    loop = body("loop", {"i": "i64[]", "c": "bool[]", "v": "f32[2,3]", "k": "f32[2,3]"},
                lambda n, i, c, v, k: (c, n.Mul(v, n.Sigmoid(k)), n.Cast(i, to=DType.F32)))
    v, each = n.Loop(n.const(3), None, y, x, body=loop, carried=1, outputs=2)
    scan = body("scan", {"s": "f32[3]", "r": "f32[3]"}, lambda n, s, r: (n.Add(s, r), n.Relu(r)))
    total, rows = n.Scan(n.weight(3), v, body=scan, num_scan_inputs=1, states=1, outputs=2)
    return n.done(total, rows, each)


def winograd(n: Net) -> Graph:
    x = n.input("x", "f32[1,16,7,5]")
    a = n.Conv(x, n.weight(32, 16, 3, 3), n.weight(32), pads=[1, 1, 1, 1], activation=RELU)
    return n.done(n.Conv(a, n.weight(16, 32, 3, 3), None, x, pads=[1, 1, 1, 1]))


def unary(n: Net) -> Graph:
    x = n.input("x", "f32[1,16,2,2]")
    return n.done(n.Relu(x))


def constant(n: Net) -> Graph:
    x = n.input("x", "f32[2,2]")
    w = n.weight(2, 2)
    return n.done(n.Reshape(x, n.const([4])), w, x, n.Add(x, w), n.Identity(x), n.const([True, False], "bool"))


# name -> (what it computes, the floats of a vector)
SEEDS: dict[str, tuple[Callable[[Net], Graph], int]] = {
    "attention": (attention, 8), "branches": (branches, 16), "constant": (constant, 16), "control": (control, 16),
    "depthwise": (depthwise, 16), "found": (found, 16), "moving": (moving, 16), "pointwise": (pointwise, 16),
    "quantized": (quantized, 16), "recurrent": (recurrent, 8), "residual": (residual, 16), "sampling": (sampling, 16),
    "symbolic": (symbolic, 4), "unary": (unary, 16), "winograd": (winograd, 16),
}


def seed_plan(name: str) -> Plan:
    make, lanes = SEEDS[name]
    graph = make(Net(name))
    if name == "recurrent":  # native only where the products with W are steps of their own
        optimise(graph)
    plan = lower(graph, LOWERINGS, lanes, producer="fuzz")
    if name == "symbolic":
        plan = dataclasses.replace(plan, ranges={"N": (1, 4)})
    if name == "winograd":
        plan = dataclasses.replace(plan, steps=tuple(
            dataclasses.replace(step, kernel=kernel, params=params) if step.kernel == "conv_direct" else step
            for step, (kernel, params) in zip(plan.steps, itertools.cycle((F2, F4)), strict=False)))
    return dataclasses.replace(plan, arena=bind(plan, {}).storage.arena) if plan.is_static else plan


def _piece(plan: Plan, number: int) -> Plan:
    """One step of a plan alone: what it reads that is computed are inputs, what it gives are outputs, plain both."""
    step, buffers, steps, weights = plan.steps[number], [], [], {}
    places: dict[int, int] = {}
    inputs, outputs = [], []

    def buffer(old: Buffer, layout: str) -> int:
        buffers.append(dataclasses.replace(old, layout=layout))
        return len(buffers) - 1

    def reordered(source: int, target: int) -> Step:
        return Step("reorder", OPS["Identity"](), "reorder", (source,), (target,))

    for old in dict.fromkeys(b for b in step.inputs if b is not None):
        given = plan.buffers[old]
        places[old] = at = buffer(given, "plain")
        if old in plan.weights:
            weights[at] = plan.weights[old]
            continue
        inputs.append(Port(f"x{at}", at))
        if given.layout != "plain":
            places[old] = buffer(given, given.layout)
            steps.append(reordered(at, places[old]))
    made = [buffer(plan.buffers[old], plan.buffers[old].layout) for old in step.outputs]
    steps.append(dataclasses.replace(step, inputs=tuple(None if b is None else places[b] for b in step.inputs),
                                     outputs=tuple(made)))
    for at in made:
        out = at
        if buffers[at].layout != "plain":
            out = buffer(buffers[at], "plain")
            steps.append(reordered(at, out))
        outputs.append(Port(f"y{out}", out))
    return Plan("piece", "cpu", plan.lanes, tuple(buffers), tuple(steps), tuple(inputs), tuple(outputs), weights)


@functools.cache
def seeds() -> tuple[bytes, ...]:
    """The files of all seeds, and of their single steps: these are quick to try."""
    files = []
    for plan in map(seed_plan, SEEDS):
        files.append(plan_bytes(plan))
        for number in range(len(plan.steps)):
            with contextlib.suppress(CnnccError):  # what depends on sizes that other steps define
                piece = _piece(plan, number)
                check_plan(piece)
                if piece.is_static:
                    piece = dataclasses.replace(piece, arena=bind(piece, {}).storage.arena)
                files.append(plan_bytes(piece))
    return tuple(dict.fromkeys(files))
