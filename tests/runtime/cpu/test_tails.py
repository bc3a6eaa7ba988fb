"""Every kernel on every tail between guard pages, in a process of its own."""

import subprocess
import sys
from pathlib import Path

from cnncc.runtime.cpu.kernels.table import KERNELS
from tests.runtime.cpu.tails import LENGTHS

ROOT = Path(__file__).parents[3]
# Kernels that are no operator's step, or whose operators' cases do not stretch, and the tests that run them, guarded
# where they are steps.
OTHERS = {
    "affine_grid": "test_cases.py", "crc32": "test_crc32.py", "executor_run": "test_executor.py",
    "executor_work": "test_executor.py", "limit_fma": "test_profile.py", "limit_read": "test_profile.py",
    "nothing": "test_session.py", "pool_parallel_for": "test_executor.py", "pool_worker": "test_executor.py",
    "recurrence": "test_recurrence.py", "reorder": "test_reorder.py",
}  # fmt: skip


def test_every_kernel_on_every_tail(tmp_path: Path) -> None:
    last = tmp_path / "last"
    command = [sys.executable, "-X", "faulthandler", "-m", "tests.runtime.cpu.tails", str(last)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, f"what ran last: {last.read_text()}\n{done.stdout}\n{done.stderr}"
    found = dict(line.split(": ") for line in done.stdout.splitlines() if ": " in line)
    assert set(KERNELS) - set(OTHERS) == set(found)
    # A few lengths are refused: an index points beyond them, a window does not fit.
    assert all(int(text.split()[0]) >= len(LENGTHS) - 2 for text in found.values()), found
