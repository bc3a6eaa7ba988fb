"""Outputs are the same whatever fresh memory holds: each byte of them is written by the run that returns them, and no
byte of an arena, of scratch or of an earlier request reaches them.

    python -m tests.running.poison

All memory of NumPy's arrays, outputs and arenas among them, is full of a byte of choice; before each run, so are the
arenas and scratch memories that were used before.
"""

from __future__ import annotations

import sys

from cnncc import InferenceSession

from .networks import NETWORKS, Network, Results, same
from .numpy_memory import NumpyMemory

BYTES = (0x00, 0xFF, 0xA5, 0x7F)  # 0xFF.. and 0x7F7F.. as float32: NaN, and about 3e38
RUNS = 24


def run_all(network: Network, memory: NumpyMemory, byte: int, threads: int) -> list[Results]:
    """The outputs of RUNS runs in which the sizes change each time, but come again."""
    memory.fill(byte)
    session = InferenceSession(network.plan, threads=threads)
    found = []
    for n in range(RUNS):
        for pool in (*session._runner.pools.values(), *getattr(session._runner, "_later", {}).values()):
            for context in pool._idle:
                context._arena[:] = context._scratch[:] = byte
        found.append(session.run(None, network.feeds(n % 10)))
    memory.fill(-1)
    return found


def main() -> int:
    memory = NumpyMemory()
    for name, network in NETWORKS.items():
        wanted = run_all(network, memory, BYTES[0], 1)
        for byte in BYTES:
            for threads in (1, 2):
                for n, got in enumerate(run_all(network, memory, byte, threads)):
                    assert same(got, wanted[n]), f"{name}, run {n}: outputs depend on memory that holds {byte:#x}"
        print(f"{name}: {RUNS * len(BYTES) * 2} runs, the same over all that memory may hold", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
