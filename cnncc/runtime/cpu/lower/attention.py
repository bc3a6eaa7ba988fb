"""Attention on its kernel: float32, with a mask of numbers, lengths, causal or not, without caches and windows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ....errors import PlanInvalid
from ....ir import DType, TensorType
from ..kernel import Launch
from ..kernels import attention
from ..kernels.attention import AttentionShape, Steps
from ..lowering import PLAIN, Choice, Lowering, Refusal, Tensor
from .layouts import expect_layouts

__all__ = ["LOWERINGS", "AttentionLowering", "attention_shape"]

Inputs = Sequence[Tensor | None]


class AttentionLowering(Lowering):
    """Q, K, V, a mask and lengths."""

    input_words = ("q", "k", "v", "mask", None, None, "lengths")

    def choose(self, op: Any, inputs: Inputs, outputs: Sequence[TensorType], lanes: int) -> Choice | Refusal:
        refusal = _refusal(op, inputs, len(outputs))
        return refusal or Choice(attention.KERNEL.name, inputs=(PLAIN,) * len(inputs))

    def launch(self, op: Any, choice: Choice, inputs: Inputs, outputs: Sequence[Tensor], lanes: int) -> Launch:
        refusal = _refusal(op, inputs, len(outputs))
        if refusal is not None:
            raise PlanInvalid(f"Attention: {refusal.reason}")
        expect_layouts(op, [*inputs, outputs[0]], [PLAIN] * (len(inputs) + 1))
        shape, scale = attention_shape(op, inputs)
        return attention.launch(shape, lanes, scale, op.is_causal, op.softcap, lengths_of(inputs) is not None)


def attention_shape(op: Any, inputs: Inputs) -> tuple[AttentionShape, float]:
    """What the kernel is told, and the scale of the scores. Keys beyond the end of the mask do not count."""
    q, k, v, mask = (*inputs, None)[:4]
    assert q is not None and k is not None and v is not None
    batch, heads, queries, size = _sizes(op.heads_of("Q", q.type, op.q_num_heads))
    _, kv_heads, keys, v_size = _sizes(op.heads_of("V", v.type, op.kv_num_heads))
    joined = q.type.rank == 3
    seen = keys if mask is None else min(keys, mask.shape[-1])
    shape = AttentionShape(
        batch, heads, heads // kv_heads if kv_heads else 1, queries, seen, size, v_size,
        _steps(joined, heads, queries, size), _steps(joined, kv_heads, keys, size),
        _steps(joined, kv_heads, keys, v_size), _steps(joined, heads, queries, v_size),
        None if mask is None else _mask_steps(mask.shape))
    scale = op.scale if op.scale is not None else 1 / math.sqrt(max(size, 1))
    return shape, scale


def _refusal(op: Any, inputs: Inputs, outputs: int) -> Refusal | None:
    lengths = lengths_of(inputs)
    if any(t is not None and t.type.dtype is not DType.F32 for t in inputs[:6]):
        return Refusal("Attention is native for f32 only, masks included")
    if lengths is not None and lengths.type.dtype is not DType.I64:
        return Refusal("lengths are native in i64 only")
    if outputs > 1 or any(t is not None for t in inputs[4:6]):
        return Refusal("caches and the output of scores have no native kernel")
    if op.left_window_size >= 0 or op.right_window_size >= 0:
        return Refusal("windows have no native kernel")
    if op.softmax_precision not in (None, DType.F32):
        return Refusal(f"a softmax in {op.softmax_precision.value} has no native kernel")
    return None


def lengths_of(inputs: Inputs) -> Tensor | None:
    """The operand nonpad_kv_seqlen."""
    return inputs[6] if len(inputs) > 6 else None


def _sizes(heads: tuple[Any, ...]) -> tuple[int, int, int, int]:
    batch, count, length, size = (int(n) for n in heads)
    return batch, count, length, size


def _steps(joined: bool, heads: int, length: int, size: int) -> Steps:
    """Of a plain tensor [batch, length, heads * size] or [batch, heads, length, size]."""
    if joined:
        return Steps(length * heads * size, size, heads * size)
    return Steps(heads * length * size, length * size, size)


def _mask_steps(shape: Sequence[int]) -> Steps:
    """Of a mask that broadcasts to [batch, heads, queries, keys]."""
    sizes = (1,) * (4 - len(shape)) + tuple(shape)
    return Steps(*(0 if sizes[i] == 1 else math.prod(sizes[i + 1:]) for i in range(3)))


LOWERINGS: dict[str, Lowering] = {"Attention": AttentionLowering()}
