"""TopK, SuppressBoxes and ListBoxes on their kernels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ....errors import PlanInvalid
from ....ir import TensorType
from ..kernel import Launch
from ..kernels import suppression, top_k
from ..lowering import PLAIN, Choice, Lowering, Refusal, Tensor
from .layouts import expect_layouts

__all__ = ["LOWERINGS"]

Inputs = Sequence[Tensor | None]
MOST_NUMBERED = 1 << 31  # elements that the half of a key can number


def _first(inputs: Inputs) -> Tensor:
    assert inputs[0] is not None
    return inputs[0]


def _check_count(op: Any, count: int) -> None:
    if count >= MOST_NUMBERED:
        raise PlanInvalid(f"{op.op_type} has no kernel for {count} elements in one row")


class _TopK(Lowering):
    """K is known, or a run reads it before."""

    input_words = ("x", None)
    output_words = ("values", "indices")

    def choose(self, op: Any, inputs: Inputs, outputs: Sequence[TensorType], lanes: int) -> Choice | Refusal:
        dtype = _first(inputs).type.dtype
        if dtype.value not in top_k.DTYPES:
            return Refusal(f"TopK is native for types of up to 32 bits, not {dtype.value}")
        return Choice(top_k.KERNEL.name, inputs=(PLAIN,) * len(inputs), outputs=(PLAIN,) * len(outputs))

    def launch(self, op: Any, choice: Choice, inputs: Inputs, outputs: Sequence[Tensor], lanes: int) -> Launch:
        x, values = _first(inputs), outputs[0]
        expect_layouts(op, [x, *outputs], [PLAIN] * (1 + len(outputs)))
        axis, dtype = op.axis % x.type.rank, x.type.dtype.value
        if dtype not in top_k.DTYPES:
            raise PlanInvalid(f"TopK has no kernel for {dtype}")
        _check_count(op, x.shape[axis])
        return top_k.launch(math.prod(x.shape[:axis]), x.shape[axis], math.prod(x.shape[axis + 1:]),
                            values.shape[axis], op.largest, dtype, len(outputs) > 1)


class _SuppressBoxes(Lowering):
    input_words = ("boxes", "scores", "most", "overlap", "least")
    output_words = ("kept", "counts")

    def choose(self, op: Any, inputs: Inputs, outputs: Sequence[TensorType], lanes: int) -> Choice | Refusal:
        return Choice(suppression.SUPPRESS.name, inputs=(PLAIN,) * len(inputs), outputs=(PLAIN,) * len(outputs))

    def launch(self, op: Any, choice: Choice, inputs: Inputs, outputs: Sequence[Tensor], lanes: int) -> Launch:
        expect_layouts(op, [*inputs, *outputs], [PLAIN] * (len(inputs) + len(outputs)))
        scores = inputs[1]
        assert scores is not None
        images, classes, boxes = scores.shape
        _check_count(op, boxes)
        given = [word for word, t in zip(self.input_words, inputs, strict=False) if t is not None]
        return suppression.launch(images, classes, boxes, outputs[0].shape[2], op.center_point_box, lanes, given[2:])


class _ListBoxes(Lowering):
    input_words = ("kept", "counts")
    output_words = ("selected", "total")

    def choose(self, op: Any, inputs: Inputs, outputs: Sequence[TensorType], lanes: int) -> Choice | Refusal:
        return Choice(suppression.LIST.name, inputs=(PLAIN, PLAIN), outputs=(PLAIN,) * len(outputs))

    def launch(self, op: Any, choice: Choice, inputs: Inputs, outputs: Sequence[Tensor], lanes: int) -> Launch:
        expect_layouts(op, [*inputs, *outputs], [PLAIN] * (len(inputs) + len(outputs)))
        images, classes, room = _first(inputs).shape
        return suppression.launch_list(images, classes, room)


LOWERINGS: dict[str, Lowering] = {"ListBoxes": _ListBoxes(), "SuppressBoxes": _SuppressBoxes(), "TopK": _TopK()}
