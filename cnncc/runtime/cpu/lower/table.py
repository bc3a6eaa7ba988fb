"""The lowering of every operator that has native kernels, by ONNX name."""

from __future__ import annotations

from ....lazy import LazyTable
from ..lowering import Lowering

__all__ = ["LOWERINGS"]

# module -> the ONNX names of the operators that it lowers, the keys of its own LOWERINGS
_MODULES = {
    "attention": "Attention",
    "conv": "Conv",
    "conv_transpose": "ConvTranspose",
    "deform_conv": "DeformConv",
    "gemm": "Gemm MatMul",
    "pointwise_depthwise": "PointwiseDepthwiseConv",
    "pool": "AveragePool GlobalAveragePool GlobalLpPool GlobalMaxPool LpPool MaxPool",
    "elementwise": "Celu Elu Gelu HardSigmoid HardSwish LeakyRelu Mish PRelu Relu Selu Sigmoid Softplus Softsign Swish "
                   "Tanh ThresholdedRelu Abs Add And BatchNormalization BitShift BitwiseAnd BitwiseNot BitwiseOr "
                   "BitwiseXor Cast CastLike Ceil Clip Cos Div Equal Erf Exp Floor Greater GreaterOrEqual IsInf IsNaN "
                   "Less LessOrEqual Log Max Mean Min Mod Mul Neg Not Or Pow Reciprocal Round Sign Sin Sqrt Sub Sum "
                   "Where Xor",
    "normalize": "GroupNormalization InstanceNormalization LayerNormalization RMSNormalization",
    "join": "Concat Split",
    "gather": "Gather GatherElements GatherND ReverseSequence ScatterElements ScatterND",
    "copy": "CenterCropPad ConstantOfShape DepthToSpace Dropout Expand Flatten Identity Pad Reshape Slice "
            "SpaceToDepth Squeeze Tile Transpose Unsqueeze",
    "reduce": "ArgMax ArgMin CumProd CumSum LRN LogSoftmax ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax "
              "ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Softmax",
    "integer": "ConvInteger QLinearConv MatMulInteger QLinearMatMul MatMulIntegerToFloat QGemm",
    "quantize": "DequantizeLinear DynamicQuantizeLinear QLinearActivation QLinearAdd QLinearGlobalAveragePool "
                "QLinearLeakyRelu QLinearMul QLinearSigmoid QuantizeLinear",
    "recurrent": "RNN GRU LSTM",
    "resize": "Resize",
    "sampling": "AffineGrid Col2Im GridSample MaxRoiPool MaxUnpool RoiAlign",
    "selection": "ListBoxes SuppressBoxes TopK",
}

LOWERINGS: LazyTable[Lowering] = LazyTable(__package__, _MODULES, lambda module: module.LOWERINGS)
