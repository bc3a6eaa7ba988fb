"""Watches over the processes in which cases are tried: what fails, kills them or stalls is kept, and they go on."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from .subject import load_subject

__all__ = ["Tally", "replay", "run"]

ROOT = Path(__file__).parents[2]
STALLED = 300.0  # seconds without a word: a case that waits for something takes no processor time
EACH = 3         # reproducers kept of failures of one kind


@dataclass
class Tally:
    """How many cases had which outcome, and the failures: kind -> the files or numbers that show it."""

    outcomes: Counter[str] = field(default_factory=Counter)
    failures: dict[str, list[str]] = field(default_factory=dict)

    @property
    def cases(self) -> int:
        return sum(self.outcomes.values())


def run(name: str, seed: int, first: int, count: int, keep: Path | None, *, until: float = float("inf"),
        tally: Tally | None = None) -> tuple[Tally, int]:
    """Tries the cases first .. first + count - 1 of a subject, or those it can until the clock says `until`.

    Returns the tally and the number after the last case that was tried. Failing cases are written below `keep`.
    """
    tally, at, end = tally or Tally(), first, first + count
    while at < end and time.monotonic() < until:
        size = min(load_subject(name).batch, end - at)
        arguments = [str(seed), str(at), str(size)]
        for number, outcome, details in _watch(name, arguments, at, size, until):
            at = number + 1
            tally.outcomes[outcome if not details else "FAILED"] += 1
            if details:
                _keep(tally, name, f"{name}-{seed}-{number}", load_subject(name).case(seed, number), outcome, details,
                      keep)
    return tally, at


def replay(name: str, files: Sequence[Path]) -> Tally:
    """Tries the cases in files."""
    tally, at = Tally(), 0
    while at < len(files):
        done = 0
        for number, outcome, details in _watch(name, ["--files", *map(str, files[at:])], 0, len(files) - at):
            tally.outcomes[outcome if not details else "FAILED"] += 1
            if details:
                tally.failures.setdefault(f"{outcome}\n{details}", []).append(str(files[at + number]))
            done = number + 1
        at += done
    return tally


def _watch(name: str, arguments: list[str], first: int, count: int,
           until: float = float("inf")) -> Iterator[tuple[int, str, str]]:
    """(number, outcome, details of a failure) of the cases that one process tries; it may die before all are tried, of
    which the last one is then to blame."""
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen([sys.executable, "-m", f"{__package__}.worker", name, *arguments], cwd=ROOT,
                                   stdout=subprocess.PIPE, stderr=errors,
                                   env=os.environ | {"CNNCC_NUM_THREADS": "1"})
        assert process.stdout is not None
        ready, at = False, first
        try:
            for line in _lines(process.stdout):
                number, *rest = json.loads(line)
                if rest:
                    yield number, rest[0], rest[1] if len(rest) > 1 else ""
                ready, at = True, number + 1 if rest else first
                if time.monotonic() > until:
                    return
            stalled = at < first + count and not _ends(process)
        finally:
            process.kill()
            process.wait()
        errors.seek(0)
        told = errors.read().decode(errors="replace")
        if not ready:
            raise RuntimeError(f"the process that was to try cases of '{name}' did not start:\n{told}")
        if at < first + count:
            end = "stalled" if stalled else _death(process.returncode)
            yield at, end + _place(told), told[-4000:] or "no output"


def _ends(process: subprocess.Popen[bytes]) -> bool:
    """Whether a process that closed its pipe is about to end."""
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        return False
    return True


def _lines(pipe: IO[bytes]) -> Iterator[bytes]:
    """The lines until the pipe is closed or nothing comes for too long."""
    rest = b""
    while select.select([pipe], [], [], STALLED)[0]:
        data = os.read(pipe.fileno(), 1 << 16)
        if not data:
            return
        *lines, rest = (rest + data).split(b"\n")
        yield from lines


def _place(told: str) -> str:
    """Where in cnncc the process was, from the traceback that faulthandler wrote."""
    found = re.search(rf'File "{re.escape(str(ROOT / "cnncc"))}/(\S+)", line (\d+)', told)
    return f" at {found[1]}:{found[2]}" if found else ""


def _death(code: int) -> str:
    if code == -signal.SIGPROF:
        return "took too long"
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"left with exit code {code}"


def _keep(tally: Tally, name: str, stem: str, data: bytes, outcome: str, details: str, keep: Path | None) -> None:
    kept = tally.failures.setdefault(outcome, [])
    if len(kept) >= EACH:
        return
    kept.append(stem)
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        path = keep / f"{stem}{load_subject(name).suffix}"
        path.write_bytes(data)
        path.with_suffix(".txt").write_text(f"{outcome}\n{details}", encoding="utf-8")
        kept[-1] = str(path)
