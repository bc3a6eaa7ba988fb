"""Attention, which is imported as the operators it is made of, against onnx's reference evaluator."""

from __future__ import annotations

from typing import Any

import onnx
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator

from cnncc.errors import UnsupportedError
from cnncc.frontends.onnx import import_model
from cnncc.ir import verify

from .models import Array, assert_equal, normal, run_graph

FLOAT, BOOL = onnx.TensorProto.FLOAT, onnx.TensorProto.BOOL
HEADS = ((2, 3, 4, 8), (2, 3, 5, 8), (2, 3, 5, 6))
JOINED = ((2, 4, 24), (2, 5, 24), (2, 5, 18))


def model_of(shapes: Any, mask: Array | None = None, outputs: int = 1, **attributes: Any) -> onnx.ModelProto:
    inputs = [helper.make_tensor_value_info(n, FLOAT, s) for n, s in zip("qkv", shapes, strict=True)]
    if mask is not None:
        inputs.append(helper.make_tensor_value_info("m", BOOL if mask.dtype == bool else FLOAT, mask.shape))
    results = ["y", "a", "b", "c"][:outputs]
    node = helper.make_node("Attention", [i.name for i in inputs], results, **attributes)
    infos = [helper.make_tensor_value_info(n, FLOAT, None) for n in results]
    graph = helper.make_graph([node], "net", inputs, infos)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=10)


@pytest.mark.parametrize(("shapes", "mask", "attributes"), [
    (HEADS, None, {}),
    (HEADS, None, {"scale": 0.3, "softcap": 2.0}),
    (HEADS, None, {"is_causal": 1}),
    (HEADS, normal(4, 5), {}),
    (HEADS, normal(2, 1, 4, 5) > -0.5, {}),
    (JOINED, None, {"q_num_heads": 3, "kv_num_heads": 3}),
    (JOINED, normal(4, 5), {"q_num_heads": 3, "kv_num_heads": 3, "is_causal": 1}),
])
def test_against_onnx(shapes: Any, mask: Array | None, attributes: dict[str, Any]) -> None:
    model = model_of(shapes, mask, **attributes)
    feeds = {n: normal(*s) + i for i, (n, s) in enumerate(zip("qkv", shapes, strict=True))}
    if mask is not None:
        feeds["m"] = mask
    graph = import_model(model)
    verify(graph)
    assert_equal(run_graph(graph, feeds), ReferenceEvaluator(model).run(None, feeds))


@pytest.mark.parametrize(("shapes", "outputs", "attributes", "said"), [
    (HEADS, 3, {}, "its cache of keys and values"),
    (JOINED, 1, {}, "need q_num_heads and kv_num_heads"),
    (((1, 4, 3, 8), (1, 2, 3, 8), (1, 2, 3, 8)), 1, {}, "heads of queries that share keys are not supported"),
])
def test_without_an_equivalent(shapes: Any, outputs: int, attributes: dict[str, Any], said: str) -> None:
    with pytest.raises(UnsupportedError) as info:
        import_model(model_of(shapes, None, outputs, **attributes))
    assert said in str(info.value)
