"""A short form of `python -m tests.property.agree`, in a process of its own, and that it finds what is wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cnncc.ir import evaluate, format_graph, parse_graph
from cnncc.ops import OPS

from . import agree
from .networks import feeds_of, random_network

ROOT = Path(__file__).parents[2]


def test_random_networks(tmp_path: Path) -> None:
    last = tmp_path / "last"
    command = [sys.executable, "-m", "tests.property.agree", "--networks", "12", "--last", last, "--keep", tmp_path]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, f"the network that ran last: {last.read_text()}\n{done.stdout}\n{done.stderr}"
    assert "networks 0 to 11 of seed 0: 0 failed" in done.stdout


@pytest.mark.parametrize("wrong", [lambda a: a + 1e-3 * np.abs(a).max(), lambda a: a[..., :-1], lambda a: a * np.nan])
def test_what_is_wrong_is_found_and_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, wrong) -> None:
    def run(graph, feeds, level, accuracy):
        found = evaluate(graph, feeds)
        return {n: wrong(a) if (level, accuracy) == (2, "default") else a for n, a in found.items()}

    monkeypatch.setattr(agree, "run_with_cnncc", run)
    tally, end = agree.run_networks(3, range(4, 5), tmp_path)
    [text] = tally.failed
    assert end == 5 and text.startswith("--seed 3 --first 4: -O2 default: out0")
    kept = (tmp_path / "network_3_4.ir").read_text().splitlines()[1:]
    arrays = dict(np.load(tmp_path / "network_3_4.npz"))
    again, graph = parse_graph("\n".join(kept), OPS, arrays), random_network(3, 4)
    assert format_graph(again) == format_graph(graph)
    feeds = feeds_of(graph, 3, 4)
    for name, wanted in evaluate(graph, feeds).items():
        np.testing.assert_array_equal(evaluate(again, {n: arrays[n] for n in feeds})[name], wanted)
