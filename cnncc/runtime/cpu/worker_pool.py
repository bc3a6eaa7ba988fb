"""Threads that help with runs when they are there, and are never waited for when they are not.

An OpenMP region ends when every thread of its team has been scheduled once; on a machine with other work to do that
takes milliseconds. Here the caller opens a job, works on it itself, and closes it: a worker that turns up meanwhile
takes part, one that does not is not missed. Idle workers poll for a while, then sleep on a semaphore.

``parallel_for`` has the signature of Numba's threading layers, with the pool's address as the sixth argument. Words
of the pool, each group on a cache line of its own: see the P_ constants.
"""

import ctypes
import os
import threading
import warnings

import numpy as np

from cnncc.runtime.cpu import native
from cnncc.runtime.cpu.kernel import Kernel
from cnncc.runtime.cpu.large_pages import empty_bytes

P_EPOCH, P_JOB, P_INSIDE, P_SLEEPERS, P_WORK, P_WAIT, P_POST, P_YIELD, P_SEMAPHORE = (
    0, 8, 16, 24, 32, 33, 34, 35, 40,
)  # fmt: skip
POOL_WORDS = 48
IDLE_POLLS = 10_000  # before an idle worker sleeps: 0.1 to 0.5 ms
LEAVING_POLLS = 2_000  # before the caller gives its core to a worker that has not left yet


def build_worker():
    """``worker(pool, me, active)``: never returns. ``active`` is the offset in a job of its number of threads."""
    from cnncc.runtime.cpu.memory_access import (
        call_1,
        call_4,
        fetch_add,
        load_acquire,
        load_i64,
        pause,
        stack,
        store_i64,
    )

    def worker(pool, me, active):
        place = stack(64)
        store_i64(place, me)
        store_i64(place + 8, place)
        store_i64(place + 16, 1)
        seen = load_acquire(pool + 8 * P_EPOCH)
        while True:
            polls = 0
            while load_acquire(pool + 8 * P_EPOCH) == seen:
                polls += 1
                if polls < IDLE_POLLS:
                    pause()
                else:
                    polls = 0
                    fetch_add(pool + 8 * P_SLEEPERS, 1)
                    if fetch_add(pool + 8 * P_EPOCH, 0) == seen:
                        call_1(load_i64(pool + 8 * P_WAIT), pool + 8 * P_SEMAPHORE)
            seen = load_acquire(pool + 8 * P_EPOCH)
            fetch_add(pool + 8 * P_INSIDE, 1)
            job = fetch_add(pool + 8 * P_JOB, 0)
            if job != 0 and me < load_i64(job + active):
                call_4(load_i64(pool + 8 * P_WORK), place + 8, place + 16, 0, job)
            fetch_add(pool + 8 * P_INSIDE, -1)

    return worker


def build_parallel_for():
    """Open the job ``data``, do all of it that no worker does, close it and see the workers out."""
    from cnncc.runtime.cpu.memory_access import (
        call_0,
        call_1,
        call_4,
        fetch_add,
        load_acquire,
        load_i64,
        pause,
        stack,
        store_i64,
    )

    def parallel_for(work, args, dims, steps, data, pool, count, threads):
        place = stack(64)
        store_i64(place, 0)
        store_i64(place + 8, place)
        store_i64(place + 16, 1)
        store_i64(pool + 8 * P_WORK, work)
        fetch_add(pool + 8 * P_JOB, data)
        fetch_add(pool + 8 * P_EPOCH, 1)
        sleepers = fetch_add(pool + 8 * P_SLEEPERS, 0)
        fetch_add(pool + 8 * P_SLEEPERS, -sleepers)
        for _ in range(sleepers):
            call_1(load_i64(pool + 8 * P_POST), pool + 8 * P_SEMAPHORE)
        call_4(work, place + 8, place + 16, 0, data)
        fetch_add(pool + 8 * P_JOB, -data)
        polls = 0
        while load_acquire(pool + 8 * P_INSIDE) > 0:
            polls += 1
            if polls < LEAVING_POLLS:
                pause()
            else:
                call_0(load_i64(pool + 8 * P_YIELD))

    return parallel_for


WORKER = Kernel("pool_worker", (), (), build_worker)
PARALLEL_FOR = Kernel("pool_parallel_for", (), (), build_parallel_for)


class WorkerPool:
    """One a process, for one run at a time: see ``gate`` in executor.py.

    Raises OSError where the C library has no POSIX semaphores in memory. A forked child starts workers of its own.
    """

    def __init__(self, active_offset: int) -> None:
        self._library = ctypes.CDLL(None)
        self._active_offset = active_offset
        self._words = empty_bytes(8 * POOL_WORDS).view(np.int64)
        self._words[:] = 0
        self.address = self._words.ctypes.data
        self.gate = np.array([0, 1], np.int64)
        self._starting = threading.Lock()
        try:
            for word, name in ((P_WAIT, "sem_wait"), (P_POST, "sem_post"), (P_YIELD, "sched_yield")):
                self._words[word] = ctypes.cast(getattr(self._library, name), ctypes.c_void_p).value or 0
        except AttributeError as error:
            raise OSError(str(error)) from error
        self._clear()
        self.parallel_for = native.get_kernel(PARALLEL_FOR.name, ())
        os.register_at_fork(after_in_child=self._after_fork)

    def _clear(self) -> None:
        self._started = 0
        self._words[[P_EPOCH, P_JOB, P_INSIDE, P_SLEEPERS]] = 0
        semaphore = ctypes.c_void_p(self.address + 8 * P_SEMAPHORE)
        if self._library.sem_init(semaphore, 0, ctypes.c_uint(0)) != 0:
            raise OSError("sem_init failed")

    def _after_fork(self) -> None:
        self._starting = threading.Lock()
        self.gate[0] = 0  # runs of threads that the child does not have
        self._clear()

    def start(self, threads: int) -> None:
        """Have workers 1 .. threads-1, or as many of them as the system grants; the caller is thread 0."""
        if self._started >= threads - 1:
            return
        with self._starting:
            run = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 3)(native.get_kernel(WORKER.name, ()))
            while self._started < threads - 1:
                args = (self.address, self._started + 1, self._active_offset)
                worker = threading.Thread(target=run, args=args, name=f"cnncc-{self._started + 1}", daemon=True)
                self._started += 1
                try:
                    worker.start()
                except RuntimeError as error:  # the system has no more threads to give
                    warnings.warn(f"cnncc runs on fewer threads than {threads}: {error}", stacklevel=4)
                    self._started = max(self._started, threads - 1)
