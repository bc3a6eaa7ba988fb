"""What compiling costs grows with the number of nodes, not with its square: lines of Python executed are counted."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import numpy as np
import pytest

import cnncc
from cnncc.ir import Graph, Value, parse_type
from cnncc.ops import OPS
from cnncc.plan import Plan
from cnncc.runtime.cpu.binding import bind

WEIGHT = np.ones((8, 8, 1, 1), np.float32)


def chain(graph: Graph, x: Value, count: int) -> list[Value]:
    """Residual blocks, each reading the one before."""
    for i in range(count // 4):
        y = graph.add_node(OPS["Conv"](), [x, graph.add_constant(WEIGHT * (i + 1), "w")]).output
        numbers = [graph.add_constant(np.full(8, 0.5, np.float32), name) for name in ("s", "b", "m", "v")]
        y = graph.add_node(OPS["BatchNormalization"](), [y, *numbers]).output
        x = graph.add_node(OPS["Add"](), [graph.add_node(OPS["Relu"](), [y]).output, x]).output
    return [x]


def branches(graph: Graph, x: Value, count: int) -> list[Value]:
    """Everything reads the input; all is joined, and every fourth branch is an output as well."""
    ends = []
    for i in range(count // 3):
        y = graph.add_node(OPS["Conv"](), [x, graph.add_constant(WEIGHT * (i + 1), "w")]).output
        ends.append(graph.add_node(OPS["Mul"](), [y, graph.add_node(OPS["Sigmoid"](), [y]).output]).output)
    return [graph.add_node(OPS["Concat"](axis=1), ends).output, *ends[::4]]


def shapes(graph: Graph, x: Value, count: int) -> list[Value]:
    """Reshapes by computed sizes, transposed and back."""
    for _ in range(count // 6):
        size = graph.add_node(OPS["Shape"](), [x]).output
        flat = graph.add_node(OPS["Flatten"](axis=2), [x]).output
        turned = graph.add_node(OPS["Transpose"](perm=(1, 0)), [flat]).output
        soft = graph.add_node(OPS["Softmax"](), [turned]).output
        back = graph.add_node(OPS["Transpose"](perm=(1, 0)), [soft]).output
        x = graph.add_node(OPS["Reshape"](), [back, size]).output
    return [x]


def lines_executed(run: Callable[[], Any]) -> int:
    count = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        run()
    finally:
        sys.settrace(before)
    return count


def work(build: Callable[[Graph, Value, int], list[Value]], nodes: int) -> int:
    graph = Graph()
    graph.set_outputs(build(graph, graph.add_input("x", parse_type("f32[1,8,8,8]")), nodes))

    def run() -> None:
        plan: Plan = cnncc.compile(graph, warm=False)
        bind(plan, {})

    return lines_executed(run)


@pytest.mark.parametrize("build", [chain, branches, shapes])
def test_compile_and_bind(build: Callable[[Graph, Value, int], list[Value]]) -> None:
    work(build, 24)  # imports, and what is remembered once
    small, large = work(build, 120), work(build, 480)
    assert large <= 4.5 * small  # 4 times the nodes; with a square term it would tend to 16
