"""What a plan must fulfil before any of it is used: each check derives the truth from the operators and compares.

The checks are named and stand in one table; each relies on those before it. Layouts, kernels and memory are a
runtime's own to check (`runtime.cpu.binding_checks`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .errors import MISTAKES, CnnccError, PlanInvalid
from .ir import Operand, known_outputs, name_unknown, new_symbols
from .plan import BODY, MAX_DEPTH, TARGETS, Plan, Step

__all__ = ["PLAN_CHECKS", "check_plan"]

Array = np.ndarray[Any, Any]


def check_plan(plan: Plan) -> None:
    """Raises PlanInvalid unless the plan is consistent with the operators it names, and so are its bodies."""
    for check in PLAN_CHECKS.values():
        check(plan)


def _check_target(plan: Plan) -> None:
    """A runtime knows the target, and kernels for vectors of so many floats."""
    if plan.target not in TARGETS:
        raise PlanInvalid(f"the plan's target must be one of {', '.join(TARGETS)}, not '{plan.target}'")
    if plan.lanes not in TARGETS[plan.target]:
        raise PlanInvalid(f"the plan is for vectors of {plan.lanes} floats, but the target {plan.target} has vectors "
                          f"of {', '.join(map(str, TARGETS[plan.target]))}")


def _check_numbers(plan: Plan) -> None:
    """All buffers that are referred to exist."""
    count = len(plan.buffers)
    named = [port.buffer for port in (*plan.inputs, *plan.outputs)] + list(plan.weights)
    named += [b for s in plan.steps for b in (*s.inputs, *s.outputs) if b is not None]
    bad = next((b for b in named if not 0 <= b < count), None)
    if bad is not None:
        raise PlanInvalid(f"the plan has {count} buffers, but refers to number {bad}")


def _check_port_names(plan: Plan) -> None:
    """Inputs differ in name, and so do outputs."""
    for ports in (plan.inputs, plan.outputs):
        names = [p.name for p in ports]
        if len(set(names)) != len(names):
            raise PlanInvalid(f"the plan has two inputs or outputs of one name: {', '.join(sorted(names))}")


def _check_input_buffers(plan: Plan) -> None:
    """Inputs and weights have a buffer each."""
    if len({port.buffer for port in plan.inputs} | set(plan.weights)) != len(plan.inputs) + len(plan.weights):
        raise PlanInvalid("two inputs or weights of the plan share a buffer")


def _check_ranges(plan: Plan) -> None:
    """Limits are of dimensions that inputs have, and leave sizes."""
    for name, (low, high) in plan.ranges.items():
        if name not in plan.symbols or not 0 <= low <= high:
            raise PlanInvalid(f"the plan limits the dimension {name} to {low}..{high}, which no input can have")


def _check_depth(plan: Plan) -> None:
    """Bodies are not nested too deeply."""
    level, depth = [plan], 0
    while level:
        if depth > MAX_DEPTH:
            raise PlanInvalid(f"bodies of the plan are nested deeper than {MAX_DEPTH} levels")
        level = [body for one in level for step in one.steps for body in step.op.bodies.values()]
        depth += 1


def _check_body_kernels(plan: Plan) -> None:
    """Steps run bodies if and only if their operators have some."""
    for step in plan.steps:
        if (step.kernel == BODY) != bool(step.op.bodies):
            raise PlanInvalid(f"{_where(step)} cannot be of kernel '{step.kernel}'")


def _check_body_targets(plan: Plan) -> None:
    """Bodies are for the machine that the plan is for."""
    for step in plan.steps:
        for name, body in step.op.bodies.items():
            if (body.target, body.lanes) != (plan.target, plan.lanes):
                raise PlanInvalid(f"{_where(step)}: {name} is for {body.target} with vectors of {body.lanes} floats, "
                                  f"but the plan for {plan.target} with {plan.lanes}")


def _check_bodies(plan: Plan) -> None:
    """Bodies fulfil all that a plan must."""
    for step in plan.steps:
        for name, body in step.op.bodies.items():
            try:
                check_plan(body)
            except PlanInvalid as error:
                raise PlanInvalid(f"{_where(step)}: {name}: {error}") from None


def _check_weights(plan: Plan) -> None:
    """Weights are of their buffers' types."""
    for number, array in plan.weights.items():
        type_ = plan.buffers[number].type
        if array.shape != type_.shape or array.dtype != type_.dtype.numpy:
            raise PlanInvalid(f"the weight '{plan.buffers[number].name}' is {array.dtype}{list(array.shape)}, "
                              f"but its buffer is {type_}")


def _check_order(plan: Plan) -> None:
    """Steps read what is there."""
    defined = {port.buffer for port in plan.inputs} | set(plan.weights)
    for step in plan.steps:
        for number in step.inputs:
            if number is not None and number not in defined:
                raise PlanInvalid(f"{_where(step)} reads the buffer '{plan.buffers[number].name}' before it is "
                                  "computed")
        defined.update(step.outputs)


def _check_single_assignment(plan: Plan) -> None:
    """Steps write what no one else writes."""
    defined = {port.buffer for port in plan.inputs} | set(plan.weights)
    for step in plan.steps:
        for number in step.outputs:
            if number in defined:
                raise PlanInvalid(f"{_where(step)} writes the buffer '{plan.buffers[number].name}', which is already "
                                  "defined")
            defined.add(number)


def _check_outputs(plan: Plan) -> None:
    """Outputs are computed."""
    defined = {port.buffer for port in plan.inputs} | set(plan.weights) | {b for s in plan.steps for b in s.outputs}
    for port in plan.outputs:
        if port.buffer not in defined:
            raise PlanInvalid(f"no step computes the output '{port.name}'")


def _check_types(plan: Plan) -> None:
    """Operators take their operands, and give results of the types that buffers have."""
    known: dict[int, Array] = dict(plan.weights)
    symbols = set(plan.symbols)
    for step in plan.steps:
        _check_step_types(plan, step, known, symbols)


def _check_step_types(plan: Plan, step: Step, known: dict[int, Array], symbols: set[str]) -> None:
    operands = [None if b is None else Operand(plan.buffers[b].type, known.get(b)) for b in step.inputs]
    try:
        step.op.check_arity([o is not None for o in operands])
        named = new_symbols([plan.buffers[b].type for b in step.outputs], symbols)
        inferred = step.op.infer(*operands)
        types, _ = name_unknown(inferred[:len(step.outputs)], iter(named))
        values = known_outputs(step.op, operands, inferred)
    except CnnccError as error:
        raise PlanInvalid(f"{_where(step)}: {error}") from None
    except MISTAKES as error:
        raise PlanInvalid(f"{_where(step)} has attributes or operands that do not fit: {error}") from error
    if not step.outputs or len(step.outputs) > len(types):
        raise PlanInvalid(f"{_where(step)} has {len(step.outputs)} outputs, but its operator gives {len(types)}")
    symbols.update(named)
    for number, type_, value in zip(step.outputs, types, values, strict=False):
        if plan.buffers[number].type != type_:
            raise PlanInvalid(f"{_where(step)} gives {type_}, but the buffer '{plan.buffers[number].name}' is "
                              f"{plan.buffers[number].type}")
        if value is not None:
            known[number] = value


def _where(step: Step) -> str:
    return f"step '{step.name}' ({step.op.op_type})"


PLAN_CHECKS: dict[str, Callable[[Plan], None]] = {
    "target": _check_target,
    "numbers": _check_numbers,
    "port names": _check_port_names,
    "input buffers": _check_input_buffers,
    "ranges": _check_ranges,
    "depth": _check_depth,
    "body kernels": _check_body_kernels,
    "body targets": _check_body_targets,
    "bodies": _check_bodies,
    "weights": _check_weights,
    "order": _check_order,
    "single assignment": _check_single_assignment,
    "types": _check_types,
    "outputs": _check_outputs,
}
