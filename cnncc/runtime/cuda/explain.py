"""What was chosen for each convolution and matrix product of a plan for CUDA, from what, and how exact it is."""

from __future__ import annotations

import math

from ...ops.conv import Conv
from ...ops.conv_transpose import ConvTranspose
from ...plan import REFERENCE, Plan, Step
from ..cpu.lower.accuracy import sum_bound, winograd_bounds
from ..cpu.lowering import Tensor
from ..cpu.tuning.explain import Alternative, ConvChoice
from .devices import Device
from .kernels import gemm
from .lower.conv import ConvLowering, algorithm_name
from .tf32 import on_tensor_cores, tf32_bound

__all__ = ["explain"]


def explain(plan: Plan, accuracy: str, device: Device) -> list[ConvChoice]:
    """A ConvChoice for each convolution and each product on tiles, in order; estimates are microseconds on the device
    by the cost model, for symbolic sizes those that it assumes, and made where there are several algorithms."""
    found = []
    for step in plan.steps:
        if not isinstance(step.op, (Conv, ConvTranspose)) and step.kernel != gemm.KERNEL.name:
            continue
        inputs = [None if n is None else _tensor(plan, n) for n in step.inputs]
        shapes = " ".join("x".join(map(str, t.shape)) for t in inputs[:2] if t is not None)
        if step.kernel == REFERENCE:
            found.append(ConvChoice(step.name, shapes, REFERENCE, "", 0.0, None, (), step.reason))
            continue
        costs = ConvLowering(accuracy, device).costs(step.op, inputs) if isinstance(step.op, Conv) else {}
        name = algorithm_name(step.kernel, step.params)
        estimate = costs.get(name, 0.0)
        others = sorted((cost / estimate, other) for other, cost in costs.items() if other != name) if estimate else []
        found.append(ConvChoice(step.name, shapes, name, _bound(step, inputs), estimate * 1e6, None,
                                tuple(Alternative(other, ratio, None) for ratio, other in others)))
    return found


def _tensor(plan: Plan, number: int) -> Tensor:
    buffer, value = plan.buffers[number], plan.weights.get(number)
    return Tensor(buffer.type, buffer.layout, value, value is not None)


def _bound(step: Step, inputs: list[Tensor | None]) -> str:
    """The bound on the error, for these weights, with u = 2^-24 (docs/numerics.md)."""
    m = step.params.get("m")
    w = inputs[1]
    assert w is not None
    if isinstance(m, int) and w.value is not None:
        return f"{winograd_bounds(m, w.value).max():.0f} u max|x| sum|w|"
    terms = _terms(step, inputs)
    if terms is None:
        return "by the number of terms"
    return f"{tf32_bound(terms) if on_tensor_cores(step.params) else sum_bound(terms):.0f} u sum|x||w|"


def _terms(step: Step, inputs: list[Tensor | None]) -> int | None:
    """How many products make an output; None where a symbolic size says it."""
    x, w = inputs[:2]
    assert x is not None and w is not None
    if isinstance(step.op, Conv):
        return math.prod(w.shape[1:])
    if isinstance(step.op, ConvTranspose):
        return w.shape[0] // step.op.group * math.prod(w.shape[2:])  # at most
    along = x.type.shape[0 if getattr(step.op, "transA", 0) else -1]
    return along if isinstance(along, int) else None
