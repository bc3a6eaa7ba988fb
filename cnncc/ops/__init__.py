"""The operators: one family a file, and the one table OPS of them all."""

from __future__ import annotations

from ..ir import Op
from .activation import ACTIVATION_OPS
from .batch_norm import BatchNormalization
from .conv import Conv
from .elementwise import BINARY
from .gemm import Gemm, MatMul
from .identity import Dropout, Identity
from .lrn import LRN
from .pool import POOLS
from .softmax import Hardmax, LogSoftmax, Softmax

__all__ = ["OPS"]

# ONNX name -> operator, in alphabetical order within a family
OPS: dict[str, type[Op]] = {op.op_type: op for op in (
    Conv,
    BatchNormalization,
    *POOLS,
    LRN,
    Gemm,
    MatMul,
    *ACTIVATION_OPS,
    Hardmax,
    LogSoftmax,
    Softmax,
    Dropout,
    Identity,
    *BINARY,
)}
