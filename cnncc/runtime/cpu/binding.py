"""A plan for concrete sizes: every type, launch and place in memory derived again from the operators, and checked.

This is what stands between a plan file and a kernel: no kernel runs on a byte range that was not computed here from
the operator, its shapes and the kernel's own contract, and found to lie within its buffer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import CnnccError, PlanInvalid
from ...ir import Operand, TensorType, known_outputs
from ...plan import ALIAS, KNOWN, REFERENCE, REORDER, Plan, Step
from ...storage import Storage, assign_storage
from .kernel import Launch
from .kernels.reorder import launch_reorder
from .lower.table import LOWERINGS
from .lowering import BLOCKED, PLAIN, Choice, Tensor, stored_elements

__all__ = ["Binding", "BoundStep", "bind", "constant_operands"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
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


@dataclass(frozen=True)
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


def bind(plan: Plan, symbols: Mapping[str, int]) -> Binding:
    """Binds the plan's symbolic dimensions. Raises PlanInvalid where the plan contradicts its operators."""
    odd = next((b for b in plan.buffers if b.layout not in (PLAIN, BLOCKED)), None)
    if odd is not None:
        raise PlanInvalid(f"the buffer '{odd.name}' has the layout '{odd.layout}', which this runtime does not know")
    types: list[TensorType | None] = [None] * len(plan.buffers)
    values: dict[int, Array] = dict(plan.weights)
    for port in plan.inputs:
        types[port.buffer] = plan.buffers[port.buffer].type.bind(symbols)
    for number in plan.weights:
        types[number] = plan.buffers[number].type
    for step in plan.steps:
        _infer(plan, step, types, values)
    bound = tuple(t if t is not None else b.type for t, b in zip(types, plan.buffers, strict=True))
    steps = tuple(_bound_step(plan, step, bound, values) for step in plan.steps if step.kernel not in (ALIAS, KNOWN))
    known = {b for s in plan.steps if s.kernel == KNOWN for b in s.outputs} | set(plan.weights)
    sizes = [0 if n in known else _stored_bytes(plan, n, t) for n, t in enumerate(bound)]
    for step in plan.steps:
        _check_alias(plan, step, bound, sizes)
    for bound_step in steps:
        _check_extents(plan, bound_step, sizes)
    storage = assign_storage(plan, [t.static_shape for t in bound], sizes, [s.inplace for s in steps])
    return Binding(bound, values, steps, storage)


def _infer(plan: Plan, step: Step, types: list[TensorType | None], values: dict[int, Array]) -> None:
    operands = []
    for number in step.inputs:
        type_ = None if number is None else types[number]
        operands.append(None if number is None or type_ is None else Operand(type_, values.get(number)))
    try:
        results = step.op.infer(*operands)
        contents = known_outputs(step.op, operands, results)
    except CnnccError as error:
        raise type(error)(f"step '{step.name}' ({step.op.op_type}): {error}") from None
    for number, type_, value in zip(step.outputs, results, contents, strict=False):
        if not type_.is_static:
            raise PlanInvalid(f"step '{step.name}' ({step.op.op_type}): the shape of its output depends on data")
        types[number] = type_
        if step.kernel == KNOWN:
            if value is None:
                raise PlanInvalid(f"step '{step.name}' ({step.op.op_type}) is marked as known before the run, but its "
                                  "result depends on data")
            values[number] = value.astype(type_.dtype.numpy, order="C")  # keeps rank 0


def _check_alias(plan: Plan, step: Step, types: tuple[TensorType, ...], sizes: list[int]) -> None:
    """An alias has the elements of its source in the same order, and in a layout in which that is the same bytes."""
    if step.kernel != ALIAS:
        return
    source = step.inputs[0] if step.inputs else None
    if source is None or not step.op.alias or len(step.outputs) != 1:
        raise PlanInvalid(f"step '{step.name}' ({step.op.op_type}) cannot be an alias of its input")
    target = step.outputs[0]
    layouts = plan.buffers[source].layout, plan.buffers[target].layout
    same = types[source] == types[target] and layouts[0] == layouts[1]
    if source in plan.weights or sizes[source] != sizes[target] or not (same or layouts == (PLAIN, PLAIN)):
        raise PlanInvalid(f"step '{step.name}' ({step.op.op_type}): '{plan.buffers[target].name}' cannot share the "
                          f"memory of '{plan.buffers[source].name}'")


def _stored_bytes(plan: Plan, number: int, type_: TensorType) -> int:
    layout = plan.buffers[number].layout
    if layout == BLOCKED and type_.rank < 2:
        raise PlanInvalid(f"the buffer '{plan.buffers[number].name}' of type {type_} cannot be blocked")
    return stored_elements(type_.static_shape, layout, plan.lanes) * type_.dtype.itemsize


def _bound_step(plan: Plan, step: Step, types: tuple[TensorType, ...], values: Mapping[int, Array]) -> BoundStep:
    def tensor(number: int | None) -> Tensor | None:
        return None if number is None else Tensor(types[number], plan.buffers[number].layout, values.get(number),
                                                  number in values)

    inputs = [tensor(n) for n in step.inputs]
    outputs = [Tensor(types[n], plan.buffers[n].layout) for n in step.outputs]
    # A constant has no layout of its own: it is packed for the layout of what the step computes.
    layouts = tuple(PLAIN if t is None else outputs[0].layout if t.constant else t.layout for t in inputs)
    choice = Choice(step.kernel, step.params, layouts, tuple(t.layout for t in outputs))
    if step.kernel == REFERENCE:
        if any(t is not None and t.layout != PLAIN for t in [*inputs, *outputs]):
            raise PlanInvalid(f"step '{step.name}' runs on its reference, which needs plain layouts")
        return BoundStep(step, None, choice)
    if step.kernel == REORDER:
        source = inputs[0]
        if source is None or step.op.op_type != "Identity" or source.constant:
            raise PlanInvalid(f"the reorder step '{step.name}' must have one computed input")
        launch = launch_reorder(source.shape, source.layout, outputs[0].layout, plan.lanes)
        return BoundStep(step, launch, choice, ("x",), ("y",))
    lowering = LOWERINGS.get(step.op.op_type)
    if lowering is None:
        raise PlanInvalid(f"step '{step.name}': this cnncc has no native kernel for {step.op.op_type}")
    try:
        launch = lowering.launch(step.op, choice, inputs, outputs, plan.lanes)
    except CnnccError as error:
        raise type(error)(f"step '{step.name}' ({step.op.op_type}): {error}") from None
    if launch.kernel.name != step.kernel:
        raise PlanInvalid(f"step '{step.name}' ({step.op.op_type}) cannot run on the kernel '{step.kernel}'")
    return BoundStep(step, launch, choice, lowering.words(inputs), lowering.output_words[:len(outputs)],
                     lowering.inplace(inputs, outputs))


def _check_extents(plan: Plan, bound: BoundStep, sizes: list[int]) -> None:
    """Every byte range of a launch lies within the buffer bound to its word (constants are checked when packed)."""
    launch = bound.launch
    if launch is None:
        return
    pairs = [*zip(bound.inputs, bound.step.inputs, strict=False), *zip(bound.outputs, bound.step.outputs, strict=False)]
    for word, number in pairs:
        if word is None or number is None:
            continue
        for extent in (launch.reads.get(word), launch.writes.get(word)):
            packed = number in plan.weights or sizes[number] == 0
            if extent is not None and not packed and not (extent[0] >= 0 and extent[1] <= sizes[number]):
                raise PlanInvalid(f"step '{bound.step.name}': the kernel {launch.kernel.name} touches bytes {extent} "
                                  f"of '{plan.buffers[number].name}', which has {sizes[number]}")


def constant_operands(plan: Plan, binding: Binding, bound: BoundStep) -> dict[str, Array]:
    """The packed constants of a step by word, each at least as large as the kernel's contract says it reads."""
    if bound.launch is None or bound.step.kernel == REORDER:
        return {}
    lowering = LOWERINGS[bound.step.op.op_type]
    inputs = [binding.tensor(plan, n) for n in bound.step.inputs]
    packed = {word: lowering.pack(bound.step.op, bound.choice, inputs, i, plan.lanes)
              for i, (word, t) in enumerate(zip(bound.inputs, inputs, strict=False))
              if word is not None and t is not None and t.constant}
    packed |= lowering.extra(bound.step.op, bound.choice, inputs, plan.lanes)
    for word, array in packed.items():
        extent = bound.launch.reads.get(word, (0, 0))
        if extent[0] < 0 or extent[1] > array.nbytes or not array.flags.c_contiguous:
            raise PlanInvalid(f"step '{bound.step.name}': the kernel {bound.launch.kernel.name} reads {extent[1]} "
                              f"bytes of its constant '{word}', which has {array.nbytes}")
    return packed
