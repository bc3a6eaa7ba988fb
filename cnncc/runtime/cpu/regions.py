"""Regions: a plan whose sizes depend on data is bound piece by piece, each when all its sizes are known.

A region is a range of steps, as a plan of its own: its inputs are the buffers that earlier regions or the caller hold,
its outputs those that are read later. It ends before the first step whose sizes do not follow from what is known at its
start. Either these depend on the contents of operands (Op.shaped_by): then they are read, and the step begins the next
region. Or the step runs on its reference, and the next region begins after it, with its results' sizes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ...errors import PlanInvalid
from ...plan import ALIAS, BODY, REFERENCE, Plan, Port, Step
from ...records import record
from .binding import Binding, Facts, bind_steps, first_facts, infer_steps
from .lowering import PLAIN

__all__ = [
    "Region", "assumed_regions", "bind_region", "first_region", "last_reads", "missing_contents", "private_inputs",
    "run_step",
]

Array = np.ndarray[Any, Any]


@record
class Region:
    """The steps of a plan up to `end`, bound; `plan` holds them alone, with the buffers' numbers of the whole plan.
    `facts` is what is known at its end."""

    plan: Plan
    binding: Binding
    end: int
    facts: Facts


def last_reads(plan: Plan) -> list[int]:
    """For each buffer the last step that reads it: len(steps) for an output of the plan, -1 if nobody does."""
    last = [-1] * len(plan.buffers)
    for number, step in enumerate(plan.steps):
        for read in step.inputs:
            if read is not None:
                last[read] = number
    for port in plan.outputs:
        last[port.buffer] = len(plan.steps)
    return last


def private_inputs(plan: Plan) -> frozenset[str]:
    """The names of inputs of which a run needs a copy of its own, so that nobody changes them meanwhile: those that a
    step without a native kernel reads (NumPy looks at indices first and follows them later, native kernels look at each
    when they follow it), and those whose contents decide on sizes."""
    names = {port.buffer: port.name for port in plan.inputs}
    found: set[str] = set()
    for step in plan.steps:
        if step.kernel == ALIAS and step.inputs[0] in names:
            names[step.outputs[0]] = names[step.inputs[0]]
        shaping = [b for b, name in zip(step.inputs, step.op.operands, strict=False)
                   if name.rstrip("?*") in step.op.shaped_by]
        read = step.inputs if step.kernel in (REFERENCE, BODY) else shaping
        found.update(names[b] for b in read if b in names)
    return frozenset(found)


def bind_region(plan: Plan, start: int, facts: Facts, last: Sequence[int]) -> Region:
    """The region that begins at the step `start`; `facts`, what is known there, is taken over and added to."""
    before = set(facts.values)
    end = infer_steps(plan, start, facts)
    if (start, end) == (0, len(plan.steps)):
        return Region(plan, bind_steps(plan, facts), end, facts)
    if not plan.is_dynamic:
        raise PlanInvalid(f"the shape of the output of step '{plan.steps[end].name}' ({plan.steps[end].op.op_type}) "
                          "depends on data, which the plan does not say")
    steps = plan.steps[start:end]
    defined = {b for s in steps for b in s.outputs}
    read = dict.fromkeys(b for s in steps for b in s.inputs if b is not None and b not in defined)

    def ports(numbers: list[int]) -> tuple[Port, ...]:
        return tuple(Port(plan.buffers[n].name, n) for n in numbers)

    piece = dataclasses.replace(
        plan, steps=steps, inputs=ports([b for b in read if b not in before]),
        outputs=ports([b for b in sorted(defined) if last[b] >= end and b not in facts.values]),
        weights={b: facts.values[b] for b in read if b in before}, arena=None)
    return Region(piece, bind_steps(piece, facts), end, facts)


def first_region(plan: Plan, symbols: Mapping[str, int]) -> Region:
    """The region that begins with the first step, for these sizes of the inputs' symbolic dimensions."""
    types = {port.buffer: plan.buffers[port.buffer].type.bind(symbols) for port in plan.inputs}
    return bind_region(plan, 0, first_facts(plan, types), last_reads(plan))


def assumed_regions(plan: Plan, symbols: Mapping[str, int], size: int) -> Iterator[Region]:
    """All regions for these sizes, where sizes that the data decide are `size`, and the steps between regions are left
    out."""
    types = {port.buffer: plan.buffers[port.buffer].type.bind(symbols) for port in plan.inputs}
    facts, last, start = first_facts(plan, types), last_reads(plan), 0
    while start < len(plan.steps) or start == 0:
        region = bind_region(plan, start, facts, last)
        yield region
        facts, start = region.facts.copy(), region.end + 1
        for number in plan.steps[region.end].outputs if region.end < len(plan.steps) else ():
            declared = plan.buffers[number].type
            facts.types[number] = declared.bind({s: symbols.get(s, size) for s in declared.symbols})


def missing_contents(step: Step, facts: Facts) -> list[int]:
    """The buffers whose contents decide on the sizes of the step's results and are not known yet."""
    names = [name.rstrip("?*") for name in step.op.operands]
    return [b for name, b in zip(names, step.inputs, strict=False)
            if b is not None and name in step.op.shaped_by and b not in facts.contents]


def run_step(plan: Plan, step: Step, arrays: Sequence[Array | None],
             compute: Callable[[Step, Sequence[Array | None]], Sequence[Array]]) -> dict[int, Array]:
    """Runs a step whose sizes only its results tell, on plain arrays; the results by buffer. Raises PlanInvalid where
    they are not what the plan says of them."""
    where = f"step '{step.name}' ({step.op.op_type})"
    layouts = {plan.buffers[b].layout for b in (*step.inputs, *step.outputs) if b is not None}
    if step.kernel not in (REFERENCE, BODY) or layouts - {PLAIN}:
        raise PlanInvalid(f"{where}: the shape of its output depends on data, so it must run on its reference, in "
                          "plain layouts")
    results = compute(step, arrays)
    found = {}
    for number, result in zip(step.outputs, results, strict=False):
        declared = plan.buffers[number].type
        array = np.require(result, declared.dtype.numpy, ["C", "A"])
        if len(array.shape) != declared.rank or any(
                isinstance(d, int) and d != n for d, n in zip(declared.shape, array.shape, strict=True)):
            raise PlanInvalid(f"{where} gave {array.dtype}{list(array.shape)}, which is not {declared}")
        found[number] = array
    return found
