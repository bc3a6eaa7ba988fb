"""Older forms of operators, turned into the newest: cnncc's operators exist in that form only.

ADAPTERS says for each operator which opsets' form a function rewrites. A form that differs from the newest only in the
types it takes, or in attributes that did not exist yet, needs no row. Source: ONNX's Changelog.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx

from ...errors import UnsupportedError
from ...ir import DType, Node, Value
from ...ir.op import KNOWN_LIMIT
from .calls import Call
from .transformers import add_mask, simplified_layer_normalization

__all__ = ["ADAPTERS", "adapt", "has_adapter"]

Array = np.ndarray[Any, Any]
Adapter = Callable[[Call], None]
_INFERENCE = "export the model for inference"


def adapt(call: Call) -> None:
    """Rewrites `call` into the newest form. Raises UnsupportedError where the old form has no equivalent."""
    if call.opset < 6:
        call.attributes.pop("consumed_inputs", None)  # a hint about memory
    for first, last, function in ADAPTERS.get(call.op_type, ()):
        if first <= call.opset <= last:
            function(call)


def has_adapter(op_type: str, opset: int) -> bool:
    return any(first <= opset <= last for first, last, _ in ADAPTERS.get(op_type, ()))


# -- attributes that became inputs -----------------------------------------------------------------------------------

def _ints_to_input(attribute: str, index: int) -> Adapter:
    """An attribute of integers becomes the constant input `index`; an absent one an absent input."""
    def function(call: Call) -> None:
        if attribute in call.attributes:
            _set_input(call, index, np.asarray(call.attributes.pop(attribute), np.int64), attribute)
    return function


def _set_input(call: Call, index: int, array: np.ndarray[Any, Any], suffix: str) -> None:
    call.inputs += [None] * (index + 1 - len(call.inputs))
    call.inputs[index] = call.constant(array, suffix)


def _scalar(call: Call, number: float) -> np.ndarray[Any, Any]:
    """`number` as a scalar of the first input's type."""
    with np.errstate(over="ignore"):
        return np.asarray(number, call.operand(0).type.dtype.numpy)


def _clip(call: Call) -> None:
    # The defaults are the ends of float32's range, which Clip-11 leaves open.
    for index, (name, end) in enumerate((("min", np.finfo(np.float32).min), ("max", np.finfo(np.float32).max)), 1):
        number = call.attributes.pop(name, end)
        if np.float32(number) != end:
            _set_input(call, index, _scalar(call, number), name)


def _pad(call: Call) -> None:
    pads = call.attributes.pop("pads", None) or call.attributes.pop("paddings", None)
    if pads is None:
        raise UnsupportedError("it lacks its attribute 'pads'; export the model again")
    _set_input(call, 1, np.asarray(pads, np.int64), "pads")
    value = call.attributes.pop("value", 0.0)
    if value:
        _set_input(call, 2, _scalar(call, value), "value")


def _slice(call: Call) -> None:
    for index, name in enumerate(("starts", "ends", "axes"), 1):
        _ints_to_input(name, index)(call)


def _split(call: Call) -> None:
    _ints_to_input("split", 1)(call)
    if len(call.inputs) < 2 or call.inputs[1] is None:
        call.attributes["num_outputs"] = len(call.outputs)


# -- flattening to two dimensions ------------------------------------------------------------------------------------

def _softmax(call: Call) -> None:
    """Before opset 13 the axes from `axis` on were taken as one. Where all of them but one have size 1 that is the
    one axis of today; otherwise f(x) = reshape(f(flatten(x, axis)), shape(x))."""
    x, axis = call.operand(0), call.attributes.pop("axis", 1)
    shape = x.type.shape
    if not -len(shape) <= axis <= len(shape):
        raise UnsupportedError(f"its axis {axis} is out of range for an input of {len(shape)} dimensions")
    axis = axis + len(shape) if axis < 0 else axis
    wide = [i for i in range(axis, len(shape)) if shape[i] != 1]
    if shape and len(wide) <= 1:
        call.attributes["axis"] = wide[0] if wide else len(shape) - 1
        return
    flat = call.emit("Flatten", [x], {"axis": axis}, "flat")
    normal = call.emit(call.op_type, [flat], {"axis": -1}, call.op_type)
    if x.type.is_static:
        target = call.constant(np.asarray(x.type.static_shape, np.int64), "shape")
    else:
        target = call.emit("Shape", [x], {}, "shape")
    call.op_type, call.inputs, call.attributes = "Reshape", [normal, target], {"allowzero": 1}


# -- broadcasting ----------------------------------------------------------------------------------------------------

def _legacy_broadcast(call: Call) -> None:
    """Before opset 7 the second operand's axes stood at the first one's from `axis` on; without it, at the last."""
    call.attributes.pop("broadcast", None)
    axis = call.attributes.pop("axis", None)
    if axis is None:
        return
    a, b = call.operand(0).type, call.operand(1).type
    after = a.rank - (axis + a.rank if axis < 0 else axis) - b.rank
    if after < 0:
        raise UnsupportedError(f"its axis {axis} does not place {b} inside {a}; export the model again")
    if after:
        _unsqueeze_last(call, 1, after)


def _unsqueeze_last(call: Call, index: int, count: int) -> None:
    """Puts `count` axes of size 1 behind those of an input."""
    value = call.operand(index)
    axes = call.constant(np.arange(value.type.rank, value.type.rank + count), "axes")
    call.inputs[index] = call.emit("Unsqueeze", [value, axes], {}, "unsqueezed")


def _prelu(call: Call) -> None:
    """Before opset 7 a slope of one dimension was one number a channel, channels being axis 1."""
    x, slope = call.operand(0).type, call.operand(1).type
    if slope.rank == 1 and slope.shape != (1,) and x.rank > 2:
        _unsqueeze_last(call, 1, x.rank - 2)


# -- single attributes -----------------------------------------------------------------------------------------------

def _drop(*names: str) -> Adapter:
    """Attributes that say nothing about inference."""
    def function(call: Call) -> None:
        for name in names:
            call.attributes.pop(name, None)
    return function


def _in_test_mode(call: Call) -> None:
    """`is_test=0` asks for the behaviour of training; with one output, it can only mean an exporter's omission."""
    if not call.attributes.pop("is_test", 0) and call.used > 1:
        raise UnsupportedError(f"it is in training mode (is_test=0); {_INFERENCE}")


def _mask(call: Call) -> None:
    """Before opset 12 nothing was said of the mask at inference."""
    if call.used > 1:
        raise UnsupportedError("the mask it returns is not defined in this opset; export the model with opset 12 or "
                               "newer")


def _spatial(call: Call) -> None:
    """`spatial=0` has statistics for each element, not each channel: the same only where there is nothing but
    channels."""
    if not call.attributes.pop("spatial", 1) and call.operand(0).type.rank > 2:
        raise UnsupportedError("its attribute spatial=0 (statistics for each element) is not supported; export the "
                               "model with opset 9 or newer")


def _cast_by_name(call: Call) -> None:
    to = str(call.attributes.get("to", ""))
    if to not in onnx.TensorProto.DataType.keys():  # noqa: SIM118 - an enum's names, not a dict
        raise UnsupportedError(f"its attribute to='{to}' is not an element type; export the model again")
    call.attributes["to"] = onnx.TensorProto.DataType.Value(to)


def _concat_axis(call: Call) -> None:
    call.attributes.setdefault("axis", 1)


def _whole_p(call: Call) -> None:
    """The norm of LpPool-1 was a float."""
    p = call.attributes.get("p", 2.0)
    if p != round(p):
        raise UnsupportedError(f"its attribute p={p} is not a whole number, which is not supported")
    call.attributes["p"] = round(p)


def _renamed(op_type: str) -> Adapter:
    def function(call: Call) -> None:
        call.op_type = op_type
    return function


def _fill(call: Call) -> None:
    """ONNX gives the element and its type as a tensor of one element, by default a float32 zero."""
    value = np.asarray(call.attributes.pop("value", np.zeros(1, np.float32)))
    if value.size != 1:
        raise UnsupportedError(f"its attribute 'value' must hold one element, not {value.size}; export the model again")
    number = int(value.item()) if value.dtype == bool else value.item()
    call.attributes.update(value=number, dtype=DType.of(value.dtype))


# -- sampling --------------------------------------------------------------------------------------------------------

def _resize_asymmetric(call: Call) -> None:
    """Resize-10 and Upsample: positions are output positions over the scale, rounded down, or up where the axis
    becomes shorter (ONNX's own example of Resize-10)."""
    scales = call.operand(1)
    array = _computed(scales)
    if array is not None and not scales.is_constant:
        scales = call.constant(array, "scales")
    factors = np.ones(1) if array is None else array
    nearest = "floor" if (factors >= 1).all() else "ceil"
    if call.attributes.get("mode") == "nearest" and nearest == "ceil" and (factors > 1).any():
        raise UnsupportedError("it makes one axis longer and another shorter, which only opset 11 defines; export the "
                               "model with opset 11 or newer")
    call.op_type, call.inputs = "Resize", [call.operand(0), None, scales]
    call.attributes.update(coordinate_transformation_mode="asymmetric", nearest_mode=nearest)


def _upsample(call: Call) -> None:
    scales = np.asarray(call.attributes.pop("scales"), np.float32)
    _set_input(call, 1, scales, "scales")


def _computed(value: Value) -> Array | None:
    """The contents of what is computed from constants alone, in at most 16 steps a path, each of at most KNOWN_LIMIT
    elements; None for anything else."""
    found: dict[Value, Array | None] = {}

    def contents(v: Value, steps: int) -> Array | None:
        if v not in found:
            found[v] = v.constant if v.producer is None or steps == 0 else computed(v.producer, v.index, steps - 1)
        return found[v]

    def computed(node: Node, index: int, steps: int) -> Array | None:
        arrays = [None if i is None else contents(i, steps) if _is_small(i) else None for i in node.inputs]
        if node.op.bodies or any(i is not None and a is None for i, a in zip(node.inputs, arrays, strict=True)):
            return None
        return node.op.reference(*arrays)[index]

    return contents(value, 16) if value.type.rank == 1 and _is_small(value) else None


def _is_small(value: Value) -> bool:
    return value.type.is_static and math.prod(value.type.static_shape) <= KNOWN_LIMIT


def _sampling_inputs(call: Call) -> None:
    """Exporters leave roi and scales empty where they are not meant (before opset 13 they had to be there), and
    concatenate constants to scales, which must be known when types are inferred."""
    call.inputs += [None] * (4 - len(call.inputs))
    for index, name in enumerate(("roi", "scales", "sizes"), 1):
        value = call.inputs[index]
        if value is None:
            continue
        if value.type.shape == (0,):
            call.inputs[index] = None
        elif value.type.dtype.is_float and not value.is_constant:
            array = _computed(value)
            call.inputs[index] = value if array is None else call.constant(array, name)
    if call.attributes.get("coordinate_transformation_mode") != "tf_crop_and_resize":
        call.inputs[1] = None
    if call.attributes.get("coordinate_transformation_mode") == "tf_half_pixel_for_nn":
        # Its position is (x + 0.5) / scale, half an element more than half_pixel's.
        nearest = {"floor": "round_prefer_ceil", "round_prefer_floor": "ceil"}.get(call.attributes["nearest_mode"])
        if nearest is None or call.attributes["mode"] != "nearest":
            raise UnsupportedError("tf_half_pixel_for_nn is supported for mode=nearest with nearest_mode floor or "
                                   "round_prefer_floor only; export the model with opset 13 or newer")
        call.attributes.update(coordinate_transformation_mode="half_pixel", nearest_mode=nearest)


def _interpolated(call: Call) -> None:
    """GridSample-16 had other names for two modes."""
    mode = call.attributes.get("mode")
    call.attributes["mode"] = {"bilinear": "linear", "bicubic": "cubic"}.get(str(mode), mode)


def _unshifted(call: Call) -> None:
    """RoiAlign-10 did not move regions by half a pixel."""
    call.attributes["coordinate_transformation_mode"] = "output_half_pixel"


def _by_group(call: Call) -> None:
    """GroupNormalization-18 had a scale and a bias for each group, not each channel."""
    channels, groups = call.operand(0).type.shape[1], call.attributes.get("num_groups")
    if groups is None:
        raise UnsupportedError("it lacks its attribute 'num_groups'; export the model again")
    if groups < 1:
        raise UnsupportedError(f"its attribute num_groups must be at least 1, not {groups}; export the model again")
    if not isinstance(channels, int) or channels % groups:
        raise UnsupportedError(f"its {channels} channels do not divide into {groups} groups; fix their number")
    for index, name in ((1, "scale"), (2, "bias")):
        column = call.emit("Unsqueeze", [call.operand(index), call.constant(np.array([1]), f"{name}.axes")], {}, name)
        shape = call.constant(np.array([groups, channels // groups]), f"{name}.shape")
        wide = call.emit("Expand", [column, shape], {}, f"{name}.wide")
        call.inputs[index] = call.emit("Reshape", [wide, call.constant(np.array([channels]), f"{name}.flat")], {}, name)


_ANY = math.inf
_REDUCTIONS = ("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin",
               "ReduceProd", "ReduceSumSquare")
_RECURRENT = ("GRU", "LSTM", "RNN")
_BROADCASTING = ("Add", "And", "Div", "Equal", "Greater", "Less", "Mul", "Or", "Pow", "Sub", "Xor")

# operator -> rows of (first opset, last opset, function), applied in order
ADAPTERS: dict[str, tuple[tuple[int, float, Adapter], ...]] = {
    **dict.fromkeys(_BROADCASTING, ((1, 6, _legacy_broadcast),)),
    **dict.fromkeys(_REDUCTIONS, ((1, 17, _ints_to_input("axes", 1)),)),
    **dict.fromkeys(_RECURRENT, ((1, 6, _drop("output_sequence")),)),
    "Attention": ((23, _ANY, add_mask),),
    "BatchNormalization": ((1, 6, _in_test_mode), (1, 8, _spatial)),
    "Cast": ((1, 5, _cast_by_name),),
    "Clip": ((1, 10, _clip),),
    "Concat": ((1, 3, _concat_axis),),
    "ConstantOfShape": ((9, _ANY, _fill),),
    "DFT": ((17, 19, _ints_to_input("axis", 2)),),
    "Dropout": ((1, 6, _in_test_mode), (1, 11, _mask), (1, 11, _drop("ratio"))),
    "Gemm": ((1, 6, _drop("broadcast")),),
    "GlobalLpPool": ((1, 1, _whole_p),),
    "GridSample": ((16, 19, _interpolated),),
    "GroupNormalization": ((18, 20, _by_group),),
    "Hardmax": ((1, 12, _softmax),),
    "LpPool": ((1, 1, _whole_p),),
    "LogSoftmax": ((1, 12, _softmax),),
    "PRelu": ((1, 6, _prelu),),
    "Pad": ((1, 10, _pad),),
    "ReduceSum": ((1, 12, _ints_to_input("axes", 1)),),
    "Reshape": ((1, 4, _ints_to_input("shape", 1)),),
    "Resize": ((10, 10, _resize_asymmetric), (11, _ANY, _sampling_inputs)),
    "RoiAlign": ((10, 15, _unshifted),),
    "Scatter": ((9, 10, _renamed("ScatterElements")),),
    "SimplifiedLayerNormalization": ((1, _ANY, simplified_layer_normalization),),  # ONNX Runtime's, in this domain
    "Slice": ((1, 9, _slice),),
    "Softmax": ((1, 12, _softmax),),
    "Split": ((1, 17, _split),),
    "Squeeze": ((1, 12, _ints_to_input("axes", 1)),),
    "TopK": ((1, 9, _ints_to_input("k", 1)),),
    "Unsqueeze": ((1, 12, _ints_to_input("axes", 1)),),
    "Upsample": ((7, 8, _upsample), (7, 9, _resize_asymmetric)),
}
