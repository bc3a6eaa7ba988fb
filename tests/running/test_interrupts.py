"""Ctrl-C at any moment of a run or of a compilation: nothing stays shut, half-written or wrong."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest

from cnncc import InferenceSession, compile
from cnncc.ir import parse_graph
from cnncc.ops import OPS
from cnncc.runtime.cpu.executor import H_STAMPS, threading_layer

from .networks import DYNAMIC, NETWORKS, same

ROOT = Path(__file__).parents[2]
OPCODES = 100  # at which a run is interrupted, of each kind: spread over all of it


def interrupted(work: Callable[[], Any], at: int) -> tuple[Any, int]:
    """Does `work` and raises KeyboardInterrupt before cnncc's bytecode instruction of number `at`; its result, or None
    where it was interrupted, and how many instructions there were."""
    count = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        if "/cnncc/" not in frame.f_code.co_filename:
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "opcode":
            count += 1
            if count == at:
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        return work(), count
    except KeyboardInterrupt:
        return None, count
    finally:
        sys.settrace(before)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_run_is_interrupted_at_any_instruction(name: str) -> None:
    network = NETWORKS[name]
    session = InferenceSession(network.plan, threads=2)
    wanted = [session.run(None, network.feeds(k)) for k in range(30)]
    _, new = interrupted(lambda: session.run(None, network.feeds(0)), 0)  # number 0 is not bound any more
    _, old = interrupted(lambda: session.run(None, network.feeds(0)), 0)
    done = 0
    for count in (old, new):
        for at in sorted(set(np.linspace(1, count, OPCODES, dtype=int).tolist())):
            k = 0 if count == old else at % 30
            result, _ = interrupted(lambda k=k: session.run(None, network.feeds(k)), at)
            assert result is None or same(result, wanted[k])
            assert same(session.run(None, network.feeds(k)), wanted[k])
            done += result is None
    assert done > 50 and threading_layer().gate[0] == 0
    assert len(session._runner.pools) <= 16


def test_a_profile_is_interrupted() -> None:
    """No stamp is written after the memory for stamps is gone."""
    network = NETWORKS["lenet"]
    session, feeds = InferenceSession(network.plan, threads=2), network.feeds(0)
    wanted = session.run(None, feeds)
    _, count = interrupted(lambda: session.profile(feeds, runs=1), 0)
    for at in np.linspace(1, count, 100, dtype=int).tolist():
        interrupted(lambda: session.profile(feeds, runs=1), at)
        [pool] = session._runner.pools.values()
        assert not any(context._table.table[H_STAMPS] for context in pool._idle)
        assert same(session.run(None, feeds), wanted)


def test_a_compilation_is_interrupted_at_any_line() -> None:
    weights = {"w": np.ones((20, 3, 3, 3), np.float32), "v": np.ones((5, 20, 1, 1), np.float32)}

    def work() -> Any:
        return compile(parse_graph(DYNAMIC, OPS, weights))

    wanted, count = interrupted(work, 0)
    for at in random.Random(4).sample(range(1, count), 40):
        interrupted(work, at)
    again = work()
    assert again.steps == wanted.steps and again.buffers == wanted.buffers


def test_the_command_line_is_interrupted_while_it_compiles(tmp_path: Path) -> None:
    """No plan, no half of one, no temporary file, and kernels in the cache that are whole. (SIGINT is ignored by what a
    shell runs in the background, until a handler is set.)"""
    cache, plan, network = tmp_path / "cache", tmp_path / "net.plan", tmp_path / "net.cnn"
    network.write_text("network tiny:\n  input x: f32[1,4]\n  linear 3 -> relu\n")
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    code = ("import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
            "from cnncc.cli.main import main; main(sys.argv[1:])")
    command = [sys.executable, "-c", code, "compile", str(network), "-o", str(plan)]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                               text=True)
    end = time.monotonic() + 60
    while not list(cache.glob("cnncc/*.kernel")) and time.monotonic() < end:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    error = process.communicate(timeout=60)[1]
    assert process.returncode == 130 and "Traceback" not in error, error
    assert list(cache.glob("cnncc/*.kernel")) and set(os.listdir(tmp_path)) == {"cache", "net.cnn"}
    time.sleep(1)  # a compiler that was busy may end its kernel
    assert {p.suffix for p in cache.glob("cnncc/*")} == {".kernel", ".entry"}, os.listdir(cache / "cnncc")
