"""Attention, by the CPU's rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ....errors import PlanInvalid
from ....ir import DType, TensorType
from ...cpu.lower import attention as cpu
from ..kernel import Launch
from ..kernels import attention
from ..lowering import Choice, Lowering, Refusal, Tensor
from .ruled import Inputs, Ruled, first

__all__ = ["LOWERINGS"]


class _Attention(Ruled):
    """Heads must be small enough for shared memory."""

    def choose(self, op: Any, inputs: Inputs, outputs: Sequence[TensorType], lanes: int) -> Choice | Refusal:
        choice = super().choose(op, inputs, outputs, lanes)
        return _refusal(op, inputs) or choice

    def launch(self, op: Any, choice: Choice, inputs: Inputs, outputs: Sequence[Tensor], lanes: int) -> Launch:
        refusal = _refusal(op, inputs)
        if refusal is not None:
            raise PlanInvalid(f"Attention: {refusal.reason}")
        shape, scale = cpu.attention_shape(op, inputs)
        return attention.launch(shape, scale, op.is_causal, op.softcap)


def _refusal(op: Any, inputs: Inputs) -> Refusal | None:
    q, v = first(inputs), inputs[2]
    assert v is not None
    size, v_size = op.heads_of("Q", q.type, op.q_num_heads)[3], op.heads_of("V", v.type, op.kv_num_heads)[3]
    if not isinstance(size, int) or not isinstance(v_size, int):
        return Refusal("the size of the heads is not fixed")
    if cpu.lengths_of(inputs) is not None:
        return Refusal("lengths have no CUDA kernel")
    if attention.form_for(size, v_size) is None:
        return Refusal(f"heads of {size} and {v_size} numbers are too large for the shared memory of a block")
    return None


LOWERINGS: dict[str, Lowering] = {"Attention": _Attention(cpu.LOWERINGS["Attention"], (DType.F32,))}
