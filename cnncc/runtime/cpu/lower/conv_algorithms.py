"""The ways to compute a convolution: one Algorithm a kernel, with its estimated cost."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

import numpy as np

from ....errors import PlanInvalid
from ..kernel import Launch, ceil_div
from ..kernels import (
    conv_depthwise,
    conv_direct,
    conv_first,
    conv_grouped,
    conv_grouped_1x1,
    conv_plain,
    conv_strassen,
    conv_winograd,
    conv_winograd_raw,
)
from ..kernels.conv_direct import ConvShape
from ..lowering import BLOCKED, PLAIN
from ..winograd_tiles import count_points, count_sums, count_tiles, is_strided, is_winograd, output_tile, sum_rows
from .accuracy import STRASSEN
from .conv_algorithm import BYTES_A_FMA, Algorithm, Array, Params
from .convolutions import integer_parameter, tile_parameter

__all__ = ["ALGORITHMS", "Algorithm", "Params", "algorithm_name", "saves_products"]


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
        return _tilings(self.params(shape, lanes), _padded(conv_direct.TILES[lanes], shape.pixels, shape, lanes))

    def pack(self, shape: ConvShape, w: Array, params: Params, lanes: int) -> Array:
        return conv_direct.pack_weights(w, shape.groups, lanes, int(params["vectors"]))

    def launch(self, shape: ConvShape, params: Params, lanes: int, residual: bool,
               activation: tuple[str, float, float]) -> Launch:
        tile = tile_parameter(params, conv_direct.TILES[lanes])
        if not conv_direct.supports(shape, lanes):
            raise PlanInvalid(f"conv_direct cannot run {shape.groups} groups of {shape.channels} channels")
        return conv_direct.launch(shape, lanes, tile, residual, *activation)


class Strassen(Algorithm):
    """Seven half products instead of eight."""

    SUMS = 25.0     # of the four vectors of a block of channels of two paired pixels
    PARTIAL = 4.0   # to read and store an accumulator of a product
    UNHIDDEN = 0.4  # see Direct
    LEAST = 1.02    # less exact, and with more weights to keep: not for a gain of less than a fiftieth

    def cost(self, shape: ConvShape, lanes: int, forms: Collection[int | str]) -> float | None:
        if STRASSEN not in forms or not conv_strassen.supports(shape, lanes):
            return None
        rows, vectors = conv_strassen.TILES[lanes]
        _, groups, parts = conv_strassen.choose_tasks(shape, lanes)
        pairs, w_bytes = shape.images * ceil_div(shape.pixels, 2 * rows), conv_strassen.weight_bytes(shape, lanes)
        accumulators = rows * vectors * ceil_div(shape.out_channels, 2 * lanes * vectors)
        products = conv_strassen.PRODUCTS * pairs * accumulators * (shape.channels / 2 + self.PARTIAL)
        sums = self.SUMS * parts * pairs * rows * shape.channels / (2 * lanes)
        readings = 1 if w_bytes < conv_strassen.WIDE_BYTES else shape.images * groups
        return self.LEAST * (products + sums + self.UNHIDDEN * readings * w_bytes / BYTES_A_FMA)

    def params(self, shape: ConvShape, lanes: int) -> Params:
        return {}

    def pack(self, shape: ConvShape, w: Array, params: Params, lanes: int) -> Array:
        return conv_strassen.pack_weights(w, lanes)

    def pack_bias(self, shape: ConvShape, bias: Array | None, params: Params, lanes: int) -> Array:
        return conv_strassen.pack_bias(bias, shape.out_channels, lanes)

    def launch(self, shape: ConvShape, params: Params, lanes: int, residual: bool,
               activation: tuple[str, float, float]) -> Launch:
        if not conv_strassen.supports(shape, lanes):
            raise PlanInvalid(f"conv_strassen needs a 1x1 kernel of stride 1 and multiples of {2 * lanes} channels")
        return conv_strassen.launch(shape, lanes, residual, *activation)


class First(Direct):
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
        return _tilings(self.params(shape, lanes), {
            tile: conv_first.count_tiles(shape, lanes, tile) * math.prod(tile) for tile in conv_first.TILES[lanes]})

    def pack(self, shape: ConvShape, w: Array, params: Params, lanes: int) -> Array:
        return conv_first.pack_weights(w, lanes, int(params["vectors"]))

    def launch(self, shape: ConvShape, params: Params, lanes: int, residual: bool,
               activation: tuple[str, float, float]) -> Launch:
        if not conv_first.supports(shape, lanes):
            raise PlanInvalid(f"conv_first cannot run {shape.groups} groups of {shape.channels} channels")
        return conv_first.launch(shape, lanes, tile_parameter(params, conv_first.TILES[lanes]), residual, *activation)


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
        return _tilings(self.params(shape, lanes), _padded(conv_direct.TILES[lanes], tiles, shape, lanes))

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


class Depthwise(Algorithm):
    """A channel a lane."""

    def cost(self, shape: ConvShape, lanes: int, forms: Collection[int | str]) -> float | None:
        if shape.groups == 1 or not conv_depthwise.supports(shape):
            return None
        return float(shape.images * ceil_div(shape.channels, lanes) * shape.pixels * shape.taps)

    def params(self, shape: ConvShape, lanes: int) -> Params:
        return {"rows": conv_depthwise.choose_rows(shape)}

    def candidates(self, shape: ConvShape, lanes: int) -> list[Params]:
        return sorted(({"rows": rows} for rows in (8, 7)), key=lambda p: p != self.params(shape, lanes))

    def pack(self, shape: ConvShape, w: Array, params: Params, lanes: int) -> Array:
        return conv_depthwise.pack_weights(w, lanes)

    def pack_bias(self, shape: ConvShape, bias: Array | None, params: Params, lanes: int) -> Array:
        return conv_depthwise.pack_bias(bias, shape.out_channels, lanes)

    def launch(self, shape: ConvShape, params: Params, lanes: int, residual: bool,
               activation: tuple[str, float, float]) -> Launch:
        rows = integer_parameter(params, "rows")
        if rows not in (7, 8) or not conv_depthwise.supports(shape):
            raise PlanInvalid(f"conv_depthwise cannot run {shape.groups} groups of {shape.channels} channels by {rows}")
        return conv_depthwise.launch(shape, lanes, rows, residual, *activation)


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
        return _tilings(self.params(shape, lanes), {
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


def _tilings(params: Params, work: dict[tuple[int, int], int]) -> list[Params]:
    """`params`, then the same with each other register tile that does at most a quarter more work than the least."""
    others = (tile for tile in work if work[tile] <= 1.25 * min(work.values()))
    return [params, *(p for rows, vectors in others if (p := {**params, "rows": rows, "vectors": vectors}) != params)]


def _padded(tiles: Collection[tuple[int, int]], pixels: int, shape: ConvShape,
            lanes: int) -> dict[tuple[int, int], int]:
    """Vectors of all register tiles over `pixels`, by tile."""
    blocks = ceil_div(shape.out_channels // shape.groups, lanes)
    return {(rows, vectors): ceil_div(pixels, rows) * rows * ceil_div(blocks, vectors) * vectors
            for rows, vectors in tiles}


# By the name that a plan's step has; the first of equal cost is chosen.
ALGORITHMS: dict[str, Algorithm] = {
    "conv_depthwise": Depthwise(),
    "conv_direct": Direct(),
    "conv_first": First(),
    "conv_grouped": Grouped(),
    "conv_grouped_1x1": GroupedPointwise(),
    "conv_plain": Plain(),
    "conv_strassen": Strassen(),
    "conv_winograd/2": Winograd(2),
    "conv_winograd/4": Winograd(4),
    "conv_winograd/5": Winograd(5),
    "conv_winograd/6": Winograd(6),
    "conv_winograd_raw/2": RawWinograd(2),
    "conv_winograd_raw/4": RawWinograd(4),
    "conv_winograd_raw/5": RawWinograd(5),
    "conv_winograd_raw/6": RawWinograd(6),
}


def saves_products(shape: ConvShape, lanes: int) -> bool:
    """Whether Strassen's algorithm would be cheaper than direct sums: only then are weights looked at."""
    cost, direct = (ALGORITHMS[name].cost(shape, lanes, {STRASSEN}) for name in ("conv_strassen", "conv_direct"))
    return cost is not None and direct is not None and cost < direct


def algorithm_name(kernel: str, params: Mapping[str, int | str]) -> str:
    """The name in ALGORITHMS of what a plan's step has."""
    return f"{kernel}/{params.get('m')}" if kernel.startswith("conv_winograd") else kernel
