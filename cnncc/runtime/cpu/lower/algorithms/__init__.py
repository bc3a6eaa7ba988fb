"""The ways to compute a convolution: one Algorithm a kernel, with its estimated cost. A session imports those that its
plan names."""

from __future__ import annotations

from collections.abc import Mapping

from .....lazy import LazyTable
from ...conv_shape import ConvShape
from ..accuracy import STRASSEN
from .algorithm import Algorithm, Params

__all__ = ["ALGORITHMS", "Algorithm", "Params", "algorithm_name", "saves_products"]

# module -> the names that a plan's steps have; the first of equal cost is chosen.
_MODULES = {
    "depthwise": "conv_depthwise",
    "direct": "conv_direct",
    "first": "conv_first",
    "grouped": "conv_grouped",
    "plain": "conv_grouped_1x1 conv_plain",
    "strassen": "conv_strassen",
    "winograd": "conv_winograd/2 conv_winograd/4 conv_winograd/5 conv_winograd/6 "
                "conv_winograd_raw/2 conv_winograd_raw/4 conv_winograd_raw/5 conv_winograd_raw/6",
}

ALGORITHMS: LazyTable[Algorithm] = LazyTable(__package__, _MODULES, lambda module: module.ALGORITHMS)


def saves_products(shape: ConvShape, lanes: int) -> bool:
    """Whether Strassen's algorithm would be cheaper than direct sums: only then are weights looked at."""
    cost, direct = (ALGORITHMS[name].cost(shape, lanes, {STRASSEN}) for name in ("conv_strassen", "conv_direct"))
    return cost is not None and direct is not None and cost < direct


def algorithm_name(kernel: str, params: Mapping[str, int | str]) -> str:
    """The name in ALGORITHMS of what a plan's step has."""
    return f"{kernel}/{params.get('m')}" if kernel.startswith("conv_winograd") else kernel
