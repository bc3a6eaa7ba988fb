"""The lowering of every operator that has CUDA kernels, by ONNX name."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from functools import cache

from ....lazy import LazyTable
from ..devices import Device, model_of
from ..driver import missing
from ..lowering import Lowering

__all__ = ["LOWERINGS", "lowerings_at_hand", "lowerings_for"]

# module -> the ONNX names of the operators that it lowers, the keys of its own LOWERINGS
_MODULES = {
    "conv": "Conv",
    "conv_transpose": "ConvTranspose",
    "pool": "AveragePool GlobalAveragePool GlobalLpPool GlobalMaxPool LpPool MaxPool",
    "normalize": "GroupNormalization InstanceNormalization LayerNormalization RMSNormalization",
    "reduce": "ArgMax ArgMin LRN LogSoftmax ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean "
              "ReduceMin ReduceProd ReduceSum ReduceSumSquare Softmax",
    "gemm": "Gemm MatMul",
    "attention": "Attention",
    "resize": "Resize",
    "sampling": "GridSample RoiAlign",
    "join": "Concat Split",
    "copy": "CenterCropPad ConstantOfShape DepthToSpace Dropout Expand Flatten Gather Identity Pad Reshape Slice "
            "SpaceToDepth Squeeze Tile Transpose Unsqueeze",
    "elementwise": "Chain Celu Elu Gelu HardSigmoid HardSwish LeakyRelu Mish PRelu Relu Selu Sigmoid Softplus Softsign "
                   "Swish Tanh ThresholdedRelu Abs Add And BatchNormalization BitShift BitwiseAnd BitwiseNot BitwiseOr "
                   "BitwiseXor Cast CastLike Ceil Clip Cos Div Equal Erf Exp Floor Greater GreaterOrEqual IsInf IsNaN "
                   "Less LessOrEqual Log Max Mean Min Mod Mul Neg Not Or Pow Reciprocal Round Sign Sin Sqrt Sub Sum "
                   "Where Xor",
}

LOWERINGS: LazyTable[Lowering] = LazyTable(__package__, _MODULES, lambda module: module.LOWERINGS)


def lowerings_for(accuracy: str, device: Device) -> dict[str, Lowering]:
    """The table for a compilation: products as accurate as is asked for, and tiles that suit the device."""
    found: dict[str, Lowering] = {}
    for name, lowering in LOWERINGS.items():
        lowering = copy(lowering)
        for field, value in (("accuracy", accuracy), ("device", device)):
            if hasattr(lowering, field):
                setattr(lowering, field, value)
        found[name] = lowering
    return found


@cache
def lowerings_at_hand() -> Mapping[str, Lowering]:
    """The table for a run: with the tiles of the GPU at hand, if there is one."""
    return LOWERINGS if missing() is not None else lowerings_for("default", model_of(None))
