"""What an operator is: a record whose fields are its ONNX attributes.

Printing, parsing, equality and ONNX import and export derive from the fields. A subclass gives `infer` (types from
types) and `reference` (arrays from arrays, naive NumPy, the oracle of all tests).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np

from ..errors import GraphError, OpError
from ..records import record
from .dims import Dim, DimLike, is_unknown, symbols_of
from .types import DType, TensorType

__all__ = ["Op", "Operand", "known_outputs", "name_unknown", "new_symbols"]

Array = np.ndarray[Any, Any]


@record
class Operand:
    """What is known of an operator's input before it runs.

    `value` is its contents where they are known: a constant, or the integers of shape arithmetic. The latter is an
    array of dtype object whose elements are ints and symbolic Dims, for while a dimension is symbolic.
    """

    type: TensorType
    value: Array | None = None


@record
class Op:
    """Base of all operators.

    Class attributes:
        op_type: the ONNX name; by default the class's own.
        domain: ONNX's domain, "" for the standard one.
        since: the opset whose form of the operator this is (its newest incompatible change).
        operands: the formal inputs in order; a trailing "?" marks an optional one, "*" a variadic last one.
        results: the formal outputs, marked alike.
        shape_arithmetic: the reference also works on object arrays of ints and Dims (see Operand.value).
        alias: output 0 has the bytes of input 0 in the same order (Reshape and its like), so no work is done.
        shaped_by: the inputs whose contents decide on sizes. Where they are not known before the run, `infer` gives
            `unknown` sizes; a runtime infers again when it has the contents.
        body_fields: the fields that hold bodies, graphs of their own (see ops/control.py).
    """

    op_type: ClassVar[str]
    domain: ClassVar[str] = ""
    since: ClassVar[int] = 1
    operands: ClassVar[tuple[str, ...]] = ("X",)
    results: ClassVar[tuple[str, ...]] = ("Y",)
    shape_arithmetic: ClassVar[bool] = False
    alias: ClassVar[bool] = False
    shaped_by: ClassVar[tuple[str, ...]] = ()
    body_fields: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "op_type" not in cls.__dict__:
            cls.op_type = cls.__name__

    def __post_init__(self) -> None:
        self.check()

    def check(self) -> None:
        """Raises OpError where the attributes alone are wrong (say a stride of 0)."""

    def infer(self, *operands: Any, **_: Any) -> tuple[TensorType, ...]:
        """The types of all formal outputs, from the Operands (None for an absent optional one).

        A size that the contents of the operands decide and that is not known yet is `unknown`: equal ones are equal
        sizes. Raises OpError naming what does not fit. A node may use fewer outputs than are returned.
        """
        raise NotImplementedError(f"{self.op_type}.infer")  # abstract

    def reference(self, *arrays: Any, **_: Any) -> tuple[Array, ...]:
        """The outputs, computed the plainest way; float inputs of any width are computed in that width."""
        raise NotImplementedError(f"{self.op_type}.reference")  # abstract

    def known(self, *operands: Operand | None) -> tuple[Array, ...] | None:
        """Contents of the outputs that follow from what is known of the inputs, or None.

        By default the reference is evaluated if all inputs are known and this is an operator of shape arithmetic.
        """
        if not self.shape_arithmetic or any(o is not None and o.value is None for o in operands):
            return None
        return self.reference(*(None if o is None else o.value for o in operands))

    def check_arity(self, present: Sequence[bool]) -> None:
        """Raises OpError unless inputs of which these are present fit `operands`."""
        variadic = bool(self.operands) and self.operands[-1].endswith("*")
        if len(present) > len(self.operands) and not variadic:
            raise OpError(f"{self.op_type} takes at most {len(self.operands)} inputs, but has {len(present)}")
        for i, name in enumerate(self.operands):
            if not name.endswith(("?", "*")) and not (i < len(present) and present[i]):
                raise OpError(f"{self.op_type} lacks its input {name}")
        if variadic and not all(present[len(self.operands) - 1:]):
            raise OpError(f"{self.op_type} takes any number of {self.operands[-1][:-1]}, but none may be absent")

    @property
    def attributes(self) -> dict[str, Any]:
        """The attributes that differ from their defaults, in field order, without bodies."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in self.body_fields
                and (f.default is dataclasses.MISSING or not _same(getattr(self, f.name), f.default))}

    @property
    def bodies(self) -> dict[str, Any]:
        """The bodies by field."""
        return {name: getattr(self, name) for name in self.body_fields}


def _same(a: Any, b: Any) -> bool:
    return bool(type(a) is type(b) and a == b)


def name_unknown(types: Sequence[TensorType],
                 names: Iterator[str]) -> tuple[tuple[TensorType, ...], tuple[str, ...]]:
    """The types with a symbol for every dimension that is `unknown`, and the symbols' names. They are taken from
    `names` in order of first appearance, one for all equal dimensions. Raises GraphError if these do not suffice."""
    found: dict[DimLike, Dim] = {}
    taken: list[str] = []
    for d in (d for t in types for d in t.shape):
        if isinstance(d, Dim) and d not in found and is_unknown(d):
            name = next(names, None)
            if name is None:
                raise GraphError("more sizes of its outputs depend on data than there are symbols for them")
            taken.append(name)
            found[d] = Dim((((name,), 1),))
    if not found:
        return tuple(types), ()
    return tuple(TensorType(t.dtype, tuple(found.get(d, d) for d in t.shape)) for t in types), tuple(taken)


def new_symbols(types: Sequence[TensorType], scope: set[str]) -> list[str]:
    """The symbols in these types of outputs that are not in `scope`, in order of appearance: the names that
    `name_unknown` gave."""
    return list(dict.fromkeys(s for t in types for d in t.shape for s in symbols_of(d) if s not in scope))


# Shape arithmetic is about shapes: larger integer tensors are data.
KNOWN_LIMIT = 1024


def known_outputs(op: Op, operands: Sequence[Operand | None], types: Sequence[TensorType]) -> tuple[Array | None, ...]:
    """The contents of op's outputs where they are known and small integers, else None for each."""
    unknown: tuple[Array | None, ...] = (None,) * len(types)
    kinds = (DType.I64, DType.I32, DType.BOOL)
    small = all(t.is_static and t.dtype in kinds and _count(t) <= KNOWN_LIMIT for t in types)
    if not small:
        return unknown
    # Of a large constant only the type counts here: that is enough for Shape.
    values = op.known(*(Operand(o.type) if o is not None and o.value is not None and o.value.size > KNOWN_LIMIT else o
                        for o in operands))
    return unknown if values is None else tuple(_settled(v, t) for v, t in zip(values, types, strict=True))


def _settled(value: Array | None, t: TensorType) -> Array | None:
    """An object array without a Dim becomes an array of the type's own dtype: only symbolic contents stay objects. None
    where there is a number that the dtype cannot hold."""
    if value is None or value.dtype != object:
        return value
    numbers = [d for d in value.ravel() if not isinstance(d, Dim)]
    try:
        np.array(numbers, t.dtype.numpy)
    except OverflowError:
        return None
    return value if len(numbers) < value.size else value.astype(t.dtype.numpy)


def _count(t: TensorType) -> int:
    return int(np.prod(t.static_shape, dtype=object)) if t.shape else 1
