"""Groups of one channel."""

from __future__ import annotations

from collections.abc import Collection

from .....errors import PlanInvalid
from ...conv_shape import ConvShape
from ...kernel import Launch, ceil_div
from ...kernels import conv_depthwise
from ..convolutions import integer_parameter
from .algorithm import Algorithm, Array, Params

__all__ = ["ALGORITHMS"]


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


ALGORITHMS = {"conv_depthwise": Depthwise()}
