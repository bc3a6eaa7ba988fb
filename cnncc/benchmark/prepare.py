"""A network in the form that each engine reads: an ONNX file, a plan compiled from it, ncnn's own format."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import UnsupportedError
from ..ir import Graph, Op, TensorType, Value
from ..ops.pointwise_depthwise import PointwiseDepthwiseConv
from ..plan import REORDER, Plan
from .compare import OURS, Array, Case

__all__ = ["graph_of_plan", "prepare", "random_inputs"]


def prepare(name: str, onnx: Path, folder: Path, engines: Sequence[str], inputs: Sequence[Array], *,
            plan: Path | None = None, tune: bool = False, threads: int | None = None) -> Case:
    """The case of an ONNX file for these engines; what must be written lies in `folder`.

    The file's symbolic sizes are bound to those of `inputs`. `plan` is used where it is given, otherwise the file is
    compiled, with `tune` for this number of threads.
    """
    models = dict.fromkeys(engines, onnx)
    left_out: dict[str, str] = {}
    if OURS in engines:
        models[OURS] = plan or _compile(onnx, folder / f"{name}.plan", inputs, tune, threads)
    if "ncnn" in engines:
        models["ncnn"] = folder / f"{name}.param"
        try:
            _write_ncnn(onnx, models["ncnn"], inputs)
        except UnsupportedError as error:
            left_out["ncnn"] = str(error)
    return Case(name, models, inputs, left_out)


def _sized_graph(onnx: Path, inputs: Sequence[Array]) -> Graph:
    """The file's graph for inputs of these shapes."""
    from ..frontends import load_graph

    graph = load_graph(onnx)
    for value, x in zip(graph.inputs, inputs, strict=True):
        value.type = TensorType(value.type.dtype, x.shape)
    graph.reinfer()
    return graph


def _compile(onnx: Path, path: Path, inputs: Sequence[Array], tune: bool, threads: int | None) -> Path:
    from ..compiler import compile

    compile(_sized_graph(onnx, inputs), tune=tune, threads=threads).save(path)
    return path


def _write_ncnn(onnx: Path, path: Path, inputs: Sequence[Array]) -> None:
    from ..compiler import optimise
    from .ncnn_net import write_ncnn

    graph = _sized_graph(onnx, inputs)
    optimise(graph)
    write_ncnn(graph, path)


def random_inputs(shapes: Sequence[Sequence[int]]) -> list[Array]:
    """Seeded normal numbers in single precision."""
    random = np.random.default_rng(0)
    return [random.standard_normal(tuple(shape)).astype(np.float32) for shape in shapes]


def graph_of_plan(plan: Plan) -> Graph:
    """The network that a plan computes, as a graph: its operators with their weights, without layouts, and convolutions
    that run in one pass each for itself."""
    graph = Graph(plan.name)
    values: dict[int, Value] = {}
    for port in plan.inputs:
        values[port.buffer] = graph.add_input(port.name, plan.buffers[port.buffer].type)
    for number, array in plan.weights.items():
        values[number] = graph.add_constant(array, plan.buffers[number].name)
    for step in plan.steps:
        inputs = [None if n is None else values[n] for n in step.inputs]
        if step.kernel == REORDER:
            source = inputs[0]
            assert source is not None
            values[step.outputs[0]] = source
            continue
        op: Op = step.op
        if isinstance(op, PointwiseDepthwiseConv):
            x, w, v, b, d = (*inputs, None, None)[:5]
            assert w is not None
            first = [x, w] if b is None else [x, w, b]
            middle = graph.add_node(op.pointwise, first, name=f"{step.name}.pointwise").output
            op, inputs = op.depthwise(w.type.static_shape[0]), [middle, v] if d is None else [middle, v, d]
        names = [graph.fresh_name(plan.buffers[n].name) for n in step.outputs]
        node = graph.add_node(op, inputs, name=step.name, outputs=names)
        values |= dict(zip(step.outputs, node.outputs, strict=True))
    graph.set_outputs([values[port.buffer] for port in plan.outputs], [port.name for port in plan.outputs])
    return graph
