"""TopK."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import OpError
from ..ir import DType, Op, Operand, TensorType
from ..records import record
from .dtypes import NUMERIC, check_dtype
from .sizes import is_less, known_sizes, resolve_axis

__all__ = ["TopK"]

Array = np.ndarray[Any, Any]


@record
class TopK(Op):
    """ONNX TopK-24: the K largest (or smallest) elements along `axis` and where they were; of equal ones the first.

    They are given in order even where `sorted` does not ask for it. NaN counts as larger than all numbers.
    """

    since = 24
    operands = ("X", "K")
    results = ("Values", "Indices")
    shaped_by = ("K",)

    axis: int = -1
    largest: bool = True
    sorted: bool = True

    def infer(self, x: Operand, k: Operand) -> tuple[TensorType, ...]:
        check_dtype("TopK", "X", x, NUMERIC)
        axis = resolve_axis("TopK", self.axis, x.type.rank)
        sizes = known_sizes("TopK", "K", k)
        if len(sizes) != 1 or (isinstance(sizes[0], int) and sizes[0] < 0):
            raise OpError(f"TopK: K must be one number of at least 0, not {list(sizes)}")
        if is_less(x.type.shape[axis], sizes[0]):
            raise OpError(f"TopK: axis {axis} of X {x.type} has fewer elements than K = {sizes[0]}")
        shape = (*x.type.shape[:axis], sizes[0], *x.type.shape[axis + 1:])
        return TensorType(x.type.dtype, shape), TensorType(DType.I64, shape)

    def reference(self, x: Array, k: Array) -> tuple[Array, ...]:
        if self.largest:  # the order of the reversed elements, reversed: of equal ones the first comes first
            order = x.shape[self.axis] - 1 - np.flip(np.argsort(np.flip(x, self.axis), self.axis, "stable"), self.axis)
        else:
            order = np.argsort(x, self.axis, "stable")
        order = order.take(np.arange(int(k.ravel()[0])), self.axis)
        return np.take_along_axis(x, order, self.axis), order.astype(np.int64)
