"""`python -m tests.fuzz`: see the package."""

from __future__ import annotations

import argparse
import secrets
import sys
import time
from pathlib import Path

from .runner import Tally, replay, run
from .subject import SUBJECTS, corpus

TURN = 60.0  # seconds that a subject has before it is the next one's turn


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("subjects", nargs="*", help=f"of {', '.join(SUBJECTS)}; by default all")
    parser.add_argument("--minutes", type=float, default=10.0, help="for all subjects together")
    parser.add_argument("--cases", type=int, default=1 << 62, help="at most so many of each subject")
    parser.add_argument("--seed", type=int, help="by default one that has not been used")
    parser.add_argument("--first", type=int, default=0, help="the number of the first case")
    parser.add_argument("--keep", type=Path, default=Path("failures"), help="a folder for failing cases")
    parser.add_argument("--replay", type=Path, nargs="+", help="try these files, as one subject's cases")
    options = parser.parse_args()
    unknown = [name for name in options.subjects if name not in SUBJECTS]
    if unknown or (options.replay and len(options.subjects) != 1):
        parser.error(f"there is no subject '{unknown[0]}'" if unknown else "--replay needs one subject")
    names = options.subjects or list(SUBJECTS)
    if options.replay:
        return _report(names[0], replay(names[0], options.replay), 0.0)
    seed = secrets.randbelow(1 << 31) if options.seed is None else options.seed
    print(f"seed {seed}; to try a case again: python -m tests.fuzz SUBJECT --seed {seed} --first NUMBER --cases 1",
          flush=True)
    failed = [_report(name, replay(name, corpus(name)), 0.0) for name in names if corpus(name)]
    return max([*failed, *_take_turns(names, seed, options)])


def _take_turns(names: list[str], seed: int, options: argparse.Namespace) -> list[int]:
    """Runs the subjects in turns until time is up or all cases are tried."""
    end = time.monotonic() + 60 * options.minutes
    tallies = {name: Tally() for name in names}
    seconds = dict.fromkeys(names, 0.0)
    at = dict.fromkeys(names, options.first)
    last = options.first + options.cases
    while time.monotonic() < end and min(at.values()) < last:
        for name in names:
            begin = time.monotonic()
            _, at[name] = run(name, seed, at[name], last - at[name], options.keep, until=min(end, begin + TURN),
                              tally=tallies[name])
            seconds[name] += time.monotonic() - begin
    return [_report(name, tallies[name], seconds[name], f"cases {options.first} to {at[name] - 1} of seed {seed}")
            for name in names]


def _report(name: str, tally: Tally, seconds: float, which: str = "cases from files") -> int:
    rate = f", {tally.cases / seconds:.0f} a second" if seconds else ""
    print(f"{name}: {tally.cases:,} {which}{rate}: "
          + ", ".join(f"{count:,} {outcome}" for outcome, count in tally.outcomes.most_common()), flush=True)
    for kind, shown in tally.failures.items():
        print(f"FAILED {name}: {kind}: {', '.join(shown)}", flush=True)
    return int(bool(tally.failures))


sys.exit(main())
