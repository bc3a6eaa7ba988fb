"""ONNX Runtime's operators of transformers, and its fusions of float graphs, against itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from cnncc.errors import UnsupportedError
from cnncc.frontends.onnx import import_model
from cnncc.ir import evaluate, verify

from .models import normal, run_onnxruntime

W = normal(6, 3, 3, 3) / 3
X, TOKENS = normal(2, 3, 8, 8), normal(2, 5, 12)
G, B = normal(12) + 1, normal(12)
MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]], np.int32)


def model_of(op_type: str, inputs: list[np.ndarray | None], outputs: int = 1, domain: str = "com.microsoft",
             **attributes: Any) -> onnx.ModelProto:
    """One node whose first input is the model's; the others are constants."""
    names = ["" if x is None else "x" if i == 0 else f"w{i}" for i, x in enumerate(inputs)]
    results = (["y", "key", "value"] if op_type == "MultiHeadAttention" else ["y", "", "", "sum"])[:outputs]
    node = helper.make_node(op_type, names, results, domain=domain, **attributes)
    weights = [numpy_helper.from_array(x, f"w{i}") for i, x in enumerate(inputs) if i and x is not None]
    graph = helper.make_graph(
        [node], "one", [helper.make_tensor_value_info("x", TensorProto.FLOAT, inputs[0].shape)],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in results if n], weights)
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=9)


CASES: list[tuple[str, list[np.ndarray | None], dict[str, Any]]] = [
    ("FusedConv", [X, W], {"activation": "Relu", "pads": [1, 1, 1, 1], "kernel_shape": [3, 3]}),
    ("FusedConv", [X, W, normal(6), normal(2, 6, 6, 6)], {"activation": "LeakyRelu", "activation_params": [0.2]}),
    ("FusedGemm", [normal(4, 5), normal(3, 5), normal(3)], {"activation": "Relu", "transB": 1, "alpha": 0.5}),
    ("FusedMatMul", [normal(2, 4, 5), normal(2, 3, 5)], {"transB": 1, "alpha": 0.25}),
    ("Gelu", [TOKENS], {}),
    ("BiasGelu", [TOKENS, B], {}),
    ("FastGelu", [TOKENS, B], {}),
    ("QuickGelu", [TOKENS], {"alpha": 1.702}),
    ("SkipLayerNormalization", [TOKENS, TOKENS[::-1].copy(), G, B, B], {"epsilon": 1e-5}),
    ("SkipSimplifiedLayerNormalization", [TOKENS, TOKENS[::-1].copy(), G, B], {"epsilon": 1e-5}),
    ("Attention", [TOKENS, normal(12, 36) / 3, normal(36), MASK], {"num_heads": 3}),
    ("Attention", [TOKENS, normal(12, 36) / 3, normal(36)], {"num_heads": 3, "unidirectional": 1}),
    ("MultiHeadAttention", [TOKENS, normal(2, 5, 12, seed=1), normal(2, 5, 12, seed=2), normal(36), MASK,
                            normal(2, 3, 5, 5)], {"num_heads": 3}),
    ("MultiHeadAttention", [TOKENS, normal(2, 3, 6, 4, seed=1), normal(2, 3, 6, 4, seed=2)], {"num_heads": 3}),
    ("MultiHeadAttention", [TOKENS, normal(2, 5, 12, seed=1), normal(2, 5, 12, seed=2), normal(36), None, None,
                            normal(2, 3, 4, 4, seed=3), normal(2, 3, 4, 4, seed=4)],
     {"num_heads": 3, "unidirectional": 1}),
    ("RotaryEmbedding", [TOKENS, np.array([2]), normal(9, 3), normal(9, 3)], {}),
    ("RotaryEmbedding", [TOKENS, np.arange(10).reshape(2, 5)[:, ::-1].copy(), normal(10, 1), normal(10, 1)],
     {"num_heads": 3, "rotary_embedding_dim": 2, "interleaved": 1}),
    ("RotaryEmbedding", [normal(2, 3, 5, 4), np.array([0]), normal(9, 2), normal(9, 2)], {"interleaved": 1}),
]


@pytest.mark.parametrize(("op_type", "inputs", "attributes"), CASES)
def test_against_onnxruntime(op_type: str, inputs: list[np.ndarray | None], attributes: dict[str, Any]) -> None:
    model = model_of(op_type, inputs, 4 if op_type.startswith("Skip") else 3 if len(inputs) > 6 else 1, **attributes)
    graph = import_model(model)
    verify(graph)
    assert {n.op.domain for n in graph.walk()} == {""}
    found = evaluate(graph, {"x": inputs[0]})
    for name, want in zip(found, run_onnxruntime(model, {"x": inputs[0]}), strict=True):
        np.testing.assert_allclose(found[name], want, rtol=0, atol=2e-5 * max(1, np.abs(want).max()))


@pytest.mark.parametrize("with_queries", [True, False])
def test_packed_heads_are_as_good_as_others(with_queries: bool) -> None:
    """ONNX Runtime's CPU provider does not have these forms."""
    q, k, v = (TOKENS, normal(2, 5, 12, seed=1), normal(2, 5, 12, seed=2))
    packed = np.stack([x.reshape(2, 5, 3, 4) for x in (q, k, v)[0 if with_queries else 1:]], 3)
    forms = [packed] if with_queries else [q, packed]
    want, found = (evaluate(import_model(model_of("MultiHeadAttention", form, num_heads=3)), {"x": form[0]})["y"]
                   for form in ([q, k, v], forms))
    np.testing.assert_array_equal(found, want)


def test_simplified_layer_normalization_of_onnx_s_domain() -> None:
    model = model_of("SimplifiedLayerNormalization", [TOKENS, G], domain="", axis=-1, epsilon=1e-5)
    found = evaluate(import_model(model), {"x": TOKENS})["y"]
    np.testing.assert_allclose(found, run_onnxruntime(model, {"x": TOKENS})[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize(("op_type", "inputs", "outputs", "attributes", "said"), [
    ("FusedConv", [X, W], 1, {"activation": "Softplus"}, "its activation 'Softplus' is not supported"),
    ("MultiHeadAttention", [TOKENS], 1, {"num_heads": 3}, "its forms of queries, keys and values are not supported"),
    ("RotaryEmbedding", [TOKENS, np.array([0]), normal(9, 2), normal(9, 2)], 1, {"scale": 2.0}, "its scale is not"),
    ("FusedMatMul", [TOKENS, TOKENS], 1, {"transBatchA": 1}, "its transposed batch is not supported"),
])
def test_without_an_equivalent(op_type: str, inputs: Any, outputs: int, attributes: dict[str, Any], said: str) -> None:
    with pytest.raises(UnsupportedError, match=said):
        import_model(model_of(op_type, inputs, outputs, **attributes))
