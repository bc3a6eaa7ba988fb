"""What the lowerings that follow the CPU's rules share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ....ir import DType, Op, TensorType
from ..lowering import PLAIN, Choice, Lowering, Refusal, Tensor

__all__ = ["COMPUTED", "Inputs", "Ruled", "bits", "first"]

Inputs = Sequence[Tensor | None]
COMPUTED = (DType.F32, DType.F64)


class Ruled(Lowering):
    """Chooses, and packs, what `rules`, the CPU's lowering of the operator, does, where the first input is of one of
    `dtypes`; everything is plain. A subclass says how it is launched, and the kernel's name, where that is another."""

    def __init__(self, rules: Any, dtypes: Sequence[DType] = COMPUTED) -> None:
        self.rules, self.dtypes = rules, dtypes
        self.output_words = rules.output_words  # type: ignore[misc]
        self.overwritable = rules.overwritable  # type: ignore[misc]

    def words(self, inputs: Inputs) -> tuple[str | None, ...]:
        found: tuple[str | None, ...] = self.rules.words(inputs)
        return found

    def kernel(self, choice: Choice, outputs: Sequence[TensorType]) -> str:
        return choice.kernel

    def choose(self, op: Op, inputs: Inputs, outputs: Sequence[TensorType], lanes: int) -> Choice | Refusal:
        dtype = first(inputs).type.dtype
        if dtype not in self.dtypes:
            names = ", ".join(t.value for t in self.dtypes)
            return Refusal(f"there are CUDA kernels of {op.op_type} for {names} only, "
                           f"not {dtype.value}")
        choice: Choice | Refusal = self.rules.choose(op, inputs, outputs, lanes)
        if isinstance(choice, Refusal):
            return choice
        return Choice(self.kernel(choice, outputs), {}, (PLAIN,) * len(inputs), (PLAIN,) * len(outputs))

    def pack(self, op: Op, choice: Choice, inputs: Inputs, index: int, lanes: int) -> Any:
        return self.rules.pack(op, choice, inputs, index, lanes)

    def extra(self, op: Op, choice: Choice, inputs: Inputs, lanes: int) -> dict[str, Any]:
        found: dict[str, Any] = self.rules.extra(op, choice, inputs, lanes)
        return found


def first(inputs: Inputs) -> Tensor:
    assert inputs[0] is not None
    return inputs[0]


def bits(tensor: Tensor) -> str:
    """The unsigned type of the elements' size: how kernels that only move them call them."""
    return f"u{8 * tensor.type.dtype.itemsize}"
