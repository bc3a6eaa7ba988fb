"""The operators: one family a file, and the one table OPS of them all."""

from __future__ import annotations

from ..ir import Op
from .conv import Conv
from .elementwise import BINARY

__all__ = ["OPS"]

# ONNX name -> operator, in alphabetical order within a family
OPS: dict[str, type[Op]] = {op.op_type: op for op in (
    Conv,
    *BINARY,
)}
