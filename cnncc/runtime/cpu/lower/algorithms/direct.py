"""Direct sums, on register tiles."""

from __future__ import annotations

from collections.abc import Collection

from .....errors import PlanInvalid
from ...conv_shape import ConvShape
from ...kernel import Launch, ceil_div
from ...kernels import conv_direct
from ..convolutions import tile_parameter
from .algorithm import BYTES_A_FMA, Algorithm, Array, Params, padded, tilings

__all__ = ["ALGORITHMS"]


class Direct(Algorithm):
    """Register tiles over pixels and output channels."""

    TAP = 40.0      # to start on another tap of a block of input channels
    ADDRESS = 3.0   # to find a pixel of a tap
    SAMPLE = 12.0   # to copy a vector of a pixel that is sampled
    UNHIDDEN = 0.25  # the share of the weights' way from memory that arithmetic does not hide

    def cost(self, shape: ConvShape, lanes: int, forms: Collection[int | str]) -> float | None:
        if not conv_direct.supports(shape, lanes):
            return None
        tile, each, copies = conv_direct.choose_tile(shape, lanes), 0.0, 0.0
        blocks = ceil_div(shape.channels // shape.groups, lanes)
        if not shape.is_sampling:
            each = shape.taps * (self.TAP * blocks + self.ADDRESS * tile[0])
        elif not shape.is_pointwise:
            copies = self.SAMPLE * shape.images * shape.groups * blocks * shape.pixels
        arithmetic = self.products(shape, lanes, tile, each) + copies
        w_bytes = 4 * shape.out_channels * (shape.channels // shape.groups) * shape.taps
        return arithmetic + self.UNHIDDEN * w_bytes / BYTES_A_FMA

    def products(self, shape: ConvShape, lanes: int, tile: tuple[int, int], each: float) -> float:
        """FMAs of whole register tiles, and what `each` of them takes besides."""
        rows, vectors = tile
        tiles = ceil_div(ceil_div(shape.out_channels // shape.groups, lanes), vectors)
        tiles *= shape.images * shape.groups * ceil_div(shape.pixels, rows)
        return float(tiles * (rows * vectors * shape.channels // shape.groups * shape.taps + each))

    def params(self, shape: ConvShape, lanes: int) -> Params:
        rows, vectors = conv_direct.choose_tile(shape, lanes)
        return {"rows": rows, "vectors": vectors}

    def candidates(self, shape: ConvShape, lanes: int) -> list[Params]:
        return tilings(self.params(shape, lanes), padded(conv_direct.TILES[lanes], shape.pixels, shape, lanes))

    def pack(self, shape: ConvShape, w: Array, params: Params, lanes: int) -> Array:
        return conv_direct.pack_weights(w, shape.groups, lanes, int(params["vectors"]))

    def launch(self, shape: ConvShape, params: Params, lanes: int, residual: bool,
               activation: tuple[str, float, float]) -> Launch:
        tile = tile_parameter(params, conv_direct.TILES[lanes])
        if not conv_direct.supports(shape, lanes):
            raise PlanInvalid(f"conv_direct cannot run {shape.groups} groups of {shape.channels} channels")
        return conv_direct.launch(shape, lanes, tile, residual, *activation)


ALGORITHMS = {"conv_direct": Direct()}
