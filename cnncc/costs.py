"""What an operator costs, from its types alone: multiplications with additions, and bytes that must move.

Both are independent of how a kernel computes it: Winograd does fewer MACs than these, a cache moves fewer bytes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .ir import DimLike, Op, TensorType
from .ops.conv import ConvBase
from .ops.conv_transpose import ConvTranspose
from .ops.gemm import Gemm, MatMul
from .ops.integer_matmul import MATRIX_PRODUCTS, QGemm
from .ops.recurrent import Recurrent

__all__ = ["Cost", "cost"]

# Operators that look up only as much of their first input as they give.
_PRODUCTS = (Gemm, MatMul, *MATRIX_PRODUCTS)
_SELECTING = frozenset({"Slice", "Gather", "GatherElements", "GatherND", "Split"})


@dataclass(frozen=True, slots=True)
class Cost:
    """`macs`: multiply-adds of convolutions and matrix products; `bytes`: every operand read and result written once.

    A Dim where a size is symbolic.
    """

    macs: DimLike
    bytes: DimLike

    @property
    def flops(self) -> DimLike:
        return self.macs * 2


def cost(op: Op, inputs: Sequence[TensorType | None], outputs: Sequence[TensorType]) -> Cost:
    """The cost of one node whose operands and results have these types; absent operands are None."""
    read = [_bytes(t) for t in inputs if t is not None]
    written = [_bytes(t) for t in outputs]
    if op.alias:
        return Cost(0, 0)
    if op.op_type in _SELECTING and read:
        read[0] = sum(written[1:], written[0])
    return Cost(_macs(op, inputs, outputs), sum(read + written))


def _macs(op: Op, inputs: Sequence[TensorType | None], outputs: Sequence[TensorType]) -> DimLike:
    if isinstance(op, Recurrent):
        # at each step of each sequence h is multiplied with R, and x with W where that is not done already
        return math.prod(op.swapped(_known(inputs[0]).shape)[:2]) * sum(
            (math.prod(t.shape) for t in inputs[1:3] if t is not None), start=0)
    if not isinstance(op, (ConvBase, ConvTranspose, *_PRODUCTS)):
        return 0
    x, w = inputs[0], inputs[op.weights if isinstance(op, ConvBase) else 1]
    assert x is not None and w is not None
    if isinstance(op, ConvBase):  # each output sums over w[oc]
        return math.prod(outputs[0].shape) * math.prod(w.shape[1:])
    if isinstance(op, ConvTranspose):  # each input is spread by w[c]
        return math.prod(x.shape) * math.prod(w.shape[1:])
    depth = x.shape[0] if isinstance(op, (Gemm, QGemm)) and op.transA else x.shape[-1]
    return math.prod(outputs[0].shape) * depth


def _known(type_: TensorType | None) -> TensorType:
    assert type_ is not None
    return type_


def _bytes(type_: TensorType) -> DimLike:
    return math.prod(type_.shape) * type_.dtype.itemsize
