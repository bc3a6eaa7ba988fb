"""Elementwise kernels: ways of broadcasting, many operands, chains, and that no formula of the CPU is forgotten."""

from __future__ import annotations

import numpy as np
import pytest

from cnncc.ops import OPS
from cnncc.runtime.cpu.kernels.elementwise import plain_view
from cnncc.runtime.cuda.formulas import FORMULAS
from cnncc.runtime.cuda.kernels import elementwise
from tests.ops.cases import normal
from tests.runtime.cuda.harness import run
from tests.runtime.cuda.lowered import launch_of, run_lowered

SHAPES = [((2, 3, 5), (2, 3, 5)), ((2, 3, 5), (3, 1)), ((4, 1, 3), (1, 5, 1)), ((7,), ()), ((2, 1, 3, 1), (1, 4, 1, 2))]
QUANTIZED = {"dequantize", "dequantize_from_zero", "quantize", "quantize_from_zero", "quantized_add", "quantized_mul"}


@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_broadcast(shapes):
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(shape).astype(np.float32) for shape in shapes)
    y = np.full(np.broadcast_shapes(*shapes), np.nan, np.float32)
    view = plain_view(shapes, y.shape)
    run(elementwise.launch("sub", ["f32", "f32"], "f32", view), {"a": a, "b": b, "y": y})
    assert np.array_equal(y, a - b)


@pytest.mark.parametrize(("op_type", "count", "stages"), [("Sum", 3, 1), ("Max", 4, 1), ("Mean", 5, 2), ("Min", 8, 3)])
def test_more_operands_than_a_stage_has(op_type: str, count: int, stages: int) -> None:
    shapes = ((3, 4), (4,), (3, 1), (3, 4), (1, 4), (3, 4), (), (4,))[:count]
    op, arrays = OPS[op_type](), [normal(*shape, seed=i) for i, shape in enumerate(shapes)]
    prepared = launch_of(op, arrays)
    assert isinstance(prepared, tuple) and len(prepared[0].stages) == stages
    found = run_lowered(op, arrays, inplace=True)
    assert isinstance(found, list)
    np.testing.assert_allclose(found[0], op.reference(*arrays)[0], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("parts", [
    ("Mul(0,1)", "Add(3,2)", "Relu(4)"), ("Sigmoid(0)", "Mul(0,3)", "Sub(2,1)", "PRelu(5,4)"),
    ("Pow(0,1)", "LeakyRelu(3) {alpha=0.5}", "Elu(4) {alpha=2.0}", "Min(5,2)", "Abs(6)", "Sqrt(7)")])
def test_chain(parts: tuple[str, ...]) -> None:
    arrays = [abs(normal(2, 3, 4, 5)) + 0.1, normal(2, 3, 1, 1, seed=1), normal(2, 3, 4, 5, seed=2)]
    op = OPS["Chain"](parts=parts)
    if "Mul(0,3)" in parts:
        arrays[1] = arrays[2] + 1
    found = run_lowered(op, arrays, inplace=True)
    assert isinstance(found, list)
    np.testing.assert_allclose(found[0], op.reference(*arrays)[0], rtol=1e-5, atol=1e-6)


def test_it_has_the_formulas_of_the_cpu_but_for_quantized_ones() -> None:
    from cnncc.runtime.cpu.formulas import FORMULAS as CPU

    assert set(CPU) - set(FORMULAS) == QUANTIZED
    assert set(FORMULAS) - set(CPU) == {"divided"}
