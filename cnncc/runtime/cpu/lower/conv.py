"""Conv on its kernels: one Algorithm a kernel, and the choice among them."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any, ClassVar

import numpy as np

from ....errors import PlanInvalid
from ....ir import Dim, DType, TensorType
from ....ops.conv import Conv
from ..kernel import Launch, ceil_div
from ..kernels import conv_depthwise, conv_direct, conv_first, conv_grouped_1x1, conv_plain, conv_winograd
from ..kernels.conv_direct import ConvShape
from ..lowering import BLOCKED, PLAIN, Choice, Lowering, Refusal, Tensor
from .accuracy import allowed_forms
from .activation import epilogue

__all__ = ["ALGORITHMS", "LOWERINGS", "ConvLowering", "assumed_shape", "conv_shape"]

Array = np.ndarray[Any, Any]
Params = dict[str, int | str]

# Sizes that a symbolic dimension is taken to have where a kernel must be chosen without knowing it.
ASSUMED_BATCH, ASSUMED_SIZE = 1, 224


def assumed_shape(shape: Sequence[int | Dim]) -> tuple[int, ...]:
    """The shape to choose a kernel for, where some of it is symbolic."""
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


# What a core of a server does in the time of one vector FMA, measured: bytes of weights that arrive from memory.
BYTES_A_FMA = 3.0


class Algorithm:
    """One way to compute a convolution. `cost` estimates it in vector FMAs; None where it does not apply, or is none of
    the `forms` F(m,3) that accuracy allows."""

    layouts: ClassVar[tuple[str, str]] = (BLOCKED, BLOCKED)  # of x, and of add and y

    def cost(self, shape: ConvShape, lanes: int, forms: Collection[int]) -> float | None:
        raise NotImplementedError  # abstract

    def params(self, shape: ConvShape, lanes: int) -> Params:
        """What the plan stores; `pack` and `launch` depend on nothing else that was chosen."""
        raise NotImplementedError  # abstract

    def candidates(self, shape: ConvShape, lanes: int) -> list[Params]:
        """What tuning measures: `params` first, then others that may be faster."""
        return [self.params(shape, lanes)]

    def pack(self, shape: ConvShape, w: Array, params: Params, lanes: int) -> Array:
        raise NotImplementedError  # abstract

    def pack_bias(self, shape: ConvShape, bias: Array | None, params: Params, lanes: int) -> Array:
        return conv_direct.pack_bias(bias, shape.out_channels, shape.groups, lanes, int(params["vectors"]))

    def launch(self, shape: ConvShape, params: Params, lanes: int, residual: bool,
               activation: tuple[str, float, float]) -> Launch:
        raise NotImplementedError  # abstract


class Direct(Algorithm):
    """Register tiles over pixels and output channels."""

    TAP = 40.0      # to start on another tap of a block of input channels
    UNHIDDEN = 0.25  # the share of the weights' way from memory that arithmetic does not hide

    def cost(self, shape: ConvShape, lanes: int, forms: Collection[int]) -> float | None:
        if not conv_direct.supports(shape, lanes):
            return None
        taps = 0 if shape.is_pointwise else shape.taps * ceil_div(shape.channels // shape.groups, lanes)
        arithmetic = self.products(shape, lanes, conv_direct.choose_tile(shape, lanes), self.TAP * taps)
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
        return _tilings(self.params(shape, lanes), conv_direct.TILES[lanes], shape.pixels, shape, lanes)

    def pack(self, shape: ConvShape, w: Array, params: Params, lanes: int) -> Array:
        return conv_direct.pack_weights(w, shape.groups, lanes, int(params["vectors"]))

    def launch(self, shape: ConvShape, params: Params, lanes: int, residual: bool,
               activation: tuple[str, float, float]) -> Launch:
        tile = _tile(params, conv_direct.TILES[lanes])
        if not conv_direct.supports(shape, lanes):
            raise PlanInvalid(f"conv_direct cannot run {shape.groups} groups of {shape.channels} channels")
        return conv_direct.launch(shape, lanes, tile, residual, *activation)


class First(Direct):
    """Few channels, read as they come."""

    layouts = (PLAIN, BLOCKED)

    def cost(self, shape: ConvShape, lanes: int, forms: Collection[int]) -> float | None:
        if not conv_first.supports(shape, lanes):
            return None
        return self.products(shape, lanes, conv_direct.choose_tile(shape, lanes, conv_first.TILES), 50)

    def params(self, shape: ConvShape, lanes: int) -> Params:
        rows, vectors = conv_direct.choose_tile(shape, lanes, conv_first.TILES)
        return {"rows": rows, "vectors": vectors}

    def candidates(self, shape: ConvShape, lanes: int) -> list[Params]:
        return _tilings(self.params(shape, lanes), conv_first.TILES[lanes], shape.pixels, shape, lanes)

    def pack(self, shape: ConvShape, w: Array, params: Params, lanes: int) -> Array:
        return conv_first.pack_weights(w, lanes, int(params["vectors"]))

    def launch(self, shape: ConvShape, params: Params, lanes: int, residual: bool,
               activation: tuple[str, float, float]) -> Launch:
        if not conv_first.supports(shape, lanes):
            raise PlanInvalid(f"conv_first cannot run {shape.groups} groups of {shape.channels} channels")
        return conv_first.launch(shape, lanes, _tile(params, conv_first.TILES[lanes]), residual, *activation)


class Winograd(Algorithm):
    """F(m,3) along the axes that have 3 taps. Weights come transformed, or as they are (`raw`): then the kernel
    transforms them, which costs stores but moves only a quarter of F(4,3)'s bytes from memory."""

    STORE = 16.0  # a vector to the second-level cache, where transforms and products go; U comes in longer runs
    STORE_U = 7.0
    UNHIDDEN: ClassVar[tuple[float, float]] = (1.0, 0.7)  # see Direct; by raw

    def __init__(self, m: int) -> None:
        self.m = m

    def cost(self, shape: ConvShape, lanes: int, forms: Collection[int]) -> float | None:
        if self.m not in forms or shape.channels < lanes:
            return None
        return min(self._cost(shape, lanes, raw) for raw in (0, 1))

    def _cost(self, shape: ConvShape, lanes: int, raw: int) -> float:
        rows, vectors = conv_winograd.choose_tile(shape, self.m, lanes)
        points, tiles = conv_winograd.count_points(shape, self.m), conv_winograd.count_tiles(shape, self.m)
        block = conv_winograd.choose_block(shape, self.m, rows, vectors, lanes)
        in_blocks, out_blocks = ceil_div(shape.channels, lanes), ceil_div(shape.out_channels, lanes)
        padded = ceil_div(tiles, rows) * rows * ceil_div(out_blocks, vectors) * vectors * points
        outputs = math.prod(conv_winograd.output_tile(shape, self.m))
        into, out = points * (self.STORE + 2), outputs * self.STORE + points * 3
        arithmetic = padded * shape.channels + tiles * (into * in_blocks + out * out_blocks)
        u_bytes = 4 * (shape.taps if raw else points) * shape.channels * out_blocks * lanes
        passes = 1
        if raw:
            passes = ceil_div(shape.channels, conv_winograd.choose_chunk(shape, self.m, vectors, lanes))
            arithmetic += ceil_div(tiles, block) * shape.channels * out_blocks * points * self.STORE_U
        arithmetic += padded * passes * self.STORE
        return arithmetic + self.UNHIDDEN[raw] * u_bytes / BYTES_A_FMA

    def params(self, shape: ConvShape, lanes: int) -> Params:
        rows, vectors = conv_winograd.choose_tile(shape, self.m, lanes)
        raw = int(self._cost(shape, lanes, 1) < self._cost(shape, lanes, 0))
        return {"m": self.m, "rows": rows, "vectors": vectors, "raw": raw}

    def candidates(self, shape: ConvShape, lanes: int) -> list[Params]:
        first, tiles = self.params(shape, lanes), conv_winograd.count_tiles(shape, self.m)
        found = _tilings(first, conv_direct.TILES[lanes], tiles, shape, lanes)
        return [*found, {**first, "raw": 1 - int(first["raw"])}]

    def pack(self, shape: ConvShape, w: Array, params: Params, lanes: int) -> Array:
        if params["raw"]:
            return conv_winograd.pack_raw_weights(w, lanes, int(params["vectors"]))
        return conv_winograd.pack_weights(w, self.m, lanes, int(params["vectors"]))

    def launch(self, shape: ConvShape, params: Params, lanes: int, residual: bool,
               activation: tuple[str, float, float]) -> Launch:
        tile = _tile(params, conv_direct.TILES[lanes])
        if not conv_winograd.supports(shape):
            raise PlanInvalid("conv_winograd needs a 3x3, 1x3 or 3x1 kernel of stride 1")
        return conv_winograd.launch(shape, lanes, self.m, tile, bool(_integer(params, "raw")), residual, *activation)


class Depthwise(Algorithm):
    """Depthwise, and narrow groups that divide a vector."""

    def cost(self, shape: ConvShape, lanes: int, forms: Collection[int]) -> float | None:
        if shape.groups == 1 or not conv_depthwise.supports(shape, lanes):
            return None
        return float(shape.images * ceil_div(shape.channels, lanes) * shape.pixels * shape.taps
                     * (shape.channels // shape.groups))

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
        rows = _integer(params, "rows")
        if rows not in (7, 8) or not conv_depthwise.supports(shape, lanes):
            raise PlanInvalid(f"conv_depthwise cannot run {shape.groups} groups with {rows} rows")
        return conv_depthwise.launch(shape, lanes, rows, residual, *activation)


class Plain(Algorithm):
    """Any groups, on plain tensors: for what no blocked kernel takes, and for few output channels."""

    layouts = (PLAIN, PLAIN)

    def cost(self, shape: ConvShape, lanes: int, forms: Collection[int]) -> float | None:
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
        return conv_plain.launch(shape, lanes, _tile(params, conv_plain.TILES[lanes]), residual, *activation)


class GroupedPointwise(Plain):
    """Groups of any width, 1x1: a matrix product each, on plain tensors."""

    def cost(self, shape: ConvShape, lanes: int, forms: Collection[int]) -> float | None:
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


# By the name that a plan's step has; the first of equal cost is chosen.
ALGORITHMS: dict[str, Algorithm] = {
    "conv_depthwise": Depthwise(),
    "conv_direct": Direct(),
    "conv_first": First(),
    "conv_grouped_1x1": GroupedPointwise(),
    "conv_plain": Plain(),
    "conv_winograd/2": Winograd(2),
    "conv_winograd/4": Winograd(4),
    "conv_winograd/6": Winograd(6),
}


class ConvLowering(Lowering):
    """X, W, B and R; W and B must be constants."""

    input_words = ("x", "w", "bias", "add")
    overwritable = (3,)

    def __init__(self, accuracy: str = "default") -> None:
        self.accuracy = accuracy

    def choose(self, op: Any, inputs: Sequence[Tensor | None], outputs: Sequence[TensorType],
               lanes: int) -> Choice | Refusal:
        x, w, b = (*inputs, None)[:3]
        assert x is not None and w is not None
        if x.type.dtype is not DType.F32:
            return Refusal(f"convolutions are native for f32 only, not {x.type.dtype.value}")
        if not w.constant or w.value is None or (b is not None and not b.constant):
            return Refusal("the weights of the convolution are computed at run time")
        if x.type.rank > 5:
            return Refusal(f"convolutions are native for up to 3 spatial axes, not {x.type.rank - 2}")
        costs = self.costs(op, inputs, lanes)
        if not costs:
            return Refusal(f"no kernel for {op.group} groups of {w.shape[1]} channels")
        name, params = self.pick(op, inputs, costs, lanes)
        into, out = ALGORITHMS[name].layouts
        return Choice(name.split("/")[0], params, (into, BLOCKED, BLOCKED, out), (out,))

    def costs(self, op: Conv, inputs: Sequence[Tensor | None], lanes: int) -> dict[str, float]:
        """What each algorithm that applies is estimated to cost, by its name in ALGORITHMS."""
        x, w = inputs[0], inputs[1]
        assert x is not None and w is not None and w.value is not None
        shape = conv_shape(op, assumed_shape(x.type.shape), w.shape)
        forms = allowed_forms(self.accuracy, w.value) if conv_winograd.supports(shape) else frozenset()
        costs = {}
        for name, one in ALGORITHMS.items():
            cost = one.cost(shape, lanes, forms)
            if cost is not None:
                costs[name] = cost + _reorders_cost(shape, lanes, x.layout != one.layouts[0], one.layouts[1] == PLAIN)
        return costs

    def pick(self, op: Conv, inputs: Sequence[Tensor | None], costs: dict[str, float],
             lanes: int) -> tuple[str, Params]:
        """The algorithm to take and its parameters."""
        x, w = inputs[0], inputs[1]
        assert x is not None and w is not None
        name = min(costs, key=costs.__getitem__)
        return name, ALGORITHMS[name].params(conv_shape(op, assumed_shape(x.type.shape), w.shape), lanes)

    def pack(self, op: Any, choice: Choice, inputs: Sequence[Tensor | None], index: int, lanes: int) -> Array:
        x, w, b = (*inputs, None)[:3]
        assert x is not None and w is not None and w.value is not None
        shape, algorithm = conv_shape(op, assumed_shape(x.type.shape), w.shape), _algorithm(choice)
        params = dict(choice.params)
        if index == 1:
            return algorithm.pack(shape, w.value, params, lanes)
        return algorithm.pack_bias(shape, None if b is None else b.value, params, lanes)

    def extra(self, op: Any, choice: Choice, inputs: Sequence[Tensor | None], lanes: int) -> dict[str, Array]:
        return {} if len(inputs) > 2 and inputs[2] is not None else {"bias": self.pack(op, choice, inputs, 2, lanes)}

    def launch(self, op: Any, choice: Choice, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor],
               lanes: int) -> Launch:
        x, w = inputs[0], inputs[1]
        assert x is not None and w is not None
        algorithm, residual = _algorithm(choice), len(inputs) > 3 and inputs[3] is not None
        if outputs[0].layout != algorithm.layouts[1] or (residual and inputs[3].layout != algorithm.layouts[1]):  # type: ignore[union-attr]
            raise PlanInvalid(f"{choice.kernel} writes {algorithm.layouts[1]} outputs")
        if algorithm.layouts[0] != x.layout:
            raise PlanInvalid(f"{choice.kernel} reads {algorithm.layouts[0]} inputs")
        return algorithm.launch(conv_shape(op, x.shape, w.shape), dict(choice.params), lanes, residual,
                                epilogue(op.activation))


def _reorders_cost(shape: ConvShape, lanes: int, x: bool, y: bool) -> float:
    """Of x, and of y for a reader that wants it blocked, in vector FMAs."""
    vectors = x * ceil_div(shape.channels, lanes) * math.prod(shape.size)
    return 8.0 * shape.images * (vectors + y * ceil_div(shape.out_channels, lanes) * shape.pixels)


def _algorithm(choice: Choice) -> Algorithm:
    name = choice.kernel + (f"/{choice.params.get('m')}" if choice.kernel == "conv_winograd" else "")
    if name not in ALGORITHMS:
        raise PlanInvalid(f"there is no convolution kernel '{name}'")
    return ALGORITHMS[name]


def _tilings(params: Params, tiles: Collection[tuple[int, int]], pixels: int, shape: ConvShape,
             lanes: int) -> list[Params]:
    """`params`, then the same with each other register tile that does at most a quarter more work than the least."""
    blocks = ceil_div(shape.out_channels // shape.groups, lanes)
    work = {(rows, vectors): ceil_div(pixels, rows) * rows * ceil_div(blocks, vectors) * vectors
            for rows, vectors in tiles}
    others = [tile for tile in work if work[tile] <= 1.25 * min(work.values())]
    return [params, *(p for rows, vectors in others if (p := {**params, "rows": rows, "vectors": vectors}) != params)]


def _integer(params: Params, name: str) -> int:
    value = params.get(name)
    if not isinstance(value, int):
        raise PlanInvalid(f"the kernel's parameter '{name}' must be an integer, not {value!r}")
    return value


def _tile(params: Params, tiles: Collection[tuple[int, int]]) -> tuple[int, int]:
    tile = _integer(params, "rows"), _integer(params, "vectors")
    if tile not in tiles:
        raise PlanInvalid(f"there is no register tile of {tile[0]} rows and {tile[1]} vectors")
    return tile


LOWERINGS: dict[str, Lowering] = {"Conv": ConvLowering()}
