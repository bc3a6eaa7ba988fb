"""Convolutions of plain tensors."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from .....errors import PlanInvalid
from ...conv_shape import ConvShape
from ...kernel import Launch, ceil_div
from ...kernels import conv_grouped_1x1, conv_plain
from ...lowering import PLAIN
from ..convolutions import tile_parameter
from .algorithm import Algorithm, Array, Params

__all__ = ["ALGORITHMS"]


class Plain(Algorithm):
    """Any groups, on plain tensors: for what no blocked kernel takes, and for few output channels."""

    layouts = (PLAIN, PLAIN)

    def cost(self, shape: ConvShape, lanes: int, forms: Collection[int | str]) -> float | None:
        return conv_plain.cost(shape, lanes)

    def params(self, shape: ConvShape, lanes: int) -> Params:
        rows, vectors = conv_plain.choose_tile(shape, lanes)
        return {"rows": rows, "vectors": vectors}

    def pack(self, shape: ConvShape, w: Array, params: Params, lanes: int) -> Array:
        return np.ascontiguousarray(w)

    def pack_bias(self, shape: ConvShape, bias: Array | None, params: Params, lanes: int) -> Array:
        return np.zeros(shape.out_channels, np.float32) if bias is None else np.ascontiguousarray(bias)

    def launch(self, shape: ConvShape, params: Params, lanes: int, residual: bool,
               activation: tuple[str, float, float]) -> Launch:
        return conv_plain.launch(shape, lanes, tile_parameter(params, conv_plain.TILES[lanes]), residual, *activation)


class GroupedPointwise(Plain):
    """Groups of any width, 1x1: a matrix product each, on plain tensors."""

    def cost(self, shape: ConvShape, lanes: int, forms: Collection[int | str]) -> float | None:
        if shape.groups == 1 or not conv_grouped_1x1.supports(shape):
            return None
        vectors = shape.images * shape.out_channels * ceil_div(shape.pixels, lanes)
        return 1.25 * vectors * shape.channels / shape.groups

    def params(self, shape: ConvShape, lanes: int) -> Params:
        return {}

    def launch(self, shape: ConvShape, params: Params, lanes: int, residual: bool,
               activation: tuple[str, float, float]) -> Launch:
        if not conv_grouped_1x1.supports(shape):
            raise PlanInvalid("conv_grouped_1x1 needs a 1x1 kernel of stride 1")
        return conv_grouped_1x1.launch(shape, lanes, residual, *activation)


ALGORITHMS = {"conv_grouped_1x1": GroupedPointwise(), "conv_plain": Plain()}
