"""Teams: the threads that compute one result together, each a part of it.

A team is a warp, up to eight of which are a block, or a whole block where there is more to do. What a thread found is
combined by shuffles, and between warps through shared memory, in an order that does not depend on timing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["BLOCK", "LARGE", "WARP", "arrange", "build_combine", "team_for"]

WARP, BLOCK = 32, 256
LARGE = 2048  # elements from which on a result has a block of its own
SPREAD = 512  # blocks of which a GPU has several for each of its processors


def team_for(size: int) -> int:
    """How many threads are to reduce so many elements."""
    return BLOCK if size >= LARGE else WARP


def arrange(results: int, team: int) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Grid and block for so many results. A thread of a team has the result blockIdx.x * blockDim.y + threadIdx.y, and
    threadIdx.x is its number within the team; where a thread works alone (1), it is blockIdx.x * blockDim.x +
    threadIdx.x. Blocks are as small as keeps a GPU busy: few results are spread over all of it."""
    if team == 1:
        threads = WARP * max(1, min(BLOCK // WARP, results // (WARP * SPREAD)))
        return (-(-results // threads), 1, 1), (threads, 1, 1)
    together = max(1, min(BLOCK // team, results // SPREAD))
    return (-(-results // together), 1, 1), (team, together, 1)


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
