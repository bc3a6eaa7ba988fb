"""What cnncc's quantised operators have beyond ONNX's, as ONNX nodes: activations of quantised results, scaled and
biased ConvInteger, functions of quantised tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from ...ir import Activation, DType, Node

__all__ = ["export_quantized"]


class Writer(Protocol):
    """What an export offers: nodes, fresh names, constants, activations."""

    def emit(self, op_type: str, inputs: Sequence[str], outputs: Sequence[str], name: str, domain: str = "",
             **attributes: Any) -> None: ...

    def fresh(self, hint: str) -> str: ...
    def constant(self, array: np.ndarray[Any, Any], hint: str) -> str: ...
    def activate(self, activation: Activation, dtype: DType, x: str, y: str, name: str) -> None: ...


# the operands that hold scale and zero point of a quantised result
_RESULT = {"QLinearConv": (6, 7), "QGemm": (7, 8), "QLinearActivation": (3, 4)}


def export_quantized(writer: Writer, node: Node, inputs: Sequence[str], y: str,
                     attributes: Mapping[str, Any]) -> bool:
    """Writes the node, whose own `attributes` are given without the activation, if it is one of those; else nothing."""
    op, activation = node.op, getattr(node.op, "activation", None)
    if op.op_type == "QLinearActivation":
        _requantize(writer, node, activation, inputs[:3], inputs, y)
    elif op.op_type == "ConvInteger" and len(inputs) > 4:
        _scaled_convolution(writer, node, activation, inputs, y, attributes)
    elif op.op_type in _RESULT and activation is not None and len(inputs) > _RESULT[op.op_type][1]:
        result = writer.fresh(f"{y}.quantized")
        scale, zero = _RESULT[op.op_type]
        writer.emit(op.op_type, inputs, [result], node.name, op.domain, **attributes)
        _requantize(writer, node, activation, (result, inputs[scale], inputs[zero]), inputs, y)
    else:
        return False
    return True


def _requantize(writer: Writer, node: Node, activation: Activation | None, x: Sequence[str], inputs: Sequence[str],
                y: str) -> None:
    """DequantizeLinear, the activation, QuantizeLinear."""
    scale, zero = _RESULT[node.op.op_type]
    real = writer.fresh(f"{y}.real")
    writer.emit("DequantizeLinear", x, [real], f"{node.name}.real")
    if activation is not None:
        source, real = real, writer.fresh(f"{y}.active")
        operand = node.inputs[scale]
        assert operand is not None
        writer.activate(activation, operand.type.dtype, source, real, f"{node.name}.activation")
    writer.emit("QuantizeLinear", [real, *inputs[scale:zero + 1]], [y], f"{node.name}.requantized")


def _scaled_convolution(writer: Writer, node: Node, activation: Activation | None, inputs: Sequence[str], y: str,
                        attributes: Mapping[str, Any]) -> None:
    """ConvInteger, Cast, times the scale, plus B, the activation."""
    added, rank, dtype = inputs[4:], node.output.type.rank, node.output.type.dtype
    names = [writer.fresh(f"{y}.{i}") for i in range(1 + len(added) + (activation is not None))] + [y]
    own = list(inputs[:4])
    while not own[-1]:
        own.pop()
    writer.emit("ConvInteger", own, [names[0]], node.name, **attributes)
    writer.emit("Cast", [names[0]], [names[1]], f"{node.name}.cast", to=dtype.onnx)
    for i, (op_type, parameter) in enumerate(zip(("Mul", "Add"), added, strict=False), 1):
        shape = writer.constant(np.array([-1, *(1,) * (rank - 2)], np.int64), f"{y}.shape")
        column = writer.fresh(f"{parameter}.column")
        writer.emit("Reshape", [parameter, shape], [column], f"{node.name}.column")
        writer.emit(op_type, [names[i], column], [names[i + 1]], f"{node.name}.{op_type.lower()}")
    if activation is not None:
        writer.activate(activation, dtype, names[-2], y, f"{node.name}.activation")
