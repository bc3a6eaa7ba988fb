"""Pools over windows and over all pixels, by the CPU's rules."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ....ir import DType, TensorType
from ...cpu.kernels.pool import PoolShape
from ...cpu.kernels.reduce import ReduceShape
from ...cpu.lower import pool as cpu
from ...cpu.lower.layouts import lift
from ..kernel import Launch
from ..kernels import pool, reduce
from ..lowering import Choice, Lowering, Tensor
from .ruled import COMPUTED, Inputs, Ruled, first

__all__ = ["LOWERINGS"]


class _Pool(Ruled):
    def kernel(self, choice: Choice, outputs: Sequence[TensorType]) -> str:
        return pool.PLACES.name if len(outputs) > 1 else pool.KERNEL.name

    def launch(self, op: Any, choice: Choice, inputs: Inputs, outputs: Sequence[Tensor], lanes: int) -> Launch:
        x = first(inputs)
        g = op.windows(x.shape)
        pads = (g.begin, g.end) if getattr(op, "count_include_pad", False) else ((0,) * len(g.begin),) * 2
        shape = PoolShape(
            math.prod(x.shape[:2]), lift(x.shape[2:], 1), lift(g.counts, 1), lift(g.kernel, 1), lift(g.strides, 1),
            lift(g.dilations, 1), lift(g.begin, 0), (lift(pads[0], 0), lift(pads[1], 0)))
        dtype = x.type.dtype.value
        if len(outputs) > 1:
            numbers = lift(cpu.place_steps(x.shape[2:], op.storage_order), 0)
            return pool.launch_places(shape, numbers, dtype)
        return pool.launch(shape, self.rules.kind, dtype, getattr(op, "p", 1))


class _GlobalPool(Ruled):
    def launch(self, op: Any, choice: Choice, inputs: Inputs, outputs: Sequence[Tensor], lanes: int) -> Launch:
        x = first(inputs)
        shape = ReduceShape((1, math.prod(x.shape[:2])), (1, math.prod(x.shape[2:])))
        return reduce.launch(shape, self.rules.kind, x.type.dtype.value, getattr(op, "p", 1))


_RULES = cpu.LOWERINGS
LOWERINGS: dict[str, Lowering] = {
    **{name: _Pool(_RULES[name]) for name in ("AveragePool", "LpPool")},
    "MaxPool": _Pool(_RULES["MaxPool"], (*COMPUTED, DType.I8, DType.U8)),
    **{name: _GlobalPool(_RULES[name]) for name in ("GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool")},
}
