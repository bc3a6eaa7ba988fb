"""What operators of shapes share: axes, sizes read from operands, and what can be proved of symbolic sizes."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import OpError
from ..ir import Dim, DimLike, Op, Operand, evaluate_dim, symbols_of, unknown
from ..ir.dims import FloorDiv
from .dtypes import INDICES, check_dtype

if TYPE_CHECKING:
    from fractions import Fraction

__all__ = [
    "ShapeArithmetic", "agree", "check_shape", "count_of", "is_equal", "is_less", "known_ints", "known_sizes", "larger",
    "lower_bound", "may_be_equal", "product", "resolve_axes", "resolve_axis", "shape_text", "sizes_array", "smaller",
    "unknown_sizes",
]

Array = np.ndarray[Any, Any]
MOST_SIZES = 1000  # in an operand whose contents are not known
MOST_ELEMENTS = 2**56  # so that NumPy can count the bytes of 8-byte elements in 64 bits


class ShapeArithmetic(Op):
    """An operator that moves the elements of its first input as they are, so that these may be symbolic sizes.

    Its other inputs say where to, and have to be plain integers: with a symbolic one nothing is known of the output.
    """

    shape_arithmetic = True

    def known(self, *operands: Operand | None) -> tuple[Array, ...] | None:
        if any(o is not None and o.value is not None and o.value.dtype == object for o in operands[1:]):
            return None
        return super().known(*operands)


# -- axes and shapes ---------------------------------------------------------------------------------------------------


def shape_text(shape: Iterable[DimLike]) -> str:
    return f"[{','.join(str(d).replace(' ', '') for d in shape)}]"


def product(sizes: Iterable[DimLike]) -> DimLike:
    total: DimLike = 1
    for d in sizes:
        total = total * d
    return total


def resolve_axis(op_type: str, axis: int, rank: int, name: str = "axis") -> int:
    """`axis` counted from the front; raises OpError outside [-rank, rank-1]."""
    if rank == 0:
        raise OpError(f"{op_type}: {name} is {axis}, but the tensor is a scalar, which has no axes")
    if not -rank <= axis < rank:
        raise OpError(f"{op_type}: {name} {axis} is outside [{-rank}, {rank - 1}], the axes of a tensor of rank {rank}")
    return axis % rank


def resolve_axes(op_type: str, axes: Sequence[int], rank: int) -> tuple[int, ...]:
    """`axes` counted from the front, in their order; raises OpError where one is outside the rank or comes twice."""
    found = tuple(resolve_axis(op_type, int(a), rank, "the axis") for a in axes)
    if len(set(found)) != len(found):
        raise OpError(f"{op_type}: the axes {list(axes)} name one axis twice; name each once")
    return found


# -- sizes in operands -------------------------------------------------------------------------------------------------


def sizes_array(sizes: Sequence[DimLike]) -> Array:
    """The sizes as an operand's contents: i64, or objects where one is symbolic."""
    return np.array(sizes, object if any(isinstance(d, Dim) for d in sizes) else np.int64)


def known_sizes(op_type: str, name: str, operand: Operand) -> tuple[DimLike, ...]:
    """The contents of the scalar or one-dimensional i32 or i64 operand called `name`, ints and Dims; where they are not
    known before the network runs, an unknown size each. Raises OpError where not even their number is known."""
    check_dtype(op_type, name, operand, INDICES)
    if operand.type.rank > 1:
        raise OpError(f"{op_type}: {name} must have one dimension, not {operand.type}")
    if operand.value is None:
        return tuple(unknown(f"{name}{i}") for i in range(count_of(op_type, name, operand)))
    return tuple(d if isinstance(d, Dim) else int(d) for d in operand.value.ravel().tolist())


def count_of(op_type: str, name: str, operand: Operand) -> int:
    """The number of elements of an operand whose contents are not known, by which a rank is known nevertheless."""
    check_dtype(op_type, name, operand, INDICES)
    if not operand.type.is_static:
        raise OpError(f"{op_type}: the rank of the output depends on data: {name} is {operand.type}; give it a fixed "
                      "number of elements")
    count = math.prod(operand.type.static_shape)
    if count > MOST_SIZES:
        raise OpError(f"{op_type}: {name} is {operand.type}, more than the {MOST_SIZES} sizes or axes that there may "
                      "be")
    return count


def unknown_sizes(op_type: str, rank: int) -> tuple[DimLike, ...]:
    """The shape of an output of which the rank alone is known."""
    if rank < 0:
        raise OpError(f"{op_type}: there are more axes than the input has")
    return tuple(unknown(f"d{axis}") for axis in range(rank))


def known_ints(op_type: str, name: str, operand: Operand) -> tuple[int, ...]:
    """As known_sizes, where symbolic sizes make no sense (axes, steps). Raises OpError where they are not known."""
    if operand.value is None:
        raise OpError(f"{op_type}: the shape of the output depends on data: {name} ({operand.type}) does not follow "
                      "from shapes and constants alone; make it a constant")
    sizes = known_sizes(op_type, name, operand)
    ints = tuple(d for d in sizes if isinstance(d, int))
    if len(ints) != len(sizes):
        raise OpError(f"{op_type}: {name} must be fixed numbers, not {shape_text(sizes)}; fix the symbolic dimensions")
    return ints


def check_shape(op_type: str, sizes: tuple[DimLike, ...]) -> tuple[DimLike, ...]:
    """The sizes; raises OpError where one is negative or they are more than any memory holds."""
    if any(isinstance(d, int) and d < 0 for d in sizes):
        raise OpError(f"{op_type}: {shape_text(sizes)} is not a shape: sizes are at least 0")
    if math.prod(d for d in sizes if isinstance(d, int) and d > 0) > MOST_ELEMENTS:
        raise OpError(f"{op_type}: {shape_text(sizes)} is too large to be the shape of a tensor")
    return sizes


# -- proofs ------------------------------------------------------------------------------------------------------------


def lower_bound(d: DimLike) -> int | None:
    """An integer below which `d` never falls while all symbols are sizes (>= 0), or None where none is found.

    Terms with a positive coefficient are at least 0; in those with a negative one a//k is at most a/k.
    """
    if isinstance(d, int):
        return d
    from fractions import Fraction  # symbolic sizes only

    total: defaultdict[tuple[Any, ...], Fraction] = defaultdict(Fraction)
    for mono, coeff in d.terms:
        divisions = [a for a in mono if isinstance(a, FloorDiv)]
        if not all(_at_least(a.num, 0) and _at_least(a.den, 0) for a in divisions):
            return None
        if coeff < 0 and len(mono) == 1 and divisions and isinstance(divisions[0].den, int):
            numerator = divisions[0].num
            for m, c in numerator.terms if isinstance(numerator, Dim) else (((), numerator),):
                total[m] += Fraction(coeff * c, divisions[0].den)
        else:
            total[mono] += coeff
    constant = total.pop((), Fraction(0))
    return math.ceil(constant) if all(c >= 0 for c in total.values()) else None


def is_less(a: DimLike, b: DimLike) -> bool | None:
    """Whether a < b for all sizes; None where that depends on them."""
    if _at_least(b - a, 1):
        return True
    return False if _at_least(a - b, 0) else None


def is_equal(a: DimLike, b: DimLike) -> bool | None:
    """Whether a == b for all sizes; None where that depends on them."""
    if a == b:
        return True
    return False if _at_least(a - b, 1) or _at_least(b - a, 1) else None


def _at_least(d: DimLike, bound: int) -> bool:
    least = lower_bound(d)
    return least is not None and least >= bound


def smaller(*sizes: DimLike) -> DimLike | None:
    """The least of the sizes, or None where it depends on their symbols."""
    return next((a for a in sizes if all(is_less(b, a) is False for b in sizes)), None)


def larger(*sizes: DimLike) -> DimLike | None:
    """The greatest of the sizes, or None where it depends on their symbols."""
    return next((a for a in sizes if all(is_less(a, b) is False for b in sizes)), None)


def may_be_equal(a: DimLike, b: DimLike) -> bool:
    """Whether a tensor with elements can have a == b: False only if no sizes of at least 1 make it so."""
    difference = a - b
    at_least_1 = {s: Dim((((s,), 1),)) + 1 for s in symbols_of(difference)}
    return is_equal(evaluate_dim(difference, at_least_1), 0) is not False


def agree(sizes: Iterable[DimLike]) -> DimLike | None:
    """The size that all these must turn out to be (a fixed one if there is any), or None where they cannot be equal."""
    distinct = list(dict.fromkeys(sizes))
    if not all(may_be_equal(distinct[0], d) for d in distinct[1:]):
        return None
    fixed = [d for d in distinct if isinstance(d, int)]
    return None if len(fixed) > 1 else fixed[0] if fixed else distinct[0]
