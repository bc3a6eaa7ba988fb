"""`python -m tests.property`: see the package."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from cnncc.runtime.cpu import native

from .draws import DRAWS
from .runner import run_cases, select


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.property", description=__doc__)
    parser.add_argument("--cases", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="the number of the first case")
    parser.add_argument("--kernels", type=int, default=1000, help="at most so many kernels of each kind are compiled")
    parser.add_argument("--keep", type=Path, default=Path("failures"), help="a folder for failing cases")
    parser.add_argument("--last", type=Path, help="a file for the number of the case that runs")
    options = parser.parse_args()
    lanes, begin = native.host_lanes(), time.perf_counter()
    numbers, needed = select(options.seed, range(options.first, options.first + options.cases), lanes, options.kernels)
    native.warm(needed)
    print(f"{len(needed)} kernels for vectors of {lanes} ({native.target().cpu}), "
          f"at hand after {time.perf_counter() - begin:.1f} s")
    begin = time.perf_counter()
    tally = run_cases(options.seed, numbers, lanes, options.keep, options.last)
    for kind in sorted(tally.ran):
        share = f"{100 * tally.worst[kind]:6.1f} % of the bound at most" if tally.worst.get(kind) else ""
        print(f"{tally.ran[kind]:7} {kind:28}{share}")
    for text in tally.failed:
        print(f"FAILED {text}")
    print(f"{sum(tally.ran.values())} cases passed, {len(tally.failed)} failed, in {time.perf_counter() - begin:.1f} s"
          + (f"; the failing ones are in {options.keep}/" if tally.failed else ""))
    return 1 if tally.failed or not set(DRAWS) & set(tally.ran) else 0


sys.exit(main())
