"""compile(tune=True): every distinct convolution of a plan measured, and a lowering that follows the findings."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from ....ops.conv import Conv
from ....plan import REFERENCE, REORDER, Plan
from .. import native
from ..lower.conv import ConvLowering, Params
from ..lowering import Tensor
from .findings import Findings
from .measure import Candidate, Trial, candidates_for, convolution, measure

__all__ = ["TunedConvLowering", "is_cold", "native_convolutions", "tune"]

SWEEP = 64 << 20       # bytes read before each run of a network whose weights do not stay in a cache
COLD = 16 << 20        # bytes of weights beyond which they are taken not to
EACH, MOST = 0.5, 60.0  # seconds at most for a convolution and for all
MARGIN = 1.02          # how much faster than the untuned choice another must be

Event = Callable[[str, int, int], None]


def is_cold(weight_bytes: int) -> bool:
    """Whether a network of so many bytes of weights finds them in memory rather than in a cache."""
    return weight_bytes > COLD


class TunedConvLowering(ConvLowering):
    """Takes the fastest candidate of those measured; what was not measured is chosen as without tuning."""

    def __init__(self, accuracy: str, findings: Findings, cold: bool) -> None:
        super().__init__(accuracy)
        self._findings, self._cold = findings, cold

    def pick(self, op: Conv, inputs: Sequence[Tensor | None], costs: dict[str, float],
             lanes: int) -> tuple[str, Params]:
        measured = self._findings.of(convolution(op, inputs, self._cold))
        untuned = super().pick(op, inputs, costs, lanes)
        known = [c for c in candidates_for(op, inputs, lanes, self.accuracy) if str(c) in measured]
        if not known:
            return untuned
        best = min(known, key=lambda c: measured[str(c)])
        if measured.get(str(Candidate(*untuned, 0.0)), math.inf) <= MARGIN * measured[str(best)]:
            return untuned
        return best.name, dict(best.params)


def tune(plan: Plan, accuracy: str, findings: Findings, threads: int, tell: Event) -> int:
    """Measures the convolutions of `plan` that `findings` lack, adds and saves what it finds; how many they were."""
    cold = is_cold(plan.weight_bytes)
    missing: dict[str, dict[str, Trial]] = {}
    for op, inputs in native_convolutions(plan):
        key, candidates = convolution(op, inputs, cold), candidates_for(op, inputs, plan.lanes, accuracy)
        if key not in missing and any(str(c) not in findings.of(key) for c in candidates):
            missing[key] = {str(c): Trial(op, inputs, c, plan.lanes) for c in candidates}
    _warm([trial for trials in missing.values() for trial in trials.values()], tell)
    sweep = np.zeros(min(SWEEP, plan.weight_bytes) // 4, np.float32)
    for number, (key, trials) in enumerate(missing.items()):
        tell("measuring convolutions", number, len(missing))
        for trial in trials.values():
            trial.prepare(threads)
        findings.add(key, measure(trials, sweep, min(EACH, MOST / len(missing))))
        findings.save()
        trials.clear()  # and with them their packed weights
    return len(missing)


def _warm(trials: Sequence[Trial], tell: Event) -> None:
    keys = sorted({b.launch.key for t in trials for b in t.binding.steps if b.launch is not None})
    lacking = [key for key in keys if not native.is_cached(*key)]
    native.warm(lacking, lambda done, total, key: tell("compiling the kernels to measure, once", done, total))


def native_convolutions(plan: Plan) -> Iterator[tuple[Conv, list[Tensor | None]]]:
    """The convolutions that run on kernels, with their inputs as the lowering saw them: before they were reordered."""
    sources = {s.outputs[0]: n for s in plan.steps if s.kernel == REORDER and (n := s.inputs[0]) is not None}
    for step in plan.steps:
        if isinstance(step.op, Conv) and step.kernel != REFERENCE:
            yield step.op, [None if n is None else _tensor(plan, sources.get(n, n)) for n in step.inputs]


def _tensor(plan: Plan, number: int) -> Tensor:
    buffer, value = plan.buffers[number], plan.weights.get(number)
    return Tensor(buffer.type, buffer.layout, value, value is not None)
