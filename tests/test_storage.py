"""Which buffers share memory: aliases, concat in place, outputs that take over inputs; and nothing alive is lost."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from cnncc.errors import PlanInvalid
from cnncc.ir import parse_graph
from cnncc.lower import lower
from cnncc.ops import OPS
from cnncc.plan import ALIAS, KNOWN, Arena, Plan
from cnncc.runtime.cpu.binding import bind
from cnncc.runtime.cpu.lower.table import LOWERINGS
from cnncc.storage import Storage

LANES = 8


def plan_of(text: str) -> Plan:
    return lower(parse_graph(text, OPS), LOWERINGS, LANES)


def storage_of(plan: Plan, **sizes: int) -> Storage:
    storage = bind(plan, sizes).storage
    assert_nothing_lost(plan, storage, sizes)
    return storage


def number(plan: Plan, name: str) -> int:
    return next(i for i, b in enumerate(plan.buffers) if b.name == name)


def assert_nothing_lost(plan: Plan, storage: Storage, sizes: dict[str, int]) -> None:
    """Runs the plan symbolically: memory is a dict of bytes, each tagged with the value last written there. Whatever a
    step reads must still carry its own tag (or that of the same contents)."""
    binding = bind(plan, sizes)
    nbytes = [t.nbytes if b.layout == "plain" else int(np.prod(t.static_shape[:1], dtype=int)) * 4 * LANES
              * -(-t.static_shape[1] // LANES) * int(np.prod(t.static_shape[2:], dtype=int))
              for b, t in zip(plan.buffers, binding.types, strict=True)]
    contents: dict[int, list[int]] = {}  # buffer -> the buffers whose bytes it holds, one behind the other
    memory: dict[tuple[int, int], tuple[int, int]] = {}

    def place(buffer: int, offset: int) -> tuple[int, int]:
        location = storage.locations[buffer]
        base = storage.arena.offsets.get(location.root)
        return (-1, base + location.offset + offset) if base is not None else (location.root, location.offset + offset)

    def tag(buffer: int, offset: int) -> tuple[int, int]:
        for part in contents.get(buffer, []):
            if offset < nbytes[part]:
                return tag(part, offset)
            offset -= nbytes[part]
        return buffer, offset

    def write(buffer: int) -> None:
        for offset in range(0, nbytes[buffer], 4):
            memory[place(buffer, offset)] = tag(buffer, offset)

    for port in plan.inputs:
        write(port.buffer)
    for weight in plan.weights:
        write(weight)
    for step in plan.steps:
        if step.kernel == KNOWN:
            for b in step.outputs:
                write(b)
        elif step.kernel == ALIAS:
            contents[step.outputs[0]] = [step.inputs[0] or 0]
        else:
            if step.op.op_type == "Concat" and sizes.get("N", 1) == 1:
                contents[step.outputs[0]] = [b for b in step.inputs if b is not None]
            for b in step.inputs:
                if b is not None:
                    for offset in range(0, nbytes[b], 4):
                        assert memory[place(b, offset)] == tag(b, offset), f"{plan.buffers[b].name} was overwritten"
            for b in step.outputs:
                write(b)
    for port in plan.outputs:
        for offset in range(0, nbytes[port.buffer], 4):
            assert memory[place(port.buffer, offset)] == tag(port.buffer, offset)


def test_an_alias_lies_on_its_source():
    plan = plan_of("""graph @g(%x: f32[2,8]) {
      %s = const [4,4] : i64[2]
      %0 = Add(%x, %x) : f32[2,8]
      %1 = Reshape(%0, %s) : f32[4,4]
      %2 = Add(%1, %1) : f32[4,4]
      return %2
    }""")
    storage = storage_of(plan)
    assert storage.locations[number(plan, "1")].root == storage.locations[number(plan, "0")].root


def test_the_result_is_written_into_the_callers_array():
    plan = plan_of("""graph @g(%x: f32[2,8]) {
      %0 = Add(%x, %x) : f32[2,8]
      return %0 as "y"
    }""")
    storage = storage_of(plan)
    assert storage.results == {number(plan, "0"): 0}
    assert storage.arena.size == 0


def test_concat_parts_lie_in_the_result_where_they_follow_each_other():
    text = """graph @g(%x: f32[N,8]) {
      %0 = Add(%x, %x) : f32[N,8]
      %1 = Mul(%x, %x) : f32[N,8]
      %2 = Concat(%0, %1) {axis=1} : f32[N,16]
      %3 = Add(%2, %2) : f32[N,16]
      return %3
    }"""
    plan = plan_of(text)
    one, many = storage_of(plan, N=1), storage_of(plan, N=3)
    parts = [number(plan, "0"), number(plan, "1")]
    assert [one.locations[p].offset for p in parts] == [0, 32]
    assert len({one.locations[b].root for b in [*parts, number(plan, "2")]}) == 1
    assert len({many.locations[p].root for p in [*parts, number(plan, "2")]}) == 3


def test_a_part_given_twice_is_copied_once():
    plan = plan_of("""graph @g(%x: f32[1,8]) {
      %0 = Add(%x, %x) : f32[1,8]
      %1 = Concat(%0, %0) {axis=1} : f32[1,16]
      %2 = Add(%1, %1) : f32[1,16]
      return %2
    }""")
    storage_of(plan)


@pytest.mark.parametrize("later", [False, True])
def test_an_output_takes_over_an_input_that_is_not_read_again(later):
    plan = plan_of(f"""graph @g(%x: f32[64]) {{
      %0 = Add(%x, %x) : f32[64]
      %1 = Mul(%0, %x) : f32[64]
      %2 = Add(%1, {'%0' if later else '%x'}) : f32[64]
      %3 = Mul(%2, %2) : f32[64]
      %4 = Sub(%3, %x) : f32[64]
      return %4
    }}""")
    storage = storage_of(plan)
    shared = storage.locations[number(plan, "0")].root == storage.locations[number(plan, "1")].root
    assert shared == (not later)


def test_random_graphs_lose_nothing():
    rng = np.random.default_rng(7)
    for case in range(40):
        lines, values = [], {"x": 4, "z": 4}
        for k in range(12):
            names = list(values)
            kind = rng.choice(["Add", "Mul", "Concat", "Reshape"])
            a = names[rng.integers(len(names))]
            same = [v for v in names if values[v] == values[a]]
            b = same[rng.integers(len(same))]
            width = values[a]
            if kind == "Concat":
                b = names[rng.integers(len(names))]
                width = values[a] + values[b]
                if width > 64:
                    continue
                lines.append(f"%v{k} = Concat(%{a}, %{b}) {{axis=1}} : f32[1,{width}]")
            elif kind == "Reshape":
                lines.append(f"%s{k} = const [1,{width}] : i64[2]\n      %v{k} = Reshape(%{a}, %s{k}) : f32[1,{width}]")
            else:
                lines.append(f"%v{k} = {kind}(%{a}, %{b}) : f32[1,{width}]")
            values[f"v{k}"] = width
        made = [v for v in values if v.startswith("v")]
        outputs = sorted({made[-1], made[rng.integers(len(made))]})
        body = "\n      ".join(lines)
        plan = plan_of(f"graph @g{case}(%x: f32[1,4], %z: f32[1,4]) {{\n      {body}\n      "
                       f"return {', '.join('%' + o for o in outputs)}\n    }}")
        storage_of(plan)


def test_an_arena_of_the_plan_is_checked():
    plan = plan_of("""graph @g(%x: f32[64]) {
      %0 = Add(%x, %x) : f32[64]
      %1 = Mul(%x, %x) : f32[64]
      %2 = Add(%0, %1) : f32[64]
      return %2, %1, %0
    }""")
    import dataclasses

    good = bind(plan, {}).storage.arena
    bind(dataclasses.replace(plan, arena=good), {})
    for number_, offset in itertools.product([0, 99], [0, 1 << 20]):
        if number_ in good.offsets:
            continue
        with pytest.raises(PlanInvalid, match="number"):
            bind(dataclasses.replace(plan, arena=Arena(good.size, good.lower_bound,
                                                       {**good.offsets, number_: offset})), {})
