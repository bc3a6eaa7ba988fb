"""Small ONNX models from onnx's text syntax, and ONNX Runtime to compare with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnxruntime
from onnx import numpy_helper

from cnncc.ir import Graph, evaluate

__all__ = ["Array", "assert_equal", "model_of", "normal", "run_graph", "run_onnxruntime"]

Array = np.ndarray[Any, Any]


def model_of(text: str, opset: int = 13, **weights: Array) -> onnx.ModelProto:
    """The model `net (inputs) => (outputs) { nodes }` written as `text`, with initialisers `weights`."""
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": {opset}]> {text}')
    for name, array in weights.items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
    return model


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def run_onnxruntime(model: onnx.ModelProto, feeds: Mapping[str, Array]) -> list[Array]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    # As written: ONNX Runtime's own rewrites are not what is compared.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [np.asarray(y) for y in session.run(None, dict(feeds))]


def run_graph(graph: Graph, feeds: Mapping[str, Array]) -> list[Array]:
    return list(evaluate(graph, feeds).values())


def assert_equal(results: list[Array], expected: list[Array], tolerance: float = 1e-5) -> None:
    """Same number, shapes and types, and largest error over largest output at most `tolerance`."""
    assert [(y.dtype, y.shape) for y in results] == [(y.dtype, y.shape) for y in expected]
    for result, right in zip(results, expected, strict=True):
        np.testing.assert_allclose(result, right, rtol=0, atol=tolerance * max(1.0, np.abs(right).max(initial=0.0)))
