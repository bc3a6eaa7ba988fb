"""Operators of transformers in forms of their own, rewritten into ONNX's: Attention's masks, and what ONNX Runtime's
optimiser makes of float graphs (domain com.microsoft)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ...errors import UnsupportedError
from ...ir import DType, Value
from .calls import Call

__all__ = ["TRANSFORMERS", "add_mask", "simplified_layer_normalization"]

_ACTIVATIONS = {"Relu": (), "Sigmoid": (), "Tanh": (), "LeakyRelu": ("alpha",), "HardSigmoid": ("alpha", "beta"),
                "Clip": ("min", "max")}


def add_mask(call: Call) -> None:
    """Attention's mask of booleans as numbers that are added: 0 where a key is allowed, else minus infinity."""
    mask = call.inputs[3] if len(call.inputs) > 3 else None
    if mask is not None and mask.type.dtype is DType.BOOL:
        call.inputs[3] = _chosen(call, mask, -math.inf)


def _chosen(call: Call, allowed: Value, never: float) -> Value:
    """0 where allowed, else `never`."""
    choices = [_number(call, 0.0, "allowed"), _number(call, never, "never")]
    return call.emit("Where", [allowed, *choices], {}, "mask")


def _number(call: Call, number: float, suffix: str) -> Value:
    """A scalar of the first input's type."""
    return call.constant(np.asarray(number, call.operand(0).type.dtype.numpy), suffix)


def _become(call: Call, op_type: str, inputs: list[Value | None], attributes: Mapping[str, Any]) -> None:
    call.op_type, call.domain, call.inputs, call.attributes = op_type, "", inputs, dict(attributes)


def _optional(call: Call, index: int) -> Value | None:
    return call.inputs[index] if index < len(call.inputs) else None


def _refuse(call: Call, what: str, *values: object) -> None:
    if any(v for v in values):
        raise UnsupportedError(f"its {what} is not supported; export the model without it")


# -- activations -------------------------------------------------------------------------------------------------------

def _gelu(approximate: str) -> Callable[[Call], None]:
    """Gelu, BiasGelu and FastGelu: the Gelu of the sum of the inputs."""
    def function(call: Call) -> None:
        x, bias = call.operand(0), _optional(call, 1)
        if bias is not None:
            x = call.emit("Add", [x, bias], {}, "biased")
        _become(call, "Gelu", [x], {"approximate": approximate})
    return function


def _quick_gelu(call: Call) -> None:
    _become(call, "Swish", [call.operand(0)], {"alpha": call.attributes.get("alpha", 1.702)})


def _activated(call: Call, x: Value, kind: str | None, parameters: list[float]) -> None:
    """The call becomes the activation of x."""
    if kind is None or kind not in _ACTIVATIONS:
        raise UnsupportedError(f"its activation '{kind}' is not supported; export the model without fusions")
    if kind == "Clip":
        _become(call, kind, [x, *(_number(call, p, n) for p, n in zip(parameters, _ACTIVATIONS[kind], strict=False))],
                {})
    else:
        _become(call, kind, [x], dict(zip(_ACTIVATIONS[kind], parameters, strict=False)))


def _fused_conv(call: Call) -> None:
    """Conv, then Z is added, then the activation follows."""
    attributes = call.attributes
    kind, parameters = attributes.pop("activation", None), list(attributes.pop("activation_params", ()))
    z = _optional(call, 3)
    if z is None and kind is None:
        _become(call, "Conv", call.inputs[:3], attributes)
        return
    y = call.emit("Conv", call.inputs[:3], attributes, "conv")
    if z is not None and kind is None:
        _become(call, "Add", [y, z], {})
        return
    if z is not None:
        y = call.emit("Add", [y, z], {}, "sum")
    _activated(call, y, kind, parameters)


def _fused_gemm(call: Call) -> None:
    attributes = call.attributes
    kind = attributes.pop("activation", None)
    given = [attributes.pop(f"activation_{name}", None) for name in ("alpha", "beta", "gamma")]
    if kind is None:
        _become(call, "Gemm", call.inputs, attributes)
        return
    y = call.emit("Gemm", call.inputs, attributes, "gemm")
    _activated(call, y, kind, [p for p in given if p is not None])


def _fused_matmul(call: Call) -> None:
    attributes = call.attributes
    _refuse(call, "transposed batch", attributes.get("transBatchA"), attributes.get("transBatchB"))
    operands = []
    for name, index in (("A", 0), ("B", 1)):
        x = call.operand(index)
        if attributes.get(f"trans{name}") and x.type.rank > 1:
            rank = x.type.rank
            x = call.emit("Transpose", [x], {"perm": (*range(rank - 2), rank - 1, rank - 2)}, f"{name}.turned")
        operands.append(x)
    alpha = attributes.get("alpha", 1.0)
    if alpha == 1.0:
        _become(call, "MatMul", [*operands], {})
        return
    y = call.emit("MatMul", operands, {}, "product")
    _become(call, "Mul", [y, _number(call, alpha, "alpha")], {})


# -- normalization -----------------------------------------------------------------------------------------------------

def simplified_layer_normalization(call: Call) -> None:
    """RMSNormalization under another name."""
    if call.used > 1:
        raise UnsupportedError("its output of inverse deviations is not supported; export the model for inference")
    attributes = {k: v for k, v in call.attributes.items() if k in ("axis", "epsilon", "stash_type")}
    _become(call, "RMSNormalization", call.inputs[:2], attributes)


def _skip(simplified: bool) -> Callable[[Call], None]:
    """A normalization of input + skip + bias, which is an output, too."""
    def function(call: Call) -> None:
        if any(call.outputs[1:3]):
            raise UnsupportedError("its outputs of statistics are not supported; export the model for inference")
        total = call.emit("Add", [call.operand(0), call.operand(1)], {}, "sum")
        bias = _optional(call, 3 if simplified else 4)
        if bias is not None:
            total = call.emit("Add", [total, bias], {}, "biased")
        if len(call.outputs) > 3 and call.outputs[3]:
            call.given[call.outputs[3]] = total
        call.outputs, call.used = call.outputs[:1], 1
        epsilon = {"epsilon": call.attributes.get("epsilon", 1e-12)}
        if simplified:
            _become(call, "RMSNormalization", [total, call.operand(2)], epsilon)
        else:
            _become(call, "LayerNormalization", [total, call.operand(2), _optional(call, 3)], epsilon)
    return function


# -- attention ---------------------------------------------------------------------------------------------------------

def _padding_mask(call: Call, mask: Value | None, added: Value | None) -> Value | None:
    """The mask that is added, from [batch, keys] integers that are 0 where a key is padding, and numbers to add."""
    if mask is None:
        return added
    if mask.type.rank != 2:
        raise UnsupportedError(f"its padding mask {mask.type} is not supported; give one of [batch, keys]")
    allowed = call.emit("Cast", [mask], {"to": DType.BOOL}, "allowed.keys")
    allowed = call.emit("Unsqueeze", [allowed, call.constant(np.array([1, 2]), "axes")], {}, "allowed.heads")
    mask = _chosen(call, allowed, call.attributes.get("mask_filter_value", -10000.0))
    return mask if added is None else call.emit("Add", [mask, added], {}, "masks")


def _part(call: Call, x: Value, start: int, stop: int, axis: int, suffix: str) -> Value:
    bounds = [call.constant(np.array([n]), f"{suffix}.{name}")
              for n, name in ((start, "start"), (stop, "stop"), (axis, "axis"))]
    return call.emit("Slice", [x, *bounds], {}, suffix)


def _finish_attention(call: Call, q: Value, k: Value, v: Value, mask: Value | None,
                      cache: tuple[Value | None, Value | None] = (None, None)) -> None:
    attributes = call.attributes
    heads = attributes.get("num_heads")
    new: dict[str, Any] = {"q_num_heads": heads, "kv_num_heads": heads,
                           "is_causal": bool(attributes.get("unidirectional", 0))}
    if attributes.get("scale"):
        new["scale"] = attributes["scale"]
    inputs = [q, k, v, mask, *cache]
    while inputs[-1] is None:
        inputs.pop()
    _become(call, "Attention", inputs, new)


def _multi_head_attention(call: Call) -> None:
    _refuse(call, "cache in place", *(v is not None for v in call.inputs[8:]))
    _refuse(call, "output of scores", call.used > 3)
    bias, parts, start = _optional(call, 3), _queries_keys_values(call), 0
    for i, x in enumerate(parts):
        size = x.type.shape[2]
        if bias is not None and (i == 0 or call.operand(min(i, len(call.inputs) - 1)).type.rank != 4):
            if not isinstance(size, int):
                raise UnsupportedError("its hidden sizes must be fixed; give the inputs fixed sizes")
            part = _part(call, bias, start, start + size, 0, f"bias.{i}")
            parts[i], start = call.emit("Add", [x, part], {}, f"biased.{i}"), start + size
    mask = _padding_mask(call, _optional(call, 4), _optional(call, 5))
    _finish_attention(call, parts[0], parts[1], parts[2], mask, (_optional(call, 6), _optional(call, 7)))


def _queries_keys_values(call: Call) -> list[Value]:
    """Queries, keys and values [batch, length, heads * size] from any of the forms of MultiHeadAttention: packed as
    [batch, length, heads, 3 or 2, size], or keys and values as heads [batch, heads, length, size]."""
    q, k, v = call.operand(0), _optional(call, 1), _optional(call, 2)
    if k is None and v is None and q.type.rank == 5:
        return [_unpacked(call, q, i, f"packed.{i}") for i in range(3)]
    if k is not None and v is None and k.type.rank == 5:
        return [q, *(_unpacked(call, k, i, f"packed.{i}") for i in range(2))]
    if k is None or v is None or q.type.rank != 3 or k.type.rank != v.type.rank or k.type.rank not in (3, 4):
        raise UnsupportedError("its forms of queries, keys and values are not supported; export the model without this "
                               "fusion")
    return [q, *(x if x.type.rank == 3 else _side_by_side(call, x, f"heads.{i}") for i, x in enumerate((k, v)))]


def _unpacked(call: Call, x: Value, index: int, suffix: str) -> Value:
    part = _part(call, x, index, index + 1, 3, suffix)
    return call.emit("Reshape", [part, call.constant(np.array([0, 0, -1]), f"{suffix}.shape")], {}, f"{suffix}.joined")


def _side_by_side(call: Call, x: Value, suffix: str) -> Value:
    turned = call.emit("Transpose", [x], {"perm": [0, 2, 1, 3]}, f"{suffix}.turned")
    return call.emit("Reshape", [turned, call.constant(np.array([0, 0, -1]), f"{suffix}.shape")], {}, suffix)


def _attention(call: Call) -> None:
    """Products with the weights of queries, keys and values in one matrix, then attention."""
    _refuse(call, "cache", _optional(call, 4) is not None, call.used > 1)
    _refuse(call, "rotary embedding", call.attributes.get("do_rotary"))
    weights, bias = call.operand(1), _optional(call, 2)
    width = weights.type.shape[1]
    if not isinstance(width, int):
        raise UnsupportedError("its hidden sizes must be fixed; give the inputs fixed sizes")
    sizes = call.attributes.get("qkv_hidden_sizes") or (width // 3,) * 3
    x = call.emit("MatMul", [call.operand(0), weights], {}, "projected")
    if bias is not None:
        x = call.emit("Add", [x, bias], {}, "biased")
    ends = np.cumsum((0, *sizes)).tolist()
    q, k, v = (_part(call, x, ends[i], ends[i + 1], 2, name) for i, name in enumerate(("query", "key", "value")))
    _finish_attention(call, q, k, v, _padding_mask(call, _optional(call, 3), _optional(call, 5)))


def _rotary_embedding(call: Call) -> None:
    """The caches come last; one position stands for a row of positions that starts there."""
    x, ids, cos, sin = (call.operand(i) for i in range(4))
    attributes = call.attributes
    _refuse(call, "packed batch", attributes.get("is_packed_batching"))
    _refuse(call, "scale", attributes.get("scale", 1.0) != 1.0)
    heads, turned, width = (attributes.get("num_heads", 0), attributes.get("rotary_embedding_dim", 0), x.type.shape[-1])
    if x.type.rank == 3 and not heads:
        half = cos.type.shape[-1]
        if not isinstance(half, int) or not isinstance(width, int):
            raise UnsupportedError("its heads cannot be counted; export it with num_heads")
        heads = width // (2 * half)
    if ids.type.rank == 1:
        ids = _positions_from(call, ids, x)
    _become(call, "RotaryEmbedding", [x, cos, sin, ids], {
        "interleaved": bool(attributes.get("interleaved", 0)), "num_heads": heads, "rotary_embedding_dim": turned})


def _positions_from(call: Call, first: Value, x: Value) -> Value:
    """[batch, length]: first, first + 1, ... in every row."""
    axis = x.type.rank - 2
    zero, one = (call.constant(np.array(n), name) for n, name in ((0, "zero"), (1, "one")))
    shape = call.emit("Shape", [x], {}, "shape")
    length = call.emit("Gather", [shape, call.constant(np.array(axis), "axis")], {}, "length")
    row = call.emit("Add", [call.emit("Range", [zero, length, one], {}, "range"), first], {}, "row")
    sizes = call.emit("Gather", [shape, call.constant(np.array([0, axis]), "axes")], {}, "sizes")
    return call.emit("Expand", [row, sizes], {}, "positions")


# operator of com.microsoft -> how it becomes ONNX's
TRANSFORMERS: dict[str, Callable[[Call], None]] = {
    "Attention": _attention,
    "BiasGelu": _gelu("none"),
    "FastGelu": _gelu("tanh"),
    "FusedConv": _fused_conv,
    "FusedGemm": _fused_gemm,
    "FusedMatMul": _fused_matmul,
    "Gelu": _gelu("none"),
    "MultiHeadAttention": _multi_head_attention,
    "QuickGelu": _quick_gelu,
    "RotaryEmbedding": _rotary_embedding,
    "SimplifiedLayerNormalization": simplified_layer_normalization,
    "SkipLayerNormalization": _skip(False),
    "SkipSimplifiedLayerNormalization": _skip(True),
}
