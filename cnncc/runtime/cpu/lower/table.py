"""The lowering of every operator that has native kernels, by ONNX name; a family's operators stand together."""

from __future__ import annotations

from ..lowering import Lowering
from .conv import ConvLowering
from .conv_transpose import ConvTransposeLowering
from .copy import COPIES
from .elementwise import ELEMENTWISE
from .gemm import GemmLowering, MatMulLowering
from .join import JOINS
from .normalize import NORMALIZATIONS
from .pool import POOLS
from .recurrent import RECURRENT
from .reduce import REDUCTIONS
from .resize import ResizeLowering

__all__ = ["LOWERINGS"]

LOWERINGS: dict[str, Lowering] = {
    "Conv": ConvLowering(),
    "ConvTranspose": ConvTransposeLowering(),
    "Gemm": GemmLowering(),
    "MatMul": MatMulLowering(),
    "Resize": ResizeLowering(),
    **POOLS,
    **RECURRENT,
    **ELEMENTWISE,
    **NORMALIZATIONS,
    **JOINS,
    **COPIES,
    **REDUCTIONS,
}
