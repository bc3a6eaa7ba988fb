"""The networks of the zoo compile for CUDA without a step on the CPU, and all their sizes fit. Nothing is run."""

from __future__ import annotations

import pytest

import cnncc
from cnncc import zoo
from cnncc.runtime.cpu.binding import bind

from .test_runs import HEAVY

LIKE = {"efficientnet_b1": "efficientnet_b0"}  # the same operators


@pytest.mark.parametrize("entry", [e for e in zoo.TABLE if e.name not in {**HEAVY, **LIKE}], ids=lambda e: e.name)
def test_it_compiles_for_cuda_without_fallback(entry: zoo.Entry) -> None:
    graph = zoo.load(entry.name, seed=None, **entry.small)
    plan = cnncc.compile(graph, shapes={"N": 1, **entry.sizes}, target="cuda", device="h100", warm=False)
    assert plan.target == "cuda" and not plan.fallbacks
    binding = bind(plan, {})
    assert all(step.launch is not None and step.launch.stages for step in binding.steps)  # type: ignore[attr-defined]
