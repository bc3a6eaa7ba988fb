"""A short form of `make property`, in a process of its own; every kernel is run between guard pages by some test."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cnncc.runtime.cpu import native
from cnncc.runtime.cpu.kernels.table import KERNELS
from cnncc.runtime.cpu.lowering import Refusal

from .draws import DRAWS, draw

ROOT = Path(__file__).parents[2]
# Kernels that neither those nor these cases need, and the tests that run them: between guard pages, if they are steps.
OTHERS = {
    "crc32": "test_crc32.py",
    "executor_run": "test_executor.py", "executor_work": "test_executor.py", "limit_fma": "test_profile.py",
    "limit_read": "test_profile.py", "nothing": "test_session.py",
    "pool_parallel_for": "test_executor.py", "pool_worker": "test_executor.py",
    "recurrence": "test_recurrence.py", "reorder": "test_reorder.py",
}  # fmt: skip


def test_random_cases(tmp_path: Path) -> None:
    last = tmp_path / "last"
    command = [sys.executable, "-m", "tests.property", "--cases", "960", "--kernels", "2", "--last", last]
    done = subprocess.run([*command, "--keep", tmp_path / "failures"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, f"the case that ran last: {last.read_text()}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("kind", DRAWS)
def test_cases_are_drawn_anew_from_their_numbers(kind: str) -> None:
    number = list(DRAWS).index(kind)
    first, second = (draw(5, number, 16)[1] for _ in range(2))
    assert first.op == second.op and first.choice == second.choice
    for a, b in zip(first.arrays, second.arrays, strict=True):
        assert (a is None and b is None) or (a == b).all()


def test_every_kernel_runs_between_guard_pages() -> None:
    """Each is launched by cases of test_cases.py, all of which run in guarded memory, or by those of this folder."""
    from tests.runtime.cpu import test_cases
    from tests.runtime.cpu.lowered import kernels_of, prepare

    found = {key[0] for trial in test_cases.TRIALS for key in kernels_of(*test_cases.asked(*trial.values))}
    for number in range(200):
        _, case = draw(0, number, native.host_lanes())
        layouts = [*case.layouts, *["plain"] * len(case.arrays)][:len(case.arrays)]
        step = prepare(case.op, case.arrays, case.constants, layouts, native.host_lanes(), 1, case.choice)
        if not isinstance(step, Refusal):
            found.add(step.launch.kernel.name)
    assert set(KERNELS) - found == set(OTHERS)
