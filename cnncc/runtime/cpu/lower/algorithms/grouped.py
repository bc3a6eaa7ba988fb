"""Groups of some channels."""

from __future__ import annotations

import math
from collections.abc import Collection

from .....errors import PlanInvalid
from ...conv_shape import ConvShape
from ...kernel import Launch, ceil_div
from ...kernels import conv_depthwise, conv_direct, conv_grouped
from ..convolutions import tile_parameter
from .algorithm import Algorithm, Array, Params, tilings

__all__ = ["ALGORITHMS"]


class Grouped(Algorithm):
    """Register tiles over the padded pixels of a row, for groups that divide a vector or are a few."""

    COPY, TILE = 6.0, 20.0  # to copy a vector of the input, to begin and store a tile

    def cost(self, shape: ConvShape, lanes: int, forms: Collection[int | str]) -> float | None:
        if shape.is_pointwise or not conv_grouped.supports(shape, lanes):
            return None
        rows, vectors = tile = conv_grouped.choose_tile(shape, lanes)
        group, share = shape.channels // shape.groups, conv_grouped.tiles_for(shape, lanes)[tile]
        units = shape.images * (ceil_div(shape.channels, lanes) if group < lanes else shape.groups)
        fmas = rows * vectors * group * shape.taps * (1.4 if group < lanes else 1.0)
        copies = self.COPY * ceil_div(group, lanes) * math.prod(shape.size)
        return units * (conv_grouped.count_tiles(shape, lanes, tile) * (fmas / share + self.TILE) + copies)

    def params(self, shape: ConvShape, lanes: int) -> Params:
        rows, vectors = conv_grouped.choose_tile(shape, lanes)
        return {"rows": rows, "vectors": vectors}

    def candidates(self, shape: ConvShape, lanes: int) -> list[Params]:
        return tilings(self.params(shape, lanes), {
            tile: conv_grouped.count_tiles(shape, lanes, tile) * math.prod(tile)
            for tile in conv_grouped.tiles_for(shape, lanes)})

    def pack(self, shape: ConvShape, w: Array, params: Params, lanes: int) -> Array:
        if conv_grouped.is_narrow(shape, lanes):
            return conv_grouped.pack_narrow_weights(w, lanes, conv_grouped.sliding_taps(shape, lanes))
        return conv_direct.pack_weights(w, shape.groups, lanes, int(params["vectors"]))

    def pack_bias(self, shape: ConvShape, bias: Array | None, params: Params, lanes: int) -> Array:
        if conv_grouped.is_narrow(shape, lanes):
            return conv_depthwise.pack_bias(bias, shape.out_channels, lanes)
        return conv_direct.pack_bias(bias, shape.out_channels, shape.groups, lanes, int(params["vectors"]))

    def launch(self, shape: ConvShape, params: Params, lanes: int, residual: bool,
               activation: tuple[str, float, float]) -> Launch:
        if not conv_grouped.supports(shape, lanes):
            raise PlanInvalid(f"conv_grouped cannot run {shape.groups} groups of {shape.channels} channels")
        tile = tile_parameter(params, conv_grouped.tiles_for(shape, lanes))
        return conv_grouped.launch(shape, lanes, tile, residual, *activation)


ALGORITHMS = {"conv_grouped": Grouped()}
