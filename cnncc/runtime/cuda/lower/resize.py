"""Resize: its samples, of which the operator itself makes tables, on one kernel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ....errors import PlanInvalid
from ....ir import DType, Operand, TensorType
from ....ops.interpolation import Samples, sample_axis
from ...cpu.lower.layouts import lift
from ..kernel import Launch
from ..kernels import resize
from ..lowering import PLAIN, Choice, Lowering, Refusal, Tensor
from .ruled import Inputs, first

__all__ = ["LOWERINGS"]

# Of an axis, for which there are tables.
MOST_OUTPUTS = 1 << 20
MOST_SHRUNK = 1024  # with antialias


class _Resize(Lowering):
    """X; roi, scales and sizes are known."""

    input_words = ("x", None, None, None)

    def choose(self, op: Any, inputs: Inputs, outputs: Sequence[TensorType], lanes: int) -> Choice | Refusal:
        x = first(inputs)
        if x.type.dtype is not DType.F32:
            return Refusal(f"there is a CUDA kernel of Resize for f32 only, not {x.type.dtype.value}")
        if not 3 <= x.type.rank <= 5 or x.type.shape[:2] != outputs[0].shape[:2]:
            return Refusal("there is a CUDA kernel for resizing up to 3 spatial axes of [N, C, *spatial] only")
        if op.crops:
            return Refusal("tf_crop_and_resize has no CUDA kernel")
        return Choice(resize.KERNEL.name, inputs=(PLAIN,) * len(inputs))

    def launch(self, op: Any, choice: Choice, inputs: Inputs, outputs: Sequence[Tensor], lanes: int) -> Launch:
        shape, target = first(inputs).shape, outputs[0].shape
        if 0 in target:
            return Launch(resize.KERNEL.name, ())
        taps = [s.indices.shape[1] for s in _samples(op, inputs, target)]
        return resize.launch(math.prod(target[:2]), lift(shape[2:], 1), lift(target[2:], 1), taps)

    def extra(self, op: Any, choice: Choice, inputs: Inputs, lanes: int) -> dict[str, Any]:
        shape = first(inputs).shape
        operands = [None if t is None else Operand(t.type, t.value) for t in inputs]
        target = op.infer(*operands)[0].static_shape
        if 0 in target:
            return {}
        samples = _samples(op, inputs, target)
        size = lift(shape[2:], 1)
        places = [s.indices * math.prod(size[i + 1:]) for i, s in enumerate(samples)]
        return {"places": np.concatenate([p.ravel() for p in places]).astype(np.int32),
                "weights": np.concatenate([s.weights.ravel() for s in samples]).astype(np.float32)}


def _samples(op: Any, inputs: Inputs, target: tuple[int, ...]) -> list[Samples]:
    """Those of the three spatial axes; an axis that stays as it is, or is not there, reads what it writes."""
    shape = first(inputs).shape
    if max(target) > MOST_OUTPUTS:
        raise PlanInvalid(f"Resize has no CUDA kernel for an axis of {max(target)} elements: use smaller sizes")
    roi, scales, sizes = (None if t is None else t.value for t in (*inputs[1:], None, None, None)[:3])
    changes, found = op.resized(shape, target, roi, scales, sizes), []
    if op.sampling.antialias and any(change.scale * MOST_SHRUNK < 1 for change in changes.values()):
        raise PlanInvalid(f"Resize has no CUDA kernel that shrinks an axis more than {MOST_SHRUNK} times with "
                          "antialias: resize in several steps")
    for axis, size in enumerate(lift(target[2:], 1), len(shape) - 3):
        if axis in changes:
            found.append(sample_axis(changes[axis], op.sampling))
        else:
            found.append(Samples(np.arange(size)[:, None], np.ones((size, 1)), np.zeros(size, bool)))
    return found


LOWERINGS: dict[str, Lowering] = {"Resize": _Resize()}
