"""The first layer of a network."""

from __future__ import annotations

import math
from collections.abc import Collection

from .....errors import PlanInvalid
from ...conv_shape import ConvShape
from ...kernel import Launch
from ...kernels import conv_first
from ...lowering import BLOCKED, PLAIN
from ..convolutions import tile_parameter
from .algorithm import Algorithm, Array, Params, tilings

__all__ = ["ALGORITHMS"]


class First(Algorithm):
    """Few channels, read as they come."""

    layouts = (PLAIN, BLOCKED)
    TILE = 20.0  # to begin and to store a tile

    def cost(self, shape: ConvShape, lanes: int, forms: Collection[int | str]) -> float | None:
        if not conv_first.supports(shape, lanes):
            return None
        rows, vectors = tile = conv_first.choose_tile(shape, lanes)
        tiles = shape.images * conv_first.count_tiles(shape, lanes, tile)
        return float(tiles * (rows * vectors * shape.channels * shape.taps / conv_first.TILES[lanes][tile] + self.TILE))

    def params(self, shape: ConvShape, lanes: int) -> Params:
        rows, vectors = conv_first.choose_tile(shape, lanes)
        return {"rows": rows, "vectors": vectors}

    def candidates(self, shape: ConvShape, lanes: int) -> list[Params]:
        return tilings(self.params(shape, lanes), {
            tile: conv_first.count_tiles(shape, lanes, tile) * math.prod(tile) for tile in conv_first.TILES[lanes]})

    def pack(self, shape: ConvShape, w: Array, params: Params, lanes: int) -> Array:
        return conv_first.pack_weights(w, lanes, int(params["vectors"]))

    def launch(self, shape: ConvShape, params: Params, lanes: int, residual: bool,
               activation: tuple[str, float, float]) -> Launch:
        if not conv_first.supports(shape, lanes):
            raise PlanInvalid(f"conv_first cannot run {shape.groups} groups of {shape.channels} channels")
        return conv_first.launch(shape, lanes, tile_parameter(params, conv_first.TILES[lanes]), residual, *activation)


ALGORITHMS = {"conv_first": First()}
