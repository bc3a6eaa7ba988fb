"""Winograd's F(m,3)."""

from __future__ import annotations

import math
from collections.abc import Collection

from .....errors import PlanInvalid
from ...conv_shape import ConvShape
from ...kernel import Launch, ceil_div
from ...kernels import conv_depthwise, conv_direct, conv_winograd, conv_winograd_raw
from ...winograd_tiles import count_points, count_sums, count_tiles, is_strided, is_winograd, output_tile, sum_rows
from ..convolutions import tile_parameter
from .algorithm import BYTES_A_FMA, Algorithm, Array, Params, padded, tilings

__all__ = ["ALGORITHMS"]


class WinogradTiles(Algorithm):
    """F(m,3) along the axes that have 3 taps."""

    STORE = 16.0  # a vector to the second-level cache, where transforms and products go

    def __init__(self, m: int) -> None:
        self.m = m

    def transforms(self, shape: ConvShape, lanes: int) -> float:
        """Of all inputs and of all products."""
        points, outputs = count_points(shape, self.m), math.prod(output_tile(shape, self.m))
        in_blocks, out_blocks = ceil_div(shape.channels, lanes), ceil_div(shape.out_channels, lanes)
        into, out = points * (self.STORE + 2), outputs * self.STORE + count_sums(shape, self.m) * 3
        return count_tiles(shape, self.m) * (into * in_blocks + out * out_blocks)


class Winograd(WinogradTiles):
    """With weights that were transformed beforehand."""

    PANEL = 1e6  # bytes of weights of a tile of output channels that leave no room to ask for the next tile's in time

    def cost(self, shape: ConvShape, lanes: int, forms: Collection[int | str]) -> float | None:
        if self.m not in forms or shape.channels < lanes or not is_winograd(shape):
            return None
        rows, vectors = conv_winograd.choose_tile(shape, self.m, lanes)
        points, tiles = count_points(shape, self.m), count_tiles(shape, self.m)
        out_blocks = ceil_div(shape.out_channels, lanes)
        padded = ceil_div(tiles, rows) * rows * ceil_div(out_blocks, vectors) * vectors * points
        panel = 4 * points * shape.channels * vectors * lanes
        unhidden = min(1.0, panel / self.PANEL) * panel * ceil_div(out_blocks, vectors) / BYTES_A_FMA
        return padded * (shape.channels + self.STORE) + self.transforms(shape, lanes) + unhidden

    def params(self, shape: ConvShape, lanes: int) -> Params:
        rows, vectors = conv_winograd.choose_tile(shape, self.m, lanes)
        return {"m": self.m, "rows": rows, "vectors": vectors}

    def candidates(self, shape: ConvShape, lanes: int) -> list[Params]:
        tiles = count_tiles(shape, self.m)
        return tilings(self.params(shape, lanes), padded(conv_direct.TILES[lanes], tiles, shape, lanes))

    def pack(self, shape: ConvShape, w: Array, params: Params, lanes: int) -> Array:
        return conv_winograd.pack_weights(w, self.m, lanes, int(params["vectors"]))

    def launch(self, shape: ConvShape, params: Params, lanes: int, residual: bool,
               activation: tuple[str, float, float]) -> Launch:
        tile = tile_parameter(params, conv_direct.TILES[lanes])
        if not is_winograd(shape):
            raise PlanInvalid("conv_winograd needs a 3x3, 1x3 or 3x1 kernel of stride 1")
        return conv_winograd.launch(shape, lanes, self.m, tile, residual, *activation)


class RawWinograd(WinogradTiles):
    """With weights as they are: 9 taps come from memory instead of (m + 2)^2 points, and are transformed anew for each
    group of tiles."""

    TAPS = 17.0     # to load the taps of a channel and transform them, for a row of points
    STRIDED = 3.5   # the same for a row of sums, with stride 2
    SUMS = 12.0, 4.0  # to clear a vector of M and read it in the end, to add to it what a chunk of channels gives
    UNHIDDEN = 0.5, 0.25  # see Direct; with stride 2

    def cost(self, shape: ConvShape, lanes: int, forms: Collection[int | str]) -> float | None:
        if self.m not in forms or shape.channels < lanes or not conv_winograd_raw.supports(shape, self.m):
            return None
        (rows, vectors), strided = conv_winograd_raw.choose_tile(shape, self.m, lanes), is_strided(shape)
        per_line = self.STRIDED if strided else self.TAPS
        points, (lines, columns) = count_points(shape, self.m), sum_rows(shape, self.m)
        groups = ceil_div(count_tiles(shape, self.m), rows)
        blocks = ceil_div(ceil_div(shape.out_channels, lanes), vectors) * vectors
        chunks = ceil_div(shape.channels, conv_winograd_raw.choose_chunk(shape, vectors, lanes))
        sums = lines * columns * rows * (self.SUMS[0] + chunks * self.SUMS[1])
        products = shape.channels * (points * rows + lines * per_line)
        w_bytes = 4 * shape.taps * shape.channels * blocks * lanes
        arithmetic = groups * blocks * (products + sums) + self.transforms(shape, lanes)
        return arithmetic + self.UNHIDDEN[strided] * w_bytes / BYTES_A_FMA

    def params(self, shape: ConvShape, lanes: int) -> Params:
        return {"m": self.m}

    def pack(self, shape: ConvShape, w: Array, params: Params, lanes: int) -> Array:
        return conv_winograd_raw.pack_weights(w, lanes * conv_winograd_raw.choose_tile(shape, self.m, lanes)[1])

    def pack_bias(self, shape: ConvShape, bias: Array | None, params: Params, lanes: int) -> Array:
        return conv_depthwise.pack_bias(bias, shape.out_channels, lanes)

    def launch(self, shape: ConvShape, params: Params, lanes: int, residual: bool,
               activation: tuple[str, float, float]) -> Launch:
        if not conv_winograd_raw.supports(shape, self.m):
            raise PlanInvalid("conv_winograd_raw needs a 3x3 or 1x3 kernel of stride 1, or of stride 2 for F(2,3)")
        return conv_winograd_raw.launch(shape, lanes, self.m, residual, *activation)


ALGORITHMS = {f"conv_winograd/{m}": Winograd(m) for m in (2, 4, 5, 6)} | {
    f"conv_winograd_raw/{m}": RawWinograd(m) for m in (2, 4, 5, 6)}
