"""RNN, GRU and LSTM on their native kernel, between guard pages, against the reference in double precision."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

import cnncc
from cnncc.ir import Graph, TensorType, evaluate, parse_type
from cnncc.ops.recurrent import GRU, LSTM, RNN, Recurrent
from tests.runtime.cpu.harness import UNIT
from tests.runtime.cpu.lowered import Setting, run_lowered

Array = np.ndarray[Any, Any]


def numbers(seed: int, *shape: int) -> Array:
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def inputs_of(op: Recurrent, steps: int, batch: int, hidden: int, rng: np.random.Generator) -> list[Array | None]:
    """X as the products of the input, and each optional operand there or not."""
    d, width = op.directions, op.directions * op.gates * hidden
    x = numbers(0, *((batch, steps, width) if op.layout else (steps, batch, width)))
    state = (batch, d, hidden) if op.layout else (d, batch, hidden)
    r = numbers(1, d, op.gates * hidden, hidden) / np.sqrt(np.float32(hidden))
    lens = rng.integers(0, steps + 1, batch).astype(np.int32)
    found = [x, None, r, numbers(2, d, 2 * op.gates * hidden), lens, numbers(3, *state)]
    if isinstance(op, LSTM):
        found += [numbers(4, *state), numbers(5, d, 3 * hidden)]
    return [a if i < 3 or rng.random() < 0.7 else None for i, a in enumerate(found)]


def check(op: Recurrent, steps: int, batch: int, hidden: int, seed: int, lanes: int = 16, threads: int = 1) -> None:
    op = dataclasses.replace(op, projected=True)
    inputs = inputs_of(op, steps, batch, hidden, np.random.default_rng(seed))
    want = op.reference(*(a.astype(np.float64) if a is not None and a.dtype == np.float32 else a for a in inputs))
    held = tuple(i for i in (2, 3, 7) if i < len(inputs) and inputs[i] is not None)
    got = run_lowered(op, inputs, held, None, Setting(lanes, threads), 1 + op.states)
    assert isinstance(got, list)
    for one, exact in zip(got, want, strict=True):
        assert abs(one - exact).max(initial=0) <= 16 * UNIT * steps * max(1.0, abs(exact).max(initial=0))


@pytest.mark.parametrize(("op", "steps", "batch", "hidden", "lanes"), [
    (LSTM(), 5, 1, 40, 16),
    (LSTM(direction="bidirectional"), 4, 3, 21, 16),
    (LSTM(direction="reverse", layout=1, input_forget=True, clip=0.5), 3, 2, 16, 16),
    (LSTM(direction="bidirectional"), 3, 18, 9, 8),
    (GRU(), 5, 1, 40, 16),
    (GRU(direction="bidirectional", layout=1), 4, 2, 21, 16),
    (GRU(direction="reverse"), 3, 19, 13, 4),
    (GRU(linear_before_reset=True), 5, 1, 33, 16),
    (GRU(linear_before_reset=True, direction="bidirectional", clip=0.7), 4, 5, 18, 8),
    (RNN(), 5, 1, 70, 16),
    (RNN(direction="bidirectional"), 4, 5, 130, 16),
    (RNN(), 0, 2, 3, 16),
])  # fmt: skip
def test_random(op: Recurrent, steps: int, batch: int, hidden: int, lanes: int) -> None:
    for seed in range(3):
        check(op, steps, batch, hidden, seed, lanes, 1 + seed % 2)


def test_functions() -> None:
    names = ("Affine", "Elu", "HardSigmoid", "LeakyRelu", "Relu", "ScaledTanh", "Sigmoid", "Softplus", "Softsign",
             "Tanh", "ThresholdedRelu")
    for name in names:
        check(RNN(activations=(name,), activation_alpha=(0.3,), activation_beta=(0.6,)), 4, 1, 16, 7)


def graph_of(op: Recurrent, x: str, width: int, hidden: int) -> Graph:
    graph = Graph()
    value, d = graph.add_input("x", parse_type(x)), op.directions
    w = graph.add_constant(numbers(0, d, op.gates * hidden, width), "w")
    r = graph.add_constant(numbers(1, d, op.gates * hidden, hidden) * np.float32(0.1), "r")
    b = graph.add_constant(numbers(2, d, 2 * op.gates * hidden), "b")
    lens = graph.add_input("lens", TensorType(parse_type("i32[1]").dtype, (op.swapped(value.type.shape)[1],)))
    graph.set_outputs(graph.add_node(op, [value, w, r, b, lens], outputs=1 + op.states).outputs)
    return graph


@pytest.mark.parametrize("op", [LSTM(direction="bidirectional"), GRU(layout=1)], ids=str)
def test_compiled_with_symbolic_sizes(op: Recurrent) -> None:
    x = "f32[N,T,7]" if op.layout else "f32[T,N,7]"
    plan = cnncc.compile(graph_of(op, x, 7, 20))
    assert not plan.fallbacks
    session = cnncc.InferenceSession(plan, threads=2)
    for steps, batch in ((3, 1), (6, 4), (1, 17)):
        feeds = {"x": numbers(3, *((batch, steps, 7) if op.layout else (steps, batch, 7))),
                 "lens": np.random.default_rng(batch).integers(0, steps + 1, batch).astype(np.int32)}
        want = evaluate(graph_of(op, x, 7, 20), feeds, fp64=True)
        for got, exact in zip(session.run(None, feeds), want.values(), strict=True):
            assert abs(got - exact).max() < 1e-5


def test_refusals() -> None:
    x, r = numbers(0, 2, 1, 32), numbers(1, 1, 32, 8)
    assert "constants" in run_lowered(LSTM(projected=True), [x, None, r]).reason
    assert "W is a constant" in run_lowered(LSTM(), [numbers(0, 2, 1, 3), numbers(2, 1, 32, 3), r], (1, 2)).reason
    both = RNN(projected=True, direction="bidirectional", activations=("Tanh", "Relu"))
    assert "same activations" in run_lowered(both, [numbers(0, 2, 1, 16), None, numbers(1, 2, 8, 8)], (2,)).reason
