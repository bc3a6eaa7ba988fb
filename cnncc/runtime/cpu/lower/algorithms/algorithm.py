"""What a way to compute a convolution is."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, ClassVar

import numpy as np

from ...conv_shape import ConvShape
from ...kernel import Launch, ceil_div
from ...kernels import conv_direct
from ...lowering import BLOCKED

__all__ = ["BYTES_A_FMA", "Algorithm", "Array", "Params", "padded", "tilings"]

Array = np.ndarray[Any, Any]
Params = dict[str, int | str]

# What a core of a server does in the time of one vector FMA, measured: bytes of weights that arrive from memory.
BYTES_A_FMA = 3.0


class Algorithm:
    """One way to compute a convolution. `cost` estimates it in vector FMAs; None where it does not apply, or is none of
    the `forms` that accuracy allows."""

    layouts: ClassVar[tuple[str, str]] = (BLOCKED, BLOCKED)  # of x, and of add and y

    def cost(self, shape: ConvShape, lanes: int, forms: Collection[int | str]) -> float | None:
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


def tilings(params: Params, work: dict[tuple[int, int], int]) -> list[Params]:
    """`params`, then the same with each other register tile that does at most a quarter more work than the least."""
    others = (tile for tile in work if work[tile] <= 1.25 * min(work.values()))
    return [params, *(p for rows, vectors in others if (p := {**params, "rows": rows, "vectors": vectors}) != params)]


def padded(tiles: Collection[tuple[int, int]], pixels: int, shape: ConvShape,
            lanes: int) -> dict[tuple[int, int], int]:
    """Vectors of all register tiles over `pixels`, by tile."""
    blocks = ceil_div(shape.out_channels // shape.groups, lanes)
    return {(rows, vectors): ceil_div(pixels, rows) * rows * ceil_div(blocks, vectors) * vectors
            for rows, vectors in tiles}
