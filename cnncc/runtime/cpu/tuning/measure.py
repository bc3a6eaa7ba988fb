"""Candidates for a convolution, measured as steps of a plan of their own by the executor that runs all plans."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ....ir import Operand, TensorType
from ....ops.conv import Conv
from ....ops.identity import Identity
from ....plan import REORDER, Buffer, Plan, Port, Step
from ....records import record
from ..binding import Binding, bind, constant_operands
from ..execution import Context, Prepared
from ..large_pages import Room, empty_bytes
from ..lower.conv import ALGORITHMS, ConvLowering, assumed_shape, conv_shape
from ..lowering import BLOCKED, PLAIN, Tensor, stored_elements

__all__ = ["Candidate", "Trial", "candidates_for", "convolution", "measure"]

Array = np.ndarray[Any, Any]

HOPELESS = 4.0  # times the least estimate: what is estimated to take longer is not measured
LAGGING = 1.3   # times the best time: what took longer in the first rounds is not measured further
FIRST_ROUNDS, MOST_ROUNDS = 3, 15


@record
class Candidate:
    """An algorithm by its name in ALGORITHMS, and parameters. `str` is its name in tuning files."""

    name: str
    params: Mapping[str, int | str]
    estimate: float

    def __str__(self) -> str:
        return " ".join([self.name, *(f"{k}={v}" for k, v in sorted(self.params.items()) if k != "m")])


def convolution(op: Conv, inputs: Sequence[Tensor | None], cold: bool) -> str:
    """What findings are kept under: all that the time depends on. `cold`: weights come from memory, not a cache."""
    x, w, r = inputs[0], inputs[1], inputs[3] if len(inputs) > 3 else None
    assert x is not None and w is not None
    s = conv_shape(op, assumed_shape(x.type.shape), w.shape)
    parts = [_times((s.images, s.channels, *s.size)), "->", _times((s.out_channels, *s.out_size)),
             f"kernel {_times(s.kernel)}", f"stride {_times(s.stride)}", f"dilation {_times(s.dilation)}",
             f"pad {_times(s.pad)}", f"groups {s.groups}", op.activation.kind if op.activation else "linear", x.layout]
    return " ".join([*parts, *(["residual"] if r is not None else []), "cold" if cold else "warm"])


def _times(sizes: Sequence[int]) -> str:
    return "x".join(map(str, sizes))


def candidates_for(op: Conv, inputs: Sequence[Tensor | None], lanes: int, accuracy: str) -> list[Candidate]:
    """What is worth measuring; the first is what is taken without measuring."""
    x, w = inputs[0], inputs[1]
    assert x is not None and w is not None
    lowering = ConvLowering(accuracy)
    costs = lowering.costs(op, inputs, lanes)
    shape = conv_shape(op, assumed_shape(x.type.shape), w.shape)
    least = min(costs.values(), default=0.0)
    found = [Candidate(name, params, cost) for name, cost in costs.items() if cost <= HOPELESS * least
             for params in ALGORITHMS[name].candidates(shape, lanes)]
    return sorted(found, key=lambda c: c.estimate)  # stable: of one algorithm its own choice of parameters comes first


class Trial:
    """A plan that is one convolution: with reorders where the candidate's layouts are not those of its surroundings,
    which are x's for the input and blocked for the output."""

    def __init__(self, op: Conv, inputs: Sequence[Tensor | None], candidate: Candidate, lanes: int) -> None:
        self.plan = _plan(op, inputs, candidate, lanes)
        self.binding: Binding = bind(self.plan, {})

    def prepare(self, threads: int) -> None:
        binding, plan = self.binding, self.plan
        room = Room()  # as a session has it
        constants = [room.keep(constant_operands(plan, binding, bound)) for bound in binding.steps]
        self._context = Context(Prepared(plan, binding, constants, threads))
        random = np.random.default_rng(0)
        self._inputs = [self._array(port, random) for port in plan.inputs]
        self._outputs = [self._array(port, random) for port in plan.outputs]

    def _array(self, port: Port, random: np.random.Generator) -> Array:
        buffer = self.plan.buffers[port.buffer]
        count = stored_elements(buffer.type.static_shape, buffer.layout, self.plan.lanes)
        array = empty_bytes(4 * count).view(np.float32)
        array[:] = random.standard_normal(count, np.float32)
        return array

    def run(self) -> float:
        """Seconds of one run, the inputs being in a cache as if they had just been computed."""
        for array in self._inputs:
            array.max()
        times = self._context.run_timed(self._inputs, self._outputs)
        return (times[-1][1] - times[0][0]) * 1e-9


def _plan(op: Conv, inputs: Sequence[Tensor | None], candidate: Candidate, lanes: int) -> Plan:
    x, w, b, r = (*inputs, None, None)[:4]
    assert x is not None and w is not None and w.value is not None
    into, out = ALGORITHMS[candidate.name].layouts
    x_type = TensorType(x.type.dtype, assumed_shape(x.type.shape))
    [y_type] = op.infer(Operand(x_type), Operand(w.type))
    buffers, weights = [Buffer("x", x_type, x.layout)], {}
    steps: list[Step] = []
    ports = [Port("x", 0)]

    def define(name: str, type_: TensorType, layout: str) -> int:
        buffers.append(Buffer(name, type_, layout))
        return len(buffers) - 1

    def reorder(source: int, layout: str) -> int:
        if buffers[source].layout == layout:
            return source
        target = define(f"{buffers[source].name}:{layout}", buffers[source].type, layout)
        steps.append(Step(buffers[target].name, Identity(), REORDER, (source,), (target,)))
        return target

    operands: list[int | None] = [reorder(0, into)]
    for name, tensor in (("w", w), ("b", b)):
        operands.append(None if tensor is None else define(name, tensor.type, PLAIN))
        if tensor is not None and tensor.value is not None:
            weights[len(buffers) - 1] = tensor.value
    if r is not None:
        operands.append(define("r", y_type, out))
        ports.append(Port("r", len(buffers) - 1))
    y = define("y", y_type, out)
    while operands[-1] is None:
        operands.pop()
    steps.append(Step("y", op, candidate.name.split("/")[0], tuple(operands), (y,), dict(candidate.params)))
    results = (Port("y", reorder(y, BLOCKED)),)
    return Plan("trial", "cpu", lanes, tuple(buffers), tuple(steps), tuple(ports), results, weights)


def measure(trials: Mapping[str, Trial], sweep: Array, seconds: float) -> dict[str, float]:
    """The median time of each trial; they take turns for about `seconds`, and those that lag behind drop out.

    Before each run, `sweep` is read, to leave in the caches what a run of the whole network would leave.
    """
    times: dict[str, list[float]] = {name: [] for name in trials}
    for trial in trials.values():
        trial.run()
    end = time.perf_counter() + seconds
    for number in range(MOST_ROUNDS):
        best = min((statistics.median(t) for t in times.values() if t), default=0.0)
        for name, trial in trials.items():
            if number < FIRST_ROUNDS or min(times[name]) <= LAGGING * best:
                if sweep.size:
                    sweep.max()
                times[name].append(trial.run())
        if number + 1 >= FIRST_ROUNDS and time.perf_counter() > end:
            break
    return {name: statistics.median(found) for name, found in times.items()}
