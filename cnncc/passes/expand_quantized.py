"""expand_quantized: quantised operators without a kernel of their own become those that have one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..ir import Graph, Node, Op, Value
from ..ops import OPS
from ..ops.concat import Concat
from ..ops.gemm import MatMul
from ..ops.integer_matmul import DynamicQuantizeMatMul, MatMulIntegerToFloat, QLinearMatMul
from ..ops.qlinear import QLinearActivation, QLinearAveragePool, QLinearConcat, QLinearSoftmax
from ..ops.quantize import DequantizeLinear, DynamicQuantizeLinear, QuantizeLinear
from ..ops.softmax import Softmax
from .matching import constant_of
from .quantization import same_parameters

__all__ = ["expand_quantized"]

MOST_EXACT = 2**24 // 255**2  # products of two differences of bytes whose sum float32 holds, whichever their order


def expand_quantized(graph: Graph) -> bool:
    """Quantised operators without a kernel of their own become those that have one.

        %0 = QLinearConcat(%ys, %yz, %a, %as, %az, %b, %ys, %yz) {axis=1}
    becomes
        %1 = QLinearActivation(%a, %as, %az, %ys, %yz)
        %0 = Concat(%1, %b) {axis=1}

    and QLinearAveragePool and QLinearSoftmax (of opset 13) become DequantizeLinear, the operator of real numbers,
    QuantizeLinear; DynamicQuantizeMatMul becomes DynamicQuantizeLinear and MatMulIntegerToFloat. A QLinearMatMul of two
    matrices that are both computed becomes a product of float32 numbers, where these are integers that float32 holds
    exactly (sums of up to MOST_EXACT products of bytes), times the scales:

        %0 = QLinearMatMul(%a, %as, %az, %b, %bs, %bz, %ys, %yz)
    becomes
        %1 = DequantizeLinear(%a, const 1, %az)            and %2 of %b
        %3 = MatMul(%1, %2) * const as * bs / ys
        %0 = QuantizeLinear(%3, const 1, %yz)

    All are what the references compute, so no number changes.
    """
    changed = False
    for node in graph.nodes:
        expand = _EXPANSIONS.get(type(node.op))
        changed |= expand is not None and expand(graph, node)
    return changed


def _concat(graph: Graph, node: Node) -> bool:
    assert isinstance(node.op, QLinearConcat)
    scale, zero, *inputs = node.inputs
    parts: list[Value | None] = []
    for i in range(0, len(inputs), 3):
        part = inputs[i]
        assert part is not None
        given = inputs[i + 1], inputs[i + 2]
        if part.type.dtype is not node.output.type.dtype or not same_parameters(given, (scale, zero)):
            before = graph.add_node(QLinearActivation(), [*inputs[i:i + 3], scale, zero], name=f"{node.name}.{i // 3}",
                                    outputs=[f"{node.output.name}.{i // 3}"], before=node)
            part = before.output
        parts.append(part)
    graph.replace_node(node, Concat(node.op.axis), parts, name=node.name)
    return True


def _around(graph: Graph, node: Node, op: Op) -> None:
    """DequantizeLinear, `op`, QuantizeLinear in the place of the node."""
    x, x_scale, x_zero, y_scale, y_zero = [*node.inputs, None][:5]
    stem, name = node.output.name, node.name
    real = graph.add_node(DequantizeLinear(), _given(x, x_scale, x_zero), name=f"{name}.dequantize",
                          outputs=[f"{stem}.real"], before=node)
    done = graph.add_node(op, [real.output], name=f"{name}.real", outputs=[f"{stem}.done"], before=node)
    dtype = None if y_zero is not None else node.output.type.dtype
    graph.replace_node(node, QuantizeLinear(output_dtype=dtype), _given(done.output, y_scale, y_zero),
                       name=name)


def _given(*inputs: Value | None) -> list[Value | None]:
    """The operands without absent ones at the end."""
    found = list(inputs)
    while found[-1] is None:
        found.pop()
    return found


def _average_pool(graph: Graph, node: Node) -> bool:
    assert isinstance(node.op, QLinearAveragePool)
    _around(graph, node, node.op.plain())
    return True


def _softmax(graph: Graph, node: Node) -> bool:
    assert isinstance(node.op, QLinearSoftmax)
    last = node.op.axis in (-1, node.inputs[0].type.rank - 1)  # type: ignore[union-attr]
    if node.op.opset < 13 and not last:
        return False
    _around(graph, node, Softmax(node.op.axis))
    return True


def _matmul(graph: Graph, node: Node) -> bool:
    a, b, scale, zero, bias = [*node.inputs, None, None][:5]
    stem = node.output.name
    levels = graph.add_node(DynamicQuantizeLinear(), [a], name=f"{node.name}.quantize", before=node,
                            outputs=[f"{stem}.levels", f"{stem}.scale", f"{stem}.zero"])
    quantised, a_scale, a_zero = levels.outputs
    graph.replace_node(node, MatMulIntegerToFloat(), _given(quantised, b, a_scale, scale, a_zero, zero, bias),
                       name=node.name)
    return True


def _computed_matmul(graph: Graph, node: Node) -> bool:
    a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero = node.inputs
    assert a is not None and b is not None
    scales = [constant_of(v) for v in (a_scale, b_scale, y_scale)]
    depth, single = a.type.shape[-1], all(v is not None and v.type.size == 1 for v in (a_zero, b_zero))
    if a.is_constant or b.is_constant or not single or not isinstance(depth, int) or depth > MOST_EXACT \
            or any(s is None or s.size != 1 or s.dtype != np.float32 for s in scales):
        return False
    first, second, result = (s.reshape(()) for s in scales if s is not None)
    stem, name = node.output.name, node.name
    one = graph.add_constant(np.float32(1), f"{stem}.one")
    factors = [graph.add_node(DequantizeLinear(), [x, one, zero], name=f"{name}.{side}", outputs=[f"{stem}.{side}"],
                              before=node).output for x, zero, side in ((a, a_zero, "left"), (b, b_zero, "right"))]
    with np.errstate(all="ignore"):
        scale = graph.add_constant(np.asarray(first * second / result), f"{stem}.scale")
    product = graph.add_node(MatMul(), factors, name=f"{name}.product", outputs=[f"{stem}.product"], before=node)
    scaled = graph.add_node(OPS["Mul"](), [product.output, scale], name=f"{name}.scaled", outputs=[f"{stem}.scaled"],
                            before=node)
    graph.replace_node(node, QuantizeLinear(), [scaled.output, one, y_zero], name=name)
    return True


_EXPANSIONS: dict[type, Callable[[Graph, Node], bool]] = {
    DynamicQuantizeMatMul: _matmul, QLinearAveragePool: _average_pool, QLinearConcat: _concat,
    QLinearMatMul: _computed_matmul, QLinearSoftmax: _softmax}
