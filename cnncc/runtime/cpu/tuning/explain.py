"""What was chosen for each convolution of a plan, from what, and how exact it is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ....costs import cost
from ....ir import TensorType
from ....ops.conv import Conv
from ....ops.pointwise_depthwise import PointwiseDepthwiseConv
from ....plan import REFERENCE, Plan, Step
from ....records import record
from ..lower.accuracy import strassen_bound, sum_bound, winograd_bounds
from ..lower.algorithms import algorithm_name
from ..lower.conv import ConvLowering, assumed_shape
from ..lowering import Tensor
from .findings import Findings
from .measure import Candidate, candidates_for, convolution
from .tune import is_cold, native_convolutions

__all__ = ["Alternative", "ConvChoice", "explain"]


@record
class Alternative:
    """`estimate`: by the cost model, in units of the chosen one's; `seconds` where it was measured."""

    candidate: str
    estimate: float
    seconds: float | None


@record
class ConvChoice:
    """One convolution: `estimate` is the cost model's, in millions of vector FMAs; `seconds` where it was measured.
    `reason` says why it runs on no kernel."""

    name: str
    shapes: str
    chosen: str
    bound: str
    estimate: float
    seconds: float | None
    alternatives: tuple[Alternative, ...] = ()
    reason: str = ""


def explain(plan: Plan, accuracy: str, findings: Findings) -> list[ConvChoice]:
    """A ConvChoice for each convolution of the plan, in order. Of each other algorithm the best candidate is named:
    by the times measured, where there are some, otherwise by the estimate."""
    cold = is_cold(plan.weight_bytes)
    found = []
    natives = iter(native_convolutions(plan))
    for step in plan.steps:
        if isinstance(step.op, PointwiseDepthwiseConv) and step.kernel != REFERENCE:
            found.append(_pair(plan, step))
        if not isinstance(step.op, Conv):
            continue
        shapes = _shapes(plan, (*step.inputs[:2], *step.outputs))
        if step.kernel == REFERENCE:
            found.append(ConvChoice(step.name, shapes, REFERENCE, "", 0.0, None, (), step.reason))
            continue
        op, inputs = next(natives)
        measured = findings.of(convolution(op, inputs, cold))
        candidates = candidates_for(op, inputs, plan.lanes, accuracy)
        name = algorithm_name(step.kernel, step.params)
        chosen = str(Candidate(name, step.params, 0.0))
        estimates = ConvLowering(accuracy).costs(op, inputs, plan.lanes)
        bound = _bound(name, step.params, inputs[1])
        found.append(ConvChoice(step.name, shapes, chosen, bound, estimates[name] / 1e6, measured.get(chosen),
                                _alternatives(candidates, estimates, measured, name)))
    return found


def _shapes(plan: Plan, buffers: Sequence[int | None]) -> str:
    return " ".join("x".join(map(str, plan.buffers[n].type.shape)) for n in buffers if n is not None)


def _pair(plan: Plan, step: Step) -> ConvChoice:
    """A 1x1 convolution and the depthwise one behind it: both are direct sums, and the estimate is of their products.
    The error is relative to the second's sum over what the first sums, all in absolute values."""
    x, w, v, y = (TensorType(t.dtype, assumed_shape(t.shape)) for n in (*step.inputs[:3], *step.outputs)
                  if n is not None and (t := plan.buffers[n].type))
    macs = cost(step.op, (x, w, v), (y,)).macs
    assert isinstance(macs, int)
    bound = sum_bound(math.prod(w.static_shape[1:])) + sum_bound(math.prod(v.static_shape[1:]))
    return ConvChoice(step.name, _shapes(plan, (*step.inputs[:3], *step.outputs)),
                      str(Candidate(step.kernel, step.params, 0.0)), f"{bound:.0f} u sum|v|sum|x||w|",
                      macs / plan.lanes / 1e6, None)


def _alternatives(candidates: list[Candidate], estimates: Mapping[str, float], measured: Mapping[str, float],
                  chosen: str) -> tuple[Alternative, ...]:
    best: dict[str, Candidate] = {}
    for candidate in candidates:
        held = best.setdefault(candidate.name, candidate)
        if measured.get(str(candidate), 1e9) < measured.get(str(held), 1e9):
            best[candidate.name] = candidate
    # Those whose estimate is hopeless have no candidate.
    texts = {name: str(best[name]) if name in best else name for name in estimates if name != chosen}
    found = [Alternative(text, estimates[name] / estimates[chosen], measured.get(text)) for name, text in texts.items()]
    return tuple(sorted(found, key=lambda a: (a.seconds is None, a.seconds, a.estimate)))


def _bound(name: str, params: Mapping[str, int | str], w: Tensor | None) -> str:
    """The bound on the error, for these weights, with u = 2^-24 (docs/numerics.md)."""
    m = params.get("m")
    assert w is not None and w.value is not None
    if isinstance(m, int):
        return f"{winograd_bounds(m, w.value).max():.0f} u max|x| sum|w|"
    if name == "conv_strassen":
        return f"{strassen_bound(w.shape[1]):.0f} u max|x| sum|w|"
    return f"{sum_bound(math.prod(w.shape[1:])):.0f} u sum|x||w|"
