"""Instance, group, layer and RMS normalization, by the CPU's rules."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ....ir import DType
from ...cpu.lower import normalize as cpu
from ..kernel import Launch
from ..kernels import normalize
from ..lowering import Choice, Lowering, Tensor
from .ruled import Inputs, Ruled, first

__all__ = ["LOWERINGS"]


class _ByChannel(Ruled):
    def launch(self, op: Any, choice: Choice, inputs: Inputs, outputs: Sequence[Tensor], lanes: int) -> Launch:
        images, channels, *spatial = first(inputs).shape
        groups = getattr(op, "num_groups", channels)
        return normalize.launch_channels(images, groups, channels // max(1, groups), math.prod(spatial), op.epsilon)


class _Trailing(Ruled):
    def launch(self, op: Any, choice: Choice, inputs: Inputs, outputs: Sequence[Tensor], lanes: int) -> Launch:
        shape = first(inputs).shape
        axis = op.axis % len(shape)
        return normalize.launch_elements(math.prod(shape[:axis]), math.prod(shape[axis:]), op.epsilon,
                                         op.op_type == "LayerNormalization")


_RULES, _SINGLE = cpu.LOWERINGS, (DType.F32,)
LOWERINGS: dict[str, Lowering] = {
    **{name: _ByChannel(_RULES[name], _SINGLE) for name in ("GroupNormalization", "InstanceNormalization")},
    **{name: _Trailing(_RULES[name], _SINGLE) for name in ("LayerNormalization", "RMSNormalization")},
}
