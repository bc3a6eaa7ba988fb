"""DepthToSpace and SpaceToDepth: blocks of pixels to channels and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import OpError
from ..ir import Op, Operand, TensorType
from ..records import record

__all__ = ["DepthToSpace", "SpaceToDepth"]

Array = np.ndarray[Any, Any]


@record
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

    def split(self, shape: Sequence[Any]) -> tuple[tuple[Any, ...], tuple[int, ...]]:
        """The axes that an X of this shape is split into, sizes known or not, and the order they stand in after."""
        raise NotImplementedError  # abstract

    def _check_rank(self, x: Operand) -> None:
        if x.type.rank != 4:
            raise OpError(f"{self.op_type}: the input must be [N, C, H, W], not {x.type}")


@record
class DepthToSpace(_Blocks):
    """ONNX DepthToSpace-13: [N, C, H, W] to [N, C/b^2, H*b, W*b]."""

    since = 13

    def infer(self, x: Operand) -> tuple[TensorType, ...]:
        self._check_rank(x)
        (n, c, h, w), b = x.type.shape, self.blocksize
        if isinstance(c, int) and c % (b * b):
            raise OpError(f"DepthToSpace: the {c} channels of {x.type} are not divisible by blocksize^2 = {b * b}")
        return (TensorType(x.type.dtype, (n, c // (b * b), h * b, w * b)),)

    def split(self, shape: Sequence[Any]) -> tuple[tuple[Any, ...], tuple[int, ...]]:
        (n, c, h, w), b = shape, self.blocksize
        c //= b * b
        if self.mode == "DCR":
            return (n, b, b, c, h, w), (0, 3, 4, 1, 5, 2)
        return (n, c, b, b, h, w), (0, 1, 4, 2, 5, 3)

    def reference(self, x: Array) -> tuple[Array, ...]:
        (n, c, h, w), b = x.shape, self.blocksize
        sizes, order = self.split(x.shape)
        return (x.reshape(sizes).transpose(order).reshape(n, c // (b * b), h * b, w * b),)


@record
class SpaceToDepth(_Blocks):
    """ONNX SpaceToDepth-28: [N, C, H, W] to [N, C*b^2, H/b, W/b], the inverse of DepthToSpace."""

    since = 28

    def infer(self, x: Operand) -> tuple[TensorType, ...]:
        self._check_rank(x)
        (n, c, h, w), b = x.type.shape, self.blocksize
        if (isinstance(h, int) and h % b) or (isinstance(w, int) and w % b):
            raise OpError(f"SpaceToDepth: the height and width of {x.type} are not divisible by blocksize = {b}")
        return (TensorType(x.type.dtype, (n, c * b * b, h // b, w // b)),)

    def split(self, shape: Sequence[Any]) -> tuple[tuple[Any, ...], tuple[int, ...]]:
        (n, c, h, w), b = shape, self.blocksize
        return (n, c, h // b, b, w // b, b), (0, 3, 5, 1, 2, 4) if self.mode == "DCR" else (0, 1, 3, 5, 2, 4)

    def reference(self, x: Array) -> tuple[Array, ...]:
        (n, c, h, w), b = x.shape, self.blocksize
        sizes, order = self.split(x.shape)
        return (x.reshape(sizes).transpose(order).reshape(n, c * b * b, h // b, w // b),)
