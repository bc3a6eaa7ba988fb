"""How an operator becomes a native step: the contract between the compiler, the plan's validator and the kernels.

A `Lowering` answers three questions about an operator, none of which needs a compiler at hand:

- `choose`, at compile time: which kernel, in which layouts, or why none (a `Refusal`);
- `pack`, at load time: the contents of a constant operand as the kernel wants them;
- `launch`, for concrete shapes: the kernel's integers, its tasks, and every byte range it touches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any, ClassVar

import numpy as np

from ...ir import Op, TensorType
from ...records import record
from .kernel import ceil_div

__all__ = ["BLOCKED", "HOST", "PLAIN", "Choice", "Lowering", "Refusal", "Tensor", "stored_elements", "to_blocked"]

Array = np.ndarray[Any, Any]

PLAIN = "plain"      # C order, as NumPy and ONNX have it
HOST = "host"        # C order, in the CPU's memory (of a plan for another target)
BLOCKED = "blocked"  # NCHWc: [N, ceil(C/lanes), *spatial, lanes]; the last block's surplus lanes are undefined


@record
class Tensor:
    """An operand or result as lowering sees it. `value` is its contents where they are known (see ir.Operand)."""

    type: TensorType
    layout: str = PLAIN
    value: Array | None = None
    constant: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        return self.type.static_shape


@record
class Choice:
    """A kernel family, its parameters as the plan stores them, and the layouts it wants and gives.
    """

    kernel: str
    params: Mapping[str, int | str] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = (PLAIN,)


@record
class Refusal:
    """Why an operator has no native kernel for these operands; it then runs on its NumPy reference."""

    reason: str


class Lowering:
    """Base of all lowerings; one instance serves every node of its operator.

    `input_words` and `output_words` name the kernel's operand words (kernel.Kernel.operands) to which the operator's
    inputs and outputs are bound, in order; None for an operand that the kernel does not read (it is known).
    """

    input_words: ClassVar[tuple[str | None, ...]] = ("x",)
    output_words: ClassVar[tuple[str | None, ...]] = ("y",)
    # Inputs that the kernel reads element by element, each right before it writes that element of output 0; None for
    # all. Such an input may lend its memory to the output.
    overwritable: ClassVar[tuple[int, ...] | None] = ()
    parameters: ClassVar[tuple[str, ...]] = ()  # those that a choice may have

    def choose(self, op: Op, inputs: Sequence[Tensor | None], outputs: Sequence[TensorType],
               lanes: int) -> Choice | Refusal:
        """The kernel for operands whose present layouts are given. Shapes may be symbolic, ranks are known."""
        raise NotImplementedError  # abstract

    def refuses(self, op: Op, inputs: Sequence[Tensor | None], outputs: Sequence[TensorType], lanes: int) -> str:
        """Why `choose` would have no kernel for these operands; empty where it has one, which need not be the plan's.
        The plan's validator asks before it calls `launch`, so this must be cheap."""
        choice = self.choose(op, inputs, outputs, lanes)
        return choice.reason if isinstance(choice, Refusal) else ""

    def pack(self, op: Op, choice: Choice, inputs: Sequence[Tensor | None], index: int, lanes: int) -> Array:
        """The bytes that constant operand `index` has in memory; by default its own, and NCHWc where the first operand
        is to be so: those behind it are no pictures."""
        tensor = inputs[index]
        assert tensor is not None and tensor.value is not None
        return to_blocked(tensor.value, lanes) if index == 0 and choice.inputs[:1] == (BLOCKED,) else tensor.value

    def extra(self, op: Op, choice: Choice, inputs: Sequence[Tensor | None], lanes: int) -> dict[str, Array]:
        """Constants that the kernel reads beside its operands, by word (a bias of zeros, say)."""
        return {}

    def launch(self, op: Op, choice: Choice, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor],
               lanes: int) -> Any:
        """The step for concrete shapes, a Launch of the target's. Raises PlanInvalid where `choice` has parameters that
        it never gives."""
        raise NotImplementedError  # abstract

    def inplace(self, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor]) -> tuple[int, ...]:
        """The overwritable inputs that are stored as output 0 is."""
        candidates = range(len(inputs)) if self.overwritable is None else self.overwritable
        return tuple(i for i in candidates if i < len(inputs) and (t := inputs[i]) is not None and not t.constant
                     and (t.type, t.layout) == (outputs[0].type, outputs[0].layout))

    def words(self, inputs: Sequence[Tensor | None]) -> tuple[str | None, ...]:
        """input_words, for as many inputs as there are (a variadic operator overrides this)."""
        return self.input_words[:len(inputs)]


def stored_elements(shape: Sequence[int], layout: str, lanes: int) -> int:
    """How many elements a tensor takes in memory in its layout."""
    if layout == BLOCKED:
        n, c, *spatial = shape
        return int(np.prod([n, ceil_div(c, lanes) * lanes, *spatial], dtype=object))
    return int(np.prod(list(shape), dtype=object)) if shape else 1


def to_blocked(x: Array, lanes: int) -> Array:
    """x [N, C, *spatial] as [N, ceil(C/lanes), *spatial, lanes], surplus lanes zero."""
    n, c, *spatial = x.shape
    blocks = ceil_div(c, lanes)
    padded = np.zeros((n, blocks * lanes, *spatial), x.dtype)
    padded[:, :c] = x
    return np.ascontiguousarray(np.moveaxis(padded.reshape(n, blocks, lanes, *spatial), 2, -1))
