"""Instance, group, layer and RMS normalization on their kernel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ....errors import PlanInvalid
from ....ir import DType, TensorType
from ..kernel import Launch, ceil_div
from ..kernels import normalize
from ..lowering import BLOCKED, PLAIN, Choice, Lowering, Refusal, Tensor
from .layouts import expect_layouts, preferred_layout

__all__ = ["LOWERINGS"]

Array = np.ndarray[Any, Any]
Inputs = Sequence[Tensor | None]


def _refusal(inputs: Inputs) -> Refusal | None:
    x = inputs[0]
    assert x is not None
    if x.type.dtype is not DType.F32:
        return Refusal(f"normalizations are native for f32 only, not {x.type.dtype.value}")
    if any(t is not None and (not t.constant or t.value is None) for t in inputs[1:]):
        return Refusal("the scale and the bias of the normalization are computed at run time")
    return None


class ByChannel(Lowering):
    """InstanceNormalization and GroupNormalization: X, scale and bias, one of each a channel.

    Blocked where statistics are those of whole blocks or of equal parts of a block, if there are channels enough.
    """

    input_words = ("x", "scale", "bias")
    overwritable = (0,)  # all of the part is read before any of it is written

    def choose(self, op: Any, inputs: Inputs, outputs: Sequence[TensorType], lanes: int) -> Choice | Refusal:
        x, refusal = inputs[0], _refusal(inputs)
        assert x is not None
        if refusal:
            return refusal
        channels = x.type.shape[1]
        if not isinstance(channels, int):
            return Refusal("the number of channels is not fixed")
        blocked = _share(op, channels, lanes) > 0 and preferred_layout(x, lanes) == BLOCKED
        layout = BLOCKED if blocked else PLAIN
        return Choice(normalize.KERNEL.name, inputs=(layout,), outputs=(layout,))

    def pack(self, op: Any, choice: Choice, inputs: Inputs, index: int, lanes: int) -> Array:
        tensor = inputs[index]
        assert tensor is not None and tensor.value is not None
        missing = -tensor.value.size % lanes if choice.outputs[0] == BLOCKED else 0
        return np.pad(tensor.value, (0, missing)).astype(np.float32)

    def launch(self, op: Any, choice: Choice, inputs: Inputs, outputs: Sequence[Tensor], lanes: int) -> Launch:
        x, y = inputs[0], outputs[0]
        assert x is not None
        expect_layouts(op, [x, y], [y.layout, y.layout])
        images, channels, *spatial = x.shape
        pixels, groups = math.prod(spatial), _groups(op, channels)
        if y.layout == PLAIN:
            return normalize.launch_channels(images, groups, channels // groups, pixels, op.epsilon, lanes)
        share = _share(op, channels, lanes)
        if not share:
            raise PlanInvalid(f"{op.op_type}: groups of {channels // groups} channels cut blocks of {lanes}")
        spread = max(1, channels // groups // lanes)
        blocks = ceil_div(channels, lanes)
        return normalize.launch_blocked(images, blocks // spread, spread, pixels, share, op.epsilon, lanes)


def _groups(op: Any, channels: int) -> int:
    return getattr(op, "num_groups", channels)


def _share(op: Any, channels: int, lanes: int) -> int:
    """How many neighbouring lanes have common statistics; 0 where groups cut blocks otherwise."""
    size = channels // max(1, _groups(op, channels))
    if size and size % lanes == 0:
        return lanes
    return size if size and lanes % size == 0 else 0


class Trailing(Lowering):
    """LayerNormalization and RMSNormalization: X, and a scale and a bias for each element of the trailing axes."""

    input_words = ("x", "scale", "bias")
    overwritable = (0,)  # all of the part is read before any of it is written

    def choose(self, op: Any, inputs: Inputs, outputs: Sequence[TensorType], lanes: int) -> Choice | Refusal:
        x, refusal = inputs[0], _refusal(inputs)
        assert x is not None
        if refusal:
            return refusal
        if len(outputs) > 1:
            return Refusal("the outputs Mean and InvStdDev have no native kernel")
        axis = op.axis % x.type.rank
        if not all(isinstance(d, int) for d in x.type.shape[axis:]):
            return Refusal("the size of what is normalized is not fixed")
        if any(math.prod(t.shape[:max(0, t.type.rank - x.type.rank + axis)]) != 1 for t in inputs[1:] if t is not None):
            return Refusal("the scale or the bias varies along axes that are not normalized")
        return Choice(normalize.KERNEL.name, inputs=(PLAIN,), outputs=(PLAIN,))

    def pack(self, op: Any, choice: Choice, inputs: Inputs, index: int, lanes: int) -> Array:
        x, tensor = inputs[0], inputs[index]
        assert x is not None and tensor is not None and tensor.value is not None
        shape = tuple(d for d in x.type.shape[op.axis % x.type.rank:] if isinstance(d, int))
        value = tensor.value.reshape(tensor.shape[max(0, tensor.type.rank - len(shape)):])
        return np.ascontiguousarray(np.broadcast_to(value, shape))

    def extra(self, op: Any, choice: Choice, inputs: Inputs, lanes: int) -> dict[str, Array]:
        x = inputs[0]
        assert x is not None
        if len(inputs) > 2 and inputs[2] is not None:
            return {}
        sizes = [d for d in x.type.shape[op.axis % x.type.rank:] if isinstance(d, int)]
        return {"bias": np.zeros(math.prod(sizes), np.float32)}

    def launch(self, op: Any, choice: Choice, inputs: Inputs, outputs: Sequence[Tensor], lanes: int) -> Launch:
        x = inputs[0]
        assert x is not None
        expect_layouts(op, [x, outputs[0]], [PLAIN, PLAIN])
        axis = op.axis % x.type.rank
        return normalize.launch_elements(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]), op.epsilon,
                                         op.op_type == "LayerNormalization", lanes)


LOWERINGS: dict[str, Lowering] = {
    "GroupNormalization": ByChannel(),
    "InstanceNormalization": ByChannel(),
    "LayerNormalization": Trailing(),
    "RMSNormalization": Trailing(),
}
