"""The memory planner on random ranges and on the shapes of CNNs, and the independent check."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnncc.errors import PlanInvalid
from cnncc.memory import LiveRange, check_placement, lower_bound, plan_memory


@st.composite
def live_ranges(draw: st.DrawFn, most: int = 40) -> list[LiveRange]:
    rows = draw(st.lists(st.tuples(st.integers(0, 5000), st.integers(-5, 30), st.integers(0, 12)), max_size=most))
    ids = draw(st.lists(st.integers(0, 10**6), unique=True, min_size=len(rows), max_size=len(rows)))
    return [LiveRange(i, size, first, first + length) for i, (size, first, length) in zip(ids, rows, strict=True)]


def overlaps(ranges: list[LiveRange], offsets: dict[int, int]) -> list[tuple[int, int]]:
    """Every pair that shares a step and a byte, found by looking at all pairs."""
    return [(a.id, b.id) for a, b in itertools.combinations(ranges, 2)
            if max(a.first, b.first) <= min(a.last, b.last)
            and max(offsets[a.id], offsets[b.id]) < min(offsets[a.id] + a.size, offsets[b.id] + b.size)]


def accepted(ranges: list[LiveRange], offsets: dict[int, int], size: int, alignment: int) -> bool:
    try:
        check_placement(ranges, offsets, size, alignment)
    except PlanInvalid:
        return False
    return True


@settings(max_examples=200, deadline=None, derandomize=True)
@given(live_ranges(), st.sampled_from([1, 4, 64, 100]))
def test_random_ranges(ranges: list[LiveRange], alignment: int) -> None:
    placement = plan_memory(ranges, alignment)
    check_placement(ranges, placement.offsets, placement.size, alignment)
    assert overlaps(ranges, placement.offsets) == []
    assert placement.size >= lower_bound(ranges, alignment)
    steps = range(-5, 45)
    assert lower_bound(ranges, alignment) == max(
        sum(-(-r.size // alignment) * alignment for r in ranges if r.first <= step <= r.last) for step in steps)
    assert plan_memory(ranges, alignment) == placement


@settings(max_examples=300, deadline=None, derandomize=True)
@given(live_ranges(most=6), st.data())
def test_check_agrees_with_all_pairs(ranges: list[LiveRange], data: st.DataObject) -> None:
    offsets = {r.id: 64 * data.draw(st.integers(0, 40)) for r in ranges}
    inside = all(offsets[r.id] + r.size <= 4096 for r in ranges)
    assert accepted(ranges, offsets, 4096, 64) == (inside and not overlaps(ranges, offsets))


def test_check_names_what_is_wrong() -> None:
    ranges = [LiveRange(7, 100, 0, 2), LiveRange(8, 100, 2, 3), LiveRange(9, 100, 3, 4)]
    check_placement(ranges, {7: 0, 8: 128, 9: 0}, 256)
    with pytest.raises(PlanInvalid, match=r"block 7 \(bytes 0 to 100 in steps 0 to 2\) and the block 8"):
        check_placement(ranges, {7: 0, 8: 64, 9: 192}, 320)
    with pytest.raises(PlanInvalid, match=r"block 9 .*not aligned"):
        check_placement(ranges, {7: 0, 8: 128, 9: 32}, 256)
    with pytest.raises(PlanInvalid, match=r"block 8 .*not inside the arena of 200 bytes"):
        check_placement(ranges, {7: 0, 8: 128, 9: 0}, 200)
    with pytest.raises(PlanInvalid, match=r"block 7 .*not inside"):
        check_placement(ranges, {7: -64, 8: 128, 9: 0}, 256)
    with pytest.raises(PlanInvalid, match="3 offsets"):
        check_placement(ranges, {7: 0, 8: 128, 5: 0}, 256)
    with pytest.raises(PlanInvalid, match="2 offsets"):
        check_placement(ranges, {7: 0, 8: 128}, 256)


def test_odd_ranges() -> None:
    assert plan_memory([]).size == lower_bound([]) == 0
    empty = plan_memory([LiveRange(3, 0, 0, 9), LiveRange(4, 10, 0, 9), LiveRange(5, 0, 2, 2)])
    assert (empty.size, empty.offsets[4]) == (64, 0)
    check_placement([LiveRange(3, 0, 0, 9), LiveRange(4, 10, 0, 9)], {3: 64, 4: 0}, 64)
    huge = plan_memory([LiveRange(0, 2**70, 0, 1), LiveRange(1, 2**70, 1, 2)])
    assert huge.size == 2**71
    with pytest.raises(PlanInvalid, match="one id"):
        plan_memory([LiveRange(0, 1, 0, 1), LiveRange(0, 1, 2, 3)])
    with pytest.raises(PlanInvalid, match="live range 0"):
        LiveRange(0, -1, 0, 1)
    with pytest.raises(PlanInvalid, match="live range 0"):
        LiveRange(0, 1, 2, 1)


# Networks as (bytes of the output, numbers of the inputs), one a node; a value lives from its node to its last reader.
Nodes = list[tuple[int, list[int]]]


def chain(rng: random.Random) -> Nodes:
    return [(rng.randint(1, 1 << 20), [i - 1] if i else []) for i in range(rng.randint(2, 60))]


def residual(rng: random.Random) -> Nodes:
    nodes: Nodes = [(3 * 224 * 224 * 4, [])]
    channels, side = 64, 56
    for block in range(rng.randint(2, 30)):
        if block % 4 == 3:
            channels, side = channels * 2, max(side // 2, 1)
        x, size = len(nodes) - 1, 4 * channels * side * side
        nodes += [(size, [x]), (size, [x + 1]), (4 * size, [x + 2])]
        short = x
        if nodes[x][0] != 4 * size:
            nodes.append((4 * size, [x]))
            short = x + 4
        nodes.append((4 * size, [x + 3, short]))
    return nodes


def inception(rng: random.Random) -> Nodes:
    nodes: Nodes = [(192 * 28 * 28 * 4, [])]
    area = 28 * 28
    for block in range(rng.randint(1, 12)):
        area = max(area // 4, 1) if block % 4 == 3 else area
        x, ends = len(nodes) - 1, []
        for _ in range(4):
            last = x
            for _ in range(rng.randint(1, 3)):
                nodes.append((4 * rng.randint(16, 384) * area, [last]))
                last = len(nodes) - 1
            ends.append(last)
        nodes.append((sum(nodes[e][0] for e in ends), ends))
    return nodes


def dense(rng: random.Random) -> Nodes:
    nodes: Nodes = [(64 * 56 * 56 * 4, [])]
    area = 56 * 56
    for _ in range(4):
        features = [len(nodes) - 1]
        for _ in range(rng.randint(1, 12)):
            wide, at = sum(nodes[f][0] for f in features), len(nodes)
            nodes += [(wide, list(features)), (wide, [at]), (4 * 128 * area, [at + 1]), (4 * 32 * area, [at + 2])]
            features.append(at + 3)
        wide, at = sum(nodes[f][0] for f in features), len(nodes)
        nodes += [(wide, features), (wide // 2, [at]), (wide // 8, [at + 1])]
        area //= 4
    return nodes


def u_net(rng: random.Random) -> Nodes:
    nodes: Nodes = [(3 * 256 * 256 * 4, [])]
    size, skips = 4 * rng.randint(8, 64) * 256 * 256, []
    depth = rng.randint(2, 6)
    for _ in range(depth):
        at = len(nodes)
        nodes += [(size, [at - 1]), (size, [at]), (size // 4, [at + 1])]
        skips.append(at + 1)
        size //= 2
    for skip in reversed(skips):
        at, size = len(nodes), size * 2
        nodes += [(size, [at - 1]), (2 * size, [at, skip]), (size, [at + 1]), (size, [at + 2])]
    return nodes


def ranges_of(nodes: Nodes) -> list[LiveRange]:
    last = {value: step for step, (_, inputs) in enumerate(nodes) for value in inputs}
    return [LiveRange(i, size, i, last.get(i, len(nodes))) for i, (size, _) in enumerate(nodes)]


@pytest.mark.parametrize("network", [chain, residual, inception, dense, u_net])
def test_networks_stay_within_5_percent_of_the_bound(network: Callable[[random.Random], Nodes]) -> None:
    for seed in range(25):
        ranges = ranges_of(network(random.Random(seed)))
        placement = plan_memory(ranges)
        check_placement(ranges, placement.offsets, placement.size)
        assert overlaps(ranges, placement.offsets) == []
        assert placement.size <= 1.05 * lower_bound(ranges), seed


def test_many_conflicts_are_placed_by_step() -> None:
    """Too many pairs to look at: the allocator alone must still give a valid, tight placement."""
    rng = random.Random(0)
    ranges = [LiveRange(i, rng.randint(1, 1 << 20), first := rng.randint(0, 2000), first + rng.randint(0, 2000))
              for i in range(2000)]
    placement = plan_memory(ranges)
    check_placement(ranges, placement.offsets, placement.size)
    assert lower_bound(ranges) <= placement.size <= 1.1 * lower_bound(ranges)
