"""DeformConv on its kernel: blocked in, blocked out, offsets and mask plain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ....errors import PlanInvalid
from ....ir import DimLike, DType, TensorType
from ..conv_shape import ConvShape
from ..kernel import Launch
from ..kernels import conv_direct, deform_conv
from ..lowering import BLOCKED, PLAIN, Choice, Lowering, Refusal, Tensor
from .convolutions import assume_sizes, refuse_operands, tile_parameter
from .layouts import expect_layouts, lift

__all__ = ["LOWERINGS"]

Array = np.ndarray[Any, Any]
Inputs = Sequence[Tensor | None]


class _DeformConv(Lowering):
    """X, W, offset, B and mask; W and B must be constants."""

    parameters = ("rows", "vectors")
    input_words = ("x", "w", "offset", "bias", "mask")

    def choose(self, op: Any, inputs: Inputs, outputs: Sequence[TensorType], lanes: int) -> Choice | Refusal:
        reason = _refusal(op, inputs, lanes)
        if reason is not None:
            return Refusal(reason)
        x, w = inputs[0], inputs[1]
        assert x is not None and w is not None
        rows, vectors = conv_direct.choose_tile(_shape(op, x.type.shape, w.shape), lanes)
        layouts = (BLOCKED, *(PLAIN,) * (len(inputs) - 1))
        return Choice(deform_conv.KERNEL.name, {"rows": rows, "vectors": vectors}, layouts, (BLOCKED,))

    def pack(self, op: Any, choice: Choice, inputs: Inputs, index: int, lanes: int) -> Array:
        w, bias = inputs[1], inputs[3] if len(inputs) > 3 else None
        _, vectors = tile_parameter(choice.params, conv_direct.TILES[lanes])
        assert w is not None and w.value is not None
        if index == 1:
            return deform_conv.pack_weights(w.value, op.group, lanes, vectors)
        if index == 3:
            return deform_conv.pack_bias(None if bias is None else bias.value, w.shape[0], op.group, lanes, vectors)
        return super().pack(op, choice, inputs, index, lanes)

    def extra(self, op: Any, choice: Choice, inputs: Inputs, lanes: int) -> dict[str, Array]:
        return {} if len(inputs) > 3 and inputs[3] is not None else {"bias": self.pack(op, choice, inputs, 3, lanes)}

    def launch(self, op: Any, choice: Choice, inputs: Inputs, outputs: Sequence[Tensor], lanes: int) -> Launch:
        reason = _refusal(op, inputs, lanes)
        if reason is not None:
            raise PlanInvalid(f"DeformConv: {reason}")
        x, w, offset, _, mask = (*inputs, None, None)[:5]
        assert x is not None and w is not None
        expect_layouts(op, [x, offset, mask, outputs[0]], [BLOCKED, PLAIN, PLAIN, BLOCKED])
        tile = tile_parameter(choice.params, conv_direct.TILES[lanes])
        return deform_conv.launch(_shape(op, x.shape, w.shape), op.offset_group, lanes, tile, mask is not None)


def _refusal(op: Any, inputs: Inputs, lanes: int) -> str | None:
    x, w, _, bias, _ = (*inputs, None, None)[:5]
    assert x is not None and w is not None
    if x.type.dtype is not DType.F32 or x.type.rank != 4:
        return "deformable convolutions are native for f32 [N, C, H, W] only"
    reason = refuse_operands(x, w, bias, "deformable convolution", "are native")
    if reason:
        return reason
    if not deform_conv.supports(_shape(op, x.type.shape, w.shape), op.offset_group, lanes):
        return f"groups that cut blocks of {lanes} channels are not native"
    return None


def _shape(op: Any, x: Sequence[DimLike], w: Sequence[int]) -> ConvShape:
    """Symbolic sizes, with which only the best tile changes, are one image of 64 pixels an axis."""
    sizes = assume_sizes(x, 1, 64)
    g = op.windows(sizes, tuple(w))
    return ConvShape(sizes[0], w[1] * op.group, w[0], lift(sizes[2:], 1), lift(g.counts, 1), lift(g.kernel, 1),
                     lift(g.strides, 1), lift(g.dilations, 1), lift(g.begin, 0), op.group)


LOWERINGS: dict[str, Lowering] = {"DeformConv": _DeformConv()}
