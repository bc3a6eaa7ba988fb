"""`python -m tests.conformance`: how much of onnx's own tests cnncc passes, as a table."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from .trials import SUITES, Outcome, groups, judge, load


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the outcome of every test as JSON")
    parser.add_argument("--suite", nargs="+", choices=SUITES, default=SUITES, help="the suites to run; by default all")
    parser.add_argument("-k", metavar="REGEX", default="", help="only tests in whose names it is found")
    options = parser.parse_args()
    outcomes = [judge(trial) for suite in options.suite for trial in load(suite) if re.search(options.k, trial.name)]
    print_json(outcomes) if options.json else print_tables(outcomes)
    return int(any(o.status == "failed" for o in outcomes))


def print_json(outcomes: Sequence[Outcome]) -> None:
    rows = [{"suite": o.trial.suite, "test": o.trial.name, "status": o.status}
            | ({"group": o.group.name} if o.group else {}) | ({"problem": o.problem} if o.problem else {})
            for o in outcomes]
    json.dump({"totals": totals(outcomes), "tests": rows}, sys.stdout, indent=1)
    print()


def totals(outcomes: Sequence[Outcome]) -> dict[str, dict[str, int]]:
    """Suite -> tests, passed, excluded, failed."""
    found: dict[str, dict[str, int]] = {}
    for suite in dict.fromkeys(o.trial.suite for o in outcomes):
        counts = Counter(o.status for o in outcomes if o.trial.suite == suite)
        found[suite] = {"tests": counts.total()} | {s: counts[s] for s in ("passed", "excluded", "failed")}
    return found


def print_tables(outcomes: Sequence[Outcome]) -> None:
    console = Console()
    suites = Table("suite", *(_right(head) for head in ("tests", "passed", "excluded", "failed")))
    for suite, counts in totals(outcomes).items():
        suites.add_row(suite, *map(str, counts.values()))
    console.print(suites)
    counts = Counter(o.group.name for o in outcomes if o.group)
    reasons = Table("excluded", _right("tests"), "reason")
    for group in groups():
        if counts[group.name]:
            reasons.add_row(group.name, str(counts[group.name]), group.reason)
    if counts:
        console.print(reasons)
    for o in outcomes:
        if o.problem:
            console.print(f"FAILED {o.trial.suite}/{o.trial.name}: {o.problem}", markup=False, highlight=False,
                          soft_wrap=True)


def _right(head: str) -> object:
    from rich.table import Column

    return Column(head, justify="right")


if __name__ == "__main__":
    sys.exit(main())
