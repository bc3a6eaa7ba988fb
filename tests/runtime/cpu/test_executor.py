"""The executor: every task once, steps in order, many runs at once."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from cnncc.runtime.cpu import executor, native
from cnncc.runtime.cpu.executor import StepRecord, StepTable, aligned_words, available_threads
from cnncc.runtime.cpu.kernel import Kernel


def build_adder():
    """Task t of step s adds 1 to cell t if the cell holds s: a missed or early task leaves a wrong number."""
    from cnncc.runtime.cpu.memory_access import load_i64, store_i64

    def adder(args, begin, end):
        cells, expected = load_i64(args), load_i64(args + 8)
        for task in range(begin, end):
            if load_i64(cells + 8 * task) == expected:
                store_i64(cells + 8 * task, expected + 1)

    return adder


@pytest.fixture(scope="module")
def adder():
    kernel = Kernel("test_adder", ("cells",), ("expected",), build_adder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "_kernel", lambda name: kernel)
        return native.get_kernel(kernel.name, ())


def make(adder: int, tasks: int, steps: int, threads: int, grain: int = 1):
    cells = aligned_words(max(tasks, 1))
    records = [StepRecord(adder, [cells.ctypes.data, n], tasks, grain) for n in range(steps)]
    return cells, StepTable(records, threads)


@pytest.mark.parametrize("threads", [1, 2, 3, 9])
@pytest.mark.parametrize(("tasks", "grain"), [(0, 1), (1, 1), (2, 1), (7, 3), (100, 8), (64, 1000)])
def test_every_task_once_in_order(adder, tasks: int, grain: int, threads: int) -> None:
    cells, table = make(adder, tasks, 20, threads, grain)
    for _ in range(5):
        cells[:] = 0
        table.run()
        assert (cells[:tasks] == 20).all()


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_serial_steps_are_done_once_and_in_order(adder, threads: int) -> None:
    cells = aligned_words(50)
    records = [StepRecord(adder, [cells.ctypes.data, n], 50, serial=n % 5 > 1) for n in range(30)]
    table = StepTable(records, threads)
    for begin, end in ((0, 30), (0, 4), (3, 9), (12, 15)):
        cells[:] = begin
        table.run(begin, end)
        assert (cells[:50] == end).all()


def build_keeper():
    """Cell 0 counts the tasks, cell 1 those that find nothing noted by their thread, cell 2 those that find a task that
    is not an earlier one of the same run."""
    from cnncc.runtime.cpu.memory_access import fetch_add, load_i64, store_i64

    def keeper(args, begin, end):
        cells = load_i64(args)
        for task in range(begin, end):
            noted = load_i64(args + 16)
            fetch_add(cells, 1)
            if noted < 0:
                fetch_add(cells + 8, 1)
            elif noted == task or noted > 100:
                fetch_add(cells + 16, 1)
            store_i64(args + 16, task)

    return keeper


@pytest.mark.parametrize("serial", [False, True])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_thread_finds_what_it_noted_in_the_same_step(threads: int, serial: bool, monkeypatch) -> None:
    kernel = Kernel("test_keeper", ("cells", "scratch"), ("in_scratch",), build_keeper)
    monkeypatch.setattr(native, "_kernel", lambda name: kernel)
    cells, scratch = aligned_words(8), aligned_words(8 * threads)
    words = [cells.ctypes.data, 0, 1000]
    places = kernel.place("scratch"), kernel.place("in_scratch")
    step = StepRecord(native.get_kernel(kernel.name, ()), words, 50, 1, *places, serial)
    table = StepTable([step] * 4, threads, scratch.ctypes.data, 64)
    for run in range(1, 4):
        table.run()
        assert cells[0] == 200 * run and 4 * run <= cells[1] <= 4 * run * threads and cells[2] == 0


def test_what_is_in_scratch_needs_scratch() -> None:
    with pytest.raises(ValueError, match="scratch memory"):
        StepRecord(0, [1, 2, 3], 1, in_scratch_word=2)


@pytest.mark.parametrize("threads", [1, 2])
def test_time_stamps_rise(adder, threads: int) -> None:
    cells = aligned_words(50)
    table = StepTable([StepRecord(adder, [cells.ctypes.data, n], 50, serial=n > 5) for n in range(10)], threads)
    stamps = table.run_timed(0, 10)
    assert len(stamps) == 11 and (np.diff(stamps) >= 0).all() and (cells[:50] == 10).all()


def test_part_of_the_steps(adder) -> None:
    cells, table = make(adder, 10, 6, 2)
    table.run(0, 2)
    assert (cells == 2).all()
    table.run(2, 6, threads=1)
    assert (cells == 6).all()


def test_many_python_threads(adder) -> None:
    failures = []

    def work() -> None:
        cells, table = make(adder, 50, 10, 2)
        for _ in range(50):
            cells[:] = 0
            table.run()
            if not (cells == 10).all():
                failures.append(cells.copy())

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not failures


def test_scratch_memories_are_apart() -> None:
    steps = [StepRecord(0, [1, 0, 3], 1, scratch_word=1), StepRecord(0, [5], 1)]
    table = StepTable(steps, 2, scratch=4096, scratch_stride=128)
    records = table.table[executor.HEADER_WORDS + executor.LINE :]
    assert records[executor.S_ARGS_STRIDE] == 64 and records[executor.STEP_WORDS + executor.S_ARGS_STRIDE] == 0
    np.testing.assert_array_equal(table.words[:3], [1, 4096, 3])
    np.testing.assert_array_equal(table.words[8:11], [1, 4096 + 128, 3])
    assert table.words[16] == 5


def test_available_threads_is_positive() -> None:
    assert available_threads() >= 1


SCRIPT = """
import os, sys
import numpy as np
from cnncc.runtime.cpu import executor, native
from cnncc.runtime.cpu.kernels import conv_depthwise
from cnncc.runtime.cpu.conv_shape import ConvShape

step = conv_depthwise.launch(ConvShape(1, 64, 64, (1, 9, 9), (1, 9, 9), (1, 1, 1), groups=64), 16)
x = np.random.default_rng(0).standard_normal((64, 9, 9)).astype(np.float32)
w, bias, y = np.ones(64, np.float32), np.zeros(64, np.float32), np.zeros_like(x)
words = step.bind({k: v.ctypes.data for k, v in dict(x=x, w=w, bias=bias, y=y).items()})
table = executor.StepTable([executor.StepRecord(native.get_kernel(*step.key), words, step.tasks)], 2)

def good():
    y[:] = 0
    table.run()
    return np.array_equal(x, y)

assert good()
print(executor.threading_layer().name)
if sys.argv[1] == "fork":
    child = os.fork()
    if child == 0:
        os._exit(0 if all(good() for _ in range(100)) else 1)
    assert os.waitpid(child, 0)[1] == 0 and good()
"""


def run_script(layer: str | None, argument: str) -> str:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    environment.pop("NUMBA_THREADING_LAYER", None)
    if layer:
        environment["NUMBA_THREADING_LAYER"] = layer
    command = [sys.executable, "-c", SCRIPT, argument]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.strip()


LAYERS = {None: "worker_pool", "omp": "omppool", "tbb": "tbbpool", "workqueue": "workqueue"}  # the module of each


@pytest.mark.parametrize("layer", [None, "omp", "tbb", "workqueue"])
def test_every_threading_layer_runs_and_survives_a_fork(layer: str | None) -> None:
    try:
        __import__(f"numba.np.ufunc.{LAYERS[layer]}" if layer else "cnncc.runtime.cpu.worker_pool")
    except ImportError:
        pytest.skip(f"no {layer} here")
    assert run_script(layer, "fork" if hasattr(os, "fork") else "stay") == (layer or "pool")


def test_a_layer_that_is_not_there_is_one_clear_error() -> None:
    with pytest.raises(subprocess.CalledProcessError) as failed:
        run_script("nonsense", "stay")
    assert "InputError: NUMBA_THREADING_LAYER is 'nonsense', which is not to be had here" in failed.value.stderr


@pytest.mark.parametrize("inside", [0, 1])
def test_a_run_that_finds_the_gate_shut_works_alone(adder, inside: int) -> None:
    """What passes through the gate leaves it as it was, and so does what finds it shut."""

    def build_note():
        from cnncc.runtime.cpu.memory_access import load_i64, store_i64

        def note(args, begin, end):
            cells = load_i64(args)
            for task in range(begin, end):
                store_i64(cells + 8 * task, load_i64(load_i64(args + 8)))

        return note

    kernel = Kernel("test_note", ("cells", "gate"), (), build_note)
    cells, gate = aligned_words(64), executor.threading_layer().gate
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "_kernel", lambda name: kernel)
        step = StepRecord(native.get_kernel(kernel.name, ()), [cells.ctypes.data, gate.ctypes.data], 64)
    table = StepTable([step], 2)
    assert gate[0] == 0
    gate[0] = inside
    try:
        table.run()
        assert (cells == 1).all() and gate[0] == inside
    finally:
        gate[0] = 0


def test_threads_that_the_system_refuses_are_done_without(adder, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    layer = executor.threading_layer()
    if layer.name != "pool":
        pytest.skip("another layer starts its own threads")
    cells, table = make(adder, 50, 10, layer.start.__self__._started + 5)  # type: ignore[attr-defined]
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.warns(UserWarning, match="cnncc runs on fewer threads than"):
            table.run()
    cells[:] = 0
    table.run()
    assert (cells == 10).all()


def test_threads_that_come_first_choose_one_layer() -> None:
    script = """
import sys, threading
sys.setswitchinterval(1e-6)
from cnncc.runtime.cpu import executor
found, barrier = [], threading.Barrier(8)
def choose():
    barrier.wait()
    found.append(executor.threading_layer())
threads = [threading.Thread(target=choose) for _ in range(8)]
[t.start() for t in threads]
[t.join() for t in threads]
assert len(found) == 8 and len(set(map(id, found))) == 1
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", script], env=environment, check=True, timeout=60)
