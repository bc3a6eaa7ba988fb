"""Conv on its kernels: the choice among the algorithms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ....errors import PlanInvalid
from ....ir import Dim, TensorType
from ....ops.conv import Conv
from ..conv_shape import ConvShape
from ..kernel import Launch, ceil_div
from ..lowering import BLOCKED, PLAIN, Choice, Lowering, Refusal, Tensor, to_blocked
from ..winograd_tiles import is_strided, is_winograd
from .accuracy import allowed_forms
from .activation import epilogue
from .algorithms import ALGORITHMS, Algorithm, Params, algorithm_name, saves_products
from .convolutions import assume_sizes, refuse_operands
from .layouts import lift

__all__ = ["ALGORITHMS", "LOWERINGS", "ConvLowering", "assumed_shape", "conv_shape"]

Array = np.ndarray[Any, Any]

# Sizes that a symbolic dimension is taken to have where a kernel must be chosen without knowing it.
ASSUMED_BATCH, ASSUMED_SIZE = 1, 224


def assumed_shape(shape: Sequence[int | Dim]) -> tuple[int, ...]:
    """The shape to choose a kernel for, where some of it is symbolic."""
    return assume_sizes(shape, ASSUMED_BATCH, ASSUMED_SIZE)


def conv_shape(op: Conv, x: Sequence[int], w: Sequence[int]) -> ConvShape:
    """The geometry of a convolution of x [N, C, *spatial] with w [OC, C/group, *kernel], for the kernels."""
    g = op.windows(tuple(x), tuple(w))
    return ConvShape(x[0], x[1], w[0], lift(x[2:], 1), lift(g.counts, 1), lift(g.kernel, 1), lift(g.strides, 1),
                     lift(g.dilations, 1), lift(g.begin, 0), op.group)


class ConvLowering(Lowering):
    """X, W, B and R; W and B must be constants."""

    input_words = ("x", "w", "bias", "add")
    overwritable = (3,)
    parameters = ("m", "rows", "vectors")

    def __init__(self, accuracy: str = "default") -> None:
        self.accuracy = accuracy

    def refuses(self, op: Any, inputs: Sequence[Tensor | None], outputs: Sequence[TensorType], lanes: int) -> str:
        x, w, b = (*inputs, None)[:3]
        assert x is not None and w is not None
        return refuse_operands(x, w, b, "convolution", "are native")

    def choose(self, op: Any, inputs: Sequence[Tensor | None], outputs: Sequence[TensorType],
               lanes: int) -> Choice | Refusal:
        reason = self.refuses(op, inputs, outputs, lanes)
        if reason:
            return Refusal(reason)
        w = inputs[1]
        assert w is not None
        costs = self.costs(op, inputs, lanes)
        if not costs:
            return Refusal(f"no kernel for {op.group} groups of {w.shape[1]} channels")
        name, params = self.pick(op, inputs, costs, lanes)
        into, out = ALGORITHMS[name].layouts
        return Choice(name.split("/")[0], params, (into, BLOCKED, BLOCKED, out), (out,))

    def costs(self, op: Conv, inputs: Sequence[Tensor | None], lanes: int) -> dict[str, float]:
        """What each algorithm that applies is estimated to cost, by its name in ALGORITHMS."""
        x, w = inputs[0], inputs[1]
        assert x is not None and w is not None and w.value is not None
        shape = conv_shape(op, assumed_shape(x.type.shape), w.shape)
        special = is_winograd(shape) or is_strided(shape) or saves_products(shape, lanes)
        forms = allowed_forms(self.accuracy, w.value) if special else frozenset()
        costs = {}
        for name, one in ALGORITHMS.items():
            cost = one.cost(shape, lanes, forms)
            if cost is not None:
                costs[name] = cost + _reorders_cost(shape, lanes, x.layout != one.layouts[0], one.layouts[1] == PLAIN)
        return costs

    def pick(self, op: Conv, inputs: Sequence[Tensor | None], costs: dict[str, float],
             lanes: int) -> tuple[str, Params]:
        """The algorithm to take and its parameters."""
        x, w = inputs[0], inputs[1]
        assert x is not None and w is not None
        name = min(costs, key=costs.__getitem__)
        return name, ALGORITHMS[name].params(conv_shape(op, assumed_shape(x.type.shape), w.shape), lanes)

    def pack(self, op: Any, choice: Choice, inputs: Sequence[Tensor | None], index: int, lanes: int) -> Array:
        x, w, b = (*inputs, None)[:3]
        assert x is not None and w is not None and w.value is not None
        shape, algorithm = conv_shape(op, assumed_shape(x.type.shape), w.shape), _algorithm(choice)
        params = dict(choice.params)
        if index == 1:
            return algorithm.pack(shape, w.value, params, lanes)
        if index == 3:  # what is added, of the output's shape
            added = inputs[3]
            assert added is not None and added.value is not None
            return to_blocked(added.value, lanes) if algorithm.layouts[1] == BLOCKED else added.value
        return algorithm.pack_bias(shape, None if b is None else b.value, params, lanes)

    def extra(self, op: Any, choice: Choice, inputs: Sequence[Tensor | None], lanes: int) -> dict[str, Array]:
        return {} if len(inputs) > 2 and inputs[2] is not None else {"bias": self.pack(op, choice, inputs, 2, lanes)}

    def launch(self, op: Any, choice: Choice, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor],
               lanes: int) -> Launch:
        x, w = inputs[0], inputs[1]
        assert x is not None and w is not None
        algorithm, added = _algorithm(choice), inputs[3] if len(inputs) > 3 else None
        if any(t is not None and not t.constant and t.layout != algorithm.layouts[1] for t in (outputs[0], added)):
            raise PlanInvalid(f"{choice.kernel} writes {algorithm.layouts[1]} outputs")
        if algorithm.layouts[0] != x.layout:
            raise PlanInvalid(f"{choice.kernel} reads {algorithm.layouts[0]} inputs")
        return algorithm.launch(conv_shape(op, x.shape, w.shape), dict(choice.params), lanes, added is not None,
                                epilogue(op.activation))


def _reorders_cost(shape: ConvShape, lanes: int, x: bool, y: bool) -> float:
    """Of x, and of y for a reader that wants it blocked, in vector FMAs."""
    vectors = x * ceil_div(shape.channels, lanes) * math.prod(shape.size)
    return 8.0 * shape.images * (vectors + y * ceil_div(shape.out_channels, lanes) * shape.pixels)


def _algorithm(choice: Choice) -> Algorithm:
    name = algorithm_name(choice.kernel, choice.params)
    if name not in ALGORITHMS:
        raise PlanInvalid(f"there is no convolution kernel '{name}'")
    return ALGORITHMS[name]


LOWERINGS: dict[str, Lowering] = {"Conv": ConvLowering()}
