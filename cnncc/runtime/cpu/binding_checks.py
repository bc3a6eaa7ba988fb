"""What a plan's steps must fulfil for concrete sizes before a kernel may run: see `binding`, which derives what is
compared here. Each check is named and stands in a table; it relies on those before it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ...environment import memory_limit
from ...errors import PlanInvalid
from ...ir import TensorType
from ...plan import ALIAS, BODY, KNOWN, REFERENCE, REORDER, Plan, Step
from ...records import record
from .lower.layouts import can_block
from .lowering import BLOCKED, HOST, PLAIN, Choice, Lowering, Tensor, stored_elements

__all__ = [
    "BUFFER_CHECKS", "CONSTANT_CHECKS", "LAUNCH_CHECKS", "MEMORY_CHECKS", "PORT_CHECKS", "STEP_CHECKS", "Bound",
    "check_memory",
]

Array = np.ndarray[Any, Any]
Words = Sequence[tuple[str, int]]  # operands of a launch that are no constants: the word and the buffer of each
LARGEST = 2**63 - 1  # of an argument word


@record
class Bound:
    """A step of a plan for concrete sizes. `lowering` is its operator's, None where it has none or the step needs none;
    `sizes` are the bytes of all buffers, 0 for those whose contents are known."""

    plan: Plan
    step: Step
    inputs: Sequence[Tensor | None]
    outputs: Sequence[Tensor]
    sizes: Sequence[int]
    choice: Choice
    lowering: Lowering | None

    @property
    def where(self) -> str:
        return f"step '{self.step.name}' ({self.step.op.op_type})"

    @property
    def is_nothing(self) -> bool:
        """Whether nothing is to be computed, by whichever kernel."""
        return self.plan.target == "cpu" and self.step.kernel not in (ALIAS, BODY, KNOWN) \
            and all(0 in t.shape for t in self.outputs)


# -- of a plan ---------------------------------------------------------------------------------------------------------


def _check_layouts(plan: Plan) -> None:
    """The target knows all layouts."""
    layouts = (PLAIN, BLOCKED) if plan.target == "cpu" else (PLAIN, HOST)
    odd = next((b for b in plan.buffers if b.layout not in layouts), None)
    if odd is not None:
        raise PlanInvalid(f"the buffer '{odd.name}' has the layout '{odd.layout}', which this runtime does not know")


def _check_weight_layouts(plan: Plan) -> None:
    """Weights are in C order; kernels get them packed."""
    odd = next((b for n in plan.weights if (b := plan.buffers[n]).layout != PLAIN), None)
    if odd is not None:
        raise PlanInvalid(f"the weight '{odd.name}' has the layout '{odd.layout}', but weights are plain")


def _check_port_layouts(plan: Plan) -> None:
    """What callers give and get is in C order."""
    odd = next((b for p in (*plan.inputs, *plan.outputs) if (b := plan.buffers[p.buffer]).layout != PLAIN), None)
    if odd is not None:
        raise PlanInvalid(f"the buffer '{odd.name}' has the layout '{odd.layout}', but inputs and outputs are plain")


# -- of a buffer, by number, and its type for these sizes --------------------------------------------------------------


def _check_blocks(plan: Plan, number: int, type_: TensorType) -> None:
    """What is blocked has channels and elements that kernels can move so."""
    if plan.buffers[number].layout == BLOCKED and not can_block(type_):
        raise PlanInvalid(f"the buffer '{plan.buffers[number].name}' of type {type_} cannot be blocked")


def _check_size(plan: Plan, number: int, type_: TensorType) -> None:
    """No buffer takes more than the limit, nor would if its empty axes had a size."""
    shape = [max(d, 1) for d in type_.static_shape]
    most = stored_elements(shape, plan.buffers[number].layout, plan.lanes) * type_.dtype.itemsize
    if most > memory_limit():
        raise PlanInvalid(f"the buffer '{plan.buffers[number].name}' of type {type_} takes {most:,} bytes; the limit "
                          f"is {memory_limit():,}: raise it with CNNCC_MAX_BYTES")


# -- of a step, before its launch is derived ---------------------------------------------------------------------------


def _check_alias(bound: Bound) -> None:
    """The operator moves nothing."""
    source = bound.inputs[0] if bound.inputs else None
    if bound.step.kernel == ALIAS and (source is None or not bound.step.op.alias or len(bound.outputs) != 1):
        raise PlanInvalid(f"{bound.where} cannot be an alias of its input")


def _check_alias_memory(bound: Bound) -> None:
    """An alias has the elements of its source in the same order, and in a layout in which that is the same bytes."""
    if bound.step.kernel != ALIAS:
        return
    source, target = bound.inputs[0], bound.outputs[0]
    assert source is not None
    same = source.type == target.type and source.layout == target.layout
    sizes = [bound.sizes[b] for b in (bound.step.inputs[0], bound.step.outputs[0]) if b is not None]
    constant = bound.step.inputs[0] in bound.plan.weights
    if constant or sizes[0] != sizes[1] or not (same or (source.layout, target.layout) == (PLAIN, PLAIN)):
        raise PlanInvalid(f"{bound.where}: '{bound.plan.buffers[bound.step.outputs[0]].name}' cannot share the memory "
                          "of its input")


def _check_reference_layouts(bound: Bound) -> None:
    """What runs in Python is in C order, in the CPU's memory."""
    if bound.step.kernel not in (REFERENCE, BODY):
        return
    layout = PLAIN if bound.plan.target == "cpu" else HOST
    if any(t is not None and not t.constant and t.layout != layout for t in [*bound.inputs, *bound.outputs]):
        raise PlanInvalid(f"{bound.where} has no native kernel, so it needs {layout} layouts")


def _check_reorder(bound: Bound) -> None:
    """A reorder step moves what was computed."""
    if bound.step.kernel == REORDER:
        source = bound.inputs[0]
        if source is None or bound.step.op.op_type != "Identity" or source.constant:
            raise PlanInvalid(f"the reorder step '{bound.step.name}' must have one computed input")


def _check_reorder_layouts(bound: Bound) -> None:
    """It moves it from one layout to another."""
    if bound.step.kernel == REORDER:
        layouts = [t.layout for t in (bound.inputs[0], bound.outputs[0]) if t is not None]
        if layouts[0] == layouts[1]:
            raise PlanInvalid(f"the reorder step '{bound.step.name}' begins and ends with {layouts[0]} tensors")


def _check_lowering(bound: Bound) -> None:
    """The operator has native kernels."""
    if bound.step.kernel not in NOT_NATIVE and bound.lowering is None:
        raise PlanInvalid(f"step '{bound.step.name}': this cnncc has no native kernel for {bound.step.op.op_type}")


def _check_operands(bound: Bound) -> None:
    """The operator has native kernels for these operands."""
    if bound.lowering is not None:
        reason = bound.lowering.refuses(bound.step.op, bound.inputs, [t.type for t in bound.outputs], bound.plan.lanes)
        if reason:
            raise PlanInvalid(f"{bound.where} has no native kernel for these operands: {reason}")


def _check_parameters(bound: Bound) -> None:
    """The kernel's parameters are some that the operator's kernels have."""
    if bound.plan.target != "cpu":
        return
    names = bound.lowering.parameters if bound.lowering else ()
    odd = next((name for name in bound.step.params if name not in names), None)
    if odd is not None:
        raise PlanInvalid(f"{bound.where} has the parameter '{odd}', which its kernel '{bound.step.kernel}' has not")


# -- of a launch -------------------------------------------------------------------------------------------------------


def _check_kernel(bound: Bound, launch: Any, words: Words) -> None:
    """It is of the kernel that the plan names."""
    if bound.step.kernel != REORDER and launch.name != bound.step.kernel:
        raise PlanInvalid(f"{bound.where} cannot run on the kernel '{bound.step.kernel}'")


def _check_words(bound: Bound, launch: Any, words: Words) -> None:
    """Its integers fit the words that kernels read."""
    numbers = (*launch.dims, launch.tasks) if bound.plan.target == "cpu" else ()
    odd = next((n for n in numbers if not -LARGEST <= n <= LARGEST), None)
    if odd is not None:
        raise PlanInvalid(f"{bound.where}: the kernel {launch.name} cannot count to {odd}")


def _check_extents(bound: Bound, launch: Any, words: Words) -> None:
    """Every byte range that it touches lies within the buffer bound to its word (constants are checked when packed)."""
    for word, number in words:
        for extent in (launch.reads.get(word), launch.writes.get(word)):
            if extent is not None and not (extent[0] >= 0 and extent[1] <= bound.sizes[number]):
                raise PlanInvalid(f"step '{bound.step.name}': the kernel {launch.name} touches bytes {extent} of "
                                  f"'{bound.plan.buffers[number].name}', which has {bound.sizes[number]}")


# -- of a packed constant: the step's name, the kernel's, the word, the range that is read -----------------------------


def _check_constant(where: str, word: str, array: Array, extent: tuple[int, int]) -> None:
    """It is as large as the kernel's contract says it reads."""
    if extent[0] < 0 or extent[1] > array.nbytes or not array.flags.c_contiguous:
        raise PlanInvalid(f"{where} reads bytes {extent} of its constant '{word}', which has {array.nbytes}")


# -- of a bound plan: bytes that a run by so many threads needs, by what they are for ----------------------------------


def _check_memory(plan: Plan, needs: Mapping[str, int]) -> None:
    """All of it together is within the limit."""
    total = sum(needs.values())
    if total > memory_limit():
        raise PlanInvalid(f"the plan '{plan.name}' needs {total:,} bytes: "
                          + ", ".join(f"{size:,} for {what}" for what, size in needs.items())
                          + f"; the limit is {memory_limit():,}: raise it with CNNCC_MAX_BYTES")


def check_memory(plan: Plan, binding: Any, threads: int) -> None:
    """Raises PlanInvalid where running the Binding takes more memory than the limit allows. Nothing is allocated
    yet."""
    types, launches = binding.types, [bound.launch for bound in binding.steps if bound.launch is not None]
    results = [port.buffer for port in plan.outputs]
    constants = [extent[1] for bound in binding.steps if bound.launch is not None
                 for word, number in zip(bound.inputs, bound.step.inputs, strict=False)
                 if number in binding.values and (extent := bound.launch.reads.get(word))]
    needs = {
        "intermediate results": binding.storage.arena.size,
        "outputs": sum(types[b].dtype.itemsize * stored_elements(types[b].static_shape, plan.buffers[b].layout,
                                                                 plan.lanes) for b in results),
        "packed weights": sum(constants),
        "scratch memory": threads * max((launch.scratch for launch in launches), default=0),
    }
    for check in MEMORY_CHECKS.values():
        check(plan, needs)


NOT_NATIVE = (ALIAS, BODY, KNOWN, REFERENCE, REORDER)
PORT_CHECKS: dict[str, Callable[[Plan], None]] = {
    "layouts": _check_layouts,
    "weight layouts": _check_weight_layouts,
    "port layouts": _check_port_layouts,
}
BUFFER_CHECKS: dict[str, Callable[[Plan, int, TensorType], None]] = {
    "blocks": _check_blocks,
    "size": _check_size,
}
STEP_CHECKS: dict[str, Callable[[Bound], None]] = {
    "alias": _check_alias,
    "alias memory": _check_alias_memory,
    "reference layouts": _check_reference_layouts,
    "reorder": _check_reorder,
    "reorder layouts": _check_reorder_layouts,
    "lowering": _check_lowering,
    "parameters": _check_parameters,
    "operands": _check_operands,
}
LAUNCH_CHECKS: dict[str, Callable[[Bound, Any, Words], None]] = {
    "kernel": _check_kernel,
    "words": _check_words,
    "extents": _check_extents,
}
MEMORY_CHECKS: dict[str, Callable[[Plan, Mapping[str, int]], None]] = {
    "memory": _check_memory,
}
CONSTANT_CHECKS: dict[str, Callable[[str, str, Array, tuple[int, int]], None]] = {
    "constant": _check_constant,
}
