"""Attention: what a query finds among keys decides how much of their values it gets."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..errors import OpError
from ..ir import DimLike, DType, Op, Operand, TensorType
from ..records import record
from .dtypes import FLOATS, INDICES, check_dtype, common_dtype
from .sizes import is_equal, is_less

__all__ = ["Attention"]

Array = np.ndarray[Any, Any]
Heads = tuple[DimLike, DimLike, DimLike, DimLike]  # [batch, heads, length, size]
_PRECISIONS = (DType.F16, DType.F32, DType.F64)


@record
class Attention(Op):
    """ONNX Attention-25: Y = softmax(scale * Q K^T [bounded by softcap] + bias) V for each head.

    Q, K and V are [batch, heads, length, size], or [batch, length, heads * size] with the numbers of heads given; Y has
    Q's form. A head of K and V serves q_heads / kv_heads neighbouring heads of Q. The bias is attn_mask (numbers to
    add, or booleans that allow a key; its last axis may be short, what is missing is forbidden), minus infinity for
    the keys after query i + offset with is_causal, for keys outside of the windows to the left and right of that place,
    and for those from nonpad_kv_seqlen[batch] on. `offset` is the length of past_key, or else nonpad_kv_seqlen less the
    length of Q, or 0. A query whose keys are all forbidden gives 0.

    past_key and past_value [batch, kv_heads, past, size] stand before K and V; present_key and present_value are both
    together. qk_matmul_output is Q K^T scaled (mode 0), bounded (1), biased (2), or after the softmax (3).
    """

    since = 25
    operands = ("Q", "K", "V", "attn_mask?", "past_key?", "past_value?", "nonpad_kv_seqlen?")
    results = ("Y", "present_key?", "present_value?", "qk_matmul_output?")

    is_causal: bool = False
    kv_num_heads: int | None = None
    left_window_size: int = -1
    q_num_heads: int | None = None
    qk_matmul_output_mode: int = 0
    right_window_size: int = -1
    scale: float | None = None
    softcap: float = 0.0
    softmax_precision: DType | None = None

    def check(self) -> None:
        if not 0 <= self.qk_matmul_output_mode <= 3:
            raise OpError(f"Attention: qk_matmul_output_mode must be 0 to 3, not {self.qk_matmul_output_mode}")
        if any(n is not None and n < 1 for n in (self.q_num_heads, self.kv_num_heads)):
            raise OpError(f"Attention: there must be heads, not {self.q_num_heads} and {self.kv_num_heads}")
        if min(self.left_window_size, self.right_window_size) < -1:
            raise OpError("Attention: window sizes must be at least 0, or -1 for none")
        if self.softmax_precision not in (None, *_PRECISIONS):
            raise OpError(f"Attention: softmax_precision must be f16, f32 or f64, not {self.softmax_precision}")
        if not self.softcap >= 0 or (self.scale is not None and not self.scale >= 0):
            raise OpError(f"Attention: scale and softcap must be at least 0, not {self.scale} and {self.softcap}")

    # -- shapes ------------------------------------------------------------------------------------------------------

    def heads_of(self, name: str, type_: TensorType, heads: int | None) -> Heads:
        """[batch, heads, length, size] of Q, K or V. Raises OpError where it is neither form."""
        shape = type_.shape
        if type_.rank == 4:
            return shape[0], shape[1], shape[2], shape[3]
        if type_.rank != 3:
            raise OpError(f"Attention: {name} must be [batch, heads, length, size] or [batch, length, heads * size], "
                          f"not {type_}")
        if heads is None:
            raise OpError(f"Attention: {name} {type_} needs q_num_heads and kv_num_heads")
        if is_equal(shape[2] % heads, 0) is False:
            raise OpError(f"Attention: the last axis of {name} {type_} does not divide into {heads} heads")
        return shape[0], heads, shape[1], shape[2] // heads

    def infer(self, q: Operand, k: Operand, v: Operand, mask: Operand | None = None,
              past_key: Operand | None = None, past_value: Operand | None = None,
              lengths: Operand | None = None) -> tuple[TensorType, ...]:
        dtype = common_dtype("Attention", (q, k), FLOATS)
        check_dtype("Attention", "V", v, FLOATS)
        if not q.type.rank == k.type.rank == v.type.rank:
            raise OpError(f"Attention: Q, K and V must have one rank, not {q.type}, {k.type} and {v.type}")
        if (past_key is None) != (past_value is None) or (past_key is not None and lengths is not None):
            raise OpError("Attention: past_key and past_value come together, and without nonpad_kv_seqlen")
        batch, heads, rows, size = self.heads_of("Q", q.type, self.q_num_heads)
        keys = self.heads_of("K", k.type, self.kv_num_heads)
        values = self.heads_of("V", v.type, self.kv_num_heads)
        _expect(k, keys, (batch, None, None, size))
        _expect(v, values, (batch, keys[1], keys[2], None))
        if is_equal(heads % keys[1] if not isinstance(keys[1], int) or keys[1] else 1, 0) is False:
            raise OpError(f"Attention: {heads} heads of queries do not divide among {keys[1]} heads of keys")
        total = keys[2]
        if past_key is not None and past_value is not None:
            past = _rank4("past_key", past_key)
            _expect(past_key, past, (batch, keys[1], None, size))
            _expect(past_value, _rank4("past_value", past_value), (batch, keys[1], past[2], values[3]))
            total = past[2] + keys[2]
        if mask is not None:
            _check_mask(mask, dtype, (batch, heads, rows, total))
        if lengths is not None:
            check_dtype("Attention", "nonpad_kv_seqlen", lengths, INDICES)
            _expect(lengths, lengths.type.shape if lengths.type.rank == 1 else (-1,), (batch,))
        y = (batch, heads, rows, values[3]) if q.type.rank == 4 else (batch, rows, heads * values[3])
        return (TensorType(dtype, y), TensorType(k.type.dtype, (batch, keys[1], total, size)),
                TensorType(v.type.dtype, (batch, keys[1], total, values[3])),
                TensorType(dtype, (batch, heads, rows, total)))

    # -- numbers -----------------------------------------------------------------------------------------------------

    def reference(self, q: Array, k: Array, v: Array, mask: Array | None = None, past_key: Array | None = None,
                  past_value: Array | None = None, lengths: Array | None = None) -> tuple[Array, ...]:
        joined = q.ndim == 3
        if joined:
            q, k, v = (_split(x, n or 1) for x, n in ((q, self.q_num_heads), (k, self.kv_num_heads),
                                                      (v, self.kv_num_heads)))
        past = 0 if past_key is None else past_key.shape[2]
        if past_key is not None and past_value is not None:
            k, v = np.concatenate((past_key, k), 2), np.concatenate((past_value, v), 2)
        group = q.shape[1] // max(1, k.shape[1])
        root = q.dtype.type(math.sqrt(self.scale if self.scale is not None else 1 / math.sqrt(q.shape[3])))
        raw = (q * root) @ np.repeat(k * root, group, 1).swapaxes(2, 3)
        capped = raw if not self.softcap else np.tanh(raw / raw.dtype.type(self.softcap)) * raw.dtype.type(self.softcap)
        bias = self._bias(capped, mask, past, lengths)
        scores = capped + bias
        weights = _softmax(scores.astype(self.softmax_precision.numpy) if self.softmax_precision else scores, bias)
        weights = weights.astype(q.dtype)
        y = (weights @ np.repeat(v, group, 1)).astype(q.dtype)
        if joined:
            y = y.swapaxes(1, 2).reshape(y.shape[0], y.shape[2], -1)
        return y, k, v, (raw, capped, scores, weights)[self.qk_matmul_output_mode]

    def _bias(self, scores: Array, mask: Array | None, past: int, lengths: Array | None) -> Array:
        """What is added to the scores, of their shape; minus infinity where a key is forbidden."""
        batch, _, rows, keys = scores.shape
        bias = np.zeros_like(scores)
        if mask is not None:
            bias[..., mask.shape[-1]:] = -np.inf
            added = np.where(mask, 0, -np.inf) if mask.dtype == bool else mask
            bias[..., :mask.shape[-1]] += added.astype(scores.dtype)
        offset = np.full(batch, past) if lengths is None else lengths - rows
        place = (offset[:, None] + np.arange(rows))[:, None, :, None]
        key = np.arange(keys)
        forbidden = np.zeros((batch, 1, rows, keys), bool)
        if self.is_causal:
            forbidden |= key > place
        if self.left_window_size >= 0:
            forbidden |= key < place - self.left_window_size
        if self.right_window_size >= 0:
            forbidden |= key > place + self.right_window_size
        if lengths is not None:
            forbidden |= key >= lengths[:, None, None, None]
        bias[np.broadcast_to(forbidden, bias.shape)] = -np.inf
        return bias


def _softmax(scores: Array, bias: Array) -> Array:
    """Of the last axis; 0 in rows that the bias forbids altogether."""
    with np.errstate(invalid="ignore"):
        powers = np.exp(scores - scores.max(-1, keepdims=True, initial=-np.inf))
        weights = powers / powers.sum(-1, keepdims=True)
    return np.where((bias == -np.inf).all(-1, keepdims=True), scores.dtype.type(0), weights)


def _split(x: Array, heads: int) -> Array:
    """[batch, length, heads * size] as [batch, heads, length, size]."""
    return x.reshape(*x.shape[:2], heads, x.shape[2] // heads).swapaxes(1, 2)


def _rank4(name: str, operand: Operand) -> Heads:
    shape = operand.type.shape
    if len(shape) != 4:
        raise OpError(f"Attention: {name} must be [batch, heads, length, size], not {operand.type}")
    return shape[0], shape[1], shape[2], shape[3]


def _expect(operand: Operand, found: tuple[DimLike, ...], wanted: tuple[DimLike | None, ...]) -> None:
    """Raises OpError where a size differs from the wanted one for certain."""
    if any(w is not None and is_equal(f, w) is False for f, w in zip(found, wanted, strict=True)):
        sizes = ",".join("?" if w is None else str(w) for w in wanted)
        raise OpError(f"Attention: the operand {operand.type} does not fit the others: as heads it must be [{sizes}]")


def _check_mask(mask: Operand, dtype: DType, scores: Heads) -> None:
    if mask.type.dtype not in (DType.BOOL, dtype):
        raise OpError(f"Attention: attn_mask must be of type bool or {dtype.value}, not {mask.type}")
    shape = mask.type.shape
    fits = 1 <= len(shape) <= 4 and is_less(scores[3], shape[-1]) is not True and all(
        d == 1 or is_equal(d, s) is not False for d, s in zip(shape[:-1], scores[4 - len(shape):-1], strict=True))
    if not fits:
        raise OpError(f"Attention: attn_mask {mask.type} does not broadcast to the scores "
                      f"[{','.join(map(str, scores))}]")
