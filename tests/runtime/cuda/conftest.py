"""Runs the tests of this folder in the CUDA simulator.

The simulator must be asked for before Numba is imported, and then the whole process is simulated. So the tests are
collected here as all are, but the first one of a module that is run starts a child process, with
NUMBA_ENABLE_CUDASIM=1, for all that were chosen of that module; each then reports what the child found. In a process
that has the variable set already, they run as they are.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SIMULATED = os.environ.get("NUMBA_ENABLE_CUDASIM") == "1"
RESULTS = "CNNCC_SIMULATOR_RESULTS"  # the file to which a child writes a line for each test

if SIMULATED:
    from tests.runtime.cuda.simulator import install

    install()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if SIMULATED or HERE not in pyfuncitem.path.parents:
        return None
    results = pyfuncitem.session.stash.setdefault(_STASH, {})
    if pyfuncitem.path not in results:
        chosen = [i.nodeid for i in pyfuncitem.session.items if i.path == pyfuncitem.path]
        results[pyfuncitem.path] = _run_child(pyfuncitem, chosen)
    outcome, text = results[pyfuncitem.path].get(pyfuncitem.nodeid, ("failed", results[pyfuncitem.path][""][1]))
    if outcome == "skipped":
        pytest.skip(text)
    if outcome == "failed":
        pytest.fail(f"in the simulator:\n{text}", pytrace=False)
    return True


_STASH: pytest.StashKey[dict[Path, dict[str, tuple[str, str]]]] = pytest.StashKey()


def _run_child(item: pytest.Function, chosen: list[str]) -> dict[str, tuple[str, str]]:
    """What the child found, by node; its output, in case that a test is missing, under ''."""
    folder = item.session.config._tmp_path_factory.mktemp("simulator")  # type: ignore[attr-defined]
    listed, results = folder / "tests", folder / "results"
    listed.write_text("\n".join(chosen), encoding="utf-8")
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1", RESULTS: str(results), "CNNCC_NUM_THREADS": "1",
                   "PYTHONPATH": os.pathsep.join([str(item.config.rootpath), *sys.path])}
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_ADDOPTS"):
        environment.pop(name, None)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", f"@{listed}"]
    done = subprocess.run(command, env=environment, cwd=item.config.rootpath, capture_output=True, text=True)
    found = {"": ("failed", done.stdout[-4000:] + done.stderr[-4000:])}
    for line in results.read_text(encoding="utf-8").splitlines() if results.exists() else ():
        node, outcome, text = json.loads(line)
        if found.get(node, ("passed",))[0] == "passed":
            found[node] = outcome, text
    return found


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    path = os.environ.get(RESULTS)
    if path is None or not SIMULATED or (report.passed and report.when != "call"):
        return
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps([report.nodeid, report.outcome, text]) + "\n")
