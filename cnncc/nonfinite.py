"""A warning where a network's weights can only give NaN or infinity."""

from __future__ import annotations

import warnings

import numpy as np

from .ir import Graph
from .ops.batch_norm import BatchNormalization
from .passes.fold_constants import WEIGHT_OPERANDS

__all__ = ["warn_of_weights"]

_SHOWN = 5


def warn_of_weights(graph: Graph) -> None:
    """Names the weights of convolutions and the like that are NaN or infinite, and the variances below zero, whose
    roots are NaN. What else a network reads may well be infinite: a mask, the limits of a Clip."""
    found = list(dict.fromkeys(_suspects(graph)))
    if found:
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        warnings.warn(f"'{graph.name}' has weights that are NaN or infinite, or variances below zero: "
                      f"{', '.join(found[:_SHOWN])}{more}. What they are multiplied with becomes NaN or infinite too, "
                      "and no convolution with them is computed by Winograd's algorithms: check how they were trained",
                      stacklevel=3)


def _suspects(graph: Graph) -> list[str]:
    names = []
    for node in graph.walk():
        for index in WEIGHT_OPERANDS.get(node.op.op_type, ()):
            value = node.inputs[index] if index < len(node.inputs) else None
            if value is None or value.constant is None or not value.type.dtype.is_float or value.constant.size == 0:
                continue
            least, most = value.constant.min(), value.constant.max()  # both are NaN where an element is
            rootless = isinstance(node.op, BatchNormalization) and index == 4 and least + node.op.epsilon < 0
            if rootless or not (np.isfinite(least) and np.isfinite(most)):
                names.append(f"'{value.name}'")
    return names + [name for body in graph.bodies() for name in _suspects(body)]
