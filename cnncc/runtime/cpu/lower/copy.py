"""Operators that move elements as they are: Transpose, Slice, DepthToSpace and back, Expand, Pad, Tile; and
those that only change the shape, where a plan cannot let the output lie on the input (a constant)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ....errors import PlanInvalid
from ....ir import Op, TensorType
from ..kernel import Launch, ceil_div
from ..kernels import copy, elementwise, pad
from ..kernels.copy import Axis, contiguous
from ..kernels.pad import PadAxis
from ..lowering import BLOCKED, PLAIN, Choice, Lowering, Refusal, Tensor
from .layouts import can_block, expect_layouts

__all__ = ["LOWERINGS", "pad_axes", "slice_axes", "slice_cuts", "tile_axes"]

Array = np.ndarray[Any, Any]
Inputs = Sequence[Tensor | None]


def _sizes(type_: TensorType) -> tuple[int, ...]:
    """The shape, symbolic dimensions taken as 2."""
    return tuple(d if isinstance(d, int) else 2 for d in type_.shape)


def _first(inputs: Inputs) -> Tensor:
    assert inputs[0] is not None
    return inputs[0]


def _ints(tensor: Tensor | None) -> list[int]:
    """The known contents of an operand; none where it is absent."""
    if tensor is None:
        return []
    if tensor.value is None:
        raise PlanInvalid(f"an operand {tensor.type} has to be known before the run")
    return [int(n) for n in tensor.value.ravel()]


class _CopyLowering(Lowering):
    """One strided copy; the other operands are known and not read."""

    input_words = ("x", None, None, None, None)

    def axes(self, op: Any, shape: tuple[int, ...], outputs: tuple[int, ...]) -> list[Axis]:
        """The output's axes, from the two shapes."""
        raise NotImplementedError  # abstract

    def choose(self, op: Op, inputs: Inputs, outputs: Sequence[TensorType], lanes: int) -> Choice | Refusal:
        if len(outputs) > 1:
            return Refusal("only the first output is native")
        if not copy.supports(self.axes(op, _sizes(_first(inputs).type), _sizes(outputs[0]))):
            return Refusal(f"after merging, more than {copy.OUTER + 1} axes change places")
        return Choice(copy.KERNEL.name, inputs=(PLAIN,) * len(inputs))

    def launch(self, op: Op, choice: Choice, inputs: Inputs, outputs: Sequence[Tensor], lanes: int) -> Launch:
        x, y = _first(inputs), outputs[0]
        expect_layouts(op, [x, y], [PLAIN, PLAIN])
        axes = self.axes(op, x.shape, y.shape)
        if not copy.supports(axes):
            raise PlanInvalid(f"{op.op_type}: after merging, more than {copy.OUTER + 1} axes change places")
        return copy.launch(axes, x.type.dtype.itemsize, lanes)


class _Alias(_CopyLowering):
    """The same bytes in the same order."""

    def axes(self, op: Any, shape: tuple[int, ...], outputs: tuple[int, ...]) -> list[Axis]:
        return [Axis(math.prod(shape), 1, 1)]


def _permuted(shape: Sequence[int], perm: Sequence[int]) -> list[Axis]:
    steps = contiguous(shape)
    sizes = [shape[p] for p in perm]
    return [Axis(n, steps[p], y) for n, p, y in zip(sizes, perm, contiguous(sizes), strict=True)]


class _Transpose(_CopyLowering):
    def axes(self, op: Any, shape: tuple[int, ...], outputs: tuple[int, ...]) -> list[Axis]:
        return _permuted(shape, op.permutation(len(shape)))


class _Blocks(_CopyLowering):
    """DepthToSpace and SpaceToDepth."""

    def axes(self, op: Any, shape: tuple[int, ...], outputs: tuple[int, ...]) -> list[Axis]:
        return _permuted(*op.split(shape))


class _Slice(Lowering):
    """Blocked if the input is and its channels are cut between blocks, or not at all."""

    input_words = ("x", None, None, None, None)

    def choose(self, op: Op, inputs: Inputs, outputs: Sequence[TensorType], lanes: int) -> Choice | Refusal:
        x = _first(inputs)
        layout = BLOCKED if x.layout == BLOCKED and _cuts_between_blocks(x, inputs, outputs[0], lanes) else PLAIN
        if x.type.rank > copy.OUTER:
            return Refusal(f"more than {copy.OUTER} axes are not native")
        return Choice(copy.KERNEL.name, inputs=(layout, *(PLAIN,) * (len(inputs) - 1)), outputs=(layout,))

    def launch(self, op: Op, choice: Choice, inputs: Inputs, outputs: Sequence[Tensor], lanes: int) -> Launch:
        x, y = _first(inputs), outputs[0]
        blocked = y.layout == BLOCKED and _cuts_between_blocks(x, inputs, y.type, lanes)
        expect_layouts(op, [x, y], [BLOCKED if blocked else PLAIN] * 2)
        cuts, shape, target = slice_cuts(x.shape, inputs), list(x.shape), list(y.shape)
        if blocked:
            first, step = cuts.get(1, (0, 1))
            cuts[1] = (first // lanes, step)
            shape = [shape[0], ceil_div(shape[1], lanes), *shape[2:], lanes]
            target = [target[0], ceil_div(target[1], lanes), *target[2:], lanes]
        axes, offset = slice_axes(shape, target, cuts)
        return copy.launch(axes, x.type.dtype.itemsize, lanes, offset)


def slice_axes(shape: Sequence[int], target: Sequence[int],
               cuts: Mapping[int, tuple[int, int]]) -> tuple[list[Axis], int]:
    """The axes of a slice with these first positions and steps, and where its first element is."""
    axes, offset = [], 0
    for d, (size, x_step, y_step) in enumerate(zip(target, contiguous(shape), contiguous(target), strict=True)):
        first, step = cuts.get(d, (0, 1))
        axes.append(Axis(size, step * x_step, y_step))
        offset += first * x_step
    return axes, offset


def _cut_axes(inputs: Inputs) -> list[int]:
    """The axes that a Slice names, negative ones as they are."""
    starts, axes = inputs[1], inputs[3] if len(inputs) > 3 else None
    assert starts is not None
    return _ints(axes) if axes is not None else list(range(math.prod(starts.shape)))


def slice_cuts(shape: Sequence[int], inputs: Inputs) -> dict[int, tuple[int, int]]:
    """First position and step along each axis that is cut."""
    starts, ends, steps = _ints(inputs[1]), _ints(inputs[2]), _ints(inputs[4] if len(inputs) > 4 else None)
    found = {}
    for i, axis in enumerate(_cut_axes(inputs)):
        step = steps[i] if steps else 1
        first, _, _ = slice(starts[i], ends[i], step).indices(shape[axis])
        found[axis % len(shape)] = (first, step)
    return found


def _cuts_between_blocks(x: Tensor, inputs: Inputs, y: TensorType, lanes: int) -> bool:
    if not can_block(x.type):
        return False
    if 1 not in [a % x.type.rank for a in _cut_axes(inputs)]:
        return True
    channels, kept = x.type.shape[1], y.shape[1]
    if not isinstance(channels, int) or not isinstance(kept, int):
        return False
    at = [a % x.type.rank for a in _cut_axes(inputs)].index(1)
    operands = [inputs[1], inputs[2], inputs[4] if len(inputs) > 4 else None]
    start, end, step = (1 if t is None or t.value is None else t.value.ravel()[at] for t in operands)
    if not all(isinstance(n, int) or hasattr(n, "__index__") for n in (start, end, step)):
        return False
    first, _, step = slice(int(start), int(end), int(step)).indices(channels)
    return step == 1 and first % lanes == 0 and (kept % lanes == 0 or first + kept == channels)


class _Expand(Lowering):
    """A broadcast copy, by the elementwise kernel."""

    input_words = ("a", None)

    def choose(self, op: Op, inputs: Inputs, outputs: Sequence[TensorType], lanes: int) -> Choice | Refusal:
        if elementwise.plain_view([_sizes(_first(inputs).type)], _sizes(outputs[0])) is None:
            return Refusal(f"after merging, the broadcast has more than {elementwise.OUTER + 1} axes")
        return Choice(elementwise.KERNEL.name, inputs=(PLAIN, PLAIN))

    def launch(self, op: Op, choice: Choice, inputs: Inputs, outputs: Sequence[Tensor], lanes: int) -> Launch:
        x, y = _first(inputs), outputs[0]
        expect_layouts(op, [x, y], [PLAIN, PLAIN])
        view = elementwise.plain_view([x.shape], y.shape)
        if view is None:
            raise PlanInvalid(f"Expand: the broadcast has more than {elementwise.OUTER + 1} axes")
        bits = f"u{8 * x.type.dtype.itemsize}"
        return elementwise.launch("copy", [bits], bits, lanes, view)


class _Pad(Lowering):
    """Blocked if the input is and channels are not padded."""

    input_words = ("x", None, "value", None)

    def padding(self, op: Any, inputs: Inputs, outputs: Sequence[Tensor]) -> tuple[str, list[tuple[int, int]]]:
        """The mode, and the elements added before and behind each axis."""
        pads, named = inputs[1], inputs[3] if len(inputs) > 3 else None
        widths = op.widths(_first(inputs).type.rank, _ints(pads), None if named is None else _ints(named))
        return op.mode, widths

    def choose(self, op: Any, inputs: Inputs, outputs: Sequence[TensorType], lanes: int) -> Choice | Refusal:
        x = _first(inputs)
        whole = can_block(x.type) and outputs[0].shape[1] == x.type.shape[1]
        layout = BLOCKED if x.layout == BLOCKED and whole else PLAIN
        if x.type.rank > pad.OUTER:
            return Refusal(f"more than {pad.OUTER} axes are not native")
        return Choice(pad.KERNEL.name, inputs=(layout, *(PLAIN,) * (len(inputs) - 1)), outputs=(layout,))

    def launch(self, op: Any, choice: Choice, inputs: Inputs, outputs: Sequence[Tensor], lanes: int) -> Launch:
        x, y = _first(inputs), outputs[0]
        has_value = len(inputs) > 2 and inputs[2] is not None
        mode, widths = self.padding(op, inputs, outputs)
        blocked = y.layout == BLOCKED and widths[1] == (0, 0)
        expect_layouts(op, [x, y], [BLOCKED if blocked else PLAIN] * 2)
        shape, unit = list(x.shape), 1
        if blocked:
            shape[1] = ceil_div(shape[1], lanes)
            if mode == "constant":  # one number fills all
                shape, widths = [*shape, lanes], [*widths, (0, 0)]
            else:
                unit = lanes
        axes, offset = pad_axes(shape, widths)
        return pad.launch(axes, mode, x.type.dtype.itemsize, lanes, offset, has_value, unit)


def pad_axes(shape: Sequence[int], widths: Sequence[tuple[int, int]]) -> tuple[list[PadAxis], int]:
    """The axes of a tensor padded by these widths, and where the first element that is kept is."""
    axes, offset = [], 0
    for size, (begin, end), step in zip(shape, widths, contiguous(shape), strict=True):
        kept = size + min(begin, 0) + min(end, 0)
        axes.append(PadAxis(size + begin + end, kept, max(begin, 0), step))
        offset += max(-begin, 0) * step
    return axes, offset


def tile_axes(shape: Sequence[int], target: Sequence[int]) -> list[PadAxis]:
    """The axes of a tensor that is repeated up to the target's shape."""
    if 0 in target:
        return [PadAxis(0, 0, 0, 1)]
    return [PadAxis(n, kept, 0, step) for n, kept, step in zip(target, shape, contiguous(shape), strict=True)]


class _CenterCropPad(_Pad):
    """Padding by zeros, and by less than nothing where the middle is cut out."""

    def padding(self, op: Any, inputs: Inputs, outputs: Sequence[Tensor]) -> tuple[str, list[tuple[int, int]]]:
        return "constant", op.widths(_first(inputs).shape, outputs[0].shape)


class _ConstantOfShape(Lowering):
    """Padding around nothing."""

    input_words = (None,)

    def choose(self, op: Any, inputs: Inputs, outputs: Sequence[TensorType], lanes: int) -> Choice | Refusal:
        return Choice(pad.KERNEL.name, inputs=(PLAIN,))

    def extra(self, op: Any, choice: Choice, inputs: Inputs, lanes: int) -> dict[str, Array]:
        return {"value": np.array([op.value], op.dtype.numpy)}

    def launch(self, op: Any, choice: Choice, inputs: Inputs, outputs: Sequence[Tensor], lanes: int) -> Launch:
        y = outputs[0]
        expect_layouts(op, [y], [PLAIN])
        count = math.prod(y.shape)
        return pad.launch([PadAxis(count, 0, count, 1)], "constant", y.type.dtype.itemsize, lanes, has_value=True)


class _Tile(Lowering):
    """Padding behind, by what stands at the other end."""

    input_words = ("x", None)

    def choose(self, op: Op, inputs: Inputs, outputs: Sequence[TensorType], lanes: int) -> Choice | Refusal:
        if _first(inputs).type.rank > pad.OUTER + 1:
            return Refusal(f"more than {pad.OUTER + 1} axes are not native")
        return Choice(pad.KERNEL.name, inputs=(PLAIN, PLAIN))

    def launch(self, op: Op, choice: Choice, inputs: Inputs, outputs: Sequence[Tensor], lanes: int) -> Launch:
        x, y = _first(inputs), outputs[0]
        expect_layouts(op, [x, y], [PLAIN, PLAIN])
        return pad.launch(tile_axes(x.shape, y.shape), "wrap", x.type.dtype.itemsize, lanes)


LOWERINGS: dict[str, Lowering] = {
    "CenterCropPad": _CenterCropPad(),
    "ConstantOfShape": _ConstantOfShape(),
    "DepthToSpace": _Blocks(),
    "Dropout": _Alias(),
    "Expand": _Expand(),
    "Flatten": _Alias(),
    "Identity": _Alias(),
    "Pad": _Pad(),
    "Reshape": _Alias(),
    "Slice": _Slice(),
    "SpaceToDepth": _Blocks(),
    "Squeeze": _Alias(),
    "Tile": _Tile(),
    "Transpose": _Transpose(),
    "Unsqueeze": _Alias(),
}
