"""ONNX Attention as the operators it is made of: scaled products, mask, softmax.

With Q, K, V of [batch, heads, length, size]:

    Y = softmax(sqrt(scale) Q * (sqrt(scale) K)^T [softcap] [+ mask]) * V

Three-dimensional operands [batch, length, heads * size] are split into heads, and the result is joined again.
A query all of whose keys are masked gives NaN, where Attention-25 says 0.
Source: ONNX Attention-25. Caches of keys and values, which belong to text generation, have no equivalent.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...errors import UnsupportedError
from ...ir import DType, Value
from .calls import Call

__all__ = ["decompose_attention"]


def decompose_attention(call: Call) -> None:
    """Rewrites the call; its last node takes the call's name. Raises UnsupportedError for what the above leaves out."""
    attributes = call.attributes
    if call.used > 1 or any(v is not None for v in call.inputs[4:]):
        raise UnsupportedError("its cache of keys and values, nonpad_kv_seqlen and further outputs are not supported; "
                               "export the model without a cache")
    if attributes.get("left_window_size", -1) >= 0 or attributes.get("right_window_size", -1) >= 0:
        raise UnsupportedError("its sliding windows are not supported; export the model with a mask instead")
    q, k, v = (call.operand(i) for i in range(3))
    joined = q.type.rank == 3
    if joined:
        q_heads, kv_heads = attributes.get("q_num_heads"), attributes.get("kv_num_heads")
        if not isinstance(q_heads, int) or not isinstance(kv_heads, int):
            raise UnsupportedError("three-dimensional operands need q_num_heads and kv_num_heads; export it again")
        q, k, v = _split(call, q, q_heads, "q"), _split(call, k, kv_heads, "k"), _split(call, v, kv_heads, "v")
    if {x.type.rank for x in (q, k, v)} != {4} or q.type.shape[1] != k.type.shape[1]:
        raise UnsupportedError("heads of queries that share keys are not supported; export the model with as many "
                               "heads of keys and values as of queries")
    scores = _scores(call, q, k)
    weights = call.emit("Softmax", [scores], {"axis": -1}, "weights")
    if joined:
        y = call.emit("MatMul", [weights, v], {}, "heads")
        y = call.emit("Transpose", [y], {"perm": [0, 2, 1, 3]}, "lengths")
        call.op_type, call.inputs = "Reshape", [y, call.constant(np.array([0, 0, -1]), "joined")]
    else:
        call.op_type, call.inputs = "MatMul", [weights, v]
    call.attributes = {}


def _split(call: Call, x: Value, heads: int, name: str) -> Value:
    """[batch, length, heads * size] as [batch, heads, length, size]."""
    shape = call.constant(np.array([0, 0, heads, -1]), f"{name}.shape")
    x = call.emit("Reshape", [x, shape], {}, f"{name}.split")
    return call.emit("Transpose", [x], {"perm": [0, 2, 1, 3]}, name)


def _scores(call: Call, q: Value, k: Value) -> Value:
    attributes, size = call.attributes, q.type.shape[3]
    scale = attributes.get("scale")
    if scale is None:
        if not isinstance(size, int):
            raise UnsupportedError("the size of its heads must be fixed; give the inputs fixed sizes")
        scale = 1 / math.sqrt(size)
    root = _number(call, math.sqrt(scale), q, "root")
    keys = call.emit("Transpose", [call.emit("Mul", [k, root], {}, "k.scaled")], {"perm": [0, 1, 3, 2]}, "k.turned")
    scores = call.emit("MatMul", [call.emit("Mul", [q, root], {}, "q.scaled"), keys], {}, "scores")
    if attributes.get("softcap"):
        cap = _number(call, attributes["softcap"], q, "cap")
        scores = call.emit("Tanh", [call.emit("Div", [scores, cap], {}, "over.cap")], {}, "bounded")
        scores = call.emit("Mul", [scores, cap], {}, "capped")
    mask = call.inputs[3] if len(call.inputs) > 3 else None
    if mask is not None:
        if mask.type.shape[-1] != k.type.shape[2]:
            raise UnsupportedError(f"its mask {mask.type} must be as long as the {k.type.shape[2]} keys; "
                                   "export it again")
        if mask.type.dtype is DType.BOOL:
            choices = [_number(call, number, q, name) for number, name in ((0.0, "zero"), (-math.inf, "never"))]
            mask = call.emit("Where", [mask, *choices], {}, "mask")
        scores = call.emit("Add", [scores, mask], {}, "masked")
    if attributes.get("is_causal"):
        scores = call.emit("Add", [scores, _causal(call, q, k)], {}, "causal")
    return scores


def _causal(call: Call, q: Value, k: Value) -> Value:
    """0 for keys up to the query's own position, minus infinity for those after it."""
    lengths = q.type.shape[2], k.type.shape[2]
    if not all(isinstance(n, int) for n in lengths):
        raise UnsupportedError("is_causal needs fixed lengths; give the inputs fixed sizes")
    never: Any = np.full(lengths, -np.inf, q.type.dtype.numpy)
    return call.constant(np.triu(never, 1), "future")


def _number(call: Call, number: float, like: Value, name: str) -> Value:
    return call.constant(np.asarray(number, like.type.dtype.numpy), name)
