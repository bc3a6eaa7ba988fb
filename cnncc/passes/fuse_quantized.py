"""fuse_quantized: operators between DequantizeLinear and QuantizeLinear become operators of integers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..ir import Activation, DType, Graph, Node, Op, Value
from ..ops.conv import Conv
from ..ops.gemm import Gemm, MatMul
from ..ops.integer_conv import ConvInteger, QLinearConv
from ..ops.integer_matmul import MatMulIntegerToFloat, QGemm, QLinearMatMul
from ..ops.qlinear import QLinearActivation, QLinearAdd, QLinearConcat, QLinearGlobalAveragePool, QLinearMul
from .matching import activation_of
from .quantization import Quantized, constant_array, dequantized, next_node, quantizer, zero_point

__all__ = ["fuse_quantized"]

Array = np.ndarray[Any, Any]
_BYTES = (DType.I8, DType.U8)


def fuse_quantized(graph: Graph) -> bool:
    """Operators between DequantizeLinear and QuantizeLinear become operators of integers.

        %0 = DequantizeLinear(%x, %xs, %xz)
        %1 = DequantizeLinear(%w, %ws, %wz)                 (%w a constant, 8 bits)
        %2 = Conv(%0, %1, %b)
        %3 = Relu(%2)
        %4 = QuantizeLinear(%3, %ys, %yz)
    becomes
        %4 = QLinearConv(%x, %xs, %xz, %w, %ws, %wz, %ys, %yz, %b') {activation=relu}

    where %b' is %b in units of %xs * %ws. Without the QuantizeLinear, Conv becomes ConvInteger with a scale, MatMul
    MatMulIntegerToFloat and Gemm QGemm, which give real numbers. Add and Mul become QLinearAdd and QLinearMul, Concat
    QLinearConcat, GlobalAveragePool QLinearGlobalAveragePool, and an activation QLinearActivation; these only between
    both. Sums are computed exactly, so numbers may change by what floating point rounds.
    Not where a value in between is read elsewhere, nor where scales are no constants or weights are computed.
    """
    changed = False
    for node in graph.nodes:
        fuse = _FUSIONS.get(node.op.op_type, _activation)
        changed |= fuse(graph, node)
    if changed:
        _drop_dead(graph)
    return changed


def _drop_dead(graph: Graph) -> None:
    """Removes the DequantizeLinears that nobody reads any more."""
    for node in reversed(graph.nodes):
        if node.op.op_type in ("DequantizeLinear", "QuantizeLinear") and not node.output.uses and \
                not graph.is_output(node.output):
            graph.remove_node(node)


def _bytes(value: Value | None) -> Quantized | None:
    """The 8-bit integers, with one scale, of which the value is the dequantised form."""
    found = dequantized(value)
    return found if found is not None and found.axis is None and found.x.type.dtype in _BYTES else None


def _weights(value: Value | None, axis: int) -> tuple[Quantized, Array] | None:
    """Constant 8-bit weights with one scale, or one for each index of `axis`, and their contents."""
    found = dequantized(value)
    if found is None or found.x.type.dtype not in _BYTES or found.axis not in (None, axis):
        return None
    contents = constant_array(found.x)
    return None if contents is None else (found, contents)


def _result(graph: Graph, node: Node, clips: bool) -> tuple[Quantized | None, Activation | None, list[Node]]:
    """The QuantizeLinear behind the node, the relu or clip in between, and the nodes that go away with it."""
    following, activation, gone = next_node(graph, node.output), None, [node]
    if clips and following is not None:
        found = activation_of(following)
        if found is not None and found.kind in ("relu", "clip"):
            activation = found
            gone.append(following)
            following = next_node(graph, following.output)
    return quantizer(following), activation, gone


def _replace(graph: Graph, last: Node, gone: Sequence[Node], op: Op, inputs: Sequence[Value | None], name: str) -> None:
    """`op` in the place of the last node of a chain, whose others go away."""
    operands = list(inputs)
    while operands[-1] is None:
        operands.pop()
    graph.replace_node(last, op, operands, name=name)
    for node in reversed(gone):
        if node is not last:
            graph.remove_node(node)


def _constant_weights(graph: Graph, weights: Quantized, contents: Array) -> Value:
    return weights.x if weights.x.is_constant else graph.add_constant(contents, f"{weights.node.name}.integers")


def _scales(x: Quantized, w: Quantized) -> Array:
    assert x.scale.constant is not None and w.scale.constant is not None
    return np.asarray(x.scale.constant.reshape(()) * w.scale.constant)


def _integer_bias(graph: Graph, bias: Value | None, scale: Array, name: str) -> Value | None:
    """The bias in units of the sums' scale, as i32; None where it is absent. Raises OverflowError where it does not
    fit."""
    if bias is None:
        return None
    found = dequantized(bias)
    if found is not None and found.x.type.dtype is DType.I32 and found.x.is_constant and _no_zero(found.zero) and \
            np.allclose(found.scale.constant, scale, rtol=1e-5, atol=0):  # type: ignore[arg-type]
        return found.x
    contents = constant_array(bias)
    if contents is None:
        raise OverflowError
    units = np.rint(contents.astype(np.float64) / scale.astype(np.float64))
    if not np.all(np.abs(units) < 2**31):
        raise OverflowError
    return graph.add_constant(units.astype(np.int32), f"{name}.bias")


def _no_zero(zero: Value | None) -> bool:
    return zero is None or (zero.constant is not None and not zero.constant.any())


def _real_bias(graph: Graph, bias: Value | None, name: str) -> Value | None:
    """The bias as a constant; raises OverflowError where it is none."""
    if bias is None or bias.is_constant:
        return bias
    contents = constant_array(bias)
    if contents is None:
        raise OverflowError
    return graph.add_constant(contents, f"{name}.bias")


# -- convolutions and products -----------------------------------------------------------------------------------------


def _conv(graph: Graph, node: Node) -> bool:
    assert isinstance(node.op, Conv)
    x, weights = _bytes(node.inputs[0]), _weights(node.inputs[1], 0)
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    if x is None or weights is None or node.op.activation is not None or len(node.inputs) > 3 or x.x.is_constant:
        return False
    w, contents = weights
    geometry = {name: getattr(node.op, name) for name in ("auto_pad", "dilations", "group", "kernel_shape", "pads",
                                                          "strides")}
    out, activation, gone = _result(graph, node, True)
    try:
        if out is None:
            _scaled_conv(graph, node, x, w, contents, _real_bias(graph, bias, node.name), geometry)
            return True
        b = _integer_bias(graph, bias, _scales(x, w), node.name)
    except OverflowError:
        return False
    inputs = [x.x, x.scale, zero_point(graph, x.x, x.zero, f"{node.name}.x"), _constant_weights(graph, w, contents),
              w.scale, _weight_zero(graph, w, node.name), out.scale,
              zero_point(graph, out.node.output, out.zero, f"{node.name}.y"), b]
    _replace(graph, out.node, gone, QLinearConv(**geometry, activation=activation), inputs, node.name)
    return True


def _weight_zero(graph: Graph, w: Quantized, name: str) -> Value:
    """The weights' zero points, of the shape of their scales."""
    if w.zero is not None:
        return w.zero
    return graph.add_constant(np.zeros(w.scale.type.static_shape, w.x.type.dtype.numpy), f"{name}.w.zero")


def _scaled_conv(graph: Graph, node: Node, x: Quantized, w: Quantized, contents: Array, bias: Value | None,
                 geometry: dict[str, Any]) -> None:
    scale = graph.add_constant(_scales(x, w), f"{node.name}.scale")
    inputs = [x.x, _constant_weights(graph, w, contents), x.zero, w.zero, scale, bias]
    _replace(graph, node, [], ConvInteger(**geometry), inputs, node.name)


def _matmul(graph: Graph, node: Node) -> bool:
    assert isinstance(node.op, MatMul)
    a, weights = _bytes(node.inputs[0]), _weights(node.inputs[1], 1)
    if a is None or weights is None or len(node.inputs) > 2 or node.op.activation is not None or a.x.is_constant:
        return False
    w, contents = weights
    if w.x.type.rank != 2 or a.x.type.rank < 2:
        return False
    out, _, gone = _result(graph, node, False)
    b = _constant_weights(graph, w, contents)
    if out is None:
        inputs = [a.x, b, a.scale, w.scale, a.zero, w.zero]
        _replace(graph, node, [], MatMulIntegerToFloat(), inputs, node.name)
        return True
    inputs = [a.x, a.scale, zero_point(graph, a.x, a.zero, f"{node.name}.a"), b, w.scale,
              _weight_zero(graph, w, node.name), out.scale,
              zero_point(graph, out.node.output, out.zero, f"{node.name}.y")]
    _replace(graph, out.node, gone, QLinearMatMul(), inputs, node.name)
    return True


def _gemm(graph: Graph, node: Node) -> bool:
    op = node.op
    assert isinstance(op, Gemm)
    a, weights = _bytes(node.inputs[0]), _weights(node.inputs[1], 0 if op.transB else 1)
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    if a is None or weights is None or op.activation is not None or len(node.inputs) > 3 or a.x.is_constant:
        return False
    w, contents = weights
    single = bias is None or (op.beta == 1.0 and bias.type.shape[:-1] in ((), (1,)))
    if op.transA or op.alpha != 1.0 or not single:
        return False
    out, activation, gone = _result(graph, node, True)
    try:
        c = _integer_bias(graph, bias, _scales(a, w), node.name)
    except OverflowError:
        return False
    if out is None:
        activation, gone = None, []
    inputs = [a.x, a.scale, zero_point(graph, a.x, a.zero, f"{node.name}.a"), _constant_weights(graph, w, contents),
              w.scale, _weight_zero(graph, w, node.name), c]
    if out is not None:
        inputs += [out.scale, zero_point(graph, out.node.output, out.zero, f"{node.name}.y")]
    _replace(graph, node if out is None else out.node, gone, QGemm(transB=op.transB, activation=activation), inputs,
             node.name)
    return True


# -- what needs integers before and behind -----------------------------------------------------------------------------


def _pair(op: Op) -> Callable[[Graph, Node], bool]:
    def fuse(graph: Graph, node: Node) -> bool:
        a, b = (_bytes(v) for v in node.inputs)
        out, _, gone = _result(graph, node, False)
        if a is None or b is None or out is None or a.x.type.dtype is not b.x.type.dtype:
            return False
        inputs = []
        for side, name in ((a, "a"), (b, "b")):
            inputs += [side.x, side.scale, zero_point(graph, side.x, side.zero, f"{node.name}.{name}")]
        inputs += [out.scale, zero_point(graph, out.node.output, out.zero, f"{node.name}.c")]
        _replace(graph, out.node, gone, op, inputs, node.name)
        return True

    return fuse


def _concat(graph: Graph, node: Node) -> bool:
    parts = [_bytes(v) for v in node.inputs]
    out, _, gone = _result(graph, node, False)
    if out is None or any(p is None or p.x.is_constant for p in parts):
        return False
    inputs: list[Value | None] = [out.scale, zero_point(graph, out.node.output, out.zero, f"{node.name}.y")]
    for i, part in enumerate(parts):
        assert part is not None
        inputs += [part.x, part.scale, zero_point(graph, part.x, part.zero, f"{node.name}.{i}")]
    axis: int = getattr(node.op, "axis", 0)
    _replace(graph, out.node, gone, QLinearConcat(axis), inputs, node.name)
    return True


def _unary(graph: Graph, node: Node, op: Op) -> bool:
    x = _bytes(node.inputs[0] if node.inputs else None)
    out, _, gone = _result(graph, node, False)
    if x is None or out is None or x.x.is_constant:
        return False
    inputs = [x.x, x.scale, zero_point(graph, x.x, x.zero, f"{node.name}.x"), out.scale,
              zero_point(graph, out.node.output, out.zero, f"{node.name}.y")]
    _replace(graph, out.node, gone, op, inputs, node.name)
    return True


def _activation(graph: Graph, node: Node) -> bool:
    activation = activation_of(node)
    return activation is not None and _unary(graph, node, QLinearActivation(activation=activation))


_FUSIONS: dict[str, Callable[[Graph, Node], bool]] = {
    "Add": _pair(QLinearAdd()),
    "Concat": _concat,
    "Conv": _conv,
    "Gemm": _gemm,
    "GlobalAveragePool": lambda graph, node: _unary(graph, node, QLinearGlobalAveragePool()),
    "MatMul": _matmul,
    "Mul": _pair(QLinearMul()),
}
