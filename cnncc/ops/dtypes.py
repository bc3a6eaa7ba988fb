"""Groups of element types, and the checks of them that operators share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..errors import OpError
from ..ir import DType, Operand

__all__ = ["ANY", "BOOL", "FLOATS", "INDICES", "INTEGERS", "NUMERIC", "SIGNED", "WIDE", "check_dtype", "common_dtype"]

FLOATS = (DType.F16, DType.F32, DType.F64)
INTEGERS = tuple(t for t in DType if t.is_integer)
NUMERIC = FLOATS + INTEGERS
SIGNED = (*FLOATS, DType.I8, DType.I16, DType.I32, DType.I64)
WIDE = (*FLOATS, DType.I32, DType.I64, DType.U32, DType.U64)  # what ONNX adds up
BOOL = (DType.BOOL,)
ANY = NUMERIC + BOOL
INDICES = (DType.I32, DType.I64)


def check_dtype(op_type: str, name: str, operand: Operand, accepted: Sequence[DType]) -> None:
    """Raises OpError unless the operand called `name` has one of the accepted types."""
    if operand.type.dtype not in accepted:
        raise OpError(f"{op_type}: {name} is {operand.type}, but must be of type "
                      f"{' or '.join(t.value for t in accepted)}; insert a Cast")


def common_dtype(op_type: str, operands: Iterable[Operand], accepted: Sequence[DType]) -> DType:
    """The one element type of all operands; raises OpError where they differ or it is not accepted."""
    operands = list(operands)
    if not operands:
        raise OpError(f"{op_type} needs at least one input")
    if len({o.type.dtype for o in operands}) > 1:
        raise OpError(f"{op_type}: all inputs must have one element type, not "
                      f"{' and '.join(str(o.type) for o in operands)}; insert a Cast")
    check_dtype(op_type, "the input", operands[0], accepted)
    return operands[0].type.dtype
