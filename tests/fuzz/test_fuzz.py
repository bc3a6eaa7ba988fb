"""A short form of `make fuzz`: what is kept in the corpus, and a few mutants, the same every time."""

from __future__ import annotations

from pathlib import Path

import pytest

from . import broken
from .runner import replay, run
from .subject import SUBJECTS, corpus, load_subject

CASES = 300


@pytest.mark.parametrize("name", SUBJECTS)
def test_the_corpus(name: str) -> None:
    files = corpus(name)
    assert files
    tally = replay(name, files)
    assert tally.cases == len(files) and not tally.failures


@pytest.mark.parametrize("name", SUBJECTS)
def test_mutants(name: str) -> None:
    tally, end = run(name, 0, 0, CASES, None)
    assert end == tally.cases == CASES and not tally.failures


@pytest.mark.parametrize("name", SUBJECTS)
def test_cases_are_made_anew_from_their_numbers(name: str) -> None:
    subject = load_subject(name)
    assert subject.case(3, 5) == subject.case(3, 5) != subject.case(3, 6)


def test_what_a_broken_subject_does_is_found(tmp_path: Path) -> None:
    """Each way to fail ends at most one process, and is told under a kind of its own; the rest is tried."""
    files = [tmp_path / f"{number}.bin" for number in range(len(broken.WAYS))]
    for number, path in enumerate(files):
        path.write_bytes(bytes([number]))
    tally = replay("broken", files)
    assert tally.outcomes == {"ran": 1, "ModelError": 1, "FAILED": len(files) - 2}
    kinds = [kind.partition("\n")[0] for kind in tally.failures]
    assert [kind.partition(" at ")[0].strip() for kind in kinds] == [
        "ValueError", "RecursionError", "MemoryError", "killed by SIGSEGV", "took too long", "left with exit code 3"]
    assert [path for paths in tally.failures.values() for path in paths] == [
        str(files[number]) for number, way in enumerate(broken.WAYS) if way not in (broken.ran, broken.refused)]


def test_failing_cases_are_kept(tmp_path: Path) -> None:
    tally, end = run("broken", 0, 0, 12, tmp_path)
    assert end == tally.cases == 12
    kept = [Path(path) for paths in tally.failures.values() for path in paths]
    assert len(kept) == tally.outcomes["FAILED"] > 4
    assert replay("broken", kept).outcomes == {"FAILED": len(kept)}
    assert all(path.with_suffix(".txt").read_text() for path in kept)
