"""Attention against onnx and onnxruntime."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from cnncc.ir import DType, Op
from cnncc.ops.attention import Attention

from .cases import Case, assert_refused, check, inferred, normal, trials

Q, K, V = normal(2, 4, 7, 8), normal(2, 4, 9, 8), normal(2, 4, 9, 5)
JOINED = (normal(2, 7, 32), normal(2, 9, 16), normal(2, 9, 12))
PAST = (normal(2, 4, 3, 8, seed=1), normal(2, 4, 3, 5, seed=1))
LATER = "ONNX Runtime's Attention is that of an older opset"
SKIP = {"onnxruntime": LATER}

CASES = [
    Case(Attention(), (Q, K, V)),
    Case(Attention(scale=0.3, softcap=2.0), (Q, K, V)),
    Case(Attention(is_causal=True), (Q, K, V), skip=SKIP),
    Case(Attention(), (Q, K, V, normal(7, 9))),
    Case(Attention(is_causal=True), (Q, K, V, normal(2, 1, 7, 9)), skip=SKIP),
    Case(Attention(), (Q, K, V, normal(1, 4, 1, 9))),
    Case(Attention(), (Q, K, V, normal(2, 1, 7, 9) > -0.5)),
    Case(Attention(), (Q, K, V, np.arange(9) < 0), skip=SKIP, note="nothing allowed"),
    Case(Attention(), (Q, K, V, normal(7, 6)), skip=SKIP, note="short mask"),
    Case(Attention(), (Q, K[:, :2], V[:, :2]), note="shared keys"),
    Case(Attention(q_num_heads=4, kv_num_heads=2, is_causal=True), JOINED, skip=SKIP),
    Case(Attention(left_window_size=2, right_window_size=1), (Q, K, V), skip=SKIP),
    Case(Attention(is_causal=True, left_window_size=2), (Q, K, V, None, *PAST), outputs=3, skip=SKIP),
    Case(Attention(qk_matmul_output_mode=2), (Q, K, V, normal(7, 12), *PAST), outputs=4, skip=SKIP),
    Case(Attention(qk_matmul_output_mode=1, softcap=1.5), (Q, K, V), outputs=4, skip=SKIP),
    Case(Attention(qk_matmul_output_mode=3, is_causal=True), (Q, K, V, None, None, None, np.array([9, 4])), outputs=4,
         skip=SKIP),
    Case(Attention(is_causal=True), (Q, K, V, normal(7, 9), None, None, np.array([8, 3])), skip=SKIP),
    Case(Attention(), (Q, K, V, None, None, None, np.array([0, 9])), skip=SKIP, note="no keys for some"),
    Case(Attention(softmax_precision=DType.F64), (Q, K, V), skip=SKIP),
]


@pytest.mark.parametrize(("case", "judge", "dtype"), trials(CASES))
def test_against_judges(case: Case, judge: str, dtype: DType) -> None:
    check(case, judge, dtype)


@pytest.mark.parametrize(("op", "operands", "types"), [
    (Attention(), ["f32[N,4,L,8]", "f32[N,2,M,8]", "f32[N,2,M,5]"],
     "f32[N,4,L,5], f32[N,2,M,8], f32[N,2,M,5], f32[N,4,L,M]"),
    (Attention(q_num_heads=4, kv_num_heads=2), ["f32[N,L,32]", "f32[N,M,16]", "f32[N,M,10]", "f32[L,M]"],
     "f32[N,L,20], f32[N,2,M,8], f32[N,2,M,5], f32[N,4,L,M]"),
    (Attention(), ["f16[1,4,L,8]", "f16[1,4,1,8]", "f16[1,4,1,8]", None, "f16[1,4,P,8]", "f16[1,4,P,8]"],
     "f16[1,4,L,8], f16[1,4,P+1,8], f16[1,4,P+1,8], f16[1,4,L,P+1]"),
])
def test_infer(op: Op, operands: list[str | None], types: str) -> None:
    assert inferred(op, *operands) == types


@pytest.mark.parametrize(("make", "operands", "message"), [
    (Attention, ["f32[1,4,7,8]", "f32[1,3,9,8]", "f32[1,3,9,8]"],
     "Attention: 4 heads of queries do not divide among 3 heads of keys"),
    (Attention, ["f32[1,4,7,8]", "f32[1,4,9,6]", "f32[1,4,9,8]"],
     "Attention: the operand f32[1,4,9,6] does not fit the others: as heads it must be [1,?,?,8]"),
    (Attention, ["f32[1,7,8]", "f32[1,9,8]", "f32[1,9,8]"],
     "Attention: Q f32[1,7,8] needs q_num_heads and kv_num_heads"),
    (lambda: Attention(q_num_heads=3, kv_num_heads=3), ["f32[1,7,8]", "f32[1,9,8]", "f32[1,9,8]"],
     "Attention: the last axis of Q f32[1,7,8] does not divide into 3 heads"),
    (Attention, ["f32[7,8]", "f32[9,8]", "f32[9,8]"],
     "Attention: Q must be [batch, heads, length, size] or [batch, length, heads * size], not f32[7,8]"),
    (Attention, ["f32[1,4,7,8]", "f32[1,4,9,8]", "f32[1,4,9,8]", "f32[7,10]"],
     "Attention: attn_mask f32[7,10] does not broadcast to the scores [1,4,7,9]"),
    (Attention, ["f32[1,4,7,8]", "f32[1,4,9,8]", "f32[1,4,9,8]", "i32[7,9]"],
     "Attention: attn_mask must be of type bool or f32, not i32[7,9]"),
    (Attention, ["f32[1,4,7,8]", "f32[1,4,9,8]", "f32[1,4,9,8]", "f32[7,9]", "f32[1,4,9,8]"],
     "Attention: past_key and past_value come together, and without nonpad_kv_seqlen"),
    (lambda: Attention(qk_matmul_output_mode=4), [], "Attention: qk_matmul_output_mode must be 0 to 3, not 4"),
    (lambda: Attention(left_window_size=-2), [], "Attention: window sizes must be at least 0, or -1 for none"),
])
def test_wrong_input(make: Callable[[], Op], operands: list[str], message: str) -> None:
    assert_refused(make, operands, message)
