"""A plan for concrete sizes: every type, launch and place in memory derived again from the operators, and checked.

This is what stands between a plan file and a kernel: no kernel runs on a byte range that was not computed here from
the operator, its shapes and the kernel's own contract, and found to lie within its buffer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...errors import MISTAKES, CnnccError, PlanInvalid
from ...ir import Operand, TensorType, known_outputs
from ...plan import ALIAS, BODY, KNOWN, REFERENCE, REORDER, Plan, Step
from ...records import record
from ...storage import Storage, assign_storage
from .binding_checks import BUFFER_CHECKS, CONSTANT_CHECKS, LAUNCH_CHECKS, NOT_NATIVE, PORT_CHECKS, STEP_CHECKS, Bound
from .kernel import Launch
from .kernels import nothing
from .kernels.reorder import launch_reorder
from .lower.table import LOWERINGS
from .lowering import PLAIN, Choice, Lowering, Tensor, stored_elements

__all__ = [
    "Binding", "BoundStep", "Facts", "bind", "bind_steps", "constant_operands", "first_facts", "infer_steps",
]

Array = np.ndarray[Any, Any]


@record
class BoundStep:
    """An executed step for concrete sizes: `launch` is None for one that runs on its reference. `inputs` are the word
    names to which the step's input buffers are bound, likewise `outputs`; `inplace` are the inputs that may lend their
    memory to output 0."""

    step: Step
    launch: Launch | None
    choice: Choice
    inputs: tuple[str | None, ...] = ()
    outputs: tuple[str | None, ...] = ()
    inplace: tuple[int, ...] = ()


@record
class Binding:
    """`types` and `values` (what is known of the contents) by buffer; `steps` are those that are executed."""

    types: tuple[TensorType, ...]
    values: Mapping[int, Array]
    steps: tuple[BoundStep, ...]
    storage: Storage

    def tensor(self, plan: Plan, number: int | None) -> Tensor | None:
        if number is None:
            return None
        return Tensor(self.types[number], plan.buffers[number].layout, self.values.get(number), number in self.values)


@record(frozen=False)
class Facts:
    """What is known of buffers before they are computed, by number: their types, their contents where these follow from
    shapes, and of the contents those that no step computes: weights, and what shape arithmetic gives."""

    types: dict[int, TensorType]
    contents: dict[int, Array]
    values: dict[int, Array]

    def copy(self) -> Facts:
        return Facts(dict(self.types), dict(self.contents), dict(self.values))


def bind(plan: Plan, symbols: Mapping[str, int]) -> Binding:
    """Binds the plan's symbolic dimensions. Raises PlanInvalid where the plan contradicts its operators, or has sizes
    that depend on data (see regions.py)."""
    facts = _given(plan, {port.buffer: plan.buffers[port.buffer].type.bind(symbols) for port in plan.inputs})
    end = infer_steps(plan, 0, facts)
    if end < len(plan.steps):
        step = plan.steps[end]
        raise PlanInvalid(f"step '{step.name}' ({step.op.op_type}): the shape of its output depends on data")
    return bind_steps(plan, facts)


def first_facts(plan: Plan, inputs: Mapping[int, TensorType]) -> Facts:
    """What is known when the inputs, which callers give as plain arrays, have these types."""
    for check in PORT_CHECKS.values():
        check(plan)
    return _given(plan, inputs)


def _given(plan: Plan, inputs: Mapping[int, TensorType]) -> Facts:
    types = dict(inputs) | {n: plan.buffers[n].type for n in plan.weights}
    return Facts(types, dict(plan.weights), dict(plan.weights))


def infer_steps(plan: Plan, start: int, facts: Facts) -> int:
    """Infers the types of what the steps from `start` on compute, up to the first whose sizes depend on data; its
    number, or that of all steps."""
    for number in range(start, len(plan.steps)):
        if not _infer(plan.steps[number], facts):
            return number
    return len(plan.steps)


def bind_steps(plan: Plan, facts: Facts) -> Binding:
    """Binds the steps of a plan whose types are known; of a buffer that no step mentions nothing need be known."""
    types = tuple(facts.types.get(n, b.type) for n, b in enumerate(plan.buffers))
    shapes = [t.static_shape if n in facts.types else () for n, t in enumerate(types)]
    sizes = [0 if n in facts.values or n not in facts.types else _stored_bytes(plan, n, t) for n, t in enumerate(types)]
    checked = [_checked(plan, step, types, sizes, facts) for step in plan.steps]
    steps = tuple(_launched(bound) for bound in checked if bound.step.kernel not in (ALIAS, KNOWN))
    storage = assign_storage(plan, shapes, sizes, [s.inplace for s in steps])
    return Binding(types, facts.values, steps, storage)


def _infer(step: Step, facts: Facts) -> bool:
    """Adds the step's results to what is known; False where their sizes depend on data."""
    operands = [None if n is None else Operand(facts.types[n], facts.contents.get(n)) for n in step.inputs]
    try:
        results = step.op.infer(*operands)
        if not all(t.is_static for t in results[:len(step.outputs)]):
            return False
        contents = known_outputs(step.op, operands, results)
    except CnnccError as error:
        raise type(error)(f"step '{step.name}' ({step.op.op_type}): {error}") from None
    except MISTAKES as error:
        raise PlanInvalid(f"step '{step.name}' ({step.op.op_type}) has operands that do not fit: {error}") from error
    for number, type_, value in zip(step.outputs, results, contents, strict=False):
        facts.types[number] = type_
        if value is not None:
            facts.contents[number] = value = value.astype(type_.dtype.numpy, order="C")  # keeps rank 0
        if step.kernel == KNOWN:
            if value is None:
                raise PlanInvalid(f"step '{step.name}' ({step.op.op_type}) is marked as known before the run, but its "
                                  "result depends on data")
            facts.values[number] = value
    return True


def _stored_bytes(plan: Plan, number: int, type_: TensorType) -> int:
    for check in BUFFER_CHECKS.values():
        check(plan, number, type_)
    return stored_elements(type_.static_shape, plan.buffers[number].layout, plan.lanes) * type_.dtype.itemsize


def _checked(plan: Plan, step: Step, types: tuple[TensorType, ...], sizes: list[int], facts: Facts) -> Bound:
    """The step, of which a launch may be derived."""
    def tensor(number: int | None) -> Tensor | None:
        return None if number is None else Tensor(types[number], plan.buffers[number].layout,
                                                  facts.contents.get(number), number in facts.values)

    inputs = [tensor(n) for n in step.inputs]
    outputs = [Tensor(types[n], plan.buffers[n].layout) for n in step.outputs]
    # A constant has no layout of its own: it is packed for the layout of what the step computes.
    layouts = tuple(PLAIN if t is None else outputs[0].layout if t.constant else t.layout for t in inputs)
    choice = Choice(step.kernel, step.params, layouts, tuple(t.layout for t in outputs))
    lowering = None if step.kernel in NOT_NATIVE else _lowerings(plan.target).get(step.op.op_type)
    bound = Bound(plan, step, inputs, outputs, sizes, choice, lowering)
    if not bound.is_nothing:
        for check in STEP_CHECKS.values():
            try:
                check(bound)
            except MISTAKES as error:
                raise PlanInvalid(f"{bound.where} has operands that do not fit: {error}") from error
    return bound


def _launched(bound: Bound) -> BoundStep:
    plan, step, inputs, outputs, lowering = bound.plan, bound.step, bound.inputs, bound.outputs, bound.lowering
    if bound.is_nothing:
        return BoundStep(step, nothing.launch(), bound.choice)
    if step.kernel in (REFERENCE, BODY):
        return BoundStep(step, None, bound.choice)
    if step.kernel == REORDER:
        assert inputs[0] is not None
        found = BoundStep(step, _reorder(plan, inputs[0], outputs[0]), bound.choice, ("x",), ("y",))
    else:
        assert lowering is not None
        try:
            launch = lowering.launch(step.op, bound.choice, inputs, outputs, plan.lanes)
        except CnnccError as error:
            raise type(error)(f"{bound.where}: {error}") from None
        except MISTAKES as error:
            raise PlanInvalid(f"{bound.where} does not fit the kernel {step.kernel}: {error}") from error
        found = BoundStep(step, launch, bound.choice, lowering.words(inputs), lowering.output_words[:len(outputs)],
                          lowering.inplace(inputs, outputs))
    pairs = [*zip(found.inputs, zip(step.inputs, inputs, strict=True), strict=False),
             *zip(found.outputs, zip(step.outputs, outputs, strict=True), strict=False)]
    words = [(word, number) for word, (number, t) in pairs
             if word is not None and number is not None and t is not None and not t.constant]
    for check in LAUNCH_CHECKS.values():
        check(bound, found.launch, words)
    return found


def _lowerings(target: str) -> Mapping[str, Lowering]:
    """The target's table: a plan says which kernels it was compiled for."""
    if target == "cpu":
        return LOWERINGS
    from ..cuda.lower.table import lowerings_at_hand

    return lowerings_at_hand()


def _reorder(plan: Plan, source: Tensor, target: Tensor) -> Any:
    if plan.target == "cpu":
        return launch_reorder(source.shape, source.layout, target.layout, plan.lanes, source.type.dtype.itemsize)
    from ..cuda.lowering import launch_copy

    return launch_copy(source, target)


def constant_operands(plan: Plan, binding: Binding, bound: BoundStep) -> dict[str, Array]:
    """The packed constants of a step by word, each at least as large as the kernel's contract says it reads."""
    if bound.launch is None or bound.step.kernel == REORDER or bound.launch.name == nothing.KERNEL.name:
        return {}
    lowering = _lowerings(plan.target)[bound.step.op.op_type]
    inputs = [binding.tensor(plan, n) for n in bound.step.inputs]
    packed = {word: lowering.pack(bound.step.op, bound.choice, inputs, i, plan.lanes)
              for i, (word, t) in enumerate(zip(bound.inputs, inputs, strict=False))
              if word is not None and t is not None and t.constant}
    packed |= lowering.extra(bound.step.op, bound.choice, inputs, plan.lanes)
    for check in CONSTANT_CHECKS.values():
        for word, array in packed.items():
            check(f"step '{bound.step.name}'", word, array, bound.launch.reads.get(word, (0, 0)))
    return packed
