"""Profiles of runs: the executor's time stamps put beside each step's work and the machine's limits."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from ...costs import cost
from ...ir import TensorType
from ...profile import Profile, StepProfile, medians
from .limits import Limits
from .runner import Runner, TimedStep

__all__ = ["profile"]

Array = np.ndarray[Any, Any]
WARM_UPS = 2


def profile(runner: Runner, inputs: Sequence[Array], runs: int) -> Profile:
    """Runs the plan on these arrays `runs` times plainly and `runs` times with a time stamp after every step."""
    whole, timed = [], []
    for number in range(WARM_UPS + max(1, runs)):
        start = time.perf_counter()
        runner.run(inputs)
        end = time.perf_counter()
        steps = runner.run_timed(inputs)
        if number >= WARM_UPS:
            whole.append(end - start)
            timed.append(steps)
    (limits, machine), seconds = runner.limits(), medians([[(s.begin, s.end) for s in run] for run in timed])
    starts = accumulate(seconds, initial=0.0)
    profiles = tuple(_step(step, limits, took, start)
                     for step, took, start in zip(timed[0], seconds, starts, strict=False))
    return Profile(runner.plan.name, runner.threads, max(1, runs), statistics.median(whole), limits.flops,
                   limits.bandwidth, profiles, machine)


def _step(timed: TimedStep, limits: Limits, seconds: float, start: float) -> StepProfile:
    step, types = timed.bound.step, timed.types
    inputs = [None if n is None else types[n] for n in step.inputs]
    outputs = [types[n] for n in step.outputs]
    needs = cost(step.op, inputs, outputs)
    macs, moved = int(str(needs.macs)), int(str(needs.bytes))
    limit = max(2 * macs / limits.flops, moved / limits.bandwidth)
    return StepProfile(step.name, step.op.op_type, step.kernel, _shapes(inputs, outputs), seconds, macs, moved, limit,
                       start)


def _shapes(inputs: Sequence[TensorType | None], outputs: Sequence[TensorType]) -> str:
    """1x64x56x56, 64x64x3x3 -> 1x64x56x56; vectors (biases) are left out."""
    def text(types: Sequence[TensorType | None]) -> str:
        return ", ".join("x".join(map(str, t.shape)) for t in types if t is not None and (t.rank > 1 or len(types) < 2))

    return f"{text(inputs)} -> {text(outputs)}"
