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
from .binding import Binding, BoundStep
from .execution import Context
from .limits import Limits, measure_limits

__all__ = ["profile"]

Array = np.ndarray[Any, Any]
WARM_UPS = 2


def profile(context: Context, inputs: Sequence[Array], outputs: Sequence[Array], runs: int) -> Profile:
    """Runs `context` on these arrays `runs` times plainly and `runs` times with a time stamp after every step."""
    prepared = context.prepared
    whole, times = [], []
    for number in range(WARM_UPS + max(1, runs)):
        start = time.perf_counter()
        context.run(inputs, outputs)
        end = time.perf_counter()
        stamps = context.run_timed(inputs, outputs)
        if number >= WARM_UPS:
            whole.append(end - start)
            times.append(stamps)
    limits, seconds = measure_limits(prepared.threads), medians(times)
    starts = accumulate(seconds, initial=0.0)
    steps = tuple(_step(bound, prepared.binding, limits, took, start)
                  for bound, took, start in zip(prepared.binding.steps, seconds, starts, strict=False))
    return Profile(prepared.plan.name, prepared.threads, max(1, runs), statistics.median(whole), limits.flops,
                   limits.bandwidth, steps)


def _step(bound: BoundStep, binding: Binding, limits: Limits, seconds: float, start: float) -> StepProfile:
    step = bound.step
    inputs = [None if n is None else binding.types[n] for n in step.inputs]
    outputs = [binding.types[n] for n in step.outputs]
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
