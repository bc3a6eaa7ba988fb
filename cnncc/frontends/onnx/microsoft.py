"""Operators of ONNX Runtime's domain com.microsoft in the form that cnncc has them: most are in OPS under their own
names; those listed here say what ONNX's operator of the same name says, or have channels last.

Those of transformers and of float fusions stand in transformers.py. Channels-last forms become Transposes around the
operator, which passes then move out of the way.
"""

from __future__ import annotations

from collections.abc import Callable

from ...ir import Value
from ...ops.quantize import MICROSOFT
from .calls import Call
from .transformers import TRANSFORMERS

__all__ = ["MICROSOFT_ADAPTERS", "adapt_microsoft", "is_microsoft"]

Adapter = Callable[[Call], None]


def is_microsoft(domain: str, op_type: str) -> bool:
    """Whether the operator has an adapter here."""
    return domain == MICROSOFT and op_type in MICROSOFT_ADAPTERS


def adapt_microsoft(call: Call) -> None:
    """Rewrites `call`. Raises UnsupportedError where it has no equivalent."""
    if is_microsoft(call.domain, call.op_type):
        MICROSOFT_ADAPTERS[call.op_type](call)


def _as_onnx(call: Call) -> None:
    """The operator of the same name in ONNX's own domain."""
    call.domain = ""


def _qlinear_conv(call: Call) -> None:
    _channels_first(call, "QLinearConv", bool(call.attributes.pop("channels_last", 0)))
    call.domain = ""


def _nhwc_max_pool(call: Call) -> None:
    _channels_first(call, "MaxPool", True)
    call.domain = ""


def _qlinear_pool(call: Call) -> None:
    _channels_first(call, call.op_type, bool(call.attributes.pop("channels_last", 0)))


def _channels_first(call: Call, op_type: str, last: bool) -> None:
    """`op_type` on the first input with its channels first; its output has them last again where `last` is set."""
    call.op_type = op_type
    if not last:
        return
    rank = call.operand(0).type.rank
    to_first = (0, rank - 1, *range(1, rank - 1))
    inputs = [call.emit("Transpose", [call.operand(0)], {"perm": to_first}, "channels_first"), *call.inputs[1:]]
    result: Value = call.emit(op_type, inputs, call.attributes, "with_channels_first")
    call.op_type, call.domain, call.inputs = "Transpose", "", [result]
    call.attributes = {"perm": (0, *range(2, rank), 1)}


MICROSOFT_ADAPTERS: dict[str, Adapter] = {
    "DequantizeLinear": _as_onnx,
    "NhwcMaxPool": _nhwc_max_pool,
    "QLinearAveragePool": _qlinear_pool,
    "QLinearConv": _qlinear_conv,
    "QLinearGlobalAveragePool": _qlinear_pool,
    "QuantizeLinear": _as_onnx,
    **TRANSFORMERS,
}
