"""Concat and Split: a copy for each part, of which one that already lies in its place within the whole is left out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ....ir import TensorType
from ...cpu.kernels.copy import Axis
from ..kernel import Launch
from ..kernels import copy
from ..lowering import PLAIN, Choice, Lowering, Refusal, Tensor
from .ruled import Inputs, first

__all__ = ["LOWERINGS"]

MOST = 256  # parts
PARTS = tuple(f"part_{i}" for i in range(MOST))


def _launch(parts: Sequence[Tensor], axis: int, joins: bool) -> Launch:
    size, rows = parts[0].type.dtype.itemsize, math.prod(parts[0].shape[:axis])
    runs = [math.prod(t.shape[axis:]) for t in parts]
    row, stages, extents, offset = sum(runs), [], {}, 0
    for word, run in zip(PARTS, runs, strict=False):
        extents[word] = (0, rows * run * size)
        if rows * run:
            in_place = (word, "whole", offset * size) if rows == 1 else None
            if joins:
                stages.append(copy.stage_of([Axis(rows, run, row), Axis(run, 1, 1)], size, 0, offset, (word, "whole"),
                                            in_place))
            else:
                stages.append(copy.stage_of([Axis(rows, row, run), Axis(run, 1, 1)], size, offset, 0, ("whole", word),
                                            in_place))
        offset += run
    whole = {"whole": (0, rows * row * size)}
    return Launch(copy.KERNEL.name, tuple(stages), extents if joins else whole, whole if joins else extents)


class _Concat(Lowering):
    output_words = ("whole",)

    def words(self, inputs: Inputs) -> tuple[str | None, ...]:
        return PARTS[:len(inputs)]

    def choose(self, op: Any, inputs: Inputs, outputs: Sequence[TensorType], lanes: int) -> Choice | Refusal:
        if len(inputs) > MOST:
            return Refusal(f"at most {MOST} inputs have a CUDA kernel, not {len(inputs)}")
        return Choice(copy.KERNEL.name, inputs=(PLAIN,) * len(inputs))

    def launch(self, op: Any, choice: Choice, inputs: Inputs, outputs: Sequence[Tensor], lanes: int) -> Launch:
        return _launch([t for t in inputs if t is not None], op.axis % outputs[0].type.rank, True)


class _Split(Lowering):
    input_words = ("whole", None)
    output_words = PARTS

    def choose(self, op: Any, inputs: Inputs, outputs: Sequence[TensorType], lanes: int) -> Choice | Refusal:
        if len(outputs) > MOST:
            return Refusal(f"at most {MOST} outputs have a CUDA kernel, not {len(outputs)}")
        return Choice(copy.KERNEL.name, inputs=(PLAIN,) * len(inputs), outputs=(PLAIN,) * len(outputs))

    def launch(self, op: Any, choice: Choice, inputs: Inputs, outputs: Sequence[Tensor], lanes: int) -> Launch:
        return _launch(outputs, op.axis % first(inputs).type.rank, False)


LOWERINGS: dict[str, Lowering] = {"Concat": _Concat(), "Split": _Split()}
