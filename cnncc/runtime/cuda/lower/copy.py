"""Operators that move elements as they are, by the CPU's rules."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ....errors import PlanInvalid
from ....ir import DType, TensorType
from ...cpu.kernels.elementwise import plain_view
from ...cpu.kernels.pad import PadAxis
from ...cpu.lower import copy as cpu
from ...cpu.lower import gather as cpu_gather
from ..kernel import Launch
from ..kernels import copy, elementwise, gather, pad
from ..lowering import PLAIN, Choice, Lowering, Refusal, Tensor
from .ruled import Inputs, Ruled, bits, first

__all__ = ["LOWERINGS"]


class _Copy(Ruled):
    """One strided copy; the other operands are known and not read."""

    def launch(self, op: Any, choice: Choice, inputs: Inputs, outputs: Sequence[Tensor], lanes: int) -> Launch:
        x = first(inputs)
        axes = self.rules.axes(op, x.shape, outputs[0].shape)
        if not copy.supports(axes):
            raise PlanInvalid(f"{op.op_type}: after merging, more than {copy.AXES} axes change places")
        return copy.launch(axes, x.type.dtype.itemsize)


class _Slice(Ruled):
    def launch(self, op: Any, choice: Choice, inputs: Inputs, outputs: Sequence[Tensor], lanes: int) -> Launch:
        x = first(inputs)
        axes, offset = cpu.slice_axes(x.shape, outputs[0].shape, cpu.slice_cuts(x.shape, inputs))
        return copy.launch(axes, x.type.dtype.itemsize, offset)


class _Expand(Ruled):
    def launch(self, op: Any, choice: Choice, inputs: Inputs, outputs: Sequence[Tensor], lanes: int) -> Launch:
        x, y = first(inputs), outputs[0]
        view = plain_view([x.shape], y.shape)
        if view is None:
            raise PlanInvalid("Expand: the broadcast has more axes than a kernel, after merging")
        return elementwise.launch("copy", [bits(x)], bits(x), view)


class _Gather(Ruled):
    def launch(self, op: Any, choice: Choice, inputs: Inputs, outputs: Sequence[Tensor], lanes: int) -> Launch:
        x, indices = first(inputs), inputs[1]
        assert indices is not None
        axis = op.axis % x.type.rank
        return gather.launch(math.prod(x.shape[:axis]), x.shape[axis], math.prod(indices.shape),
                             math.prod(x.shape[axis + 1:]), x.type.dtype.itemsize, indices.type.dtype.value)


class _Pad(Ruled):
    def launch(self, op: Any, choice: Choice, inputs: Inputs, outputs: Sequence[Tensor], lanes: int) -> Launch:
        x = first(inputs)
        mode, widths = self.rules.padding(op, inputs, outputs)
        axes, offset = cpu.pad_axes(x.shape, widths)
        has_value = len(inputs) > 2 and inputs[2] is not None
        return pad.launch(axes, mode, x.type.dtype.itemsize, offset, has_value)


class _Tile(Ruled):
    def launch(self, op: Any, choice: Choice, inputs: Inputs, outputs: Sequence[Tensor], lanes: int) -> Launch:
        x = first(inputs)
        return pad.launch(cpu.tile_axes(x.shape, outputs[0].shape), "wrap", x.type.dtype.itemsize)


class _ConstantOfShape(Ruled):
    def choose(self, op: Any, inputs: Inputs, outputs: Sequence[TensorType], lanes: int) -> Choice | Refusal:
        return Choice(pad.KERNEL.name, inputs=(PLAIN,))

    def launch(self, op: Any, choice: Choice, inputs: Inputs, outputs: Sequence[Tensor], lanes: int) -> Launch:
        y = outputs[0]
        count = math.prod(y.shape)
        return pad.launch([PadAxis(count, 0, count, 1)], "constant", y.type.dtype.itemsize, has_value=True)


_RULES, _ALL = cpu.LOWERINGS, tuple(DType)
LOWERINGS: dict[str, Lowering] = {
    **{name: _Copy(_RULES[name], _ALL) for name in (
        "DepthToSpace", "Dropout", "Flatten", "Identity", "Reshape", "SpaceToDepth", "Squeeze", "Transpose",
        "Unsqueeze")},
    **{name: _Pad(_RULES[name], _ALL) for name in ("CenterCropPad", "Pad")},
    "ConstantOfShape": _ConstantOfShape(_RULES["ConstantOfShape"], _ALL),
    "Expand": _Expand(_RULES["Expand"], _ALL),
    "Gather": _Gather(cpu_gather.LOWERINGS["Gather"], _ALL),
    "Slice": _Slice(_RULES["Slice"], _ALL),
    "Tile": _Tile(_RULES["Tile"], _ALL),
}
