"""One process that tries cases and writes a line for each: `python -m tests.fuzz.worker SUBJECT SEED FIRST COUNT`, or
`... SUBJECT --files FILE...`.

A line is JSON: [number, outcome], or [number, outcome, traceback] of a failure. If a case kills the process, its line
is the one that is missing; what it wrote to stderr tells where it was.
"""

from __future__ import annotations

import faulthandler
import json
import os
import resource
import signal
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path

import cnncc
from cnncc.errors import CnnccError

from .subject import Subject, load_subject

PACKAGE = Path(cnncc.__file__).parent


def main() -> None:
    name, *rest = sys.argv[1:]
    subject = load_subject(name)
    if rest[0] == "--files":
        cases: Iterable[tuple[int, bytes]] = ((i, Path(path).read_bytes()) for i, path in enumerate(rest[1:]))
    else:
        seed, first, count = map(int, rest)
        cases = ((number, subject.case(seed, number)) for number in range(first, first + count))
    # The pipe is for these lines alone: whatever else is printed goes to stderr.
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    faulthandler.enable()
    faulthandler.register(signal.SIGPROF, chain=True)
    subject.prepare()
    _limit(subject.memory)
    print(json.dumps(["ready"]), file=out)
    for number, data in cases:
        print(json.dumps([number, *_try(subject, data)]), file=out)


def _try(subject: Subject, data: bytes) -> list[str]:
    signal.setitimer(signal.ITIMER_PROF, subject.seconds)  # kills this process
    try:
        return [subject.attempt(data)]
    except CnnccError as error:
        return [type(error).__name__]
    except BaseException as error:
        return [_kind(error), traceback.format_exc(limit=-12)]
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _kind(error: BaseException) -> str:
    """The exception's class and where in cnncc it came from."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if Path(f.filename).is_relative_to(PACKAGE)] or list(frames)
    return f"{type(error).__name__} at {Path(own[-1].filename).name}:{own[-1].lineno}"


def _limit(memory: int) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if sys.platform == "linux" else 0
    if pages:
        most = pages * resource.getpagesize() + memory
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


main()
