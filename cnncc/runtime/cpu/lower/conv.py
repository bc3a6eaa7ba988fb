"""Conv on its kernels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ....errors import PlanInvalid
from ....ir import Activation, Dim, DType, TensorType
from ....ops.conv import Conv
from ..kernel import Launch
from ..kernels import conv_direct
from ..kernels.conv_direct import ConvShape
from ..lowering import BLOCKED, PLAIN, Choice, Lowering, Refusal, Tensor

__all__ = ["ConvLowering", "epilogue"]

Array = np.ndarray[Any, Any]

# Sizes that a symbolic dimension is taken to have where a kernel must be chosen without knowing it.
ASSUMED_BATCH, ASSUMED_SIZE = 1, 224

# Activation kinds of the IR that the kernels' epilogues spell otherwise.
_EPILOGUE_NAMES = {"leaky_relu": "leaky", "hard_sigmoid": "hardsigmoid", "hard_swish": "hardswish"}


def epilogue(activation: Activation | None) -> tuple[str, float, float]:
    """An activation as the kernels know it: the kind and its two words (see epilogue.py)."""
    if activation is None:
        return "clip", -math.inf, math.inf
    if activation.kind == "relu":
        return "clip", 0.0, math.inf
    a, b = (*activation.parameters, 0.0, 0.0)[:2]
    return _EPILOGUE_NAMES.get(activation.kind, activation.kind), a, b


def _assumed(shape: Sequence[int | Dim]) -> tuple[int, ...]:
    return tuple(d if isinstance(d, int) else ASSUMED_BATCH if axis == 0 else ASSUMED_SIZE
                 for axis, d in enumerate(shape))


def _lift(values: Sequence[Any], fill: int) -> tuple[int, int, int]:
    """Spatial numbers of rank 1 to 3 as three, leading ones filled."""
    padded = [fill] * (3 - len(values)) + [int(v) for v in values]
    return padded[0], padded[1], padded[2]


def conv_shape(op: Conv, x: Sequence[int], w: Sequence[int]) -> ConvShape:
    """The geometry of a convolution of x [N, C, *spatial] with w [OC, C/group, *kernel], for the kernels."""
    g = op.windows(tuple(x), tuple(w))
    return ConvShape(x[0], x[1], w[0], _lift(x[2:], 1), _lift(g.output, 1), _lift(g.kernel, 1), _lift(g.strides, 1),
                     _lift(g.dilations, 1), _lift(g.begin, 0), op.group)


class ConvLowering(Lowering):
    """X, W, B and R; W and B must be constants."""

    input_words = ("x", "w", "bias", "add")

    def choose(self, op: Any, inputs: Sequence[Tensor | None], outputs: Sequence[TensorType],
               lanes: int) -> Choice | Refusal:
        x, w, b, r = (*inputs, None, None)[:4]
        assert x is not None and w is not None
        if x.type.dtype is not DType.F32:
            return Refusal(f"convolutions are native for f32 only, not {x.type.dtype.value}")
        if not w.constant or (b is not None and not b.constant):
            return Refusal("the weights of the convolution are computed at run time")
        if x.type.rank > 5:
            return Refusal(f"convolutions are native for up to 3 spatial axes, not {x.type.rank - 2}")
        shape = conv_shape(op, _assumed(x.type.shape), w.shape)
        inplace = ((3, 0),) if r is not None else ()
        if conv_direct.supports(shape, lanes):
            rows, vectors = conv_direct.choose_tile(shape, lanes)
            plain = op.group == 1 and x.layout == PLAIN and shape.channels * 2 <= lanes
            return Choice("conv_direct", {"rows": rows, "vectors": vectors},
                          (PLAIN if plain else BLOCKED, BLOCKED, BLOCKED, BLOCKED), (BLOCKED,), inplace)
        return Refusal("grouped")

    def pack(self, op: Any, choice: Choice, inputs: Sequence[Tensor | None], index: int, lanes: int) -> Array:
        tensor = inputs[index]
        assert tensor is not None and tensor.value is not None
        if index == 1:
            return conv_direct.pack_weights(tensor.value, op.group, lanes, _vectors(choice))
        return self._bias(op, choice, inputs, lanes)

    def extra(self, op: Any, choice: Choice, inputs: Sequence[Tensor | None], lanes: int) -> dict[str, Array]:
        return {} if len(inputs) > 2 and inputs[2] is not None else {"bias": self._bias(op, choice, inputs, lanes)}

    def _bias(self, op: Any, choice: Choice, inputs: Sequence[Tensor | None], lanes: int) -> Array:
        w, b = inputs[1], inputs[2] if len(inputs) > 2 else None
        assert w is not None
        return conv_direct.pack_bias(None if b is None else b.value, w.shape[0], op.group, lanes, _vectors(choice))

    def launch(self, op: Any, choice: Choice, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor],
               lanes: int) -> Launch:
        x, w = inputs[0], inputs[1]
        assert x is not None and w is not None
        kind, a, b = epilogue(op.activation)
        shape = conv_shape(op, x.shape, w.shape)
        tile = (int(choice.params.get("rows", 0)), _vectors(choice))
        if tile not in conv_direct.TILES[lanes] or not conv_direct.supports(shape, lanes):
            raise PlanInvalid(f"conv_direct has no tile of {tile[0]} rows and {tile[1]} vectors")
        return conv_direct.launch(shape, lanes, tile, x.layout == PLAIN, len(inputs) > 3 and inputs[3] is not None,
                                  kind, a, b)


def _vectors(choice: Choice) -> int:
    return int(choice.params.get("vectors", 0))
