"""Reductions along axes, sums up to each place, ArgMax and ArgMin, softmaxes, and local response normalization."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ....errors import PlanInvalid
from ....ir import DType, TensorType
from ..kernel import Launch
from ..kernels import arg_extreme, cumulate, lrn, reduce, softmax
from ..kernels.reduce import ReduceShape
from ..lowering import BLOCKED, PLAIN, Choice, Lowering, Refusal, Tensor
from .layouts import can_block, expect_layouts

__all__ = ["LOWERINGS", "around", "axes_of", "merged", "reduce_shape", "split_at"]

Inputs = Sequence[Tensor | None]


def _first(inputs: Inputs) -> Tensor:
    assert inputs[0] is not None
    return inputs[0]


def axes_of(op: Any, inputs: Inputs) -> tuple[int, ...]:
    """The axes that a reduction takes away, from its known operand."""
    axes = inputs[1] if len(inputs) > 1 else None
    if axes is not None and axes.value is None:
        raise PlanInvalid(f"{op.op_type}: the axes have to be known before the run")
    given = () if axes is None or axes.value is None else tuple(int(a) for a in axes.value.ravel())
    return tuple(op.axes(_first(inputs).type.rank, given))


def merged(shape: Sequence[int], axes: Sequence[int]) -> list[tuple[bool, int]]:
    """(reduced?, size) of the axes from the last to the first, neighbours of one kind merged."""
    groups: list[tuple[bool, int]] = []
    for i in reversed(range(len(shape))):
        gone = i in axes
        if shape[i] == 1:
            continue
        if groups and groups[-1][0] == gone:
            groups[-1] = (gone, groups[-1][1] * shape[i])
        else:
            groups.append((gone, shape[i]))
    return groups or [(True, 1)]


def reduce_shape(groups: list[tuple[bool, int]]) -> ReduceShape | None:
    """What the kernel is told; None where kept and reduced axes alternate too often."""
    inner = None if groups[0][0] else groups[0][1]
    sizes = [size for _, size in (groups if inner is None else groups[1:])]
    if len(sizes) > 4:
        return None
    r1, k1, r0, k0 = (*sizes, 1, 1, 1, 1)[:4]
    return ReduceShape((k0, k1), (r0, r1), inner)


class _Reduce(Lowering):
    """Blocked input where exactly the pixels are reduced, else plain; the output is plain."""

    input_words = ("x", None)

    def __init__(self, kind: str, integers: bool) -> None:
        self.kind, self.integers = kind, integers

    def choose(self, op: Any, inputs: Inputs, outputs: Sequence[TensorType], lanes: int) -> Choice | Refusal:
        x, axes = _first(inputs), axes_of(op, inputs)
        if not (x.type.dtype.is_float or self.integers):
            return Refusal(f"it is native for floating point only, not {x.type.dtype.value}")
        layout = BLOCKED if x.layout == BLOCKED and _only_pixels(x, axes) else PLAIN
        sizes = [d if isinstance(d, int) else 2 for d in x.type.shape]
        if reduce_shape(merged(sizes, axes)) is None:
            return Refusal("reduced axes alternate with others more than twice")
        return Choice(reduce.KERNEL.name, inputs=(layout, PLAIN)[:len(inputs)])

    def launch(self, op: Any, choice: Choice, inputs: Inputs, outputs: Sequence[Tensor], lanes: int) -> Launch:
        x, axes = _first(inputs), axes_of(op, inputs)
        blocked = x.layout == BLOCKED and _only_pixels(x, axes)
        expect_layouts(op, [x, outputs[0]], [BLOCKED if blocked else PLAIN, PLAIN])
        if blocked:
            return reduce.launch_blocked(x.shape, self.kind, lanes)
        shape = reduce_shape(merged(x.shape, axes))
        if shape is None:
            raise PlanInvalid(f"{op.op_type}: reduced axes alternate with others more than twice")
        return reduce.launch(shape, self.kind, lanes, x.type.dtype.value)


def _only_pixels(x: Tensor, axes: Sequence[int]) -> bool:
    return x.type.dtype is DType.F32 and can_block(x.type) and sorted(axes) == list(range(2, x.type.rank))


class _LogSumExp(Lowering):
    input_words = ("x", None)

    def choose(self, op: Any, inputs: Inputs, outputs: Sequence[TensorType], lanes: int) -> Choice | Refusal:
        sizes = [d if isinstance(d, int) else 2 for d in _first(inputs).type.shape]
        if around(merged(sizes, axes_of(op, inputs))) is None:
            return Refusal("the reduced axes are not neighbours")
        return Choice(softmax.KERNEL.name, inputs=(PLAIN, PLAIN)[:len(inputs)])

    def launch(self, op: Any, choice: Choice, inputs: Inputs, outputs: Sequence[Tensor], lanes: int) -> Launch:
        x = _first(inputs)
        expect_layouts(op, [x, outputs[0]], [PLAIN, PLAIN])
        found = around(merged(x.shape, axes_of(op, inputs)))
        if found is None:
            raise PlanInvalid("ReduceLogSumExp: the reduced axes are not neighbours")
        return softmax.launch(*found, "log_sum_exp", lanes, x.type.dtype.value)


def around(groups: list[tuple[bool, int]]) -> tuple[int, int, int] | None:
    """(outer, reduced, inner) where the reduced axes are neighbours."""
    if not groups[0][0]:
        (_, inner), *groups = groups
    else:
        inner = 1
    axis, outer, *more = [size for _, size in groups] + [1] * (2 - len(groups))
    return None if more else (outer, axis, inner)


class _Softmax(Lowering):
    overwritable = (0,)

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def choose(self, op: Any, inputs: Inputs, outputs: Sequence[TensorType], lanes: int) -> Choice | Refusal:
        return Choice(softmax.KERNEL.name, inputs=(PLAIN,))

    def launch(self, op: Any, choice: Choice, inputs: Inputs, outputs: Sequence[Tensor], lanes: int) -> Launch:
        x = _first(inputs)
        expect_layouts(op, [x, outputs[0]], [PLAIN, PLAIN])
        return softmax.launch(*split_at(x.shape, op.axis), self.kind, lanes, x.type.dtype.value)


def split_at(shape: tuple[int, ...], axis: int) -> tuple[int, int, int]:
    """(outer, axis, inner)."""
    axis %= len(shape)
    return math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1:])


class _ArgExtreme(Lowering):
    def __init__(self, kind: str) -> None:
        self.kind = kind

    def choose(self, op: Any, inputs: Inputs, outputs: Sequence[TensorType], lanes: int) -> Choice | Refusal:
        return Choice(arg_extreme.KERNEL.name, inputs=(PLAIN,))

    def launch(self, op: Any, choice: Choice, inputs: Inputs, outputs: Sequence[Tensor], lanes: int) -> Launch:
        x = _first(inputs)
        expect_layouts(op, [x, outputs[0]], [PLAIN, PLAIN])
        return arg_extreme.launch(*split_at(x.shape, op.axis), self.kind, op.select_last_index, lanes,
                                  x.type.dtype.value)


class _Cumulative(Lowering):
    """The axis is known."""

    input_words = ("x", None)

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def choose(self, op: Any, inputs: Inputs, outputs: Sequence[TensorType], lanes: int) -> Choice | Refusal:
        if _first(inputs).type.dtype is DType.F16:
            return Refusal("it is not native for f16")
        axis = inputs[1]
        if axis is None or axis.value is None:
            return Refusal("the axis has to be known before the run")
        return Choice(cumulate.KERNEL.name, inputs=(PLAIN, PLAIN))

    def launch(self, op: Any, choice: Choice, inputs: Inputs, outputs: Sequence[Tensor], lanes: int) -> Launch:
        x, axis = _first(inputs), inputs[1]
        expect_layouts(op, [x, outputs[0]], [PLAIN, PLAIN])
        if x.type.dtype is DType.F16 or axis is None or axis.value is None:
            raise PlanInvalid(f"{op.op_type} of {x.type} has no kernel, or its axis is not known before the run")
        at = int(axis.value.ravel()[0]) % x.type.rank
        return cumulate.launch(math.prod(x.shape[:at]), x.shape[at], math.prod(x.shape[at + 1:]), self.kind,
                               op.exclusive, op.reverse, x.type.dtype.value)


class _Lrn(Lowering):
    """Blocked always."""

    def choose(self, op: Any, inputs: Inputs, outputs: Sequence[TensorType], lanes: int) -> Choice | Refusal:
        x = _first(inputs)
        if x.type.dtype is not DType.F32 or not can_block(x.type):
            return Refusal("it is native for f32 with spatial axes only")
        if not lrn.supports(op.size, lanes):
            return Refusal(f"with vectors of {lanes} at most {2 * lanes + 1} channels are native, not {op.size}")
        return Choice(lrn.KERNEL.name, inputs=(BLOCKED,), outputs=(BLOCKED,))

    def launch(self, op: Any, choice: Choice, inputs: Inputs, outputs: Sequence[Tensor], lanes: int) -> Launch:
        x = _first(inputs)
        expect_layouts(op, [x, outputs[0]], [BLOCKED, BLOCKED])
        if x.type.dtype is not DType.F32 or not lrn.supports(op.size, lanes):
            raise PlanInvalid(f"LRN over {op.size} channels of {x.type} has no kernel")
        return lrn.launch(x.shape, op.size, op.alpha, op.beta, op.bias, lanes)


LOWERINGS: dict[str, Lowering] = {
    "ArgMax": _ArgExtreme("max"),
    "ArgMin": _ArgExtreme("min"),
    "CumProd": _Cumulative("prod"),
    "CumSum": _Cumulative("sum"),
    "LRN": _Lrn(),
    "LogSoftmax": _Softmax("log_softmax"),
    "ReduceL1": _Reduce("l1", True),
    "ReduceL2": _Reduce("l2", False),
    "ReduceLogSum": _Reduce("log_sum", False),
    "ReduceLogSumExp": _LogSumExp(),
    "ReduceMax": _Reduce("max", True),
    "ReduceMean": _Reduce("mean", False),
    "ReduceMin": _Reduce("min", True),
    "ReduceProd": _Reduce("prod", True),
    "ReduceSum": _Reduce("sum", True),
    "ReduceSumSquare": _Reduce("sum_square", True),
    "Softmax": _Softmax("softmax"),
}
