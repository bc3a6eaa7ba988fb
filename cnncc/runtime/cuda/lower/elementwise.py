"""Elementwise operators, by the CPU's rules: which formula an operator is does not depend on where it runs."""

from __future__ import annotations

from collections.abc import Sequence

from ....errors import PlanInvalid
from ....ir import DType, Op, Operand, TensorType
from ....ops.chain import Chain
from ...cpu.kernels.elementwise import plain_view
from ...cpu.lower import elementwise as cpu
from ..formulas import FOLDED, is_native
from ..kernel import Launch
from ..kernels import elementwise
from ..lowering import PLAIN, Choice, Lowering, Refusal, Tensor

__all__ = ["LOWERINGS"]


class ElementwiseLowering(Lowering):
    """Chooses formula and operands as `rules`, the CPU's lowering of the operator, does; everything is plain."""

    overwritable = None

    def __init__(self, rules: cpu.ElementwiseLowering) -> None:
        self.rules = rules

    def words(self, inputs: cpu.Inputs) -> tuple[str | None, ...]:
        names = dict(zip(self.rules.used(inputs), elementwise.INPUTS, strict=False))
        return tuple(names.get(i) for i in range(len(inputs)))

    def choose(self, op: Op, inputs: cpu.Inputs, outputs: Sequence[TensorType], lanes: int) -> Choice | Refusal:
        formula = self._formula(op, inputs)
        if isinstance(formula, Refusal):
            return formula
        if plain_view([cpu._assumed(t.type) for t in self.rules._read(inputs)], cpu._assumed(outputs[0])) is None:
            return Refusal(f"after merging, the broadcast has more than {cpu.MAX_RANK} axes")
        return Choice(elementwise.KERNEL.name, inputs=(PLAIN,) * len(inputs))

    def _formula(self, op: Op, inputs: cpu.Inputs) -> cpu.Formula | Refusal:
        formula, read = self.rules.rule(op, inputs), self.rules._read(inputs)
        if isinstance(formula, Refusal):
            return formula
        types = tuple(t.type.dtype.value for t in read)
        if not is_native(formula.name, types):
            return Refusal(f"{op.op_type} of {', '.join(types)} has no CUDA kernel")
        if len(read) > (len(elementwise.INPUTS) if formula.name in FOLDED else elementwise.MOST):
            return Refusal(f"{len(read)} inputs have no CUDA kernel")
        return formula

    def inplace(self, inputs: cpu.Inputs, outputs: Sequence[Tensor]) -> tuple[int, ...]:
        """Where there are several stages, operands are read after something was written."""
        return super().inplace(inputs, outputs) if len(self.rules._read(inputs)) <= elementwise.MOST else ()

    def launch(self, op: Op, choice: Choice, inputs: cpu.Inputs, outputs: Sequence[Tensor], lanes: int) -> Launch:
        formula, y, read = self._formula(op, inputs), outputs[0], self.rules._read(inputs)
        if isinstance(formula, Refusal):
            raise PlanInvalid(f"{op.op_type}: {formula.reason}")
        view = plain_view([t.shape for t in read], y.shape)
        if view is None:
            raise PlanInvalid(f"{op.op_type}: after merging, the broadcast has more than {cpu.MAX_RANK} axes")
        types = [t.type.dtype.value for t in read]
        return elementwise.launch(formula.name, types, y.type.dtype.value, view, formula.p, formula.q)

    def pack(self, op: Op, choice: Choice, inputs: cpu.Inputs, index: int, lanes: int) -> cpu.Array:
        return self.rules.pack(op, choice, inputs, index, lanes)


class _Chain(Lowering):
    """Each part by the CPU's rules; only inputs that some part reads are operands of the kernel."""

    overwritable = None

    def words(self, inputs: cpu.Inputs) -> tuple[str | None, ...]:
        return elementwise.INPUTS[:len(inputs)]

    def choose(self, op: Op, inputs: cpu.Inputs, outputs: Sequence[TensorType], lanes: int) -> Choice | Refusal:
        found = _chain_parts(op, inputs)
        if isinstance(found, Refusal):
            return found
        if plain_view([cpu._assumed(t.type) for t in inputs if t is not None], cpu._assumed(outputs[0])) is None:
            return Refusal(f"after merging, the broadcast has more than {cpu.MAX_RANK} axes")
        return Choice(elementwise.KERNEL.name, inputs=(PLAIN,) * len(inputs))

    def launch(self, op: Op, choice: Choice, inputs: cpu.Inputs, outputs: Sequence[Tensor], lanes: int) -> Launch:
        parts = _chain_parts(op, inputs)
        if isinstance(parts, Refusal):
            raise PlanInvalid(f"Chain: {parts.reason}")
        view = plain_view([t.shape for t in inputs if t is not None], outputs[0].shape)
        if view is None:
            raise PlanInvalid(f"Chain: after merging, the broadcast has more than {cpu.MAX_RANK} axes")
        return elementwise.launch_chain(parts, view)


def _chain_parts(op: Op, inputs: cpu.Inputs) -> list[elementwise.Part] | Refusal:
    """The formulas, whose operands are only those that a formula reads."""
    assert isinstance(op, Chain)
    given = [t for t in inputs if t is not None]
    known = op.typed([Operand(t.type, t.value) for t in given])
    if len(given) > elementwise.MOST or len(op.parts) > elementwise.PARTS:
        return Refusal(f"there are CUDA kernels for {elementwise.MOST} inputs and {elementwise.PARTS} parts at most")
    found = []
    for part, numbers in op.parsed():
        rules = cpu.LOWERINGS[part.op_type]
        assert isinstance(rules, cpu.ElementwiseLowering)
        tensors = [Tensor(known[n].type, PLAIN, known[n].value, known[n].value is not None) for n in numbers]
        formula = rules.rule(part, tensors)
        if isinstance(formula, Refusal):
            return formula
        if any(known[n].type.dtype is not DType.F32 for n in numbers) or not is_native(formula.name, ("f32",)):
            return Refusal(f"{part.op_type} has no CUDA kernel as part of a chain of f32")
        read = tuple(numbers[i] for i in rules.used(tensors))
        if len(read) > 3 or (formula.name in FOLDED and len(read) != 2):
            return Refusal(f"{part.op_type} of {len(read)} operands is no part of a chain")
        found.append(elementwise.Part(formula.name, read, formula.p, formula.q))
    return found


LOWERINGS: dict[str, Lowering] = {
    **{name: ElementwiseLowering(rules) for name, rules in cpu.LOWERINGS.items()
       if isinstance(rules, cpu.ElementwiseLowering)},
    "Chain": _Chain(),
}
