"""The memory planner: from live ranges to offsets in one arena. Pure data in, pure data out.

Finding the smallest arena is dynamic storage allocation, which is NP-hard, so several greedy placements are tried and
the best is kept; the search ends at once when one meets the lower bound. An allocator that works in order of time from
both ends of the arena comes first. Then ranges are placed by size, by size times length, and by breadth, each into the
tightest gap (Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net Inference", 2020, arXiv:2001.03288).
Where a gap to the bound is left, those orders are improved by hill climbing with restarts.

All integers are Python's own, so that no size overflows.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence

from .errors import PlanInvalid
from .records import record

__all__ = ["ALIGNMENT", "LiveRange", "Placement", "check_placement", "lower_bound", "plan_memory"]

ALIGNMENT = 64  # bytes: a cache line, and the widest vector

# Effort, in pairs of conflicting ranges looked at: a pair costs about 0.1 microseconds. Above MAX_CONFLICTS pairs only
# the order by step is tried, which needs none of them.
MAX_CONFLICTS = 500_000
CLIMB_EFFORT = 300_000
PATIENCE = 50  # trials without gain before the climb starts anew


@record
class LiveRange:
    """A block of `size` bytes that is needed from step `first` to step `last`, both included. Two ranges conflict if
    they share a step."""

    id: int
    size: int
    first: int
    last: int

    def __post_init__(self) -> None:
        if self.size < 0 or self.first > self.last:
            raise PlanInvalid(f"the live range {self.id} has {self.size} bytes from step {self.first} to step "
                              f"{self.last}: the size must not be negative nor the end before the start")


@record
class Placement:
    """The offset of each range by its id, and the size of the arena, in bytes."""

    offsets: dict[int, int]
    size: int


def plan_memory(ranges: Iterable[LiveRange], alignment: int = ALIGNMENT) -> Placement:
    """Offsets, all multiples of `alignment`, at which no two conflicting ranges overlap. The result depends on the
    ranges and their order only. Ids must differ; PlanInvalid is raised where they do not."""
    all_ranges = list(ranges)
    offsets = {r.id: 0 for r in all_ranges}
    if len(offsets) != len(all_ranges):
        raise PlanInvalid("two live ranges of the memory plan have one id")
    blocks = [r for r in all_ranges if r.size]
    sizes = [_align(r.size, alignment) for r in blocks]
    placed, size = _search(blocks, sizes, lower_bound(blocks, alignment))
    offsets.update((r.id, offset) for r, offset in zip(blocks, placed, strict=True))
    return Placement(offsets, size)


def lower_bound(ranges: Iterable[LiveRange], alignment: int = ALIGNMENT) -> int:
    """The largest sum, over the steps, of the aligned bytes that are live: no arena can be smaller."""
    change: dict[int, int] = {}
    for r in ranges:
        size = _align(r.size, alignment)
        change[r.first] = change.get(r.first, 0) + size
        change[r.last + 1] = change.get(r.last + 1, 0) - size
    live = most = 0
    for step in sorted(change):
        live += change[step]
        most = max(most, live)
    return most


def check_placement(ranges: Iterable[LiveRange], offsets: Mapping[int, int], size: int,
                    alignment: int = ALIGNMENT) -> None:
    """Raises PlanInvalid unless every range, and nothing else, has an aligned offset inside the arena of `size` bytes
    and no two ranges that share a step share a byte.

    It knows nothing of the planner. It sweeps over the steps and keeps the live blocks sorted by offset: while none
    overlap, a new one can only collide with its two neighbours.
    """
    blocks = list(ranges)
    if {r.id for r in blocks} != set(offsets) or len(offsets) != len(blocks):
        raise PlanInvalid(f"the memory plan has {len(offsets)} offsets, which are not one for each of the "
                          f"{len(blocks)} live ranges")
    for r in blocks:
        start = offsets[r.id]
        if start % alignment or start < 0 or start + r.size > size:
            raise PlanInvalid(f"{_describe(r, start)} is not aligned to {alignment} bytes or not inside the arena of "
                              f"{size} bytes")
    events = sorted([(r.first, 1, i) for i, r in enumerate(blocks) if r.size]
                    + [(r.last + 1, 0, i) for i, r in enumerate(blocks) if r.size])
    starts: list[int] = []  # of the live blocks, ascending
    live: list[LiveRange] = []
    for _, begins, i in events:
        r = blocks[i]
        start = offsets[r.id]
        at = bisect_left(starts, start)
        if not begins:
            del starts[at], live[at]
            continue
        for other in live[max(at - 1, 0):at + 1]:
            if offsets[other.id] < start + r.size and start < offsets[other.id] + other.size:
                raise PlanInvalid(f"{_describe(other, offsets[other.id])} and {_describe(r, start)} share memory")
        starts.insert(at, start)
        live.insert(at, r)


def _describe(r: LiveRange, start: int) -> str:
    return f"the block {r.id} (bytes {start} to {start + r.size} in steps {r.first} to {r.last})"


def _align(size: int, alignment: int) -> int:
    return -(-size // alignment) * alignment


def _search(blocks: Sequence[LiveRange], sizes: list[int], bound: int) -> tuple[list[int], int]:
    best, best_size = _place_by_step(blocks, sizes, bound)
    if best_size == bound or _count_conflicts(blocks) > MAX_CONFLICTS:
        return best, best_size
    conflicts = _conflicts(blocks)
    every = range(len(blocks))
    orders = [
        sorted(every, key=lambda i: (-sizes[i], blocks[i].first)),
        sorted(every, key=lambda i: (-sizes[i] * (blocks[i].last - blocks[i].first + 1), blocks[i].first)),
        _by_breadth(blocks, sizes),
    ]
    for order in orders:
        offsets, size = _place(order, sizes, conflicts)
        if size < best_size:
            best, best_size = offsets, size
        if best_size == bound:
            return best, best_size
    offsets, size = _climb(orders, sizes, conflicts, bound)
    return (offsets, size) if size < best_size else (best, best_size)


def _by_breadth(blocks: Sequence[LiveRange], sizes: list[int]) -> list[int]:
    """Steps by falling sum of live bytes; within one, its ranges by falling size."""
    begin: dict[int, list[int]] = {}
    end: dict[int, list[int]] = {}
    for i, r in enumerate(blocks):
        begin.setdefault(r.first, []).append(i)
        end.setdefault(r.last + 1, []).append(i)
    live: dict[int, None] = {}
    breadth = 0
    profile: list[tuple[int, int, list[int]]] = []
    for step in sorted(begin.keys() | end.keys()):
        for i in end.get(step, ()):
            del live[i]
            breadth -= sizes[i]
        for i in begin.get(step, ()):
            live[i] = None
            breadth += sizes[i]
        profile.append((-breadth, step, sorted(live, key=lambda i: (-sizes[i], i))))
    return list(dict.fromkeys(i for _, _, members in sorted(profile) for i in members))


def _count_conflicts(blocks: Sequence[LiveRange]) -> int:
    """Pairs of ranges that share a step."""
    events = sorted([(r.first, 1) for r in blocks] + [(r.last + 1, 0) for r in blocks])
    live = total = 0
    for _, begins in events:
        if begins:
            total += live
            live += 1
        else:
            live -= 1
    return total


def _conflicts(blocks: Sequence[LiveRange]) -> list[list[int]]:
    """For each range, those that share a step with it."""
    out: list[list[int]] = [[] for _ in blocks]
    live: list[int] = []
    for i in sorted(range(len(blocks)), key=lambda i: blocks[i].first):
        live = [j for j in live if blocks[j].last >= blocks[i].first]
        for j in live:
            out[i].append(j)
            out[j].append(i)
        live.append(i)
    return out


def _place(order: Sequence[int], sizes: list[int], conflicts: list[list[int]],
           limit: int | None = None) -> tuple[list[int], int]:
    """Places the ranges in `order`, each into the tightest gap between those it conflicts with, else above them.
    Gives up as soon as the arena exceeds `limit`: its size is then all that is of use."""
    offsets = [-1] * len(sizes)
    total = 0
    for i in order:
        size, top, tightest, start = sizes[i], 0, -1, 0
        for low, high in sorted([(offsets[j], offsets[j] + sizes[j]) for j in conflicts[i] if offsets[j] >= 0]):
            gap = low - top
            if gap >= size and (tightest < 0 or gap < tightest):
                tightest, start = gap, top
            if high > top:
                top = high
        if tightest < 0:
            start = top
        offsets[i] = start
        if start + size > total:
            total = start + size
            if limit is not None and total > limit:
                break
    return offsets, total


def _place_by_step(blocks: Sequence[LiveRange], sizes: list[int], capacity: int) -> tuple[list[int], int]:
    """Places the ranges as an allocator would that meets them in order of time, in an arena of `capacity` bytes that
    grows where it must: into the tightest gap, against the neighbour that stays longest. An end of the arena stays for
    ever, so a chain of layers alternates between both ends, which is optimal. It looks at the gaps only, and so is
    fast however many ranges conflict."""
    events = sorted([(r.first, 1, -r.last, -sizes[i], i) for i, r in enumerate(blocks)]
                    + [(r.last + 1, 0, 0, 0, i) for i, r in enumerate(blocks)])
    offsets = [0] * len(blocks)
    gaps = [(0, capacity)] if capacity else []  # free bytes [low, high) in ascending order, none touching another
    starts: dict[int, int] = {}  # of live blocks: offset -> last step
    ends: dict[int, int] = {}
    for _, begins, _, _, i in events:
        size, last = sizes[i], blocks[i].last
        if not begins:
            del starts[offsets[i]], ends[offsets[i] + size]
            _free(gaps, offsets[i], offsets[i] + size)
            continue
        at = min((g for g, (low, high) in enumerate(gaps) if high - low >= size),
                 key=lambda g: gaps[g][1] - gaps[g][0], default=-1)
        if at < 0:
            grown = capacity + size - (gaps[-1][1] - gaps[-1][0] if gaps and gaps[-1][1] == capacity else 0)
            _free(gaps, capacity, grown)
            at, capacity = len(gaps) - 1, grown
        low, high = gaps[at]
        below = ends.get(low)
        above = starts.get(high)
        up = below is not None and (above is None or above > below)
        start = high - size if up else low
        offsets[i] = start
        starts[start] = ends[start + size] = last
        gaps[at:at + 1] = [g for g in ((low, start), (start + size, high)) if g[0] < g[1]]
    return offsets, capacity


def _free(gaps: list[tuple[int, int]], low: int, high: int) -> None:
    at = bisect_left(gaps, (low, high))
    end = at
    if at < len(gaps) and gaps[at][0] == high:
        high, end = gaps[at][1], at + 1
    if at and gaps[at - 1][1] == low:
        low, at = gaps[at - 1][0], at - 1
    gaps[at:end] = [(low, high)]


def _climb(orders: Sequence[list[int]], sizes: list[int], conflicts: list[list[int]],
           bound: int) -> tuple[list[int], int]:
    """Hill climbing from each of the orders, then from random ones. A range at the peak trades places in the order with
    one that is two conflicts away, and what is not worse is kept. The effort is bounded by counting, so that the result
    does not depend on the machine's speed."""
    from random import Random

    chance = Random(0)
    starts = iter(orders)
    best, best_size = _place(orders[0], sizes, conflicts)
    order, offsets, size, stale = list(orders[0]), best, best_size, PATIENCE
    for _ in range(CLIMB_EFFORT // (len(sizes) + sum(map(len, conflicts)))):
        if stale == PATIENCE:
            order = next(starts, []) or chance.sample(range(len(sizes)), len(sizes))
            (offsets, size), stale = _place(order, sizes, conflicts), 0
        else:
            trial = list(order)
            peak = chance.choice([i for i in order if offsets[i] + sizes[i] == size])
            way = chance.choice(conflicts[peak])
            a, b = trial.index(peak), trial.index(chance.choice(conflicts[way]))
            trial[a], trial[b] = trial[b], trial[a]
            tried, tried_size = _place(trial, sizes, conflicts, limit=size)
            stale = 0 if tried_size < size else stale + 1
            if tried_size <= size:
                order, offsets, size = trial, tried, tried_size
        if size < best_size:
            best, best_size = offsets, size
        if best_size == bound:
            break
    return best, best_size
