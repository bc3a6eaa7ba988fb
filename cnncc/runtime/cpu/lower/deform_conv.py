"""DeformConv on its kernel: blocked in, blocked out, offsets and mask plain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ....errors import PlanInvalid
from ....ir import DType, TensorType
from ..kernel import Launch
from ..kernels import conv_direct, deform_conv
from ..kernels.conv_direct import ConvShape
from ..lowering import BLOCKED, PLAIN, Choice, Lowering, Refusal, Tensor
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
        rows, vectors = conv_direct.choose_tile(_shape(op, _assumed(x), w.shape), lanes)
        layouts = (BLOCKED, *(PLAIN,) * (len(inputs) - 1))
        return Choice(deform_conv.KERNEL.name, {"rows": rows, "vectors": vectors}, layouts, (BLOCKED,))

    def pack(self, op: Any, choice: Choice, inputs: Inputs, index: int, lanes: int) -> Array:
        w, bias, vectors = inputs[1], inputs[3] if len(inputs) > 3 else None, _tile(choice, lanes)[1]
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
        return deform_conv.launch(_shape(op, x.shape, w.shape), op.offset_group, lanes, _tile(choice, lanes),
                                  mask is not None)


def _refusal(op: Any, inputs: Inputs, lanes: int) -> str | None:
    x, w, _, bias, _ = (*inputs, None, None)[:5]
    assert x is not None and w is not None
    if x.type.dtype is not DType.F32 or x.type.rank != 4:
        return "deformable convolutions are native for f32 [N, C, H, W] only"
    if not w.constant or w.value is None or (bias is not None and not bias.constant):
        return "the weights of the deformable convolution are computed at run time"
    if 0 in w.shape:
        return "there are no channels"
    if not deform_conv.supports(_shape(op, _assumed(x), w.shape), op.offset_group, lanes):
        return f"groups that cut blocks of {lanes} channels are not native"
    return None


def _assumed(x: Tensor) -> tuple[int, ...]:
    """Symbolic sizes, with which only the best tile changes, as one image of 64 pixels an axis."""
    return tuple(d if isinstance(d, int) else 1 if axis == 0 else 64 for axis, d in enumerate(x.type.shape))


def _shape(op: Any, x: Sequence[int], w: Sequence[int]) -> ConvShape:
    g = op.windows(tuple(x), tuple(w))
    return ConvShape(x[0], w[1] * op.group, w[0], lift(x[2:], 1), lift(g.counts, 1), lift(g.kernel, 1),
                     lift(g.strides, 1), lift(g.dilations, 1), lift(g.begin, 0), op.group)


def _tile(choice: Choice, lanes: int) -> tuple[int, int]:
    rows, vectors = choice.params.get("rows"), choice.params.get("vectors")
    if not isinstance(rows, int) or not isinstance(vectors, int) or \
            (rows, vectors) not in conv_direct.TILES.get(lanes, {}):
        raise PlanInvalid(f"there is no register tile of {rows!r} rows and {vectors!r} vectors of {lanes}")
    return rows, vectors


LOWERINGS: dict[str, Lowering] = {"DeformConv": _DeformConv()}
