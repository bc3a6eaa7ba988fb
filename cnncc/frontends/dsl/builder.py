"""Builds a graph from layers: what the text and the functions of `cnncc.layers` have in common.

A Builder keeps the graph, the scope that names are made in, and where weights come from. Each layer takes the next
number of its scope, 0, 1, 2, ..., and is called by its label or else by that number: `features.0`, `layer1.0.conv1`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ...errors import OpError
from ...ir import Dim, DType, Graph, Op, TensorType, Value, check_extent
from ...ops import OPS
from ...records import record
from .lines import MAX_NAME
from .numbers import brief
from .weights import Initial, Seeded, Weights

__all__ = ["INLINE", "MAX_LAYERS", "MAX_WRITTEN", "Builder", "LayerError"]

MAX_LAYERS = 20_000
MAX_WRITTEN = 10_000_000  # numbers of constants that stand in the text
INLINE = "_"  # the label of a block or layer that adds nothing to the names of its weights

Array = np.ndarray[Any, Any]
_ARITHMETIC = {"+": "Add", "-": "Sub", "*": "Mul", "/": "Div"}


class LayerError(OpError):
    """A layer's arguments are wrong; `argument` is the position or the name of the one that is, if it is one."""

    def __init__(self, message: str, argument: int | str | None = None) -> None:
        super().__init__(message)
        self.argument = argument


@record(frozen=False)
class _Scope:
    prefix: str  # "" or ends in a dot
    count: int = 0


class Builder:
    """A graph that layers are added to."""

    def __init__(self, name: str, weights: Weights) -> None:
        self.graph = Graph(name)
        self.weights = weights
        self._scopes = [_Scope("")]
        self._written = 0
        self._owned: set[str] = set()
        self._outputs: list[Value] = []
        self._output_names: list[str] = []

    # -- names -------------------------------------------------------------------------------------------------------

    def path(self, label: str | None) -> str:
        """The name of the next layer, block or group of this scope."""
        scope = self._scopes[-1]
        if label == INLINE:
            return scope.prefix.rstrip(".")
        number = scope.count
        scope.count += 1
        path = f"{scope.prefix}{number if label is None else label}"
        if len(path) > MAX_NAME:
            raise LayerError(f"a name of more than {MAX_NAME:,} characters, the labels that lead to it counted")
        return path

    @contextmanager
    def scope(self, label: str | None = None) -> Iterator[None]:
        """Names what is built inside after `label`, or after the next number."""
        if label == INLINE:
            yield
            return
        self._scopes.append(_Scope(self.path(label) + "."))
        try:
            yield
        finally:
            self._scopes.pop()

    def within(self, name: str) -> str:
        """`name` in this scope, without taking a number."""
        return self._scopes[-1].prefix + name

    # -- what a graph is made of -------------------------------------------------------------------------------------

    def input(self, name: str, type_: TensorType) -> Value:
        if any(v.name == name for v in self.graph.inputs):
            raise LayerError(f"there are two inputs named '{name}'")
        check_extent(type_)
        return self.graph.add_input(name, type_)

    def output(self, value: Value, name: str) -> None:
        if name in self._output_names:
            raise LayerError(f"there are two outputs named '{name}'")
        self._outputs.append(value)
        self._output_names.append(name)
        self.graph.set_outputs(self._outputs, self._output_names)

    def weight(self, name: str, type_: TensorType, initial: Initial | None = None) -> Value:
        """A constant with the full name `name`, whose contents come from the weights."""
        if not type_.is_static:
            raise LayerError(f"the weight '{name}' cannot be {type_}: its shape must be fixed")
        check_extent(type_)
        if name in self._owned:
            raise LayerError(f"there are two weights named '{name}'; give one of their layers another label")
        self._owned.add(name)
        return self.graph.add_constant(self.weights.array(name, type_, initial or Initial("normal", 0.02)), name)

    def constant(self, content: Any, dtype: DType, name: str) -> Value:
        """A constant written in the text."""
        try:
            array = np.asarray(content)
            self._written += array.size
            if self._written > MAX_WRITTEN:
                raise LayerError(f"the constants of the network hold more than {MAX_WRITTEN:,} numbers; large ones are "
                                 "weights")
            if array.dtype.kind in "iu" and dtype.is_integer and array.size:
                limits = np.iinfo(dtype.numpy)
                if array.min() < limits.min or array.max() > limits.max:
                    raise LayerError(f"{brief(content)} is out of the range of {dtype.value}")
            if array.size and (array.dtype.kind not in "iufb" or (array.dtype.kind == "f" and not dtype.is_float)
                               or (array.dtype.kind == "b") != (dtype is DType.BOOL)):
                raise LayerError(f"{brief(content)} cannot be of type {dtype.value}")
            return self.graph.add_constant(array.astype(dtype.numpy), name)
        except (ValueError, OverflowError):
            raise LayerError(f"{brief(content)} is not an array of {dtype.value}") from None

    def node(self, op: Op, operands: Sequence[Value | None], path: str, outputs: int | Sequence[str] = 1
             ) -> tuple[Value, ...]:
        """Adds a node named `path`; raises OpError where the operands do not fit."""
        if len(self.graph) >= MAX_LAYERS:
            raise LayerError(f"the network has more than {MAX_LAYERS:,} layers")
        operands = list(operands)
        while operands and operands[-1] is None:
            operands.pop()
        results = self.graph.add_node(op, operands, name=path, outputs=outputs).outputs
        for result in results:
            check_extent(result.type)
        if op.op_type == "Add" and isinstance(self.weights, Seeded):
            _calm(operands)
        return results

    def arithmetic(self, operator: str, left: Any, right: Any, name: str | None = None) -> Value:
        """`left operator right` of two values, or of a value and a number of its type."""
        op_type = _ARITHMETIC.get(operator)
        if op_type is None:
            raise LayerError(f"tensors know + - * and /; for '{operator}' call the operator by its ONNX name")
        path = self.within(name or op_type.lower())
        known = left if isinstance(left, Value) else right
        operands = [o if isinstance(o, Value) else self.scalar(o, known.type.dtype, path) for o in (left, right)]
        return self.node(OPS[op_type](), operands, path)[0]

    def negative(self, value: Value) -> Value:
        return self.node(OPS["Neg"](), [value], self.within("neg"))[0]

    def scalar(self, number: Any, dtype: DType, path: str) -> Value:
        if isinstance(number, bool) or not isinstance(number, (int, float)):
            what = "the symbolic size" if isinstance(number, Dim) else "the"
            raise LayerError(f"{what} {type(number).__name__.lower()} {number} is neither a tensor nor a number")
        return self.constant(number, dtype, f"{path}.constant")


def _calm(operands: Sequence[Value | None]) -> None:
    """Drawn scales of a BatchNormalization that ends a residual branch become a fifth: a sum over many blocks would
    explode otherwise, and the gates of squeeze and excitation with it."""
    for value in operands:
        node = None if value is None or len(value.uses) > 1 else value.producer
        if node is not None and node.op.op_type == "BatchNormalization":
            scale = node.inputs[1]
            if scale is not None and scale.constant is not None and len(scale.uses) == 1:
                scale.constant = scale.constant * np.asarray(0.2, scale.constant.dtype)
            return
