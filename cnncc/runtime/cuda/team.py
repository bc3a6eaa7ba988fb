"""Teams: the threads that compute one result together, each a part of it.

A team is a warp, eight of which are a block, or a whole block where there is more to do. What a thread found is
combined by shuffles, and between warps through shared memory, in an order that does not depend on timing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["BLOCK", "WARP", "block_of", "build_combine", "grid_of", "team_for"]

WARP, BLOCK = 32, 256
LARGE = 2048  # elements from which on a result has a block of its own


def team_for(size: int) -> int:
    """How many threads are to reduce so many elements."""
    return BLOCK if size >= LARGE else WARP


def grid_of(rows: int, team: int) -> tuple[int, int, int]:
    """The blocks for so many results, in which a thread's team is (blockIdx.x * blockDim.y + threadIdx.y)."""
    return -(-rows // (BLOCK // team)), 1, 1


def block_of(team: int) -> tuple[int, int, int]:
    """x is the number within the team."""
    return team, BLOCK // team, 1


def build_combine(team: int, number: Any, merge: Callable[..., Any]) -> Callable[..., Any]:
    """The device function value -> what `merge` makes of the team's values, for each of its threads. All threads of the
    block must call it; `number` is the type of the values."""
    from cnncc.runtime.cuda.language import cuda, device

    @device
    def across_warp(value: Any) -> Any:
        for step in (16, 8, 4, 2, 1):
            value = merge(value, cuda.shfl_xor_sync(0xFFFFFFFF, value, step))
        cuda.syncwarp()  # a shuffle does not order what the lanes read before and write after it
        return value

    if team == WARP:
        return across_warp
    warps = team // WARP

    @device
    def across_block(value: Any) -> Any:
        found = cuda.shared.array(warps, number)
        value = across_warp(value)
        if cuda.threadIdx.x % WARP == 0:
            found[cuda.threadIdx.x // WARP] = value
        cuda.syncthreads()
        value = found[0]
        for i in range(1, warps):
            value = merge(value, found[i])
        cuda.syncthreads()  # before anyone writes there again
        return value

    return across_block
