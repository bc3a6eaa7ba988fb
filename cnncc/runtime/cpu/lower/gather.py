"""Operators that pick elements by indices, or write to places that these name: all plain, elements of any type.

The references refuse indices outside an axis; the kernels take the nearest one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ....errors import PlanInvalid
from ....ir import TensorType
from ..kernel import Launch
from ..kernels import gather, gather_elements, gather_nd, reverse_sequence
from ..lowering import PLAIN, Choice, Lowering, Refusal, Tensor
from .layouts import expect_layouts

__all__ = ["LOWERINGS"]

Inputs = Sequence[Tensor | None]


def _two(op: Any, inputs: Inputs, outputs: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """The first two operands; all must be plain."""
    expect_layouts(op, [*inputs, *outputs], [PLAIN] * (len(inputs) + len(outputs)))
    x, second = inputs[0], inputs[1]
    assert x is not None and second is not None
    return x, second


class _Gather(Lowering):
    input_words = ("x", "indices")

    def choose(self, op: Any, inputs: Inputs, outputs: Sequence[TensorType], lanes: int) -> Choice | Refusal:
        return Choice(gather.KERNEL.name, inputs=(PLAIN, PLAIN))

    def launch(self, op: Any, choice: Choice, inputs: Inputs, outputs: Sequence[Tensor], lanes: int) -> Launch:
        x, indices = _two(op, inputs, outputs)
        axis = op.axis % x.type.rank
        run = math.prod(x.shape[axis + 1:]) * x.type.dtype.itemsize
        return gather.launch(math.prod(x.shape[:axis]), x.shape[axis], math.prod(indices.shape), run,
                             indices.type.dtype.value, lanes)


class _GatherND(Lowering):
    input_words = ("x", "indices")

    def choose(self, op: Any, inputs: Inputs, outputs: Sequence[TensorType], lanes: int) -> Choice | Refusal:
        reason = _depth_refusal(inputs)
        return Choice(gather_nd.GATHER.name, inputs=(PLAIN, PLAIN)) if reason is None else Refusal(reason)

    def launch(self, op: Any, choice: Choice, inputs: Inputs, outputs: Sequence[Tensor], lanes: int) -> Launch:
        x, indices = _two(op, inputs, outputs)
        _check_depth(op, inputs)
        batch, depth = op.batch_dims, indices.shape[-1]
        run = math.prod(x.shape[batch + depth:]) * x.type.dtype.itemsize
        return gather_nd.launch(math.prod(x.shape[:batch]), math.prod(indices.shape[batch:-1]),
                                x.shape[batch:batch + depth], run, indices.type.dtype.value, lanes)


class _ScatterND(Lowering):
    """Without a reduction; may write over the data."""

    input_words = ("x", "indices", "updates")
    overwritable = (0,)

    def choose(self, op: Any, inputs: Inputs, outputs: Sequence[TensorType], lanes: int) -> Choice | Refusal:
        reason = _reduction_refusal(op) or _depth_refusal(inputs)
        return Choice(gather_nd.SCATTER.name, inputs=(PLAIN,) * 3) if reason is None else Refusal(reason)

    def launch(self, op: Any, choice: Choice, inputs: Inputs, outputs: Sequence[Tensor], lanes: int) -> Launch:
        x, indices = _two(op, inputs, outputs)
        _check_depth(op, inputs)
        _check_reduction(op)
        depth = indices.shape[-1]
        run = math.prod(x.shape[depth:]) * x.type.dtype.itemsize
        return gather_nd.launch_scatter(math.prod(indices.shape[:-1]), x.shape[:depth], run, indices.type.dtype.value,
                                        lanes)


def _depth_refusal(inputs: Inputs) -> str | None:
    indices = inputs[1]
    depth = None if indices is None else indices.type.shape[-1]
    if isinstance(depth, int) and depth <= gather_nd.MOST_DEPTH:
        return None
    return f"indices of more than {gather_nd.MOST_DEPTH} axes are not native"


def _check_depth(op: Any, inputs: Inputs) -> None:
    if _depth_refusal(inputs) is not None:
        raise PlanInvalid(f"{op.op_type} has no kernel for indices of more than {gather_nd.MOST_DEPTH} axes")


def _reduction_refusal(op: Any) -> str | None:
    return None if op.reduction == "none" else f"the reduction '{op.reduction}' is not native"


def _check_reduction(op: Any) -> None:
    if op.reduction != "none":
        raise PlanInvalid(f"{op.op_type} has no kernel for the reduction '{op.reduction}'")


class _GatherElements(Lowering):
    """Where data and indices differ in size along the axis only."""

    input_words = ("x", "indices")

    def choose(self, op: Any, inputs: Inputs, outputs: Sequence[TensorType], lanes: int) -> Choice | Refusal:
        reason = _axes_refusal(op, inputs)
        return Choice(gather_elements.GATHER.name, inputs=(PLAIN, PLAIN)) if reason is None else Refusal(reason)

    def launch(self, op: Any, choice: Choice, inputs: Inputs, outputs: Sequence[Tensor], lanes: int) -> Launch:
        x, indices = _two(op, inputs, outputs)
        return gather_elements.launch(*_merged(op, inputs), x.type.dtype.itemsize, indices.type.dtype.value)


class _ScatterElements(Lowering):
    """Without a reduction, where data and updates differ in size along the axis only; may write over the data."""

    input_words = ("x", "indices", "updates")
    overwritable = (0,)

    def choose(self, op: Any, inputs: Inputs, outputs: Sequence[TensorType], lanes: int) -> Choice | Refusal:
        reason = _reduction_refusal(op) or _axes_refusal(op, inputs)
        return Choice(gather_elements.SCATTER.name, inputs=(PLAIN,) * 3) if reason is None else Refusal(reason)

    def launch(self, op: Any, choice: Choice, inputs: Inputs, outputs: Sequence[Tensor], lanes: int) -> Launch:
        x, indices = _two(op, inputs, outputs)
        _check_reduction(op)
        return gather_elements.launch_scatter(*_merged(op, inputs), x.type.dtype.itemsize, indices.type.dtype.value)


def _axes_refusal(op: Any, inputs: Inputs) -> str | None:
    x, indices = inputs[0], inputs[1]
    assert x is not None and indices is not None
    axis = op.axis % x.type.rank
    if any(d != n for i, (d, n) in enumerate(zip(x.type.shape, indices.type.shape, strict=True)) if i != axis):
        return "it is native where indices and data have the same sizes but for one axis"
    return None


def _merged(op: Any, inputs: Inputs) -> tuple[int, int, int, int]:
    """The sizes before the axis, of the axis in the data and in the indices, and behind it."""
    x, indices = inputs[0], inputs[1]
    assert x is not None and indices is not None
    if _axes_refusal(op, inputs) is not None:
        raise PlanInvalid(f"{op.op_type} has no kernel for {x.type} and {indices.type}")
    axis = op.axis % x.type.rank
    return math.prod(x.shape[:axis]), x.shape[axis], indices.shape[axis], math.prod(x.shape[axis + 1:])


class _ReverseSequence(Lowering):
    input_words = ("x", "lengths")

    def choose(self, op: Any, inputs: Inputs, outputs: Sequence[TensorType], lanes: int) -> Choice | Refusal:
        return Choice(reverse_sequence.KERNEL.name, inputs=(PLAIN, PLAIN))

    def launch(self, op: Any, choice: Choice, inputs: Inputs, outputs: Sequence[Tensor], lanes: int) -> Launch:
        x, _ = _two(op, inputs, outputs)
        run = math.prod(x.shape[2:]) * x.type.dtype.itemsize
        return reverse_sequence.launch(x.shape[op.time_axis], x.shape[op.batch_axis], op.batch_axis == 0, run, lanes)


LOWERINGS: dict[str, Lowering] = {
    "Gather": _Gather(),
    "GatherElements": _GatherElements(),
    "GatherND": _GatherND(),
    "ReverseSequence": _ReverseSequence(),
    "ScatterElements": _ScatterElements(),
    "ScatterND": _ScatterND(),
}
