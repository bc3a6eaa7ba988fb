"""GridSample, AffineGrid, RoiAlign, MaxRoiPool, MaxUnpool and Col2Im on their kernels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ....errors import PlanInvalid
from ....ir import DType, TensorType
from ..kernel import Launch, ceil_div
from ..kernels import affine_grid, col2im, grid_sample, roi_align, roi_pool, unpool
from ..lowering import BLOCKED, PLAIN, Choice, Lowering, Refusal, Tensor
from .layouts import expect_layouts, lift, preferred_layout

__all__ = ["LOWERINGS"]

Inputs = Sequence[Tensor | None]


def _first(inputs: Inputs) -> Tensor:
    assert inputs[0] is not None
    return inputs[0]


class _Sampling(Lowering):
    """What reads X between its elements: blocked where that is worth it, single precision, other operands plain."""

    kernel = ""

    def choose(self, op: Any, inputs: Inputs, outputs: Sequence[TensorType], lanes: int) -> Choice | Refusal:
        x = _first(inputs)
        if any(t is not None and t.type.dtype is not DType.F32 for t in inputs[:2]):
            return Refusal("it is native for f32 only")
        if x.type.rank > 5:
            return Refusal(f"it is native for up to 3 spatial axes, not {x.type.rank - 2}")
        layout = preferred_layout(x, lanes)
        return Choice(self.kernel, inputs=(layout, *(PLAIN,) * (len(inputs) - 1)), outputs=(layout,))

    def launch(self, op: Any, choice: Choice, inputs: Inputs, outputs: Sequence[Tensor], lanes: int) -> Launch:
        x, y = _first(inputs), outputs[0]
        expect_layouts(op, [x, *inputs[1:], y], [y.layout, *(PLAIN,) * (len(inputs) - 1), y.layout])
        blocked = y.layout == BLOCKED
        blocks = ceil_div(x.shape[1], lanes) if blocked else x.shape[1]
        return self.step(op, x, y, blocks, lanes if blocked else 1)

    def step(self, op: Any, x: Tensor, y: Tensor, blocks: int, lanes: int) -> Launch:
        """The launch for so many blocks of channels (channels where plain)."""
        raise NotImplementedError  # abstract


class _GridSample(_Sampling):
    input_words = ("x", "grid")
    kernel = grid_sample.KERNEL.name

    def step(self, op: Any, x: Tensor, y: Tensor, blocks: int, lanes: int) -> Launch:
        points = math.prod(y.shape[2:])
        return grid_sample.launch(x.shape[0], blocks, x.shape[2:], points, lanes, op.mode, op.padding_mode,
                                  op.align_corners)


class _RoiAlign(_Sampling):
    """The reference refuses regions of a picture that is not there; the kernel takes the nearest one."""

    input_words = ("x", "rois", "pictures")
    kernel = roi_align.KERNEL.name

    def step(self, op: Any, x: Tensor, y: Tensor, blocks: int, lanes: int) -> Launch:
        return roi_align.launch(
            x.shape[0], blocks, (x.shape[2], x.shape[3]), y.shape[0], (y.shape[2], y.shape[3]), op.sampling_ratio,
            op.spatial_scale, lanes, op.mode, op.coordinate_transformation_mode == "half_pixel")


class _MaxRoiPool(_Sampling):
    """The reference refuses regions of a picture that is not there; the kernel takes the nearest one."""

    input_words = ("x", "rois")
    kernel = roi_pool.KERNEL.name

    def step(self, op: Any, x: Tensor, y: Tensor, blocks: int, lanes: int) -> Launch:
        return roi_pool.launch(x.shape[0], blocks, (x.shape[2], x.shape[3]), y.shape[0], (y.shape[2], y.shape[3]),
                               op.spatial_scale, lanes)


class _AffineGrid(Lowering):
    """The size is known, or a run reads it before."""

    input_words = ("theta", None)

    def choose(self, op: Any, inputs: Inputs, outputs: Sequence[TensorType], lanes: int) -> Choice | Refusal:
        if _first(inputs).type.dtype is not DType.F32:
            return Refusal("it is native for f32 only")
        return Choice(affine_grid.KERNEL.name, inputs=(PLAIN, PLAIN))

    def launch(self, op: Any, choice: Choice, inputs: Inputs, outputs: Sequence[Tensor], lanes: int) -> Launch:
        theta, y = _first(inputs), outputs[0]
        expect_layouts(op, [theta, y], [PLAIN, PLAIN])
        if theta.type.dtype is not DType.F32:
            raise PlanInvalid(f"AffineGrid of {theta.type} has no kernel")
        return affine_grid.launch(y.shape[0], lift(y.shape[1:-1], 1), y.shape[-1], op.align_corners)


class _Col2Im(Lowering):
    """The shapes of image and blocks are known, or a run reads them before."""

    input_words = ("x", None, None)

    def choose(self, op: Any, inputs: Inputs, outputs: Sequence[TensorType], lanes: int) -> Choice | Refusal:
        x = _first(inputs)
        if x.type.dtype is DType.F16 or outputs[0].rank > 5:
            return Refusal("it is native for up to 3 spatial axes, and not for f16")
        return Choice(col2im.KERNEL.name, inputs=(PLAIN,) * 3)

    def launch(self, op: Any, choice: Choice, inputs: Inputs, outputs: Sequence[Tensor], lanes: int) -> Launch:
        x, y, block = _first(inputs), outputs[0], inputs[2]
        expect_layouts(op, [x, y], [PLAIN, PLAIN])
        if x.type.dtype is DType.F16 or y.type.rank > 5 or block is None or block.value is None:
            raise PlanInvalid(f"Col2Im of {x.type} to {y.type} has no kernel")
        g = op.windows(y.shape[2:], [int(k) for k in block.value.ravel()])
        return col2im.launch(y.shape[0] * y.shape[1], lift(y.shape[2:], 1), lift(g.kernel, 1), lift(g.counts, 1),
                             lift(g.strides, 1), lift(g.dilations, 1), lift(g.begin, 0), x.type.dtype.value)


class _MaxUnpool(Lowering):
    """The reference refuses places outside the output; the kernel leaves them out."""

    input_words = ("x", "places", None)

    def choose(self, op: Any, inputs: Inputs, outputs: Sequence[TensorType], lanes: int) -> Choice | Refusal:
        return Choice(unpool.UNPOOL.name, inputs=(PLAIN,) * len(inputs))

    def launch(self, op: Any, choice: Choice, inputs: Inputs, outputs: Sequence[Tensor], lanes: int) -> Launch:
        x, y = _first(inputs), outputs[0]
        expect_layouts(op, [x, inputs[1], y], [PLAIN] * 3)
        return unpool.launch_unpool(math.prod(x.shape), math.prod(y.shape), x.type.dtype.value)


LOWERINGS: dict[str, Lowering] = {
    "AffineGrid": _AffineGrid(),
    "Col2Im": _Col2Im(),
    "GridSample": _GridSample(),
    "MaxRoiPool": _MaxRoiPool(),
    "MaxUnpool": _MaxUnpool(),
    "RoiAlign": _RoiAlign(),
}
