"""What elementwise operators share: broadcasting, and the class of which each operator is one row in a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from ..errors import OpError
from ..ir import DimLike, DType, Op, Operand, TensorType
from ..records import record
from .dtypes import common_dtype
from .sizes import shape_text

__all__ = ["Elementwise", "broadcast_shapes", "elementwise"]

Array = np.ndarray[Any, Any]


def broadcast_shapes(op_type: str, shapes: Sequence[tuple[DimLike, ...]]) -> tuple[DimLike, ...]:
    """The shape to which all broadcast, as in NumPy. A symbolic dimension matches itself and 1; beside another size
    it must turn out equal to it, and the fixed one is kept."""
    rank = max(map(len, shapes), default=0)
    out: list[DimLike] = []
    for axis in range(rank):
        dims = [s[axis - rank + len(s)] for s in shapes if axis - rank + len(s) >= 0]
        wide = list(dict.fromkeys(d for d in dims if d != 1))
        fixed = [d for d in wide if isinstance(d, int)]
        if len(fixed) > 1:
            raise OpError(f"{op_type}: the shapes {' and '.join(map(shape_text, shapes))} do not broadcast; "
                          "sizes of one axis must be equal or 1")
        out.append(fixed[0] if fixed else wide[0] if wide else 1)
    return tuple(out)


@record
class Elementwise(Op):
    """Inputs of one element type, broadcast to each other; each output element depends on one element of each input.

    Class attributes:
        formula: the outputs from the inputs, in NumPy.
        accepts: the element types that the inputs may have.
        gives: the element type of the output where it is not the inputs'.
        on_sizes: the formula for one element where an input holds symbolic sizes, None of it where that is not
            decided; without it the operator is no shape arithmetic.
    """

    formula: ClassVar[Callable[..., Any]]
    accepts: ClassVar[tuple[DType, ...]]
    gives: ClassVar[DType | None] = None
    on_sizes: ClassVar[Callable[..., Any] | None] = None

    def infer(self, *operands: Any, **_: Any) -> tuple[TensorType, ...]:
        dtype = common_dtype(self.op_type, operands, self.accepts)
        shape = broadcast_shapes(self.op_type, [o.type.shape for o in operands])
        return (TensorType(self.gives or dtype, shape),)

    def reference(self, *arrays: Any, **_: Any) -> tuple[Array, ...]:
        if any(a.dtype == object for a in arrays):
            return (self._symbolic(arrays),)
        with np.errstate(all="ignore"):
            return (np.asarray(type(self).formula(*arrays)),)

    def _symbolic(self, arrays: Sequence[Array]) -> Array:
        on_sizes = type(self).on_sizes
        if on_sizes is None:
            raise OpError(f"{self.op_type} cannot be computed on symbolic sizes")
        operands = np.broadcast_arrays(*(a.astype(object) for a in arrays))
        result = np.empty(operands[0].shape, object)
        for at in np.ndindex(result.shape):
            result[at] = on_sizes(*(a[at] for a in operands))
            if result[at] is None:
                raise OpError(f"{self.op_type} of symbolic sizes depends on what they are")
        return result.astype(bool) if self.gives is DType.BOOL else result

    def known(self, *operands: Operand | None) -> tuple[Array, ...] | None:
        try:
            return super().known(*operands)
        except OpError:
            return None


def elementwise(module: str, name: str, since: int, operands: str, formula: Callable[..., Any],
                accepts: tuple[DType, ...], *, gives: DType | None = None,
                on_sizes: Callable[..., Any] | None = None) -> type[Elementwise]:
    """One row: the class of the ONNX operator `name` without attributes. `operands` are the inputs' names, separated by
    blanks; for the rest see Elementwise."""
    members: dict[str, Any] = {
        "since": since, "operands": tuple(operands.split()), "formula": staticmethod(formula), "accepts": accepts,
        "gives": gives, "on_sizes": None if on_sizes is None else staticmethod(on_sizes),
        "shape_arithmetic": on_sizes is not None, "__doc__": f"ONNX {name}-{since}.", "__module__": module}
    return record(type(name, (Elementwise,), members))
