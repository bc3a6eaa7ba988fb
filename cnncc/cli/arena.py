"""A picture of a plan's arena in characters: time to the right, memory upwards."""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..records import record
from .console import human_bytes

if TYPE_CHECKING:
    from ..plan import Plan
    from ..runtime.cpu.binding import Binding

__all__ = ["Block", "blocks_of", "draw_arena", "stored_bytes"]

LETTERS = string.ascii_letters + string.digits


@record
class Block:
    """Bytes `offset` to `offset + size` of the arena, in use from step `first` to step `last`, both included."""

    name: str
    offset: int
    size: int
    first: int
    last: int


def blocks_of(plan: Plan, binding: Binding) -> list[Block]:
    """The blocks of the arena by offset; steps are numbered as they are executed."""
    spans: dict[int, list[int]] = {}
    sizes: dict[int, int] = {}
    for time, bound in enumerate(binding.steps):
        for number in (*bound.step.inputs, *bound.step.outputs):
            if number is None or number in binding.values:
                continue
            place = binding.storage.locations[number]
            spans.setdefault(place.root, []).append(time)
            sizes[place.root] = max(sizes.get(place.root, 0), place.offset + stored_bytes(plan, binding, number))
    offsets = binding.storage.arena.offsets
    return sorted((Block(plan.buffers[root].name, offsets[root], sizes[root], min(times), max(times))
                   for root, times in spans.items() if root in offsets), key=lambda b: (b.offset, b.first))


def stored_bytes(plan: Plan, binding: Binding, number: int) -> int:
    """Bytes of a buffer as it is stored, the padding of its layout included."""
    from ..runtime.cpu.lowering import stored_elements

    type_ = binding.types[number]
    return stored_elements(type_.static_shape, plan.buffers[number].layout, plan.lanes) * type_.dtype.itemsize


def draw_arena(blocks: Sequence[Block], size: int, steps: int, *, width: int = 96, height: int = 16) -> list[str]:
    """Lines of text. Each letter is a block, a dot is free memory; a cell shows what is there in its middle."""
    if not size or not steps:
        return ["(the arena is empty)"]
    width = min(width, steps * max(1, width // (2 * steps)))
    lines = []
    for row in reversed(range(height)):
        at = (2 * row + 1) * size // (2 * height)
        here = [(i, b) for i, b in enumerate(blocks) if b.offset <= at < b.offset + b.size]
        cells = []
        for column in range(width):
            time = (2 * column + 1) * steps // (2 * width)
            cells.append(next((LETTERS[i % len(LETTERS)] for i, b in here if b.first <= time <= b.last), "."))
        label = human_bytes((row + 1) * size // height) if row % 4 == 3 or row == height - 1 else ""
        lines.append(f"{label:>9} |{''.join(cells)}")
    return [*lines, f"{'':>9} +{'-' * width}", f"{'':>11}step 0{f' step {steps - 1}':>{max(width - 6, 0)}}"]
