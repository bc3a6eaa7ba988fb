"""Short forms of `python -m tests.files`: writers that are killed or whose disk is full, and many at once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="preloading a library needs Linux")
@pytest.mark.skipif(shutil.which("gcc") is None and shutil.which("cc") is None, reason="there is no C compiler")
def test_a_file_is_old_or_new_whatever_happens() -> None:
    done = subprocess.run([sys.executable, "-m", "tests.files", "--points", "160"], cwd=ROOT, capture_output=True,
                          text=True)
    assert done.returncode == 0 and "160 points of 1" in done.stdout, f"{done.stdout}\n{done.stderr}"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_sixteen_processes_compile_into_one_cache(tmp_path: Path) -> None:
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), "CNNCC_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-m", "tests.files.together", "16"], cwd=ROOT, capture_output=True,
                          text=True, env=environment)
    assert done.returncode == 0 and "16 of 16 succeeded" in done.stdout, f"{done.stdout}\n{done.stderr}"
