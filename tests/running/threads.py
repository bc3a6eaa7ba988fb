"""Many threads on one session: each result must be, bit for bit, what one thread gets.

    python -m tests.running.threads THREADS RUNS

The threading layer is what NUMBA_THREADING_LAYER says, so this is a program that tests start once a layer.
"""

from __future__ import annotations

import sys
import threading
import warnings

from cnncc import InferenceSession
from cnncc.runtime.cpu.executor import threading_layer

from .networks import NETWORKS, outputs_of, same

SIZES = 40  # more than a session keeps bindings of


def run_threads(name: str, threads: int, runs: int) -> int:
    """How many runs gave what they should: each of `threads` does `runs` in an order of its own, beginning together
    with a session that nobody has used yet."""
    network = NETWORKS[name]
    wanted = outputs_of(InferenceSession(network.plan, threads=1), network, range(SIZES))
    feeds = {k: network.feeds(k) for k in wanted}
    session, barrier = InferenceSession(network.plan, threads=2), threading.Barrier(threads)
    right, problems = [0] * threads, list[BaseException]()

    def work(me: int) -> None:
        try:
            barrier.wait()
            for n in range(runs):
                # Few sizes at a time, or every run would bind its sizes anew.
                k = (me + n // 50 * 7 + n % 3) % SIZES
                right[me] += same(session.run(None, feeds[k]), wanted[k])
        except BaseException as error:
            problems.append(error)

    workers = [threading.Thread(target=work, args=(me,)) for me in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if problems:
        raise problems[0]
    return sum(right)


def main() -> int:
    warnings.simplefilter("ignore")  # of Numba's workqueue
    threads, runs = int(sys.argv[1]), int(sys.argv[2])
    bad = 0
    for name in NETWORKS:
        right = run_threads(name, threads, runs)
        bad += threads * runs - right
        print(f"{threading_layer().name:10} {name:10} {threads} threads x {runs} runs: {right} as one thread gives",
              flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
