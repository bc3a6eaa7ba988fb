"""onnx's own tests: each passes, or is excluded by exclusions.toml and refused by name.

`make conformance` runs the whole networks as well; tests/networks does so for most of them, with less tolerance.
"""

from __future__ import annotations

import functools
from fnmatch import fnmatchcase

import pytest

from .trials import Trial, groups, judge, load

# Making the node tests takes seconds, and every worker collects: so that one makes them, a suite is a few tests that
# run in one worker. (As a single one it would be begun last, and other workers would wait for it.)
PARTS = {"node": 40, "simple": 1}
LEAST = {"node": 1500, "simple": 20}


@functools.cache
def trials_of(suite: str) -> list[Trial]:
    return load(suite)


@pytest.mark.parametrize(("suite", "part"), [(suite, part) for suite, parts in PARTS.items() for part in range(parts)])
def test_suite(suite: str, part: int) -> None:
    outcomes = [judge(trial) for trial in trials_of(suite)[part::PARTS[suite]]]
    assert not {o.trial.name: o.problem for o in outcomes if o.problem}


def test_no_exclusion_is_stale_and_few_tests_are_missing() -> None:
    for suite, least in LEAST.items():
        assert len(trials_of(suite)) >= least, "the installed onnx brings too few of its tests"
    names = [trial.name for suite in LEAST for trial in trials_of(suite)]
    assert not [p for group in groups() for p in group.tests if not any(fnmatchcase(name, p) for name in names)]
