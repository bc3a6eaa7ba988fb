"""ConvTranspose on its kernel: blocked in, blocked out, any groups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ....errors import PlanInvalid
from ....ir import DimLike, DType, TensorType
from ..kernel import Launch
from ..kernels import conv_direct, conv_transpose
from ..kernels.conv_transpose import TransposeShape
from ..lowering import BLOCKED, Choice, Lowering, Refusal, Tensor
from .activation import epilogue
from .layouts import expect_layouts, lift

__all__ = ["LOWERINGS", "ConvTransposeLowering"]

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
        if x.type.dtype is not DType.F32:
            return Refusal(f"transposed convolutions are native for f32 only, not {x.type.dtype.value}")
        if not w.constant or w.value is None or (b is not None and not b.constant):
            return Refusal("the weights of the transposed convolution are computed at run time")
        if x.type.rank > 5:
            return Refusal(f"transposed convolutions are native for up to 3 spatial axes, not {x.type.rank - 2}")
        if 0 in w.shape:
            return Refusal("there are no channels")
        rows, vectors = conv_transpose.choose_tile(_shape(op, _assumed(x.type.shape), w.shape), lanes)
        return Choice(conv_transpose.KERNEL.name, {"rows": rows, "vectors": vectors}, (BLOCKED,), (BLOCKED,))

    def pack(self, op: Any, choice: Choice, inputs: Sequence[Tensor | None], index: int, lanes: int) -> Array:
        x, w, b = (*inputs, None)[:3]
        assert x is not None and w is not None and w.value is not None
        shape, vectors = _shape(op, _assumed(x.type.shape), w.shape), _tile(choice, lanes)[1]
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
        return conv_transpose.launch(_shape(op, x.shape, w.shape), lanes, _tile(choice, lanes),
                                     *epilogue(op.activation))


def _assumed(shape: Sequence[DimLike]) -> tuple[int, ...]:
    """Symbolic sizes, with which only the best tile changes, as one image of 64 pixels an axis."""
    return tuple(d if isinstance(d, int) else 1 if axis == 0 else 64 for axis, d in enumerate(shape))


def _shape(op: Any, x: Sequence[int], w: Sequence[int]) -> TransposeShape:
    g = op.windows(tuple(x), tuple(w))
    return TransposeShape(x[0], x[1], w[1] * op.group, lift(x[2:], 1), lift(g.counts, 1), lift(g.kernel, 1),
                          lift(g.strides, 1), lift(g.dilations, 1), lift(g.begin, 0), op.group)


def _tile(choice: Choice, lanes: int) -> tuple[int, int]:
    rows, vectors = choice.params.get("rows"), choice.params.get("vectors")
    if not isinstance(rows, int) or not isinstance(vectors, int) or \
            (rows, vectors) not in conv_direct.TILES.get(lanes, {}):
        raise PlanInvalid(f"there is no register tile of {rows!r} rows and {vectors!r} vectors of {lanes}")
    return rows, vectors


LOWERINGS: dict[str, Lowering] = {"ConvTranspose": ConvTransposeLowering()}
