"""fold_scale: multiplying and adding constants is part of the weights before it."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ir import Graph, Node, Value
from .affine import fold_affine
from .matching import channel_vector, constant_of

__all__ = ["fold_scale"]

Array = np.ndarray[Any, Any]


def fold_scale(graph: Graph) -> bool:
    """Mul, Div, Add and Sub of constants, one a channel, go into the Conv, Gemm or the like (see affine.py) before.

        %0 = Conv(%x, %w, %b)
        %1 = Mul(%0, %s)                      s: [C,1,1], [1,C,1,1] or one number
        %2 = Add(%1, %t)                      t: likewise
    becomes
        %2 = Conv(%x, %w', %b')               w' = w * s (along the output channels), b' = b * s + t

    A constant may also be one number for all channels. Not where %0 is read twice or is an output, where the constant
    varies along another axis or widens the shape, or where the Conv already has an activation or a residual.
    """
    changed = False
    for node in graph.nodes:
        found = _scale_and_shift(node)
        if found is not None:
            changed |= fold_affine(graph, node, *found)
    if changed:
        graph.drop_unused_constants()
    return changed


def _scale_and_shift(node: Node) -> tuple[Value, Array, Array] | None:
    """(x, scale [C], shift [C]) where the node computes x * scale + shift."""
    kind = node.op.op_type
    if kind not in ("Add", "Sub", "Mul", "Div"):
        return None
    a, b = node.inputs
    assert a is not None and b is not None
    left = a.is_constant  # the constant is the left operand
    x, constant = (b, constant_of(a)) if left else (a, constant_of(b))
    if constant is None or x.is_constant or not x.type.dtype.is_float or (left and kind == "Div"):
        return None
    c = channel_vector(constant, x.type)
    if c is None:
        return None
    one, zero = np.ones(len(c)), np.zeros(len(c))
    if kind == "Add":
        return x, one, c
    if kind == "Sub":
        return (x, -one, c) if left else (x, one, -c)
    with np.errstate(all="ignore"):  # a division by zero gives infinity, which is refused like overflow
        return x, (c if kind == "Mul" else 1 / c), zero
