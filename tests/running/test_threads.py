"""32 threads on one session give, bit for bit, what one thread does, on every threading layer (long: make soak)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = {"pool": "numpy", "omp": "numba.np.ufunc.omppool", "tbb": "numba.np.ufunc.tbbpool",
           "workqueue": "numba.np.ufunc.workqueue"}


@pytest.mark.parametrize("layer", MODULES)
def test_many_threads_on_one_session(layer: str) -> None:
    try:
        __import__(MODULES[layer])
    except ImportError:
        pytest.skip(f"Numba's layer {layer} is not to be had here")
    environment = {n: v for n, v in os.environ.items() if n != "NUMBA_THREADING_LAYER"}
    if layer != "pool":
        environment["NUMBA_THREADING_LAYER"] = layer
    command = [sys.executable, "-m", "tests.running.threads", "32", "20"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(layer) == done.stdout.count("640 as one thread gives") == 4, done.stdout
