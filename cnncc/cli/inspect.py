"""`cnncc inspect`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..plan import ALIAS, KNOWN, REORDER
from .console import Reporter, human_bytes, print_json, print_line, print_table
from .options import Json, Quiet, Shapes

if TYPE_CHECKING:
    from ..plan import Plan, Step
    from ..runtime.cpu.binding import Binding


def inspect(
        plan: Annotated[Path, typer.Argument(help="A plan made by `cnncc compile`, or an ONNX model.")],
        steps: Annotated[bool, typer.Option("--steps", help="Only the steps.")] = False,
        weights: Annotated[bool, typer.Option("--weights", help="Only the weights.")] = False,
        arena: Annotated[bool, typer.Option("--arena", help="Only the map of the arena.")] = False,
        find: Annotated[str, typer.Option(
            help="Only steps and weights of which the name, operator or kernel holds this text.")] = "",
        shapes: Shapes = None,
        as_json: Json = False,
        quiet: Quiet = False) -> None:
    """Shows what a plan does: its steps with their kernels, its weights, and where everything lies in memory.

    A symbolic dimension counts as 1 here unless --shape says otherwise. Where sizes depend on data, they stay symbolic
    from the first such step on, and nothing has its place in memory yet.

        cnncc inspect resnet50.plan

        cnncc inspect resnet50.plan --steps --find conv

        cnncc inspect detector.plan --shape N=8 --arena
    """
    from ..runtime.cpu.regions import first_region
    from .plans import open_plan
    from .shapes import parse_sizes

    with Reporter(quiet) as reporter:
        loaded = open_plan(plan, reporter)
    sizes = dict.fromkeys(loaded.symbols, 1) | parse_sizes(shapes)
    _check_symbols(loaded, sizes)
    binding = first_region(loaded, sizes).binding
    everything = not (steps or weights or arena)
    if as_json:
        print_json(_as_json(loaded, binding, find, everything, steps, weights, arena))
        return
    if everything:
        _print_summary(loaded, binding, sizes)
    if everything or steps:
        _print_steps(loaded, binding, find)
    if weights:
        rows = [(w["name"], w["type"], human_bytes(w["bytes"])) for w in _weights(loaded, find)]
        print_table(("weight", "type", "bytes"), rows, right=("bytes",))
    if everything or arena:
        _print_arena(loaded, binding)


def _check_symbols(plan: Plan, sizes: dict[str, int]) -> None:
    from ..errors import InputError

    for name in sizes:
        if name not in plan.symbols:
            has = f"it has {', '.join(plan.symbols)}" if plan.symbols else "all its sizes are fixed"
            raise InputError(f"the plan has no symbolic dimension '{name}'; {has}")


def _as_json(plan: Plan, binding: Binding, find: str, everything: bool, steps: bool, weights: bool,
             arena: bool) -> dict[str, Any]:
    from dataclasses import asdict

    from .arena import blocks_of

    found: dict[str, Any] = {}
    if everything:
        found = _facts(plan, binding)
    if everything or steps:
        found["steps"] = _steps(plan, binding, find)
    if everything or weights:
        found["weights"] = _weights(plan, find)
    if everything or arena:
        found["arena"] = [asdict(block) for block in blocks_of(plan, binding)]
    return found


def _facts(plan: Plan, binding: Binding) -> dict[str, Any]:
    def ports(given: Any) -> list[dict[str, str]]:
        return [{"name": p.name, "type": str(plan.buffers[p.buffer].type)} for p in given]

    return {"name": plan.name, "target": plan.target, "lanes": plan.lanes, "producer": plan.producer,
            "inputs": ports(plan.inputs), "outputs": ports(plan.outputs),
            "operators": dict(Counter(s.op.op_type for s in plan.steps)),
            "kernels": dict(Counter(s.kernel for s in plan.steps)),
            "weight_bytes": plan.weight_bytes, "arena_bytes": binding.storage.arena.size,
            "lower_bound_bytes": binding.storage.arena.lower_bound}


def _steps(plan: Plan, binding: Binding, find: str) -> list[dict[str, Any]]:
    from .arena import stored_bytes

    rows = []
    bound = _bound(plan, binding)
    for number, step in enumerate(plan.steps):
        if find.lower() not in f"{step.name} {step.op.op_type} {step.kernel}".lower():
            continue
        out = step.outputs[0]
        rows.append({
            "step": number, "name": step.name, "operator": step.op.op_type,
            "does": _does(step, binding) if plan.target == "cpu" or step.kernel != REORDER else
            f"copy to the {'CPU' if plan.buffers[out].layout == 'host' else 'GPU'}",
            "kernel": step.kernel, "params": dict(step.params), "reason": step.reason,
            "inputs": [None if b is None else str(binding.types[b]) for b in step.inputs],
            "outputs": [str(binding.types[b]) for b in step.outputs],
            "layout": plan.buffers[out].layout, "bytes": stored_bytes(plan, binding, out) if out in bound else None,
            "place": _place(plan, binding, out) if out in bound else "bound in the run"})
    return rows


def _bound(plan: Plan, binding: Binding) -> set[int]:
    """The buffers that have a place: of a plan whose sizes depend on data, those up to the first such step."""
    names = {id(bound.step) for bound in binding.steps}
    end = next((i for i, s in enumerate(plan.steps) if s.kernel not in (ALIAS, KNOWN) and id(s) not in names), None)
    return {b for s in plan.steps[:end] for b in s.outputs}


def _does(step: Step, binding: Binding) -> str:
    """The operator, its window and stride, and what was fused into it: `Conv 3x3/2+add+relu`."""
    parts = [step.op.op_type + _window(step, binding)]
    formal = [name.rstrip("?*") for name in step.op.operands]
    if "R" in formal and formal.index("R") < len(step.inputs) and step.inputs[formal.index("R")] is not None:
        parts.append("add")
    activation = getattr(step.op, "activation", None)
    return "+".join([*parts, *([str(activation)] if activation is not None else [])])


def _window(step: Step, binding: Binding) -> str:
    """` 3x3/2` for a window of 3 by 3 moved by 2, with `, 32 groups` where the operator has some."""
    if not hasattr(step.op, "kernel_shape"):
        return ""
    weight = step.inputs[1] if len(step.inputs) > 1 else None
    kernel = step.op.kernel_shape or (() if weight is None else binding.types[weight].static_shape[2:])
    strides = tuple(getattr(step.op, "strides", ()))
    moved = "" if set(strides) <= {1} else f"/{strides[0]}" if len(set(strides)) == 1 else f"/{_by(strides)}"
    groups = getattr(step.op, "group", 1)
    return f" {_by(kernel)}{moved}" + (f", {groups} groups" if groups > 1 else "")


def _by(sizes: Sequence[int]) -> str:
    return "x".join(map(str, sizes))


def _place(plan: Plan, binding: Binding, number: int) -> str:
    """Where a buffer lies: an offset into the arena, or whose memory it is."""
    if number in binding.values:
        return "constant"
    place = binding.storage.locations[number]
    offset = f"+{place.offset}" if place.offset else ""
    if place.root in binding.storage.results:
        kept = next((p.name for p in plan.outputs if p.buffer == number), plan.buffers[place.root].name)
        return f"output {kept}{offset}"
    if place.root in binding.storage.arena.offsets:
        return str(binding.storage.arena.offsets[place.root] + place.offset)
    return f"input {plan.buffers[place.root].name}{offset}"


def _weights(plan: Plan, find: str) -> list[dict[str, Any]]:
    found = ((plan.buffers[number], array) for number, array in plan.weights.items()
             if find.lower() in plan.buffers[number].name.lower())
    return [{"name": buffer.name, "type": str(buffer.type), "bytes": array.nbytes} for buffer, array in found]


def _print_summary(plan: Plan, binding: Binding, sizes: dict[str, int]) -> None:
    facts = _facts(plan, binding)
    bound = ", ".join(f"{name}={size}" for name, size in sizes.items())
    vectors = f" with vectors of {plan.lanes} floats" if plan.target == "cpu" else ""
    print_line(f"{plan.name}, for {plan.target}{vectors}"
               + (f", shown for {bound}" if bound else ""))
    for kind in ("inputs", "outputs"):
        print_line(f"{kind}: " + ", ".join(f"{p['name']} {p['type']}" for p in facts[kind]))
    print_line("operators: " + ", ".join(f"{n} {op}" for op, n in facts["operators"].items()))
    print_line(f"weights: {human_bytes(plan.weight_bytes)}")
    if plan.fallbacks:
        print_line((f"steps without a native kernel, which run on NumPy references: {len(plan.fallbacks)}")
                   if plan.target == "cpu" else
                   f"steps without a CUDA kernel, which run on the CPU between copies: {len(plan.fallbacks)}")
        for step in plan.fallbacks:
            print_line(f"  {step.name} ({step.op.op_type}): {step.reason}")
    print_line()


def _print_steps(plan: Plan, binding: Binding, find: str) -> None:
    rows = []
    for row in _steps(plan, binding, find):
        first = next((t for t in row["inputs"] if t is not None), "")
        rows.append((row["step"], row["does"], row["kernel"], f"{first} -> {', '.join(row['outputs'])}", row["layout"],
                     "" if row["bytes"] is None else human_bytes(row["bytes"]), row["place"], row["name"]))
    print_table(("step", "operator", "kernel", "shapes", "layout", "bytes", "at", "name"), rows,
                right=("step", "bytes", "at"))
    print_line()


def _print_arena(plan: Plan, binding: Binding) -> None:
    from .arena import blocks_of, draw_arena

    arena = binding.storage.arena
    excess = f", {arena.size / arena.lower_bound - 1:.1%} above it" if arena.lower_bound else ""
    print_line(f"arena: {human_bytes(arena.size)}; lower bound {human_bytes(arena.lower_bound)}{excess}")
    for line in draw_arena(blocks_of(plan, binding), arena.size, len(binding.steps)):
        print_line(line)
