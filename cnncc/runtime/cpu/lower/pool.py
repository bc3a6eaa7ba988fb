"""Pools over windows and over all pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ....errors import PlanInvalid
from ....ir import Op, TensorType
from ....ops.pool import Pool
from ..kernel import Launch, ceil_div
from ..kernels import pool, reduce, unpool
from ..lowering import BLOCKED, PLAIN, Choice, Lowering, Refusal, Tensor
from .layouts import expect_layouts, lift, preferred_layout

__all__ = ["LOWERINGS", "GlobalPoolLowering", "PoolLowering", "place_steps"]

MAX_ORDER = 16  # of a norm, which is computed by so many products


class PoolLowering(Lowering):
    """MaxPool, AveragePool and LpPool: blocked where that is worth it, else plain, by columns or one number at a time.

    As in the reference, a NaN under the window is the maximum. (ONNX Runtime gives a NaN or the largest number behind
    it, depending on where the NaN stands.)
    """

    output_words = ("y", "places")

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def choose(self, op: Op, inputs: Sequence[Tensor | None], outputs: Sequence[TensorType],
               lanes: int) -> Choice | Refusal:
        x = inputs[0]
        assert x is not None
        if x.type.rank > 5:
            return Refusal(f"pools have at most 3 spatial axes, not {x.type.rank - 2}")
        if getattr(op, "p", 1) > MAX_ORDER:
            return Refusal(f"norms are native up to p = {MAX_ORDER}")
        if len(outputs) > 1:  # MaxPool's Indices
            return Choice(unpool.POOL.name, inputs=(PLAIN,), outputs=(PLAIN, PLAIN))
        layout = preferred_layout(x, lanes)
        if x.layout == PLAIN and self._has_columns(op, x):
            return Choice(pool.COLUMNS.name, inputs=(PLAIN,), outputs=(PLAIN,))
        return Choice(pool.KERNEL.name, inputs=(layout,), outputs=(layout,))

    def _has_columns(self, op: Op, x: Tensor) -> bool:
        assert isinstance(op, Pool)
        return pool.has_columns(self.kind, x.type.dtype.value, op.kernel_shape[-1], (1, *op.strides)[-1])

    def launch(self, op: Op, choice: Choice, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor],
               lanes: int) -> Launch:
        x, y = inputs[0], outputs[0]
        assert x is not None and isinstance(op, Pool)
        expect_layouts(op, [x, y], [y.layout, y.layout])
        g = op.windows(x.shape)
        if len(outputs) > 1:
            expect_layouts(op, [y, outputs[1]], [PLAIN, PLAIN])
            return unpool.launch_pool(
                math.prod(x.shape[:2]), lift(x.shape[2:], 1), lift(g.counts, 1), lift(g.kernel, 1), lift(g.strides, 1),
                lift(g.dilations, 1), lift(g.begin, 0),
                lift(place_steps(x.shape[2:], getattr(op, "storage_order", 0)), 0), x.type.dtype.value)
        blocked = y.layout == BLOCKED
        pads = (g.begin, g.end) if getattr(op, "count_include_pad", False) else ((0,) * len(g.begin),) * 2
        images, channels = x.shape[:2]
        shape = pool.PoolShape(
            images * (ceil_div(channels, lanes) if blocked else channels), lift(x.shape[2:], 1), lift(g.counts, 1),
            lift(g.kernel, 1), lift(g.strides, 1), lift(g.dilations, 1), lift(g.begin, 0),
            (lift(pads[0], 0), lift(pads[1], 0)))
        if choice.kernel == pool.COLUMNS.name:
            if blocked or not self._has_columns(op, x):
                raise PlanInvalid(f"{choice.kernel} does not compute {op.op_type} of {x.type} {y.layout}")
            return pool.launch_columns(shape, self.kind, lanes)
        return pool.launch(shape, self.kind, lanes if blocked else 1, x.type.dtype.value, getattr(op, "p", 1))


def place_steps(size: Sequence[int], storage_order: int) -> list[int]:
    """By how much an element's number grows along each axis; with storage_order 1 the first axis runs fastest."""
    return [math.prod(size[:axis] if storage_order else size[axis + 1:]) for axis in range(len(size))]


class GlobalPoolLowering(Lowering):
    """The global pools: reductions of all pixels of a channel. The output is plain, whatever the input is."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def choose(self, op: Op, inputs: Sequence[Tensor | None], outputs: Sequence[TensorType],
               lanes: int) -> Choice | Refusal:
        x = inputs[0]
        assert x is not None
        if getattr(op, "p", 1) > MAX_ORDER:
            return Refusal(f"norms are native up to p = {MAX_ORDER}")
        return Choice(reduce.KERNEL.name, inputs=(x.layout,), outputs=(PLAIN,))

    def launch(self, op: Op, choice: Choice, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor],
               lanes: int) -> Launch:
        x = inputs[0]
        assert x is not None
        expect_layouts(op, [x, outputs[0]], [x.layout, PLAIN])
        p: Any = getattr(op, "p", 1)
        if x.layout == BLOCKED:
            return reduce.launch_blocked(x.shape, self.kind, lanes, p)
        shape = reduce.ReduceShape((1, math.prod(x.shape[:2])), (1, math.prod(x.shape[2:])))
        return reduce.launch(shape, self.kind, lanes, x.type.dtype.value, p)


LOWERINGS: dict[str, Lowering] = {
    "AveragePool": PoolLowering("mean"),
    "GlobalAveragePool": GlobalPoolLowering("mean"),
    "GlobalLpPool": GlobalPoolLowering("lp"),
    "GlobalMaxPool": GlobalPoolLowering("max"),
    "LpPool": PoolLowering("lp"),
    "MaxPool": PoolLowering("max"),
}
