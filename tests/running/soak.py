"""Runs of ever new sizes: memory, threads and open files must not grow.

    python -m tests.running.soak [RUNS]         # 200,000 by default

Every network in turn, two sessions of each; after a warm-up of a tenth of the runs (3,000 at least), resident memory
may grow by less than 1 MiB in all that follow.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from cnncc import InferenceSession

from .networks import NETWORKS

MIB = 1 << 20
CHECKS = 20
WARM_UP = 3000  # runs at least


@dataclass(frozen=True)
class Usage:
    resident: int  # bytes
    threads: int
    files: int


def usage() -> Usage:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    counts = (len(os.listdir(f"/proc/self/{kind}")) for kind in ("task", "fd"))
    return Usage(pages * os.sysconf("SC_PAGE_SIZE"), *counts)


def soak(runs: int) -> tuple[Usage, Usage]:
    """What is used after the warm-up, and the most that is used later."""
    sessions = [(InferenceSession(network.plan, threads=2), network) for network in NETWORKS.values() for _ in range(2)]
    begin, warm, most = time.monotonic(), usage(), usage()
    for n in range(runs):
        session, network = sessions[n % len(sessions)]
        # Sizes stay for a while, as in a service, and then are others; contents are new each time.
        session.run(None, network.feeds(n // len(sessions) // 8 * 5 + n % 3))
        if n % max(1, runs // CHECKS) == 0 or n == runs - 1:
            now = usage()
            if n <= max(runs // 10, WARM_UP):
                warm = most = now
            most = Usage(max(most.resident, now.resident), max(most.threads, now.threads), max(most.files, now.files))
            print(f"{n:8} runs, {time.monotonic() - begin:6.0f} s: {now.resident / MIB:7.2f} MiB, {now.threads} "
                  f"threads, {now.files} files", flush=True)
    return warm, most


def main() -> int:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    warm, most = soak(runs)
    grown = most.resident - warm.resident
    print(f"{runs} runs: {grown / MIB:.2f} MiB more than after the warm-up, {most.threads - warm.threads} threads, "
          f"{most.files - warm.files} files; {threading.active_count()} threads of Python")
    return 0 if grown < MIB and (most.threads, most.files) == (warm.threads, warm.files) else 1


if __name__ == "__main__":
    sys.exit(main())
