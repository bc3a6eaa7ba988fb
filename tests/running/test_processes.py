"""Sessions and other processes: forked ones, spawned ones, pickled sessions, plan files that were replaced."""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
import signal
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cnncc import InferenceSession
from cnncc.errors import InputError
from cnncc.parallel import fork_safe_lock
from cnncc.runtime.cpu import native

from .networks import NETWORKS, outputs_of, same

NUMBERS = range(20)  # more sizes than bindings are kept of
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")


def in_child(work: Callable[[], bool], limit: float = 60) -> None:
    """Runs `work` in a forked child, which must answer True in time."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python's own, of forking while there are threads
        child = os.fork()
    if child == 0:
        try:
            os._exit(0 if work() else 1)
        except BaseException:
            os._exit(2)
    end = time.monotonic() + limit
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            assert status == 0, f"the child ended with status {status}"
            return
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    pytest.fail("the child hangs")


@pytest.mark.parametrize("name", NETWORKS)
def test_a_session_runs_in_a_forked_child(name: str) -> None:
    network = NETWORKS[name]
    session = InferenceSession(network.plan, threads=2)
    wanted = outputs_of(session, network, NUMBERS)

    def work() -> bool:
        return all(same(session.run(None, network.feeds(k)), wanted[k]) for k in NUMBERS)

    in_child(work)
    assert work()


def test_forks_while_other_threads_run_and_bind() -> None:
    """The child finds no lock held and no run unfinished, whatever the others did when it was forked."""
    network = NETWORKS["dynamic"]
    session, stop = InferenceSession(network.plan, threads=2), threading.Event()
    wanted = outputs_of(session, network, NUMBERS)

    def busy(me: int) -> None:
        k = me
        while not stop.is_set():
            k += 7
            session.run(None, network.feeds(k))

    others = [threading.Thread(target=busy, args=(me,)) for me in range(3)]
    for other in others:
        other.start()
    try:
        for _ in range(8):
            in_child(lambda: all(same(session.run(None, network.feeds(k)), wanted[k]) for k in NUMBERS))
    finally:
        stop.set()
        for other in others:
            other.join()


def test_a_lock_is_open_in_a_forked_child() -> None:
    lock = fork_safe_lock()
    with lock:
        in_child(lambda: lock.acquire(blocking=False))
        assert lock.locked()


def test_a_fork_waits_for_the_compiler() -> None:
    """Otherwise its child would never be able to compile."""
    held, order = threading.Event(), []

    def compile_for_a_while() -> None:
        with native.compiling():
            held.set()
            time.sleep(0.2)
            order.append("compiled")

    other = threading.Thread(target=compile_for_a_while)
    other.start()
    held.wait()
    in_child(lambda: order == ["compiled"] and native.compiling().acquire(blocking=False))
    other.join()


def run_numbers(session: InferenceSession) -> list[list[np.ndarray]]:
    return [session.run(None, NETWORKS["dynamic"].feeds(k)) for k in range(3)]


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_sessions_go_to_worker_processes(method: str, tmp_path: Path) -> None:
    network, path = NETWORKS["dynamic"], tmp_path / "net.plan"
    network.plan.save(path)
    session = InferenceSession(path, threads=2)
    wanted = run_numbers(session)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        with multiprocessing.get_context(method).Pool(1) as pool:
            found = pool.apply_async(run_numbers, (session,)).get(timeout=60)
    assert all(same(a, b) for a, b in zip(found, wanted, strict=True))


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("again", [lambda s: pickle.loads(pickle.dumps(s)), copy.copy, copy.deepcopy])
def test_a_pickled_session_gives_the_same(name: str, again: Callable[[InferenceSession], InferenceSession]) -> None:
    network = NETWORKS[name]
    session = InferenceSession(network.plan, threads=2)
    other = again(session)
    assert other.threads == 2 and other.plan.steps == session.plan.steps
    assert same(other.run(None, network.feeds(1)), session.run(None, network.feeds(1)))


def test_a_session_of_a_file_is_pickled_by_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    NETWORKS["lenet"].plan.save("net.plan")
    data = pickle.dumps(InferenceSession("net.plan", threads=1))
    assert len(data) < 1000
    monkeypatch.chdir("/")
    assert same(pickle.loads(data).run(None, NETWORKS["lenet"].feeds(0)),
                InferenceSession(NETWORKS["lenet"].plan).run(None, NETWORKS["lenet"].feeds(0)))
    NETWORKS["dynamic"].plan.save(tmp_path / "net.plan")
    with pytest.raises(InputError, match="is not the one that the pickled session was opened from: it was replaced"):
        pickle.loads(data)
    (tmp_path / "net.plan").unlink()
    with pytest.raises(InputError, match=r"cannot read the plan .*net\.plan"):
        pickle.loads(data)


def test_a_session_of_something_else() -> None:
    with pytest.raises(InputError, match="a session needs a Plan or the path of a plan file, not int"):
        InferenceSession(3)  # type: ignore[arg-type]
