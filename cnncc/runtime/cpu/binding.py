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
from ...plan import ALIAS, BODY, KNOWN, REFERENCE, REORDER, Plan, Step
from ...storage import Storage, assign_storage
from .kernel import Launch
from .kernels import nothing
from .kernels.reorder import launch_reorder
from .lower.table import LOWERINGS
from .lowering import BLOCKED, HOST, PLAIN, Choice, Lowering, Tensor, stored_elements

__all__ = [
    "Binding", "BoundStep", "Facts", "bind", "bind_steps", "constant_operands", "first_facts", "infer_steps",
]

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


@dataclass
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
    odd = next((b for p in (*plan.inputs, *plan.outputs) if (b := plan.buffers[p.buffer]).layout != PLAIN), None)
    if odd is not None:
        raise PlanInvalid(f"the buffer '{odd.name}' has the layout '{odd.layout}', but inputs and outputs are plain")
    return _given(plan, inputs)


def _given(plan: Plan, inputs: Mapping[int, TensorType]) -> Facts:
    layouts = (PLAIN, BLOCKED) if plan.target == "cpu" else (PLAIN, HOST)
    odd = next((b for b in plan.buffers if b.layout not in layouts), None)
    if odd is not None:
        raise PlanInvalid(f"the buffer '{odd.name}' has the layout '{odd.layout}', which this runtime does not know")
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
    bound = tuple(facts.types.get(n, b.type) for n, b in enumerate(plan.buffers))
    values, contents = facts.values, facts.contents
    steps = tuple(_bound_step(plan, step, bound, values, contents) for step in plan.steps
                  if step.kernel not in (ALIAS, KNOWN))
    sizes = [0 if n in values or n not in facts.types else _stored_bytes(plan, n, t) for n, t in enumerate(bound)]
    for step in plan.steps:
        _check_alias(plan, step, bound, sizes)
    for bound_step in steps:
        _check_extents(plan, bound_step, sizes)
    shapes = [t.static_shape if n in facts.types else () for n, t in enumerate(bound)]
    storage = assign_storage(plan, shapes, sizes, [s.inplace for s in steps])
    return Binding(bound, values, steps, storage)


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


def _bound_step(plan: Plan, step: Step, types: tuple[TensorType, ...], values: Mapping[int, Array],
                contents: Mapping[int, Array]) -> BoundStep:
    def tensor(number: int | None) -> Tensor | None:
        return None if number is None else Tensor(types[number], plan.buffers[number].layout, contents.get(number),
                                                  number in values)

    inputs = [tensor(n) for n in step.inputs]
    outputs = [Tensor(types[n], plan.buffers[n].layout) for n in step.outputs]
    # A constant has no layout of its own: it is packed for the layout of what the step computes.
    layouts = tuple(PLAIN if t is None else outputs[0].layout if t.constant else t.layout for t in inputs)
    choice = Choice(step.kernel, step.params, layouts, tuple(t.layout for t in outputs))
    if plan.target == "cpu" and step.kernel != BODY and all(0 in t.shape for t in outputs):
        return BoundStep(step, nothing.launch(), choice)
    if step.kernel in (REFERENCE, BODY):
        layout = PLAIN if plan.target == "cpu" else HOST
        if any(t is not None and not t.constant and t.layout != layout for t in [*inputs, *outputs]):
            raise PlanInvalid(f"step '{step.name}' ({step.op.op_type}) has no native kernel, so it needs {layout} "
                              "layouts")
        if (step.kernel == BODY) != bool(step.op.bodies):
            raise PlanInvalid(f"step '{step.name}' ({step.op.op_type}) cannot be of kernel '{step.kernel}'")
        return BoundStep(step, None, choice)
    if step.kernel == REORDER:
        source = inputs[0]
        if source is None or step.op.op_type != "Identity" or source.constant:
            raise PlanInvalid(f"the reorder step '{step.name}' must have one computed input")
        return BoundStep(step, _reorder(plan, source, outputs[0]), choice, ("x",), ("y",))
    lowering = _lowerings(plan.target).get(step.op.op_type)
    if lowering is None:
        raise PlanInvalid(f"step '{step.name}': this cnncc has no native kernel for {step.op.op_type}")
    try:
        launch = lowering.launch(step.op, choice, inputs, outputs, plan.lanes)
    except CnnccError as error:
        raise type(error)(f"step '{step.name}' ({step.op.op_type}): {error}") from None
    if launch.name != step.kernel:
        raise PlanInvalid(f"step '{step.name}' ({step.op.op_type}) cannot run on the kernel '{step.kernel}'")
    return BoundStep(step, launch, choice, lowering.words(inputs), lowering.output_words[:len(outputs)],
                     lowering.inplace(inputs, outputs))


def _lowerings(target: str) -> Mapping[str, Lowering]:
    """The target's table: a plan says which kernels it was compiled for."""
    if target == "cpu":
        return LOWERINGS
    from ..cuda.lower.table import LOWERINGS as CUDA

    return CUDA


def _reorder(plan: Plan, source: Tensor, target: Tensor) -> Any:
    if plan.target == "cpu":
        return launch_reorder(source.shape, source.layout, target.layout, plan.lanes, source.type.dtype.itemsize)
    from ..cuda.lowering import launch_copy

    return launch_copy(source, target)


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
                raise PlanInvalid(f"step '{bound.step.name}': the kernel {launch.name} touches bytes {extent} "
                                  f"of '{plan.buffers[number].name}', which has {sizes[number]}")


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
    for word, array in packed.items():
        extent = bound.launch.reads.get(word, (0, 0))
        if extent[0] < 0 or extent[1] > array.nbytes or not array.flags.c_contiguous:
            raise PlanInvalid(f"step '{bound.step.name}': the kernel {bound.launch.name} reads {extent[1]} "
                              f"bytes of its constant '{word}', which has {array.nbytes}")
    return packed
