"""Runs a table of steps natively: one parallel region a run (see threads.py), tasks claimed with atomics.

Each thread walks the steps in order. A step's tasks are split evenly over the threads' slots; a thread first claims
chunks of ``grain`` tasks from its own slot, then from the others'. It goes on to the next step when all tasks of the
step are done. Whoever arrives can do all the work alone, so a run ends with any number of threads that turn up.

Steps too small to be shared are ``serial``: one thread claims a run of consecutive serial steps and does them all. A
run that consists of nothing else needs no second thread.

The table is one int64 array:

    header   HEADER_WORDS words, see the H_ constants
    ids      MAX_SLOTS words 0, 1, 2, ...: what the threading layer hands to each thread
    steps    STEP_WORDS words a step, see the S_ constants
    counters per step, (slots + 1) cache lines: done, then the number claimed in each slot

Where ``stamps`` is an address, the time after each step is written there as a timespec, 16 bytes a step.

A parallel region is entered through the threading layer's gate, two words: how many runs are inside, and how many may
be. A run that finds no room works alone. Counting in native code leaves no moment at which an exception of Python's (an
interrupt, say) could leave the gate shut.
"""

import ctypes
import sys
import time
from collections.abc import Sequence
from functools import cache

import numpy as np

from cnncc.records import record
from cnncc.runtime.cpu import native
from cnncc.runtime.cpu.kernel import Kernel
from cnncc.runtime.cpu.threads import available_threads, threading_layer

__all__ = ["StepRecord", "StepTable", "aligned_words", "available_threads", "threading_layer"]

LINE = 8  # words in a cache line
H_PARALLEL_FOR, H_WORK, H_YIELD, H_SLOTS, H_BEGIN, H_END, H_ACTIVE = range(7)
H_STEPS, H_COUNTERS, H_IDS, H_POOL, H_CLOCK, H_STAMPS, H_GATE = range(7, 14)
HEADER_WORDS = 2 * LINE
S_KERNEL, S_ARGS, S_ARGS_STRIDE, S_TASKS, S_GRAIN, S_SERIAL, S_IN_SCRATCH = range(7)
STEP_WORDS = LINE
CLOCK_MONOTONIC = 1 if sys.platform != "darwin" else 6  # <time.h>
SPINS = 2000  # polls before a waiting thread gives its core away


# --- native code ----------------------------------------------------------------------------------------------------


def build_stamp():
    """The compiled-code function ``stamp(table, step)``: note the time, where that is wanted."""
    from numba.extending import register_jitable

    from cnncc.runtime.cpu.memory_access import call_2, load_i64

    @register_jitable
    def stamp(table, number):
        stamps = load_i64(table + 8 * H_STAMPS)
        if stamps != 0:
            call_2(load_i64(table + 8 * H_CLOCK), CLOCK_MONOTONIC, stamps + 16 * number)

    return stamp


def build_arguments():
    """The compiled-code function ``arguments(step, me)``: those of a thread that begins a step."""
    from numba.extending import register_jitable

    from cnncc.runtime.cpu.memory_access import load_i64, store_i64

    @register_jitable
    def arguments(step, me):
        args = load_i64(step + 8 * S_ARGS) + me * load_i64(step + 8 * S_ARGS_STRIDE)
        place = load_i64(step + 8 * S_IN_SCRATCH)
        if place > 0:
            store_i64(args + 8 * place, -1)
        return args

    return arguments


def build_work():
    """``work(args, dims, steps, data)``, the shape of a Numba gufunc: thread ids in, table in ``data``."""
    from numba.extending import register_jitable

    from cnncc.runtime.cpu.memory_access import call_0, call_3, fetch_add, load_acquire, load_i64, pause

    stamp, arguments = build_stamp(), build_arguments()

    @register_jitable
    def run_slot(step, counters, slots, slot, args):
        tasks, grain = load_i64(step + 8 * S_TASKS), load_i64(step + 8 * S_GRAIN)
        kernel = load_i64(step + 8 * S_KERNEL)
        start, stop = tasks * slot // slots, tasks * (slot + 1) // slots
        claimed = counters + 8 * LINE * (slot + 1)
        done = 0
        while start + load_acquire(claimed) < stop:
            begin = start + fetch_add(claimed, grain)
            if begin < stop:
                end = min(begin + grain, stop)
                call_3(kernel, args, begin, end)
                done += end - begin
        return done

    @register_jitable
    def share(table, number, counters, slots, me):
        """Do what is left of a step's tasks, one's own share first. Who ends the step notes the time."""
        step = load_i64(table + 8 * H_STEPS) + 8 * STEP_WORDS * number
        args = arguments(step, me)
        done = 0
        for k in range(slots):
            slot = me + k
            if slot >= slots:
                slot -= slots
            done += run_slot(step, counters, slots, slot, args)
        if done and fetch_add(counters, done) + done == load_i64(step + 8 * S_TASKS):
            stamp(table, number)

    @register_jitable
    def alone(table, first, count, counters, me):
        """Do ``count`` serial steps unless another thread has claimed them."""
        if load_acquire(counters + 8 * LINE) == 0 and fetch_add(counters + 8 * LINE, 1) == 0:
            for number in range(first, first + count):
                step = load_i64(table + 8 * H_STEPS) + 8 * STEP_WORDS * number
                call_3(load_i64(step + 8 * S_KERNEL), arguments(step, me), 0, load_i64(step + 8 * S_TASKS))
                stamp(table, number)
            fetch_add(counters, 1)

    @register_jitable
    def wait(counters, tasks, give_way):
        polls = 0
        while load_acquire(counters) < tasks:
            polls += 1
            if polls < SPINS or give_way == 0:
                pause()
            else:
                call_0(give_way)

    def work(args, dims, steps, data):
        slots, first = load_i64(data + 8 * H_ACTIVE), load_i64(data + 8 * H_BEGIN)
        last, give_way = load_i64(data + 8 * H_END), load_i64(data + 8 * H_YIELD)
        line_count = load_i64(data + 8 * H_SLOTS) + 1
        for i in range(load_i64(dims)):
            me = load_i64(load_i64(args) + 8 * i)
            number = first
            while number < last:
                step = load_i64(data + 8 * H_STEPS) + 8 * STEP_WORDS * number
                counters = load_i64(data + 8 * H_COUNTERS) + 8 * LINE * line_count * number
                serial = min(load_i64(step + 8 * S_SERIAL), last - number)
                if serial > 0:
                    alone(data, number, serial, counters, me)
                    wait(counters, 1, give_way)
                    number += serial
                else:
                    share(data, number, counters, slots, me)
                    wait(counters, load_i64(step + 8 * S_TASKS), give_way)
                    number += 1

    return work


def build_run():
    """``run(table)``: do what its header asks for; reset the counters, then work alone or in one parallel region. Times
    are noted for this run only."""
    from cnncc.runtime.cpu.memory_access import call_3, call_8, fetch_add, load_i64, stack, store_i64

    stamp, arguments = build_stamp(), build_arguments()

    def run(table):
        begin, end, threads = load_i64(table + 8 * H_BEGIN), load_i64(table + 8 * H_END), load_i64(table + 8 * H_ACTIVE)
        lines = load_i64(table + 8 * H_SLOTS) + 1
        counters = load_i64(table + 8 * H_COUNTERS)
        serial = load_i64(load_i64(table + 8 * H_STEPS) + 8 * STEP_WORDS * begin + 8 * S_SERIAL)
        gate, alone = load_i64(table + 8 * H_GATE), threads <= 1 or serial >= end - begin
        if not alone and fetch_add(gate, 1) >= load_i64(gate + 8):
            fetch_add(gate, -1)
            alone = True
        if alone:
            for number in range(begin, end):
                step = load_i64(table + 8 * H_STEPS) + 8 * STEP_WORDS * number
                tasks = load_i64(step + 8 * S_TASKS)
                if tasks > 0:
                    call_3(load_i64(step + 8 * S_KERNEL), arguments(step, 0), 0, tasks)
                stamp(table, number)
            store_i64(table + 8 * H_STAMPS, 0)
            return
        for number in range(begin, end):
            for k in range(threads + 1):
                store_i64(counters + 8 * LINE * (lines * number + k), 0)
        place = stack(64)
        store_i64(place, load_i64(table + 8 * H_IDS))
        store_i64(place + 8, threads)
        store_i64(place + 16, 8)
        work = load_i64(table + 8 * H_WORK)
        call_8(
            load_i64(table + 8 * H_PARALLEL_FOR), work, place, place + 8, place + 16, table,
            load_i64(table + 8 * H_POOL), 1, threads,
        )  # fmt: skip
        store_i64(table + 8 * H_STAMPS, 0)
        fetch_add(gate, -1)

    return run


WORK = Kernel("executor_work", (), (), build_work)
RUN = Kernel("executor_run", (), (), build_run)


@cache
def _native_run():
    """The native ``run`` as a ctypes function of a c_void_p (which declared arguments would only be converted to, at a
    cost); it releases the GIL."""
    return ctypes.CFUNCTYPE(None)(native.get_kernel("executor_run", ()))


@cache
def _yield_address() -> int:
    try:
        return ctypes.cast(ctypes.CDLL(None).sched_yield, ctypes.c_void_p).value or 0
    except (AttributeError, OSError, TypeError):
        return 0


def _clock_address() -> int:
    """clock_gettime of the C library."""
    return ctypes.cast(ctypes.CDLL(None).clock_gettime, ctypes.c_void_p).value or 0


# --- tables ---------------------------------------------------------------------------------------------------------


@record
class StepRecord:
    """One step for the executor. ``words`` are its argument words; with ``scratch_word`` >= 0 each thread gets its
    own copy of them in which that word is the address of its own scratch memory. The word ``in_scratch_word`` of this
    copy, if that is > 0, is -1 when the thread begins the step: the kernel notes there what it has in that memory, for
    the thread's next tasks. ``serial``: one thread does the step."""

    kernel: int
    words: Sequence[int]
    tasks: int
    grain: int = 1
    scratch_word: int = -1
    in_scratch_word: int = -1
    serial: bool = False

    def __post_init__(self) -> None:
        if self.in_scratch_word > 0 > self.scratch_word:
            raise ValueError("what a thread has in its scratch memory is noted in a step without any")


class StepTable:
    """The native form of a list of steps for up to ``threads`` threads; it must not run twice at the same time.

    ``scratch`` gives the address of ``threads`` private memories, ``scratch_stride`` bytes apart.
    """

    def __init__(self, steps: Sequence[StepRecord], threads: int, scratch: int = 0, scratch_stride: int = 0) -> None:
        self.threads = max(1, threads)
        self.count = len(steps)
        self._run = _native_run()
        self._shapes = [(s.scratch_word >= 0, _padded(len(s.words))) for s in steps]
        self.words = _argument_words(steps, self.threads, scratch, scratch_stride)
        self.table = self._build(steps)
        self._address = ctypes.c_void_p(self.table.ctypes.data)
        self._asked = (0, 0, 0)  # begin, end and threads in the header
        self._is_serial = all(step.serial for step in steps)  # then a second thread has nothing to do

    def _build(self, steps: Sequence[StepRecord]) -> np.ndarray:
        slots = self.threads
        sizes = (HEADER_WORDS, -(-slots // LINE) * LINE, STEP_WORDS * len(steps), LINE * (slots + 1) * len(steps))
        table = aligned_words(sum(sizes))
        at = table.ctypes.data
        ids, records, counters = (at + 8 * sum(sizes[:n]) for n in (1, 2, 3))
        table[sizes[0] : sizes[0] + slots] = np.arange(slots)
        if slots > 1:
            layer = threading_layer()
            self._start, self._gate = layer.start, layer.gate
            table[H_PARALLEL_FOR], table[H_POOL], table[H_GATE] = layer.parallel_for, layer.pool, layer.gate.ctypes.data
            table[H_WORK] = native.get_kernel("executor_work", ())
        table[H_YIELD], table[H_SLOTS] = _yield_address(), slots
        table[H_STEPS], table[H_COUNTERS], table[H_IDS] = records, counters, ids
        args = self.words.ctypes.data
        for number, step in enumerate(steps):
            width = _padded(len(step.words))
            record = table[sum(sizes[:2]) + STEP_WORDS * number :]
            record[S_KERNEL], record[S_ARGS], record[S_TASKS] = step.kernel, args, step.tasks
            record[S_GRAIN], record[S_IN_SCRATCH] = max(1, step.grain), step.in_scratch_word
            copies = slots if step.scratch_word >= 0 else 1
            record[S_ARGS_STRIDE] = 8 * width if step.scratch_word >= 0 else 0
            args += 8 * width * copies
        run_length = 0
        for number in reversed(range(len(steps))):
            run_length = run_length + 1 if steps[number].serial else 0
            table[sum(sizes[:2]) + STEP_WORDS * number + S_SERIAL] = run_length
        return table

    def positions(self, step: int, word: int) -> np.ndarray:
        """Where in ``words`` the argument word of a step stands, once for each thread that has its own copy."""
        start = sum(width * (self.threads if own else 1) for own, width in self._shapes[:step])
        own, width = self._shapes[step]
        return start + word + width * np.arange(self.threads if own else 1)

    def run(self, begin: int = 0, end: int | None = None, threads: int | None = None) -> None:
        """Execute steps begin..end-1 (all by default) with up to the table's number of threads. Releases the GIL.

        Where the threading layer serves no further run at this time, this one works alone.
        """
        end = self.count if end is None else end
        if begin >= end:
            return
        threads = 1 if self._is_serial else self.threads if threads is None else max(1, min(threads, self.threads))
        asked = (begin, end, threads)
        if asked != self._asked:
            self._asked = (0, 0, 0)  # until all of them are written
            self.table[H_BEGIN], self.table[H_END], self.table[H_ACTIVE] = asked
            self._asked = asked
        if threads > 1:
            self._start(threads)
        self._run(self._address)

    def run_timed(self, begin: int, end: int) -> np.ndarray:
        """Like ``run``; when the run began and when each of the steps ended, in nanoseconds of CLOCK_MONOTONIC."""
        stamps = np.zeros((self.count, 2), np.int64)
        try:
            self.table[H_CLOCK], self.table[H_STAMPS] = _clock_address(), stamps.ctypes.data
            start = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
            self.run(begin, end)
        finally:
            self.table[H_STAMPS] = 0  # as the run itself did, unless an interrupt came before it
        times = stamps[begin:end, 0] * 1_000_000_000 + stamps[begin:end, 1]
        return np.maximum.accumulate(np.append(start, times))  # steps without tasks have no stamp


def _padded(words: int) -> int:
    return -(-max(words, 1) // LINE) * LINE


def _argument_words(steps: Sequence[StepRecord], slots: int, scratch: int, scratch_stride: int) -> np.ndarray:
    """All argument words, each step's on cache lines of its own, one copy a thread where scratch is used."""
    rows = []
    for step in steps:
        copies = slots if step.scratch_word >= 0 else 1
        block = np.zeros((copies, _padded(len(step.words))), np.int64)
        block[:, : len(step.words)] = step.words
        if step.scratch_word >= 0:
            block[:, step.scratch_word] = scratch + scratch_stride * np.arange(copies)
        rows.append(block.reshape(-1))
    out = aligned_words(sum(r.size for r in rows) or LINE)
    if rows:
        out[:] = np.concatenate(rows)
    return out


def aligned_words(count: int) -> np.ndarray:
    """``count`` zeroed int64 at a 64-byte boundary."""
    raw = np.zeros(count + LINE, np.int64)
    skip = (-raw.ctypes.data % 64) // 8
    return raw[skip : skip + count]
