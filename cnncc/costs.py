"""What an operator costs, from its types alone: multiplications with additions, and bytes that must move.

Both are independent of how a kernel computes it: Winograd does fewer MACs than these, a cache moves fewer bytes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from .ir import DimLike, Op, TensorType
from .records import record

__all__ = ["Cost", "cost"]

_CONVOLUTIONS = {"Conv": 1, "ConvInteger": 1, "QLinearConv": 3}  # which of their inputs is W
_PRODUCTS = frozenset({"Gemm", "MatMul", "MatMulInteger", "QLinearMatMul", "MatMulIntegerToFloat",
                       "DynamicQuantizeMatMul", "QGemm"})
_RECURRENT = frozenset({"RNN", "GRU", "LSTM", "DynamicQuantizeLSTM"})
# Operators that look up only as much of their first input as they give.
_SELECTING = frozenset({"Slice", "Gather", "GatherElements", "GatherND", "Split"})


@record
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
    x = inputs[0] if inputs else None
    if x is not None and op.op_type in _RECURRENT:
        # What most plans do without is imported here.
        from .ops.recurrent import Recurrent

        assert isinstance(op, Recurrent)
        # at each step of each sequence h is multiplied with R, and x with W where that is not done already
        return math.prod(op.swapped(x.shape)[:2]) * sum((math.prod(t.shape) for t in inputs[1:3] if t is not None),
                                                        start=0)
    if x is not None and op.op_type in _CONVOLUTIONS:  # each output sums over w[oc]
        w = inputs[_CONVOLUTIONS[op.op_type]]
        return 0 if w is None else math.prod(outputs[0].shape) * math.prod(w.shape[1:])
    if x is not None and op.op_type == "PointwiseDepthwiseConv":  # a product for each pixel of X, then those of a Conv
        w, v = inputs[1:3]
        return 0 if w is None or v is None else (math.prod((x.shape[0], *x.shape[2:], *w.shape))
                                                 + math.prod((*outputs[0].shape, *v.shape[1:])))
    if x is not None and op.op_type == "ConvTranspose":  # each input is spread by w[c]
        w = inputs[1]
        return 0 if w is None else math.prod(x.shape) * math.prod(w.shape[1:])
    if x is not None and op.op_type in _PRODUCTS:
        return math.prod(outputs[0].shape) * (x.shape[0] if op.attributes.get("transA") else x.shape[-1])
    return 0


def _bytes(type_: TensorType) -> DimLike:
    return math.prod(type_.shape) * type_.dtype.itemsize
