"""`python -m tests.running`, the long forms: 8 threads x 10,000 runs on every threading layer, every allocation that
may fail, and 200,000 runs of ever new sizes.
"""

from __future__ import annotations

import os
import subprocess
import sys

from .test_threads import MODULES, ROOT


def main() -> int:
    bad = 0
    for layer, module in MODULES.items():
        if subprocess.run([sys.executable, "-c", f"import {module}"], capture_output=True).returncode:
            print(f"{layer:10} is not to be had here")
            continue
        environment = {n: v for n, v in os.environ.items() if n != "NUMBA_THREADING_LAYER"}
        if layer != "pool":
            environment["NUMBA_THREADING_LAYER"] = layer
        command = [sys.executable, "-m", "tests.running.threads", "8", "10000"]
        bad += subprocess.run(command, cwd=ROOT, env=environment).returncode != 0
    bad += subprocess.run([sys.executable, "-m", "tests.running.faults", "1"], cwd=ROOT).returncode != 0
    bad += subprocess.run([sys.executable, "-m", "tests.running.soak", "200000"], cwd=ROOT).returncode != 0
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
