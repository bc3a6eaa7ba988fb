"""expand_quantized: quantised operators without a kernel of their own become those that have one."""

from __future__ import annotations

from collections.abc import Callable

from ..ir import Graph, Node, Op, Value
from ..ops.concat import Concat
from ..ops.integer_matmul import DynamicQuantizeMatMul, MatMulIntegerToFloat
from ..ops.qlinear import QLinearActivation, QLinearAveragePool, QLinearConcat, QLinearSoftmax
from ..ops.quantize import DequantizeLinear, DynamicQuantizeLinear, QuantizeLinear
from ..ops.softmax import Softmax
from .quantization import same_parameters

__all__ = ["expand_quantized"]


def expand_quantized(graph: Graph) -> bool:
    """Quantised operators without a kernel of their own become those that have one.

        %0 = QLinearConcat(%ys, %yz, %a, %as, %az, %b, %ys, %yz) {axis=1}
    becomes
        %1 = QLinearActivation(%a, %as, %az, %ys, %yz)
        %0 = Concat(%1, %b) {axis=1}

    and QLinearAveragePool and QLinearSoftmax (of opset 13) become DequantizeLinear, the operator of real numbers,
    QuantizeLinear; DynamicQuantizeMatMul becomes DynamicQuantizeLinear and MatMulIntegerToFloat. All are what the
    references compute, so no number changes.
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


_EXPANSIONS: dict[type, Callable[[Graph, Node], bool]] = {
    DynamicQuantizeMatMul: _matmul, QLinearAveragePool: _average_pool, QLinearConcat: _concat, QLinearSoftmax: _softmax}
