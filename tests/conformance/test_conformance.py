"""onnx's own tests: each passes, or is excluded by exclusions.toml and refused by name.

`make conformance` runs the whole networks as well; tests/networks does so for most of them, with less tolerance.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest

from .trials import groups, judge, load

# Making the node tests takes seconds, and every worker collects: so that one makes them, a suite is one test.
LEAST = {"node": 1500, "simple": 20}


@pytest.mark.parametrize("suite", LEAST)
def test_suite(suite: str) -> None:
    trials = load(suite)
    assert len(trials) >= LEAST[suite], "the installed onnx brings too few of its tests"
    outcomes = [judge(trial) for trial in trials]
    assert not {o.trial.name: o.problem for o in outcomes if o.problem}


def test_no_exclusion_is_stale() -> None:
    names = [trial.name for suite in LEAST for trial in load(suite)]
    assert not [p for group in groups() for p in group.tests if not any(fnmatchcase(name, p) for name in names)]
