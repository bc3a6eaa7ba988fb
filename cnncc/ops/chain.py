"""Elementwise operators, one after another, as one."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import GraphError, OpError
from ..ir import Op, Operand, TensorType, format_op
from ..ir.attributes import make_op, parse_attributes
from ..records import record

__all__ = ["CHAINED", "Chain", "format_part"]

Array = np.ndarray[Any, Any]

# The operators that may be part of a chain.
CHAINED = (
    "Abs", "Add", "Ceil", "Celu", "Clip", "Cos", "Div", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid",
    "HardSwish", "LeakyRelu", "Log", "Max", "Min", "Mish", "Mul", "Neg", "PRelu", "Pow", "Reciprocal", "Relu", "Round",
    "Selu", "Sigmoid", "Sign", "Sin", "Softplus", "Softsign", "Sqrt", "Sub", "Swish", "Tanh", "ThresholdedRelu")
_MOST = 16  # parts
_PART = re.compile(r"(\w+)\((\d+(?:,\d+)*)\)(?: \{(.*)\})?")


@record
class Chain(Op):
    """cnncc's own: elementwise operators whose results, all but the last one, only the next ones read.

    A part is `Mul(0,1)`, `Clip(3,2) {...}`: an operator of CHAINED with its attributes and the numbers of its operands.
    0, 1, ... are the inputs; those behind them are the results of the parts in order. All results have one type.
    """

    domain = "cnncc"
    operands = ("inputs*",)

    parts: tuple[str, ...]

    def check(self) -> None:
        if not 0 < len(self.parts) <= _MOST:
            raise OpError(f"Chain: there must be 1 to {_MOST} parts, not {len(self.parts)}")
        self.parsed()

    def parsed(self) -> tuple[tuple[Op, tuple[int, ...]], ...]:
        """The operators with the numbers of their operands."""
        return tuple(map(_parsed, self.parts))

    def typed(self, inputs: Sequence[Operand]) -> list[Operand]:
        """The inputs, and behind them the parts' results. Raises OpError where these differ in type."""
        known = list(inputs)
        for op, numbers in self.parsed():
            if any(n >= len(known) for n in numbers):
                raise OpError(f"Chain: {format_part(op, numbers)} reads what is computed after it, if at all")
            known.append(Operand(op.infer(*(known[n] for n in numbers))[0]))
        results = [operand.type for operand in known[len(inputs):]]
        if any(t != results[-1] for t in results):
            raise OpError(f"Chain: all parts must have one type, not {', '.join(map(str, results))}")
        return known

    def infer(self, *inputs: Operand) -> tuple[TensorType, ...]:
        return (self.typed(inputs)[-1].type,)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        known = list(inputs)
        for op, numbers in self.parsed():
            known.append(np.asarray(op.reference(*(known[n] for n in numbers))[0]))
        return (known[-1],)


def format_part(op: Op, numbers: Sequence[int]) -> str:
    return f"{op.op_type}({','.join(map(str, numbers))}){format_op(op)}"


@functools.lru_cache(maxsize=1024)
def _parsed(text: str) -> tuple[Op, tuple[int, ...]]:
    from . import OPS

    found = _PART.fullmatch(text)
    if found is None or len(text) > 1000 or found[1] not in CHAINED:
        raise OpError(f"Chain: '{text[:100]}' is no part of a chain")
    try:
        op = make_op({found[1]: OPS[found[1]]}, found[1], parse_attributes(found[3] or ""))
    except GraphError as error:
        raise OpError(f"Chain: {error}") from None
    numbers = tuple(int(n[:6]) for n in found[2].split(","))
    op.check_arity([True] * len(numbers))
    return op, numbers
