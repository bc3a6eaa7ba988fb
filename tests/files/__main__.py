"""Processes killed, and disks that fail, at every call to the file system while files are written.

    python -m tests.files                # every point
    python -m tests.files --points 200   # so many of them, evenly spread
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

SOURCE = Path(__file__).with_name("faults.c")


def build(folder: Path) -> Path:
    """faults.c as a library."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        sys.exit("a C compiler is needed: install gcc")
    library = folder / "faults.so"
    subprocess.run([compiler, "-O1", "-fPIC", "-shared", "-o", library, SOURCE, "-ldl"], check=True)
    return library


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.files", description=__doc__)
    parser.add_argument("--points", type=int, default=1 << 30)
    parser.add_argument("--within", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.within is not None:
        return run(options.within, options.points)
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "LD_PRELOAD": str(build(Path(folder)))}
        command = [sys.executable, "-m", "tests.files", "--points", str(options.points), "--within", folder]
        return subprocess.run(command, env=environment).returncode


def run(folder: Path, wanted: int) -> int:
    from .crashes import points_of, try_point
    from .scenarios import scenarios

    warnings.simplefilter("ignore")  # of a tuning file or a cache that cannot be written
    points = [(s, p) for s in scenarios() for p in points_of(s, folder)]
    chosen = [points[i * len(points) // wanted] for i in range(wanted)] if wanted < len(points) else points
    failed = 0
    for scenario, point in chosen:
        try:
            try_point(scenario, folder, point)
        except Exception as error:
            failed += 1
            print(f"FAILED {scenario.name}, {point.action.name} at call {point.call}, error {point.error}: {error!r}")
    print(f"{len(chosen)} points of {len(points)} in {len({s.name for s, _ in chosen})} scenarios, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
