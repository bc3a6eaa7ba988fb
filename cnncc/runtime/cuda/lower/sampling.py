"""GridSample and RoiAlign, by the CPU's rules."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ....ir import DType
from ...cpu.lower import sampling as cpu
from ..kernel import Launch
from ..kernels import grid_sample, roi_align
from ..lowering import Choice, Lowering, Tensor
from .ruled import Inputs, Ruled, first

__all__ = ["LOWERINGS"]


class _GridSample(Ruled):
    def launch(self, op: Any, choice: Choice, inputs: Inputs, outputs: Sequence[Tensor], lanes: int) -> Launch:
        x = first(inputs)
        return grid_sample.launch(x.shape[0], x.shape[1], x.shape[2:], math.prod(outputs[0].shape[2:]), op.mode,
                                  op.padding_mode, op.align_corners)


class _RoiAlign(Ruled):
    def launch(self, op: Any, choice: Choice, inputs: Inputs, outputs: Sequence[Tensor], lanes: int) -> Launch:
        x, y = first(inputs), outputs[0]
        return roi_align.launch(
            x.shape[0], x.shape[1], (x.shape[2], x.shape[3]), y.shape[0], (y.shape[2], y.shape[3]), op.sampling_ratio,
            op.spatial_scale, op.mode, op.coordinate_transformation_mode == "half_pixel")


LOWERINGS: dict[str, Lowering] = {
    "GridSample": _GridSample(cpu.LOWERINGS["GridSample"], (DType.F32,)),
    "RoiAlign": _RoiAlign(cpu.LOWERINGS["RoiAlign"], (DType.F32,)),
}
