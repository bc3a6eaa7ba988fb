"""fold_batch_norm: normalisation with fixed statistics is part of the weights before it."""

from __future__ import annotations

import numpy as np

from ..ir import Graph
from ..ops.batch_norm import BatchNormalization
from .affine import fold_affine
from .matching import constant_of

__all__ = ["fold_batch_norm"]


def fold_batch_norm(graph: Graph) -> bool:
    """A BatchNormalization goes into the weights of the Conv, Gemm or the like (see affine.py) that computes its input.

        %0 = Conv(%x, %w, %b)
        %1 = BatchNormalization(%0, %gamma, %beta, %mean, %var) {epsilon=e}
    becomes, with s = gamma / sqrt(var + e),
        %1 = Conv(%x, %w', %b')        w' = w * s (along the output channels), b' = (b - mean) * s + beta

    Not where %0 is read twice or is an output, where a parameter is not constant, or where the Conv already has an
    activation or a residual. A BatchNormalization before a Conv stays: zero padding is added after it.
    """
    changed = False
    for node in graph.nodes:
        if not isinstance(node.op, BatchNormalization):
            continue
        source, *parameters = node.inputs
        arrays = [constant_of(v) for v in parameters]
        if source is None or any(a is None for a in arrays):
            continue
        gamma, beta, mean, var = (a.astype(np.float64) for a in arrays if a is not None)
        with np.errstate(all="ignore"):  # a negative variance gives NaN, which is refused like overflow
            scale = gamma / np.sqrt(var + node.op.epsilon)
        changed |= fold_affine(graph, node, source, scale, beta - mean * scale)
    if changed:
        graph.drop_unused_constants()
    return changed
