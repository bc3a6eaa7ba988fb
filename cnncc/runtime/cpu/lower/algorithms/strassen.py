"""1x1 convolutions by Strassen's algorithm."""

from __future__ import annotations

from collections.abc import Collection

from .....errors import PlanInvalid
from ...conv_shape import ConvShape
from ...kernel import Launch, ceil_div
from ...kernels import conv_strassen
from ..accuracy import STRASSEN
from .algorithm import BYTES_A_FMA, Algorithm, Array, Params

__all__ = ["ALGORITHMS"]


class Strassen(Algorithm):
    """Seven half products instead of eight."""

    SUMS = 25.0      # of the four vectors of a block of channels of two paired pixels
    PARTIAL = 3.0    # to read and store an accumulator of a product
    SAMPLE = 24.0    # to copy a vector of a pixel that is sampled, before all products
    UNHIDDEN = 0.25  # see Direct
    LEAST = 1.02     # less exact, and with more weights to keep: not for a gain of less than a fiftieth

    def cost(self, shape: ConvShape, lanes: int, forms: Collection[int | str]) -> float | None:
        if STRASSEN not in forms or not conv_strassen.supports(shape, lanes):
            return None
        rows, vectors = conv_strassen.choose_rows(shape.pixels, lanes), conv_strassen.VECTORS[lanes]
        pairs, w_bytes = shape.images * ceil_div(shape.pixels, 2 * rows), conv_strassen.weight_bytes(shape, lanes)
        accumulators = rows * vectors * ceil_div(shape.out_channels, 2 * lanes * vectors)
        products = conv_strassen.PRODUCTS * pairs * accumulators * (shape.channels / 2 + self.PARTIAL)
        sums = self.SUMS * pairs * rows * shape.channels / (2 * lanes)
        copies = 0.0 if shape.is_pointwise else self.SAMPLE * shape.images * shape.pixels * shape.channels / lanes
        readings = 1 if w_bytes < conv_strassen.WIDE_BYTES else shape.images
        return self.LEAST * (products + sums + copies + self.UNHIDDEN * readings * w_bytes / BYTES_A_FMA)

    def params(self, shape: ConvShape, lanes: int) -> Params:
        return {}

    def pack(self, shape: ConvShape, w: Array, params: Params, lanes: int) -> Array:
        return conv_strassen.pack_weights(w, lanes)

    def pack_bias(self, shape: ConvShape, bias: Array | None, params: Params, lanes: int) -> Array:
        return conv_strassen.pack_bias(bias, shape.out_channels, lanes)

    def launch(self, shape: ConvShape, params: Params, lanes: int, residual: bool,
               activation: tuple[str, float, float]) -> Launch:
        if not conv_strassen.supports(shape, lanes):
            raise PlanInvalid(f"conv_strassen needs a 1x1 kernel, no padding and multiples of {2 * lanes} channels")
        return conv_strassen.launch(shape, lanes, residual, *activation)


ALGORITHMS = {"conv_strassen": Strassen()}
