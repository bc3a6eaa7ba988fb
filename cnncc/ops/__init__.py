"""The operators: one family a file, and the one table OPS of them all."""

from __future__ import annotations

from ..ir import Op
from .activation import ACTIVATION_OPS
from .batch_norm import BatchNormalization
from .binary import BINARY, VARIADIC
from .blocks import DepthToSpace, SpaceToDepth
from .cast import Cast, CastLike
from .compare import COMPARISONS, LOGIC, Where
from .concat import Concat, Split, Tile
from .conv import Conv
from .conv_transpose import ConvTranspose
from .einsum import Einsum
from .gather import Gather, GatherElements, GatherND, NonZero, OneHot
from .gemm import Gemm, MatMul
from .identity import Dropout, Identity
from .integer_conv import ConvInteger, QLinearConv
from .integer_matmul import MATRIX_PRODUCTS
from .lrn import LRN
from .normalization import (
    GroupNormalization,
    InstanceNormalization,
    LayerNormalization,
    LpNormalization,
    MeanVarianceNormalization,
    RMSNormalization,
)
from .pad import Pad
from .pool import POOLS
from .qlinear import QLINEAR
from .quantize import DequantizeLinear, DynamicQuantizeLinear, QuantizeLinear
from .recurrent import RECURRENT
from .reduce import REDUCTIONS, ArgMax, ArgMin
from .resize import Resize
from .scatter import ScatterElements, ScatterND
from .sequence import CumSum, Range, Trilu
from .shape import SHAPE_OPS
from .slice import Slice
from .softmax import Hardmax, LogSoftmax, Softmax
from .top_k import TopK
from .unary import UNARY

__all__ = ["OPS"]

_TABLE: tuple[type[Op], ...] = (
    Conv,
    ConvTranspose,
    BatchNormalization,
    GroupNormalization,
    InstanceNormalization,
    LayerNormalization,
    LpNormalization,
    MeanVarianceNormalization,
    RMSNormalization,
    *POOLS,
    LRN,
    Gemm,
    MatMul,
    Einsum,
    ConvInteger,
    QLinearConv,
    *MATRIX_PRODUCTS,
    *QLINEAR,
    DequantizeLinear,
    DynamicQuantizeLinear,
    QuantizeLinear,
    *ACTIVATION_OPS,
    Hardmax,
    LogSoftmax,
    Softmax,
    Dropout,
    Identity,
    *BINARY,
    *VARIADIC,
    *UNARY,
    *COMPARISONS,
    *LOGIC,
    Where,
    Cast,
    CastLike,
    *SHAPE_OPS,
    Concat,
    Split,
    Tile,
    Slice,
    Gather,
    GatherElements,
    GatherND,
    NonZero,
    OneHot,
    ScatterElements,
    ScatterND,
    Pad,
    Resize,
    DepthToSpace,
    SpaceToDepth,
    *REDUCTIONS,
    ArgMax,
    ArgMin,
    *RECURRENT,
    TopK,
    CumSum,
    Range,
    Trilu,
)

# ONNX name -> operator, in alphabetical order within a family
OPS: dict[str, type[Op]] = {op.op_type: op for op in _TABLE}
