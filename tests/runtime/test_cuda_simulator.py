"""Runs the tests of tests/runtime/cuda in Numba's CUDA simulator, which must be chosen before Numba is imported."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "tests/runtime/cuda").glob("test_*.py"))


@pytest.mark.skipif(find_spec("numba_cuda") is None, reason="the package numba-cuda is not installed")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_in_the_simulator(path: Path) -> None:
    arguments = ["-m", "pytest", "-q", "-p", "no:cacheprovider", str(path.relative_to(ROOT))]
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True,
                          env=os.environ | {"NUMBA_ENABLE_CUDASIM": "1", "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
