"""project_recurrent_inputs: the input of an RNN, GRU or LSTM is multiplied with its weights for all steps at once."""

from __future__ import annotations

import dataclasses

import numpy as np

from ..ir import Graph
from ..ops.gemm import MatMul
from ..ops.recurrent import DynamicQuantizeLSTM, Recurrent
from .matching import constant_of, renew_constant

__all__ = ["project_recurrent_inputs"]


def project_recurrent_inputs(graph: Graph) -> bool:
    """The products of the input and W leave the recurrence and become one matrix product.

        %y = LSTM(%x, %w, %r, %b)                            (%x: f32[T,N,I], %w: f32[D,4*H,I], a constant)
    becomes
        %0 = MatMul(%x, %w')                                 (%w': f32[I,D*4*H])
        %y = LSTM(%0, none, %r, %b) {projected=true}

    Not where W is computed, nor where it is quantised.
    """
    changed = False
    for node in graph.nodes:
        op = node.op
        if not isinstance(op, Recurrent) or isinstance(op, DynamicQuantizeLSTM) or op.projected:
            continue
        x, w = node.inputs[:2]
        weights = constant_of(w)
        if x is None or w is None or weights is None:
            continue
        turned = np.ascontiguousarray(weights.reshape(-1, weights.shape[2]).T)
        name = node.name or node.output.name
        product = graph.add_node(MatMul(), [x, renew_constant(graph, w, turned)], name=f"{name}.input", before=node)
        inputs = [product.output, None, *node.inputs[2:]]
        graph.replace_node(node, dataclasses.replace(op, projected=True), inputs)
        changed = True
    if changed:
        graph.drop_unused_constants()
    return changed
