"""Resize on its kernel: spatial axes, any coordinates, blocked where that is worth it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ....ir import DType, TensorType
from ....ops.interpolation import line
from ..kernel import Launch, ceil_div
from ..kernels import resize
from ..lowering import BLOCKED, Choice, Lowering, Refusal, Tensor
from .layouts import expect_layouts, lift, preferred_layout

__all__ = ["LOWERINGS", "ResizeLowering"]

_NEAREST = {"floor": resize.FLOOR, "ceil": resize.CEIL, "round_prefer_floor": resize.PREFER_FLOOR,
            "round_prefer_ceil": resize.PREFER_CEIL}


class ResizeLowering(Lowering):
    """X; roi, scales and sizes are known."""

    input_words = ("x", None, None, None)

    def choose(self, op: Any, inputs: Sequence[Tensor | None], outputs: Sequence[TensorType],
               lanes: int) -> Choice | Refusal:
        x = inputs[0]
        assert x is not None
        if x.type.dtype is not DType.F32:
            return Refusal(f"it is native for f32 only, not {x.type.dtype.value}")
        if not 3 <= x.type.rank <= 5 or x.type.shape[:2] != outputs[0].shape[:2]:
            return Refusal("resizing is native for up to 3 spatial axes of [N, C, *spatial]")
        if op.crops or op.sampling.antialias or op.sampling.exclude_outside:
            return Refusal("tf_crop_and_resize, antialias and exclude_outside have no native kernel")
        layout = preferred_layout(x, lanes)
        return Choice(resize.KERNEL.name, inputs=(layout,), outputs=(layout,))

    def launch(self, op: Any, choice: Choice, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor],
               lanes: int) -> Launch:
        x, y = inputs[0], outputs[0]
        assert x is not None
        expect_layouts(op, [x, y], [y.layout, y.layout])
        images, channels, *size = x.shape
        roi, scales, sizes = (None if t is None else t.value for t in (*inputs[1:], None, None, None)[:3])
        lines = [resize.Line()] * 3
        if 0 not in y.shape:
            kind = _NEAREST[op.nearest_mode] if op.mode == "nearest" else \
                resize.LINEAR if op.mode == "linear" else resize.CUBIC
            for axis, change in op.resized(x.shape, y.shape, roi, scales, sizes).items():
                if axis >= 2:
                    at = line(change, op.coordinate_transformation_mode)
                    lines[axis - x.type.rank + 3] = resize.Line(kind, *at)
        blocked = y.layout == BLOCKED
        blocks = ceil_div(channels, lanes) if blocked else channels
        return resize.launch(images, blocks, lift(size, 1), lift(y.shape[2:], 1), lines, op.cubic_coeff_a,
                             lanes if blocked else 1)


LOWERINGS: dict[str, Lowering] = {"Resize": ResizeLowering()}
