"""The operators: one family a file, and the one table OPS of them all."""

from __future__ import annotations

from types import ModuleType

from ..ir import Op
from ..lazy import LazyTable

__all__ = ["OPS"]

# module -> the ONNX names of its operators, in alphabetical order within a family. Reading a plan imports the modules
# whose operators it names, no others.
_MODULES = {
    "conv": "Conv",
    "conv_transpose": "ConvTranspose",
    "pointwise_depthwise": "PointwiseDepthwiseConv",
    "deform_conv": "DeformConv",
    "batch_norm": "BatchNormalization",
    "normalization": "GroupNormalization InstanceNormalization LayerNormalization LpNormalization "
                     "MeanVarianceNormalization RMSNormalization",
    "pool": "AveragePool GlobalAveragePool GlobalLpPool GlobalMaxPool LpPool MaxPool",
    "regions": "MaxRoiPool RoiAlign",
    "unfold": "CenterCropPad Col2Im MaxUnpool",
    "lrn": "LRN",
    "gemm": "Gemm MatMul",
    "einsum": "Einsum",
    "det": "Det",
    "attention": "Attention",
    "rotary_embedding": "RotaryEmbedding",
    "integer_conv": "ConvInteger QLinearConv",
    "integer_matmul": "MatMulInteger QLinearMatMul MatMulIntegerToFloat DynamicQuantizeMatMul QGemm",
    "qlinear": "QLinearActivation QLinearAdd QLinearAveragePool QLinearConcat QLinearGlobalAveragePool "
               "QLinearLeakyRelu QLinearMul QLinearSigmoid QLinearSoftmax",
    "quantize": "DequantizeLinear DynamicQuantizeLinear QuantizeLinear",
    "activation": "Celu Clip Elu Gelu HardSigmoid HardSwish LeakyRelu Mish PRelu Relu Selu Sigmoid Softplus Softsign "
                  "Swish Tanh ThresholdedRelu",
    "softmax": "Hardmax LogSoftmax Softmax",
    "chain": "Chain",
    "identity": "Dropout Identity",
    "binary": "Add Sub Mul Div BitwiseAnd BitwiseOr BitwiseXor BitShift Mod Pow Max Mean Min Sum",
    "unary": "Abs Acos Acosh Asin Asinh Atan Atanh BitwiseNot Ceil Cos Cosh Erf Exp Floor IsInf IsNaN Log Neg Not "
             "Reciprocal Round Shrink Sign Sin Sinh Sqrt Tan",
    "compare": "Equal Greater GreaterOrEqual Less LessOrEqual And Or Xor Where",
    "cast": "BitCast Cast CastLike",
    "shape": "ConstantOfShape Expand Flatten Reshape Shape Size Squeeze Transpose Unsqueeze",
    "concat": "Concat Split Tile",
    "control": "If Loop Scan",
    "slice": "Slice",
    "gather": "Gather GatherElements GatherND NonZero OneHot",
    "select": "Compress Unique",
    "scatter": "ScatterElements ScatterND TensorScatter",
    "pad": "Pad",
    "resize": "Resize",
    "grid_sample": "AffineGrid GridSample",
    "blocks": "DepthToSpace SpaceToDepth",
    "reduce": "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum "
              "ReduceSumSquare ArgMax ArgMin",
    "recurrent": "GRU LSTM RNN DynamicQuantizeLSTM",
    "suppression": "ListBoxes NonMaxSuppression SuppressBoxes",
    "top_k": "TopK",
    "sequence": "CumProd CumSum EyeLike Range ReverseSequence Trilu",
    "spectral": "DFT MelWeightMatrix STFT",
}


def _operators(module: ModuleType) -> dict[str, type[Op]]:
    """The operators in a module's `__all__`, one by one or as tuples."""
    public = [getattr(module, name) for name in module.__all__]
    single = [item for entry in public for item in (entry if isinstance(entry, tuple) else (entry,))]
    return {op.op_type: op for op in single if isinstance(op, type) and issubclass(op, Op)}


# ONNX name -> operator
OPS: LazyTable[type[Op]] = LazyTable(__name__, _MODULES, _operators)
