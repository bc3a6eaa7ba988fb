"""The layers that are more than an operator: those that own weights, and those with defaults of their own.

Weights are named and shaped as PyTorch's modules name and shape them, so that a state dict fits by its names.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Any

from ...ir import DimLike, DType, TensorType, Value
from ...ir.attributes import make_op
from ...ops import OPS
from .builder import Builder, LayerError
from .numbers import describe
from .weights import Initial
from .words import REQUIRED, Bound, Word, generic_word

__all__ = ["WORDS", "all_words", "find_word"]

_ONE, _ZERO = Initial("fill", 1.0), Initial("fill", 0.0)


def find_word(name: str) -> Word | None:
    """The word: a capitalised one is ONNX's operator, a lower-case one is in WORDS or an operator's name."""
    if name in WORDS and WORDS[name].op in OPS:
        return WORDS[name]
    op_type = name if name in OPS else _lower().get(name)
    return None if op_type is None else generic_word(op_type)


def all_words() -> list[str]:
    """Every word for a layer."""
    return [*(n for n, word in WORDS.items() if word.op in OPS), *_lower(), *OPS]


@functools.cache
def _lower() -> dict[str, str]:
    return {op_type.lower(): op_type for op_type in OPS}


def _one(word: str, inputs: list[Value | None]) -> Value:
    if len(inputs) != 1 or inputs[0] is None:
        raise LayerError(f"{word} takes one input, not {len(inputs)}; its weights are its own")
    return inputs[0]


def _channels(word: str, x: Value, axis: int = 1) -> int:
    """The number of channels, which has to be fixed because weights are made for it."""
    if x.type.rank < 2:
        raise LayerError(f"{word}: the input must be [N, C, ...], not {x.type}")
    found: DimLike = x.type.shape[axis]
    if not isinstance(found, int):
        raise LayerError(f"{word}: the size of axis {axis} of its input {x.type} must be fixed: the weights' shapes "
                         "depend on it")
    return found


def _weight(builder: Builder, path: str, name: str, x: Value, shape: tuple[int, ...], initial: Initial) -> Value:
    return builder.weight(f"{path}.{name}" if path else name, TensorType(x.type.dtype, shape), initial)


def _count(word: str, what: str, number: Any) -> int:
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise LayerError(f"{word}: the number of {what} must be at least 1, not {describe(number)}", what)
    return number


def _convolution(builder: Builder, path: str, inputs: list[Value | None], bound: Bound, outputs: Any, *, word: str,
                 op: str) -> tuple[Value, ...]:
    """weight [channels, C/group, *kernel], of a transposed one [C, channels/group, *kernel]; bias [channels]."""
    x = _one(word, inputs)
    attributes, own = dict(bound.attributes), bound.own
    kernel = attributes.pop("kernel_shape", ())
    if not kernel:
        raise LayerError(f"{word} needs its kernel, as in '{word} {'' if word == 'depthwise' else '64 '}3x3'")
    if x.type.rank < 3 or len(kernel) != x.type.rank - 2:
        raise LayerError(f"{word}: a kernel of {len(kernel)} axes does not fit the input {x.type}", "kernel_shape")
    before = _channels(word, x)
    if word == "depthwise":
        attributes["group"] = before
        channels = before * _count(word, "multiplier", own["multiplier"])
    else:
        channels = _count(word, "channels", own["channels"])
    group = _count(word, "group", attributes.get("group", 1))
    if before % group or channels % group:
        raise LayerError(f"{word}: {before} channels to {channels} cannot be cut into {group} groups", "group")
    if any(not isinstance(k, int) or isinstance(k, bool) or k < 1 for k in kernel):
        raise LayerError(f"{word}: a kernel is at least 1 wide, not {list(kernel)}", "kernel_shape")
    ends = (before, channels // group) if op == "ConvTranspose" else (channels, before // group)
    fan_in = before // group * math.prod(kernel)
    operands: list[Value | None] = [x, _weight(builder, path, "weight", x, (*ends, *kernel), Initial("he"))]
    if own["bias"]:
        limit = 1 / math.sqrt(max(fan_in, 1))
        operands.append(_weight(builder, path, "bias", x, (channels,), Initial("uniform", -limit, limit)))
    if attributes.get("pads") and not any(attributes["pads"]):
        del attributes["pads"]
    return builder.node(make_op(OPS, op, attributes), operands, path, outputs)


def _linear(builder: Builder, path: str, inputs: list[Value | None], bound: Bound, outputs: Any) -> tuple[Value, ...]:
    """weight [features, K], bias [features]; the input is [..., K]."""
    x = _one("linear", inputs)
    features = _count("linear", "features", bound.own["features"])
    k = _channels("linear", x, -1)
    if x.type.rank == 4 and k == 1:
        raise LayerError(f"linear: the input {x.type} is a picture; put 'flatten' before")
    weight = _weight(builder, path, "weight", x, (features, k), Initial("xavier"))
    limit = 1 / math.sqrt(max(k, 1))
    bias = [_weight(builder, path, "bias", x, (features,), Initial("uniform", -limit, limit))] \
        if bound.own["bias"] else []
    if x.type.rank == 2:
        op = make_op(OPS, "Gemm", {"transB": True, **bound.attributes})
        return builder.node(op, [x, weight, *bias], path, outputs)
    if bound.attributes:
        name = next(iter(bound.attributes))
        raise LayerError(f"linear: '{name}' is Gemm's, which takes a matrix, not {x.type}", name)
    (turned,) = builder.node(make_op(OPS, "Transpose", {"perm": [1, 0]}), [weight], f"{path}.transpose")
    if not bias:
        return builder.node(OPS["MatMul"](), [x, turned], path, outputs)
    (product,) = builder.node(OPS["MatMul"](), [x, turned], f"{path}.matmul")
    return builder.node(OPS["Add"](), [product, *bias], path, outputs)


def _batch_norm(builder: Builder, path: str, inputs: list[Value | None], bound: Bound, outputs: Any
                ) -> tuple[Value, ...]:
    """weight, bias, running_mean and running_var [C]."""
    x = _one("bn", inputs)
    c = _channels("bn", x)
    drawn = {"weight": Initial("uniform", 0.8, 1.2), "bias": Initial("normal", 0.1),
             "running_mean": Initial("normal", 0.1), "running_var": Initial("uniform", 0.6, 1.4)}
    parameters = [_weight(builder, path, name, x, (c,), initial) for name, initial in drawn.items()]
    return builder.node(make_op(OPS, "BatchNormalization", bound.attributes), [x, *parameters], path, outputs)


def _scaled(builder: Builder, path: str, inputs: list[Value | None], bound: Bound, outputs: Any, *, word: str,
            op: str) -> tuple[Value, ...]:
    """weight and bias: of LayerNormalization of the shape of the normalised axes, otherwise [C]."""
    x = _one(word, inputs)
    if "axis" in OPS[op].__dataclass_fields__:
        axis = bound.attributes.get("axis", -1)
        if not isinstance(axis, int) or not -x.type.rank <= axis < x.type.rank:
            raise LayerError(f"{word}: the input {x.type} has no axis {axis}", "axis")
        shape = tuple(_channels(word, x, at) for at in range(axis % x.type.rank, x.type.rank))
    else:
        shape = (_channels(word, x),)
    parameters = [_weight(builder, path, "weight", x, shape, Initial("uniform", 0.8, 1.2))]
    if len(OPS[op].operands) > 2:
        parameters.append(_weight(builder, path, "bias", x, shape, Initial("normal", 0.1)))
    return builder.node(make_op(OPS, op, bound.attributes), [x, *parameters], path, outputs)


def _prelu(builder: Builder, path: str, inputs: list[Value | None], bound: Bound, outputs: Any) -> tuple[Value, ...]:
    """weight [count], count being 1 or the number of channels."""
    x = _one("prelu", inputs)
    count = _count("prelu", "count", bound.own["count"])
    if count not in (1, _channels("prelu", x)):
        raise LayerError(f"prelu: there is one slope or one for each channel of {x.type}, not {count}", "count")
    slope = _weight(builder, path, "weight", x, (count,), Initial("fill", 0.25))
    if x.type.rank > 2 and count > 1:
        shape = builder.constant([count, *(1,) * (x.type.rank - 2)], DType.I64, f"{path}.shape")
        (slope,) = builder.node(OPS["Reshape"](), [slope, shape], f"{path}.reshape")
    return builder.node(OPS["PRelu"](), [x, slope], path, outputs)


def _pool(builder: Builder, path: str, inputs: list[Value | None], bound: Bound, outputs: Any, *, word: str,
          op: str) -> tuple[Value, ...]:
    """Windows beside each other unless a stride is given."""
    attributes = dict(bound.attributes)
    if not attributes.get("kernel_shape"):
        raise LayerError(f"{word} needs its window, as in '{word} 2x2'")
    attributes.setdefault("strides", attributes["kernel_shape"])
    return builder.node(make_op(OPS, op, attributes), [_one(word, inputs)], path, outputs)


def _clip(builder: Builder, path: str, inputs: list[Value | None], bound: Bound, outputs: Any) -> tuple[Value, ...]:
    x = _one("relu6", inputs)
    ends = [builder.constant(v, x.type.dtype, f"{path}.{n}") for n, v in (("min", 0), ("max", 6))]
    return builder.node(OPS["Clip"](), [x, *ends], path, outputs)


def _resize(builder: Builder, path: str, inputs: list[Value | None], bound: Bound, outputs: Any) -> tuple[Value, ...]:
    """All spatial axes grow by `scale`. mode nearest repeats pixels; mode linear samples at their centres."""
    x = _one("upsample", inputs)
    scale = bound.own["scale"]
    if isinstance(scale, bool) or not isinstance(scale, (int, float)) or scale <= 0 or x.type.rank < 3:
        raise LayerError(f"upsample: cannot scale {x.type} by {scale}", "scale")
    attributes = dict(bound.attributes)
    if attributes.get("mode", "nearest") == "nearest":
        attributes = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"} | attributes
    scales = builder.constant([1.0, 1.0, *(float(scale),) * (x.type.rank - 2)], DType.F32, f"{path}.scales")
    return builder.node(make_op(OPS, "Resize", attributes), [x, None, scales], path, outputs)


def _conv_word(word: str, op: str) -> Word:
    own: Mapping[str, Any] = {"channels": REQUIRED, "bias": True}
    return Word(op, ("channels", "kernel_shape"), own, build=functools.partial(_convolution, word=word, op=op))


def _pool_word(word: str, op: str) -> Word:
    return Word(op, ("kernel_shape",), build=functools.partial(_pool, word=word, op=op))


def _norm_word(word: str, op: str, *positional: str) -> Word:
    return Word(op, positional, build=functools.partial(_scaled, word=word, op=op))


WORDS: dict[str, Word] = {
    "conv": _conv_word("conv", "Conv"),
    "depthwise": Word("Conv", ("kernel_shape",), {"multiplier": 1, "bias": True},
                      build=functools.partial(_convolution, word="depthwise", op="Conv")),
    "conv_transpose": _conv_word("conv_transpose", "ConvTranspose"),
    "linear": Word("Gemm", ("features",), {"features": REQUIRED, "bias": True}, build=_linear),
    "bn": Word("BatchNormalization", ("epsilon",), build=_batch_norm),
    "layer_norm": _norm_word("layer_norm", "LayerNormalization", "epsilon"),
    "group_norm": _norm_word("group_norm", "GroupNormalization", "num_groups", "epsilon"),
    "instance_norm": _norm_word("instance_norm", "InstanceNormalization", "epsilon"),
    "rms_norm": _norm_word("rms_norm", "RMSNormalization", "epsilon"),
    "prelu": Word("PRelu", ("count",), {"count": 1}, build=_prelu),
    "maxpool": _pool_word("maxpool", "MaxPool"),
    "avgpool": _pool_word("avgpool", "AveragePool"),
    "lppool": _pool_word("lppool", "LpPool"),
    "global_maxpool": Word("GlobalMaxPool"),
    "global_avgpool": Word("GlobalAveragePool"),
    "relu6": Word("Clip", build=_clip),
    "leaky_relu": Word("LeakyRelu", ("alpha",)),
    "hard_sigmoid": Word("HardSigmoid", ("alpha", "beta")),
    "hard_swish": Word("HardSwish"),
    "silu": Word("Swish"),
    "concat": Word("Concat", ("axis",), defaults={"axis": 1}),
    "split": Word("Split", ("num_outputs",), defaults={"axis": 1}),
    "upsample": Word("Resize", ("scale", "mode"), {"scale": REQUIRED}, build=_resize),
}
