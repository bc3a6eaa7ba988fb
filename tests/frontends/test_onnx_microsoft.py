"""Import of ONNX Runtime's domain com.microsoft."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from cnncc.errors import UnsupportedError
from cnncc.frontends.onnx import export_model, import_model
from cnncc.ir import DType, evaluate

from ..ops.test_integer import scale, zero
from ..ops.test_quantize import integers
from .models import run_onnxruntime

X = ("x", "x_scale", "x_zero")


def model_of(op_type: str, constants: dict[str, Any], x: np.ndarray, inputs: tuple[str, ...], rank: int,
             **attributes: Any) -> onnx.ModelProto:
    """One node of com.microsoft whose first input is the model's, of x's type."""
    node = helper.make_node(op_type, inputs, ["y"], domain="com.microsoft", **attributes)
    kind = DType.of(x.dtype).onnx
    graph = helper.make_graph([node], "one", [helper.make_tensor_value_info("x", kind, x.shape)],
                              [helper.make_tensor_value_info("y", kind, [None] * rank)],
                              [onnx.numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items()])
    imports = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=10)


SCALES = {"x_scale": scale(0.03), "x_zero": zero(np.uint8, 90), "y_scale": scale(0.0517), "y_zero": zero(np.uint8, 80)}
WEIGHTS = {"w": integers(np.int8, 6, 3, 3, 3), "w_scale": scale(0.004), "w_zero": zero(np.int8, 0)}
Y = ("y_scale", "y_zero")


@pytest.mark.parametrize(("op_type", "constants", "inputs", "attributes"), [
    ("QLinearConv", SCALES | WEIGHTS, (*X, "w", "w_scale", "w_zero", *Y), {"channels_last": 1, "pads": [1, 1, 1, 1]}),
    ("NhwcMaxPool", {}, ("x",), {"kernel_shape": [2, 3], "strides": [2, 1]}),
    ("QLinearAveragePool", SCALES, (*X, *Y), {"channels_last": 1, "kernel_shape": [2, 3]}),
    ("QLinearGlobalAveragePool", SCALES, (*X, *Y), {"channels_last": 1}),
])
def test_channels_last(op_type: str, constants: dict[str, Any], inputs: tuple[str, ...],
                       attributes: dict[str, Any]) -> None:
    """Transposes stand around it; a model exported from that gives the same again."""
    x = integers(np.uint8, 2, 5, 7, 3)
    model = model_of(op_type, constants, x, inputs, 4, **attributes)
    graph = import_model(model)
    assert [n.op.op_type for n in graph.walk()][::2] == ["Transpose", "Transpose"]
    expected = run_onnxruntime(model, {"x": x})[0]
    np.testing.assert_array_equal(evaluate(graph, {"x": x})["y"], expected)
    np.testing.assert_array_equal(run_onnxruntime(export_model(graph), {"x": x})[0], expected)


def test_what_onnx_has_too_is_onnx_s() -> None:
    x = integers(np.uint16, 4, 5)
    model = model_of("DequantizeLinear", {"s": scale(0.5)}, x, ("x", "s"), 2)
    model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    graph = import_model(model)
    assert [n.op.domain for n in graph.walk()] == [""]
    np.testing.assert_array_equal(evaluate(graph, {"x": x})["y"], run_onnxruntime(model, {"x": x})[0])


def test_an_unknown_operator_is_named_with_its_domain() -> None:
    with pytest.raises(UnsupportedError, match=r"\(com.microsoft.Whatever, opset 1\): cnncc has no such operator"):
        import_model(model_of("Whatever", {}, integers(np.uint8, 3), ("x",), 1))
