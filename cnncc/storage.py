"""Which buffers of a plan share memory, before any of it is placed.

Buffers are merged into groups, each of which takes one piece of memory:

- an alias (Reshape and its like) lies where its source lies;
- an input of a Concat lies inside the output, where its part begins, if the parts follow each other in memory, and if
  kernels of the target may find a buffer there;
- an output takes over the memory of an input that is not read again, where the kernel allows it.

A group that holds an input or a constant of the model is that memory; one that is spanned by an output of the model
is the caller's array; all others are placed in the arena by `memory.plan_memory`.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import field

from .errors import PlanInvalid
from .memory import LiveRange, check_placement, lower_bound, plan_memory
from .plan import ALIAS, KNOWN, Arena, Plan, Step
from .records import record

__all__ = ["ALIGNMENT", "Location", "Storage", "assign_storage"]

ALIGNMENT = 64
PART_ALIGNMENT = {"cuda": 16}  # of parts of a Concat, in bytes: a GPU's kernels read and write buffers by 128 bits


@record
class Location:
    """Where a buffer lies: `offset` bytes into the memory of buffer `root`."""

    root: int
    offset: int


@record
class Storage:
    """The location of every buffer, and the roots by kind of memory.

    `external` roots are inputs, constants and known values; `results` maps a root that is the caller's output array to
    the number of that output; `arena` places the others.
    """

    locations: tuple[Location, ...]
    external: frozenset[int]
    results: dict[int, int]
    arena: Arena


@record(frozen=False)
class _Group:
    root: int
    size: int
    members: dict[int, int]  # buffer -> offset
    by_end: list[tuple[int, int]]  # (last step, buffer) of the members, sorted
    start: int  # the first step at which one of them is needed
    is_output: bool = False
    external: bool = False

    def needed_from(self, step: int) -> list[int]:
        """The members that are needed at this step or later: in a long chain, few of them."""
        return [buffer for _, buffer in self.by_end[bisect_left(self.by_end, (step, -1)):]]


@record(frozen=False)
class _Lives:
    """First and last executed step at which each buffer's contents are needed, both included."""

    first: list[int]
    last: list[int]
    executed: list[tuple[int, Step]] = field(default_factory=list)


def assign_storage(plan: Plan, shapes: Sequence[Sequence[int]], sizes: Sequence[int],
                   inplace: Sequence[Sequence[int]]) -> Storage:
    """Storage for a plan whose buffers have these concrete shapes and take `sizes` bytes each (0 for known values).
    `inplace` gives, for each executed step, the inputs that may lend their memory to its output 0.

    The plan's own arena is used if it has one. Raises PlanInvalid where that does not hold what is alive.
    """
    lives = _live_ranges(plan)
    groups = _Groups(plan, sizes, lives)
    for step in plan.steps:
        if step.kernel == ALIAS and step.inputs[0] is not None:
            groups.merge(step.outputs[0], step.inputs[0], 0)
    for _, step in lives.executed:
        if step.op.op_type == "Concat":
            _join_concat(step, shapes[step.outputs[0]], sizes, groups, PART_ALIGNMENT.get(plan.target, 1))
    for time, step in lives.executed:
        for source in inplace[time]:
            buffer = step.inputs[source]
            # What the kernel reads in its own order must stay whole until the step is over.
            others = {b for i, b in enumerate(step.inputs) if b is not None and i not in inplace[time]}
            if buffer is not None and not groups.overlap(buffer, others):
                groups.take_over(buffer, step.outputs[0], time)
    return _place(plan, groups, lives)


def _live_ranges(plan: Plan) -> _Lives:
    count = len(plan.buffers)
    lives = _Lives([-1] * count, [-1] * count)
    for step in plan.steps:
        if step.kernel == ALIAS and step.inputs[0] is not None:
            lives.first[step.outputs[0]] = lives.first[step.inputs[0]]
        elif step.kernel not in (ALIAS, KNOWN):
            time = len(lives.executed)
            lives.executed.append((time, step))
            for b in step.outputs:
                lives.first[b] = lives.last[b] = time
            for read in step.inputs:
                if read is not None:
                    lives.last[read] = time
    end = len(lives.executed)
    for port in plan.outputs:
        lives.last[port.buffer] = end
    return lives


class _Groups:
    """Disjoint groups of buffers, each with offsets into common memory."""

    def __init__(self, plan: Plan, sizes: Sequence[int], lives: _Lives) -> None:
        self.lives, self.sizes = lives, sizes
        self.of = [_Group(b, size, {b: 0}, [(lives.last[b], b)], lives.first[b]) for b, size in enumerate(sizes)]
        for port in plan.inputs:
            self.of[port.buffer].external = True
        for number in plan.weights:
            self.of[number].external = True
        for step in plan.steps:
            if step.kernel == KNOWN:
                for b in step.outputs:
                    self.of[b].external = True
        for port in plan.outputs:
            self.of[port.buffer].is_output = True

    def merge(self, child: int, parent: int, offset: int) -> None:
        """Puts the child's whole group into the parent's, the child itself `offset` bytes behind the parent."""
        inner, outer = self.of[child], self.of[parent]
        shift = outer.members[parent] + offset - inner.members[child]
        for buffer, at in inner.members.items():
            outer.members[buffer] = at + shift
            self.of[buffer] = outer
        for entry in inner.by_end:
            insort(outer.by_end, entry)
        outer.start = min(outer.start, inner.start)
        outer.is_output |= inner.is_output
        outer.size = max(outer.size, inner.size + shift)

    def overlap(self, buffer: int, others: set[int]) -> bool:
        """Whether one of the others lies, wholly or in part, where `buffer` lies."""
        group = self.of[buffer]
        start, end = group.members[buffer], group.members[buffer] + self.sizes[buffer]
        return any(self.of[b] is group and group.members[b] < end and start < group.members[b] + self.sizes[b]
                   for b in others)

    def take_over(self, source: int, target: int, time: int) -> None:
        """Lets `target`, written at `time`, lie where `source` lies, if nothing there is needed afterwards."""
        old, new = self.of[source], self.of[target]
        if old is new or old.external or new.external or self.sizes[source] != self.sizes[target]:
            return
        if new.size != self.sizes[target]:
            # The target is part of something larger: then the source's group must fit into its place.
            if old.size == self.sizes[source] and self._free(new, target, source, old, time):
                self.merge(source, target, 0)
        elif self._free(old, source, target, new, time):
            self.merge(target, source, 0)

    def _free(self, outer: _Group, place: int, entering: int, inner: _Group, time: int) -> bool:
        """Whether the members of `inner`, laid over `place` in `outer`, meet nobody alive at the same time; at `time`
        itself the source is read and the target written, element by element."""
        shift = outer.members[place] - inner.members[entering]
        first, last = self.lives.first, self.lives.last
        entrants = [(b, inner.members[b]) for b in inner.needed_from(outer.start)]
        for a in outer.needed_from(inner.start):
            at_a = outer.members[a]
            for b, at_b in entrants:
                apart = at_a + self.sizes[a] <= at_b + shift or at_b + shift + self.sizes[b] <= at_a
                if apart or last[a] < first[b] or last[b] < first[a]:
                    continue
                if not ((last[a] == time == first[b]) or (last[b] == time == first[a])):
                    return False
        return not (inner.is_output and outer.is_output)


def _join_concat(step: Step, shape: Sequence[int], sizes: Sequence[int], groups: _Groups, alignment: int) -> None:
    """Puts the inputs of a Concat into its output, if they follow each other there without a gap; those only whose
    offset is a multiple of `alignment`."""
    out = step.outputs[0]
    axis: int = getattr(step.op, "axis", 0)
    parts = [b for b in step.inputs if b is not None]
    if math.prod(shape[:axis + len(shape) if axis < 0 else axis]) != 1 or sum(sizes[b] for b in parts) != sizes[out]:
        return
    offset = 0
    for part in parts:
        group = groups.of[part]
        if not group.external and group is not groups.of[out] and group.size == sizes[part] \
                and not group.is_output and offset % alignment == 0:
            groups.merge(part, out, offset)
        offset += sizes[part]


def _place(plan: Plan, groups: _Groups, lives: _Lives) -> Storage:
    distinct = list({id(g): g for g in groups.of}.values())
    results: dict[int, int] = {}
    for number, port in enumerate(plan.outputs):
        group = groups.of[port.buffer]
        spans = group.members[port.buffer] == 0 and group.size == groups.sizes[port.buffer]
        if spans and not group.external and group.root not in results and group.size:
            results[group.root] = number
    ranges = []
    for group in distinct:
        used = [b for b in group.members if lives.first[b] >= 0]
        if group.external or group.root in results or not used:
            continue
        ranges.append(LiveRange(group.root, group.size, min(lives.first[b] for b in used),
                                max(max(lives.last[b], lives.first[b]) for b in used)))
    arena = plan.arena or _new_arena(ranges)
    if plan.arena is not None:
        _check_arena(ranges, arena)
    locations = tuple(Location(groups.of[b].root, groups.of[b].members[b]) for b in range(len(groups.of)))
    return Storage(locations, frozenset(g.root for g in distinct if g.external), results, arena)


def _new_arena(ranges: Sequence[LiveRange]) -> Arena:
    placement = plan_memory(ranges, ALIGNMENT)
    return Arena(placement.size, lower_bound(ranges, ALIGNMENT), placement.offsets)


def _check_arena(ranges: Sequence[LiveRange], arena: Arena) -> None:
    needed = {r.id for r in ranges}
    if needed != arena.offsets.keys():
        odd = sorted(needed ^ arena.offsets.keys())[0]
        raise PlanInvalid(f"the plan's arena {'lacks' if odd in needed else 'places'} the buffer number {odd}, which "
                          f"{'needs' if odd in needed else 'does not need'} a place there")
    check_placement(ranges, arena.offsets, arena.size, ALIGNMENT)
