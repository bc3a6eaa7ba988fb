"""RotaryEmbedding: pairs of elements turned by an angle that depends on the place in the sequence."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import OpError
from ..ir import DimLike, Op, Operand, TensorType
from ..records import record
from .dtypes import FLOATS, INDICES, check_dtype, common_dtype
from .gather import Gather
from .sizes import may_be_equal

__all__ = ["RotaryEmbedding"]

Array = np.ndarray[Any, Any]


@record
class RotaryEmbedding(Op):
    """ONNX RotaryEmbedding-23: (a, b) becomes (a cos - b sin, a sin + b cos) for pairs of a head's elements.

    X is [batch, heads, length, size], or [batch, length, heads * size] with `num_heads` given. The first
    r = rotary_embedding_dim (0: all) elements of a head are turned, the others stay. Pair i is made of the elements
    2i and 2i + 1 if `interleaved`, else of i and i + r/2. cos_cache and sin_cache are [batch, length, r/2], or
    [positions, r/2] with position_ids [batch, length].
    """

    since = 23
    operands = ("X", "cos_cache", "sin_cache", "position_ids?")

    interleaved: bool = False
    num_heads: int = 0
    rotary_embedding_dim: int = 0

    def infer(self, x: Operand, cos: Operand, sin: Operand, ids: Operand | None = None) -> tuple[TensorType, ...]:
        common_dtype("RotaryEmbedding", (x, cos, sin), FLOATS)
        if x.type.rank not in (3, 4) or (x.type.rank == 3 and self.num_heads < 1):
            raise OpError(f"RotaryEmbedding: X must be [batch, heads, length, size], or [batch, length, heads * size] "
                          f"with num_heads, not {x.type} with num_heads {self.num_heads}")
        size = self.head_size(x.type.shape)
        turned = self.rotary_embedding_dim or size
        if isinstance(size, int) and not (isinstance(turned, int) and turned % 2 == 0 and 0 < turned <= size):
            raise OpError(f"RotaryEmbedding: {turned} of the {size} elements of a head cannot be turned in pairs")
        batch, length = x.type.shape[0], x.type.shape[-2]
        where: tuple[DimLike, ...] = (batch, length)
        if ids is not None:
            check_dtype("RotaryEmbedding", "position_ids", ids, INDICES)
            self._check_shape("position_ids", ids, where)
            where = cos.type.shape[:1]
        for name, cache in (("cos_cache", cos), ("sin_cache", sin)):
            self._check_shape(name, cache, (*where, turned // 2))
        return (x.type,)

    def head_size(self, shape: tuple[DimLike, ...]) -> DimLike:
        """Elements of a head, from X's shape."""
        width = shape[-1]
        if len(shape) == 4:
            return width
        if isinstance(width, int) and width % self.num_heads:
            raise OpError(f"RotaryEmbedding: {width} elements are not {self.num_heads} heads of one size")
        return width // self.num_heads

    @staticmethod
    def _check_shape(name: str, operand: Operand, shape: tuple[DimLike, ...]) -> None:
        given = operand.type.shape
        if len(given) != len(shape) or not all(map(may_be_equal, given, shape)):
            wanted = ",".join(map(str, shape))
            raise OpError(f"RotaryEmbedding: {name} must be [{wanted}], not {operand.type}")

    def reference(self, x: Array, cos: Array, sin: Array, ids: Array | None = None) -> tuple[Array, ...]:
        if ids is not None:
            (cos,), (sin,) = Gather().reference(cos, ids), Gather().reference(sin, ids)
        heads = x if x.ndim == 4 else x.reshape(*x.shape[:2], self.num_heads, -1)
        axis = 1 if x.ndim == 4 else 2
        cos, sin = np.expand_dims(cos, axis), np.expand_dims(sin, axis)
        half, y = cos.shape[-1], heads.copy()
        first, second = (slice(0, 2 * half, 2), slice(1, 2 * half, 2)) if self.interleaved \
            else (slice(0, half), slice(half, 2 * half))
        a, b = heads[..., first], heads[..., second]
        y[..., first] = a * cos - b * sin
        y[..., second] = a * sin + b * cos
        return (y.reshape(x.shape),)
