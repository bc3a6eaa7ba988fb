"""flush_subnormal_weights: weights too small for the usual form of a number become zero."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ir import DType, Graph
from .matching import constant_of, renew_constant

__all__ = ["flush_subnormal_weights"]

Array = np.ndarray[Any, Any]

# operator -> the operands that are multiplied with data
_WEIGHTS = {"Conv": (1,), "ConvTranspose": (1,), "DeformConv": (1,), "Gemm": (0, 1), "MatMul": (0, 1)}
_PIECE = 1 << 18  # weights that are looked at together: they stay in a cache
_EXPONENT = np.uint32(0x7F800000)


def flush_subnormal_weights(graph: Graph) -> bool:
    """Weights of f32 below 2^-126 in magnitude become 0 where they are multiplied with data.

        %y = Conv(%x, %w)         w: 1e-40, 0.5, ...
    becomes
        %y = Conv(%x, %w')        w': 0, 0.5, ...

    Training with weight decay leaves many such weights behind, and a processor takes a hundred times as long for a
    product with one. A sum changes by less than 2^-126 times the largest element of x for each of them, which is
    nothing beside the rounding of any sum that is not itself as small. Not for other types.
    """
    changed = False
    for node in graph.nodes:
        for index in _WEIGHTS.get(node.op.op_type, ()):
            value = node.inputs[index]
            weights = constant_of(value)
            if value is None or weights is None or value.type.dtype is not DType.F32:
                continue
            flushed = _flushed(weights)
            if flushed is not None:
                graph.set_input(node, index, renew_constant(graph, value, flushed))
                changed = True
    if changed:
        graph.drop_unused_constants()
    return changed


def _flushed(weights: Array) -> Array | None:
    """The weights with zeros for subnormal numbers; None where there are none."""
    flat = np.ascontiguousarray(weights).reshape(-1)
    starts = [i for i in range(0, flat.size, _PIECE) if _subnormal(flat[i:i + _PIECE]).any()]
    if not starts:
        return None
    flat = flat.copy()
    for i in starts:
        flat[i:i + _PIECE][_subnormal(flat[i:i + _PIECE])] = 0
    return flat.reshape(weights.shape)


def _subnormal(piece: Array) -> Array:
    bits = piece.view(np.uint32)
    found: Array = ((bits & _EXPONENT) == 0) & (piece != 0)
    return found
