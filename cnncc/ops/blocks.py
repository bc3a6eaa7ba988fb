"""DepthToSpace and SpaceToDepth: blocks of pixels to channels and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import OpError
from ..ir import Op, Operand, TensorType

__all__ = ["DepthToSpace", "SpaceToDepth"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class _Blocks(Op):
    """X [N, C, H, W]; b = blocksize. In mode DCR the channels that a block of b*b pixels gives are spread over all
    channels (place in the block first, then the channel), in mode CRD they are neighbours (channel first)."""

    operands = ("input",)

    blocksize: int
    mode: str = "DCR"

    def check(self) -> None:
        if self.blocksize < 1:
            raise OpError(f"{self.op_type}: blocksize must be at least 1, not {self.blocksize}")
        if self.mode not in ("DCR", "CRD"):
            raise OpError(f"{self.op_type}: mode must be DCR or CRD, not '{self.mode}'")

    def _check_rank(self, x: Operand) -> None:
        if x.type.rank != 4:
            raise OpError(f"{self.op_type}: the input must be [N, C, H, W], not {x.type}")


@dataclass(frozen=True)
class DepthToSpace(_Blocks):
    """ONNX DepthToSpace-13: [N, C, H, W] to [N, C/b^2, H*b, W*b]."""

    since = 13

    def infer(self, x: Operand) -> tuple[TensorType, ...]:
        self._check_rank(x)
        (n, c, h, w), b = x.type.shape, self.blocksize
        if isinstance(c, int) and c % (b * b):
            raise OpError(f"DepthToSpace: the {c} channels of {x.type} are not divisible by blocksize^2 = {b * b}")
        return (TensorType(x.type.dtype, (n, c // (b * b), h * b, w * b)),)

    def reference(self, x: Array) -> tuple[Array, ...]:
        (n, c, h, w), b = x.shape, self.blocksize
        c //= b * b
        if self.mode == "DCR":
            y = x.reshape(n, b, b, c, h, w).transpose(0, 3, 4, 1, 5, 2)
        else:
            y = x.reshape(n, c, b, b, h, w).transpose(0, 1, 4, 2, 5, 3)
        return (y.reshape(n, c, h * b, w * b),)


@dataclass(frozen=True)
class SpaceToDepth(_Blocks):
    """ONNX SpaceToDepth-28: [N, C, H, W] to [N, C*b^2, H/b, W/b], the inverse of DepthToSpace."""

    since = 28

    def infer(self, x: Operand) -> tuple[TensorType, ...]:
        self._check_rank(x)
        (n, c, h, w), b = x.type.shape, self.blocksize
        if (isinstance(h, int) and h % b) or (isinstance(w, int) and w % b):
            raise OpError(f"SpaceToDepth: the height and width of {x.type} are not divisible by blocksize = {b}")
        return (TensorType(x.type.dtype, (n, c * b * b, h // b, w // b)),)

    def reference(self, x: Array) -> tuple[Array, ...]:
        (n, c, h, w), b = x.shape, self.blocksize
        y = x.reshape(n, c, h // b, b, w // b, b)
        y = y.transpose(0, 3, 5, 1, 2, 4) if self.mode == "DCR" else y.transpose(0, 1, 3, 5, 2, 4)
        return (y.reshape(n, c * b * b, h // b, w // b),)
