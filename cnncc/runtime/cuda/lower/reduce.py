"""Reductions along axes, ArgMax and ArgMin, softmaxes, and local response normalization, by the CPU's rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ....errors import PlanInvalid
from ....ir import DType, TensorType
from ...cpu.lower import reduce as cpu
from ..kernel import Launch
from ..kernels import arg_extreme, lrn, reduce, softmax
from ..lowering import PLAIN, Choice, Lowering, Refusal, Tensor
from .ruled import COMPUTED, Inputs, Ruled, first

__all__ = ["LOWERINGS"]

NUMBERS = (*COMPUTED, DType.I32, DType.I64)
COMPARED = (*NUMBERS, DType.I8, DType.U8)


class _Reduce(Ruled):
    def launch(self, op: Any, choice: Choice, inputs: Inputs, outputs: Sequence[Tensor], lanes: int) -> Launch:
        shape = cpu.reduce_shape(cpu.merged(first(inputs).shape, cpu.axes_of(op, inputs)))
        if shape is None:
            raise PlanInvalid(f"{op.op_type}: reduced axes alternate with others more than twice")
        return reduce.launch(shape, self.rules.kind, first(inputs).type.dtype.value)


class _LogSumExp(Ruled):
    def launch(self, op: Any, choice: Choice, inputs: Inputs, outputs: Sequence[Tensor], lanes: int) -> Launch:
        x = first(inputs)
        around = cpu.around(cpu.merged(x.shape, cpu.axes_of(op, inputs)))
        if around is None:
            raise PlanInvalid("ReduceLogSumExp: the reduced axes are not neighbours")
        return softmax.launch(*around, "log_sum_exp", x.type.dtype.value)


class _Softmax(Ruled):
    def launch(self, op: Any, choice: Choice, inputs: Inputs, outputs: Sequence[Tensor], lanes: int) -> Launch:
        x = first(inputs)
        return softmax.launch(*cpu.split_at(x.shape, op.axis), self.rules.kind, x.type.dtype.value)


class _ArgExtreme(Ruled):
    def launch(self, op: Any, choice: Choice, inputs: Inputs, outputs: Sequence[Tensor], lanes: int) -> Launch:
        x = first(inputs)
        return arg_extreme.launch(*cpu.split_at(x.shape, op.axis), self.rules.kind, op.select_last_index,
                                  x.type.dtype.value)


class _Lrn(Lowering):
    def choose(self, op: Any, inputs: Inputs, outputs: Sequence[TensorType], lanes: int) -> Choice | Refusal:
        if first(inputs).type.dtype is not DType.F32:
            return Refusal(f"there is a CUDA kernel of LRN for f32 only, not {first(inputs).type.dtype.value}")
        return Choice(lrn.KERNEL.name, inputs=(PLAIN,))

    def launch(self, op: Any, choice: Choice, inputs: Inputs, outputs: Sequence[Tensor], lanes: int) -> Launch:
        return lrn.launch(first(inputs).shape, op.size, op.alpha, op.beta, op.bias)


_RULES = cpu.LOWERINGS
LOWERINGS: dict[str, Lowering] = {
    "LRN": _Lrn(),
    "ReduceLogSumExp": _LogSumExp(_RULES["ReduceLogSumExp"]),
    **{name: _ArgExtreme(_RULES[name], COMPARED) for name in ("ArgMax", "ArgMin")},
    **{name: _Reduce(_RULES[name], COMPARED) for name in ("ReduceMax", "ReduceMin")},
    **{name: _Reduce(_RULES[name], NUMBERS) for name in (
        "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceMean", "ReduceProd", "ReduceSum", "ReduceSumSquare")},
    **{name: _Softmax(_RULES[name]) for name in ("LogSoftmax", "Softmax")},
}
