"""ConvTranspose on its kernel: blocked in, blocked out, any groups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ....errors import PlanInvalid
from ....ir import DimLike, TensorType
from ..kernel import Launch
from ..kernels import conv_direct, conv_transpose
from ..kernels.conv_transpose import TransposeShape
from ..lowering import BLOCKED, Choice, Lowering, Refusal, Tensor
from .activation import epilogue
from .convolutions import assume_sizes, refuse_operands, tile_parameter
from .layouts import expect_layouts, lift

__all__ = ["LOWERINGS", "ConvTransposeLowering", "transpose_shape"]

Array = np.ndarray[Any, Any]


class ConvTransposeLowering(Lowering):
    """X, W and B; W and B must be constants.

    Where groups cut blocks of channels, several are computed as one with weights of zero between them; then an infinity
    or NaN of one group's input reaches the outputs of those.
    """

    input_words = ("x", "w", "bias")
    parameters = ("rows", "vectors")

    def choose(self, op: Any, inputs: Sequence[Tensor | None], outputs: Sequence[TensorType],
               lanes: int) -> Choice | Refusal:
        x, w, b = (*inputs, None)[:3]
        assert x is not None and w is not None
        reason = refuse_operands(x, w, b, "transposed convolution", "are native")
        if reason:
            return Refusal(reason)
        rows, vectors = conv_transpose.choose_tile(transpose_shape(op, x.type.shape, w.shape), lanes)
        return Choice(conv_transpose.KERNEL.name, {"rows": rows, "vectors": vectors}, (BLOCKED,), (BLOCKED,))

    def pack(self, op: Any, choice: Choice, inputs: Sequence[Tensor | None], index: int, lanes: int) -> Array:
        x, w, b = (*inputs, None)[:3]
        assert x is not None and w is not None and w.value is not None
        shape = transpose_shape(op, x.type.shape, w.shape)
        _, vectors = tile_parameter(choice.params, conv_direct.TILES[lanes])
        if index == 1:
            return conv_transpose.pack_weights(w.value, shape, lanes, vectors)
        return conv_transpose.pack_bias(None if b is None else b.value, shape, lanes, vectors)

    def extra(self, op: Any, choice: Choice, inputs: Sequence[Tensor | None], lanes: int) -> dict[str, Array]:
        return {} if len(inputs) > 2 and inputs[2] is not None else {"bias": self.pack(op, choice, inputs, 2, lanes)}

    def launch(self, op: Any, choice: Choice, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor],
               lanes: int) -> Launch:
        x, w = inputs[0], inputs[1]
        assert x is not None and w is not None
        expect_layouts(op, [x, outputs[0]], [BLOCKED, BLOCKED])
        if 0 in w.shape:
            raise PlanInvalid("conv_transpose needs channels")
        tile = tile_parameter(choice.params, conv_direct.TILES[lanes])
        return conv_transpose.launch(transpose_shape(op, x.shape, w.shape), lanes, tile, *epilogue(op.activation))


def transpose_shape(op: Any, x: Sequence[DimLike], w: Sequence[int]) -> TransposeShape:
    """The geometry for the kernels. Symbolic sizes, with which only the best tile changes, are one image of 64 pixels
    an axis."""
    sizes = assume_sizes(x, 1, 64)
    g = op.windows(sizes, tuple(w))
    return TransposeShape(sizes[0], sizes[1], w[1] * op.group, lift(sizes[2:], 1), lift(g.counts, 1), lift(g.kernel, 1),
                          lift(g.strides, 1), lift(g.dilations, 1), lift(g.begin, 0), op.group)


LOWERINGS: dict[str, Lowering] = {"ConvTranspose": ConvTransposeLowering()}
