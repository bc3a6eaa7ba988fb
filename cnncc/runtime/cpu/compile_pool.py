"""Compiling many kernels at once: worker processes fill the kernel cache, as Numba compiles in one thread only.

A worker is this module, or another target's, run as a program. It reads one kernel key a line as JSON, publishes the
object in the cache, and answers one line for each. A worker that fails costs nothing but time: what is missing is
compiled by the caller.
"""

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

from cnncc.runtime.cpu import native

Key = Any  # what JSON can express
KERNELS_PER_WORKER = 3  # fewer do not pay for starting a process (about 0.5 s)


def fill_cache(keys: Sequence[Key], workers: int, compiled: Callable[[Key], None], program: str = __name__,
               per_worker: int | None = None) -> None:
    """Compile keys in up to ``workers`` processes that run the module ``program``; ``compiled`` is called after each
    one, in no given order. No process is started for less than ``per_worker`` keys."""
    workers = min(workers, len(keys) // (per_worker or KERNELS_PER_WORKER))
    if workers < 2 or not sys.executable:
        return
    waiting: queue.SimpleQueue[Key] = queue.SimpleQueue()
    for key in keys:
        waiting.put(key)
    lock = threading.Lock()

    def report(key: Key) -> None:
        with lock:
            compiled(key)

    feeders = [threading.Thread(target=_feed, args=(waiting, report, program), daemon=True) for _ in range(workers)]
    try:
        for feeder in feeders:
            feeder.start()
        for feeder in feeders:
            feeder.join()
    finally:
        _empty(waiting)  # after an interrupt: no other kernel is begun


def _empty(waiting: "queue.SimpleQueue[Key]") -> None:
    with contextlib.suppress(queue.Empty):
        while True:
            waiting.get_nowait()


def _feed(waiting: "queue.SimpleQueue[Key]", compiled: Callable[[Key], None], program: str) -> None:
    """Hand keys to one worker until none is left or the worker stops answering."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    command = [sys.executable, "-m", program]
    try:
        worker = subprocess.Popen(command, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  stderr=subprocess.DEVNULL)
    except OSError:
        return
    with worker:
        assert worker.stdin is not None and worker.stdout is not None
        try:
            while True:
                key = waiting.get_nowait()
                worker.stdin.write(json.dumps(key) + "\n")
                worker.stdin.flush()
                if not worker.stdout.readline():
                    return
                compiled(key)
        except (queue.Empty, OSError):
            return
        finally:
            worker.kill()  # what it has compiled is in the cache; to end by itself would take it 0.3 s


def _work() -> None:
    for line in sys.stdin:
        name, params = json.loads(line)
        native.publish((name, tuple((k, v) for k, v in params)))
        print("done", flush=True)


if __name__ == "__main__":
    _work()
