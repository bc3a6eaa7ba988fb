"""ConvTranspose on the kernel of conv_direct: of any groups, strides and dilations, up to 3 spatial axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ....errors import PlanInvalid
from ....ir import TensorType
from ...cpu.kernels.conv_transpose import TransposeShape
from ...cpu.lower.activation import epilogue
from ...cpu.lower.conv_transpose import transpose_shape
from ...cpu.lower.convolutions import refuse_operands
from ...cpu.lowering import PLAIN, Choice, Lowering, Refusal, Tensor
from ..devices import DEFAULT, Device
from ..kernel import MAX_GRID, MAX_INTEGER, Launch
from ..kernels import conv_direct, conv_transpose
from ..tf32 import on_tensor_cores
from ..tiles import Product, choose_tile, moved_bytes
from .accuracy import TF32
from .conv import rows_of

__all__ = ["LOWERINGS", "ConvTransposeLowering"]

Array = np.ndarray[Any, Any]


class ConvTransposeLowering(Lowering):
    """X, W and B; W and B must be constants. On tensor cores where accuracy allows it and the device has them."""

    input_words = ("x", "w", "bias")

    def __init__(self, accuracy: str = "default", device: Device = DEFAULT) -> None:
        self.accuracy, self.device = accuracy, device

    def choose(self, op: Any, inputs: Sequence[Tensor | None], outputs: Sequence[TensorType],
               lanes: int) -> Choice | Refusal:
        x, w, b = (*inputs, None)[:3]
        assert x is not None and w is not None
        reason = refuse_operands(x, w, b, "transposed convolution", "have CUDA kernels")
        if reason:
            return Refusal(reason)
        shape = transpose_shape(op, x.type.shape, w.shape)
        if largest(shape) > MAX_INTEGER or math.prod(shape.stride) * shape.groups > MAX_GRID[2]:
            return Refusal("the transposed convolution is too large for one launch")
        tensor = self.accuracy == TF32 and self.device.tf32 > 0
        rows = choose_tile(self.device, product(shape), splits=False, tensor=tensor).m
        return Choice(conv_direct.KERNEL.name, {"rows": rows} | ({"tensor": 1} if tensor else {}),
                      (PLAIN,) * len(inputs), (PLAIN,))

    def pack(self, op: Any, choice: Choice, inputs: Sequence[Tensor | None], index: int, lanes: int) -> Array:
        w, b = (*inputs, None)[1:3]
        assert w is not None and w.value is not None
        shape, rows = self._shape(op, inputs), rows_of(dict(choice.params))
        if index == 1:
            return conv_transpose.pack_weights(w.value, shape, rows, tensor=on_tensor_cores(choice.params))
        return conv_transpose.pack_bias(None if b is None else b.value, shape.out_channels, shape.groups, rows)

    def extra(self, op: Any, choice: Choice, inputs: Sequence[Tensor | None], lanes: int) -> dict[str, Array]:
        shape, rows = self._shape(op, inputs), rows_of(dict(choice.params))
        taps = {"taps": conv_transpose.pack_taps(shape)}
        if len(inputs) > 2 and inputs[2] is not None:
            return taps
        return taps | {"bias": conv_transpose.pack_bias(None, shape.out_channels, shape.groups, rows)}

    def _shape(self, op: Any, inputs: Sequence[Tensor | None]) -> TransposeShape:
        x, w = inputs[0], inputs[1]
        assert x is not None and w is not None
        return transpose_shape(op, x.type.shape, w.shape)

    def launch(self, op: Any, choice: Choice, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor],
               lanes: int) -> Launch:
        x, w = inputs[0], inputs[1]
        assert x is not None and w is not None
        shape = transpose_shape(op, x.shape, w.shape)
        if 0 in w.shape or largest(shape) > MAX_INTEGER or math.prod(shape.stride) * shape.groups > MAX_GRID[2]:
            raise PlanInvalid("the transposed convolution has no channels or is too large for one launch")
        tile = choose_tile(self.device, product(shape), [rows_of(dict(choice.params))], splits=False,
                           tensor=on_tensor_cores(choice.params))
        return conv_transpose.launch(shape, tile, *epilogue(op.activation))


def product(shape: TransposeShape) -> Product:
    """As plain convolutions, one for each phase."""
    channels, out_channels = shape.channels // shape.groups, shape.out_channels // shape.groups
    moved = moved_bytes(shape.images * shape.channels * math.prod(shape.size), math.prod(shape.kernel) * channels
                        * shape.out_channels, shape.images * shape.out_channels * math.prod(shape.out_size))
    return Product(out_channels, shape.images * shape.phase_pixels, channels * shape.phase_taps,
                   shape.groups * math.prod(shape.stride), moved)


def largest(shape: TransposeShape) -> int:
    """Elements of the larger of x and y; kernels count them in 32 bits."""
    return shape.images * max(shape.channels * math.prod(shape.size), shape.out_channels * math.prod(shape.out_size))


LOWERINGS: dict[str, Lowering] = {"ConvTranspose": ConvTransposeLowering()}
