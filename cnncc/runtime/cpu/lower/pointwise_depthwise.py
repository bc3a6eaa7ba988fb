"""PointwiseDepthwiseConv on its kernel: blocked in, blocked out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ....errors import PlanInvalid
from ....ir import DimLike, TensorType
from ....ops.pointwise_depthwise import PointwiseDepthwiseConv
from ..conv_shape import ConvShape
from ..kernel import Launch
from ..kernels import conv_depthwise, conv_direct, conv_pointwise_depthwise
from ..lowering import BLOCKED, PLAIN, Choice, Lowering, Refusal, Tensor
from .activation import epilogue
from .conv import assumed_shape, conv_shape
from .convolutions import refuse_operands, tile_parameter
from .layouts import expect_layouts

__all__ = ["LOWERINGS"]

Array = np.ndarray[Any, Any]
Inputs = Sequence[Tensor | None]


class _PointwiseDepthwise(Lowering):
    """X, W, V, B and D; all but X must be constants."""

    parameters = ("rows", "vectors")
    input_words = ("x", "w", "w2", "bias", "bias2")

    def refuses(self, op: Any, inputs: Inputs, outputs: Sequence[TensorType], lanes: int) -> str:
        x, w, v, b, d = (*inputs, None, None)[:5]
        assert x is not None and w is not None and v is not None
        reason = refuse_operands(x, w, b, "convolution", "are native") \
            or refuse_operands(x, v, d, "convolution", "are native")
        if reason:
            return reason
        shapes = _shapes(op, x.type.shape, w.shape, v.shape)
        return "" if conv_pointwise_depthwise.supports(*shapes, lanes) else \
            "there is no kernel for a 1x1 convolution and this depthwise one in one pass"

    def choose(self, op: Any, inputs: Inputs, outputs: Sequence[TensorType], lanes: int) -> Choice | Refusal:
        reason = self.refuses(op, inputs, outputs, lanes)
        if reason:
            return Refusal(reason)
        x, w, v = inputs[:3]
        assert x is not None and w is not None and v is not None
        shapes = _shapes(op, x.type.shape, w.shape, v.shape)
        rows, vectors = conv_pointwise_depthwise.choose_tile(shapes[0], lanes)
        return Choice(conv_pointwise_depthwise.KERNEL.name, {"rows": rows, "vectors": vectors},
                      (BLOCKED, *(PLAIN,) * (len(inputs) - 1)), (BLOCKED,))

    def pack(self, op: Any, choice: Choice, inputs: Inputs, index: int, lanes: int) -> Array:
        w, v, b, d = (None if t is None else t.value for t in (*inputs, None, None)[1:5])
        _, vectors = tile_parameter(choice.params, conv_pointwise_depthwise.TILES[lanes])
        assert w is not None and v is not None
        if index == 1:
            return conv_direct.pack_weights(w, 1, lanes, vectors)
        if index == 2:
            return conv_depthwise.pack_weights(v, lanes)
        if index == 3:
            return conv_direct.pack_bias(b, len(w), 1, lanes, vectors)
        if index == 4:
            return conv_depthwise.pack_bias(d, len(w), lanes)
        return super().pack(op, choice, inputs, index, lanes)

    def extra(self, op: Any, choice: Choice, inputs: Inputs, lanes: int) -> dict[str, Array]:
        given = (*inputs, None, None)[3:5]
        return {word: self.pack(op, choice, inputs, index, lanes)
                for index, word, tensor in zip((3, 4), ("bias", "bias2"), given, strict=True) if tensor is None}

    def launch(self, op: Any, choice: Choice, inputs: Inputs, outputs: Sequence[Tensor], lanes: int) -> Launch:
        x, w, v = inputs[:3]
        assert x is not None and w is not None and v is not None
        expect_layouts(op, [x, outputs[0]], [BLOCKED, BLOCKED])
        tile = tile_parameter(choice.params, conv_pointwise_depthwise.TILES[lanes])
        shapes = _shapes(op, x.shape, w.shape, v.shape)
        if not conv_pointwise_depthwise.supports(*shapes, lanes) or tile[0] > shapes[0].size[2]:
            raise PlanInvalid(f"conv_pointwise_depthwise cannot run {op.op_type} on {x.type} by {tile[0]}")
        return conv_pointwise_depthwise.launch(*shapes, lanes, tile, epilogue(op.inner), epilogue(op.activation))


def _shapes(op: PointwiseDepthwiseConv, x: Sequence[DimLike], w: Sequence[int],
            v: Sequence[int]) -> tuple[ConvShape, ConvShape]:
    """The geometry of both convolutions; symbolic sizes are what they are assumed to be for a Conv."""
    sizes = assumed_shape(x)
    return conv_shape(op.pointwise, sizes, w), conv_shape(op.depthwise(w[0]), (sizes[0], w[0], *sizes[2:]), v)


LOWERINGS: dict[str, Lowering] = {"PointwiseDepthwiseConv": _PointwiseDepthwise()}
