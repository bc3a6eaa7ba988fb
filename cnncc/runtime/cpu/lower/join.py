"""Concat and Split."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ....ir import DimLike, Op, TensorType
from ..kernel import Launch, ceil_div
from ..kernels import join
from ..lowering import BLOCKED, PLAIN, Choice, Lowering, Refusal, Tensor, to_blocked
from .layouts import can_block, expect_layouts

__all__ = ["LOWERINGS"]

Array = np.ndarray[Any, Any]
Inputs = Sequence[Tensor | None]


def _fit_blocks(parts: Sequence[TensorType], axis: int, lanes: int) -> bool:
    """Whether parts along this axis lie one behind the other when blocked: along the channels all but the last must
    fill their blocks."""
    if not all(can_block(t) for t in parts):
        return False
    sizes: list[DimLike] = [t.shape[1] for t in parts[:-1]]
    return axis != 1 or all(isinstance(n, int) and n % lanes == 0 for n in sizes)


def _launch(direction: str, parts: Sequence[Tensor], axis: int, layout: str, lanes: int) -> Launch:
    shapes = [list(t.shape) for t in parts]
    if layout == BLOCKED:
        shapes = [[s[0], ceil_div(s[1], lanes), *s[2:], lanes] for s in shapes]
    runs = [math.prod(s[axis:]) * parts[0].type.dtype.itemsize for s in shapes]
    return join.launch(direction, math.prod(shapes[0][:axis]), runs, lanes)


class _Concat(Lowering):
    """Blocked if an input is and the others can be."""

    output_words = ("whole",)

    def words(self, inputs: Inputs) -> tuple[str | None, ...]:
        return join.PARTS[:len(inputs)]

    def choose(self, op: Any, inputs: Inputs, outputs: Sequence[TensorType], lanes: int) -> Choice | Refusal:
        if len(inputs) > join.MAX_PARTS:
            return Refusal(f"at most {join.MAX_PARTS} inputs are native")
        parts = [t for t in inputs if t is not None]
        given = any(t.layout == BLOCKED for t in parts if not t.constant)
        fits = _fit_blocks([t.type for t in parts], op.axis % outputs[0].rank, lanes)
        layout = BLOCKED if given and fits else PLAIN
        return Choice(join.KERNEL.name, inputs=(layout,) * len(parts), outputs=(layout,))

    def pack(self, op: Op, choice: Choice, inputs: Inputs, index: int, lanes: int) -> Array:
        tensor = inputs[index]
        assert tensor is not None and tensor.value is not None
        value = np.ascontiguousarray(tensor.value)
        return to_blocked(value, lanes) if choice.outputs[0] == BLOCKED else value

    def launch(self, op: Any, choice: Choice, inputs: Inputs, outputs: Sequence[Tensor], lanes: int) -> Launch:
        parts, y = [t for t in inputs if t is not None], outputs[0]
        axis = op.axis % y.type.rank
        fits = y.layout == BLOCKED and _fit_blocks([t.type for t in parts], axis, lanes)
        layout = BLOCKED if fits else PLAIN
        expect_layouts(op, [*parts, y], [layout] * (len(parts) + 1))
        return _launch("concat", parts, axis, layout, lanes)


class _Split(Lowering):
    """Blocked if the input is and the parts can be."""

    input_words = ("whole", None)
    output_words = join.PARTS

    def choose(self, op: Any, inputs: Inputs, outputs: Sequence[TensorType], lanes: int) -> Choice | Refusal:
        x = inputs[0]
        assert x is not None
        if len(outputs) > join.MAX_PARTS:
            return Refusal(f"at most {join.MAX_PARTS} outputs are native")
        layout = BLOCKED if x.layout == BLOCKED and _fit_blocks(outputs, op.axis % x.type.rank, lanes) else PLAIN
        layouts = (layout, *(PLAIN,) * (len(inputs) - 1))
        return Choice(join.KERNEL.name, inputs=layouts, outputs=(layout,) * len(outputs))

    def launch(self, op: Any, choice: Choice, inputs: Inputs, outputs: Sequence[Tensor], lanes: int) -> Launch:
        x = inputs[0]
        assert x is not None
        axis = op.axis % x.type.rank
        fits = x.layout == BLOCKED and _fit_blocks([t.type for t in outputs], axis, lanes)
        layout = BLOCKED if fits else PLAIN
        expect_layouts(op, [x, *outputs], [layout] * (len(outputs) + 1))
        return _launch("split", outputs, axis, layout, lanes)


LOWERINGS: dict[str, Lowering] = {"Concat": _Concat(), "Split": _Split()}
