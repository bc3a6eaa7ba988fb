"""No memory, and memory that others have written: in processes of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run_module(*arguments: str) -> str:
    command = [sys.executable, "-X", "faulthandler", "-m", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_any_allocation_may_fail() -> None:
    pytest.importorskip("_testcapi", reason="this Python was installed without its own tests")
    lines = run_module("tests.running.faults", "97").splitlines()
    assert len(lines) == 8 and not any(" 0 runs failed" in line for line in lines), lines


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="it counts pages as Linux does")
def test_memory_threads_and_files_do_not_grow() -> None:
    assert "5000 runs: " in run_module("tests.running.soak", "5000")


def test_outputs_hold_nothing_of_earlier_runs() -> None:
    assert run_module("tests.running.poison").count("the same over all that memory may hold") == 4
