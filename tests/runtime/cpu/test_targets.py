"""Kernels compiled for lesser CPUs (CNNCC_CPU), in a process of their own: AVX2 with 8 lanes, baseline with 4."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cnncc.environment import cpu_restriction
from cnncc.errors import InputError
from cnncc.runtime.cpu import native

ROOT = Path(__file__).parents[3]
# What runs on each, beside the conversions of float16 below: networks with most kinds of kernels, and formulas.
CHOSEN = ["tests/zoo/test_runs.py", "tests/runtime/cpu/test_vmath.py", "-k", "lenet5 or shufflenet_v2 or test_vmath"]
HALVES = """
import numpy as np
from cnncc.ir import DType
from cnncc.ops import OPS
from cnncc.runtime.cpu import native
from tests.runtime.cpu.lowered import Setting, run_lowered

def cast(x, to):
    return run_lowered(OPS["Cast"](to=to), [x], setting=Setting(native.host_lanes()))[0]

every = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
wide = every.astype(np.float32)
assert np.array_equal(cast(every, DType.F32), wide, equal_nan=True)
up, down = np.nextafter(wide, np.float32(np.inf)), np.nextafter(wide, np.float32(-np.inf))
middles = np.concatenate([wide[1:] / 2 + wide[:-1] / 2, [65519.0, 65520.0, 1e30]]).astype(np.float32)
for x in (wide, up, down, middles):
    with np.errstate(over="ignore"):
        assert np.array_equal(cast(x, DType.F16), x.astype(np.float16), equal_nan=True)
print(native.target().cpu, native.target().lanes)
"""


def on(cpu: str, *command: str) -> str:
    environment = {**os.environ, "CNNCC_CPU": cpu, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    done = subprocess.run([sys.executable, *command], env=environment, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.skipif(native.host_lanes() < 8, reason="this CPU has nothing to leave out")
@pytest.mark.parametrize(("cpu", "lanes"), [("avx2", 8), ("baseline", 4)])
def test_networks_and_conversions(cpu: str, lanes: int) -> None:
    assert on(cpu, "-c", HALVES).split()[-1] == str(lanes)
    on(cpu, "-m", "pytest", "-q", "-p", "no:cacheprovider", *CHOSEN)  # fails where it finds no test


def test_each_cpu_has_cache_entries_of_its_own() -> None:
    script = "from cnncc.runtime.cpu import native; print(native._entry_name(('executor_run', ())))"
    names = {on(cpu, "-c", script) for cpu in ("native", "baseline")}
    assert len(names) == 2


def test_an_unknown_cpu_is_refused(monkeypatch) -> None:
    monkeypatch.setenv("CNNCC_CPU", "sse9")
    with pytest.raises(InputError, match="CNNCC_CPU must be native, avx2 or baseline, not 'sse9'"):
        cpu_restriction()
