"""flush_subnormal_weights: weights that a processor multiplies slowly become zero."""

from __future__ import annotations

import numpy as np
import pytest

from cnncc.ir import DType, Graph, TensorType, Value, verify
from cnncc.ops.gemm import Gemm, MatMul
from cnncc.passes.flush_subnormal_weights import _PIECE, flush_subnormal_weights


def product(weights: np.ndarray, op: object = None, dtype: DType = DType.F32) -> tuple[Graph, Value]:
    graph = Graph("net")
    x = graph.add_input("x", TensorType(dtype, (2, weights.shape[0])))
    w = graph.add_constant(weights.astype(dtype.numpy), "w")
    node = graph.add_node(op or MatMul(), [x, w], outputs=["y"])
    graph.set_outputs([node.output])
    return graph, w


@pytest.mark.parametrize("op", [MatMul(), Gemm()])
def test_it_fires(op: object) -> None:
    weights = np.array([[1e-40, 0.5, -0.0], [-1e-45, 2.0**-126, np.nan]], np.float32)
    graph, _ = product(weights, op)
    assert flush_subnormal_weights(graph)
    verify(graph)
    [node] = graph.nodes
    flushed = node.inputs[1].constant
    np.testing.assert_array_equal(flushed, np.array([[0, 0.5, 0], [0, 2.0**-126, np.nan]], np.float32))
    assert node.inputs[1].name == "w"
    assert not flush_subnormal_weights(graph)


def test_among_many_weights() -> None:
    weights = np.ones((2, _PIECE), np.float32)
    weights[1, 7] = 1e-39
    graph, _ = product(weights)
    assert flush_subnormal_weights(graph)
    flushed = graph.nodes[0].inputs[1].constant
    assert flushed is not None and flushed[1, 7] == 0 and np.count_nonzero(flushed) == 2 * _PIECE - 1
    assert weights[1, 7] != 0


@pytest.mark.parametrize(("weights", "dtype"), [
    (np.array([[0.5, 0.0], [2.0**-126, -1]]), DType.F32),
    (np.array([[1e-40, 1.0], [1.0, 1.0]]), DType.F64),
])
def test_it_stays(weights: np.ndarray, dtype: DType) -> None:
    graph, _ = product(weights, dtype=dtype)
    assert not flush_subnormal_weights(graph)
