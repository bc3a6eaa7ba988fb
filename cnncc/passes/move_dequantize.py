"""move_dequantize: elements are moved as integers, and become real numbers where they are computed with."""

from __future__ import annotations

from typing import Any

from ..ir import DType, Graph, Node, Value
from ..ops.identity import Identity
from ..ops.pad import Pad
from ..ops.qlinear import QLinearActivation
from .quantization import Quantized, constant_array, dequantized, quantizer, same_parameters, zero_point

__all__ = ["move_dequantize"]

# Operators that put elements of their first operand into other places as they are, whatever their type.
_MOVES = frozenset({"DepthToSpace", "Expand", "Flatten", "Gather", "Identity", "Reshape", "Slice",
                    "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze"})


def move_dequantize(graph: Graph) -> bool:
    """Elements are moved as integers, and become real numbers where they are computed with.

        %0 = DequantizeLinear(%x, %s, %z)
        %1 = Transpose(%0)
    becomes
        %2 = Transpose(%x)
        %1 = DequantizeLinear(%2, %s, %z)

    Likewise MaxPool (scales are positive), Pad with zeros, and Concat of operands that have one scale and zero point. A
    DequantizeLinear followed by a QuantizeLinear with the same scale, zero point and type disappears; with others it
    becomes one QLinearActivation. Not where scale or zero point vary along an axis, or are no constants.
    """
    changed = False
    for node in graph.nodes:
        changed |= _requantize(graph, node) or _move(graph, node)
    return changed


def _single(value: Value | None) -> Quantized | None:
    """The 8-bit integers with one scale of which the value is the dequantised form."""
    found = dequantized(value)
    return found if found is not None and found.axis is None and found.x.type.dtype in (DType.I8, DType.U8) else None


def _requantize(graph: Graph, node: Node) -> bool:
    out = quantizer(node)
    source = None if out is None else _single(out.x)
    if out is None or source is None or source.x.is_constant:
        return False
    if source.x.type.dtype is node.output.type.dtype and same_parameters((source.scale, source.zero),
                                                                        (out.scale, out.zero)):
        if graph.is_output(node.output):
            return False
        graph.replace_uses(node.output, source.x)
        graph.remove_node(node)
    else:
        zero = zero_point(graph, node.output, out.zero, node.output.name)
        graph.replace_node(node, QLinearActivation(), [source.x, source.scale, source.zero, out.scale, zero])
    _drop(graph, source)
    return True


def _drop(graph: Graph, source: Quantized) -> None:
    """Removes the DequantizeLinear if nobody reads it any more."""
    if not source.node.output.uses and not graph.is_output(source.node.output):
        graph.remove_node(source.node)


def _move(graph: Graph, node: Node) -> bool:
    if node.op.op_type == "Concat":
        return _move_concat(graph, node)
    source = _single(node.inputs[0] if node.inputs else None)
    if source is None or source.x.is_constant or any(v.known is not None for v in node.outputs):
        return False
    others: list[Value | None] = list(node.inputs[1:])
    if isinstance(node.op, Pad):
        if node.op.mode != "constant" or (len(others) > 1 and others[1] is not None and not _is_zero(others[1])):
            return False
        fill = zero_point(graph, source.x, source.zero, node.output.name)
        others = [others[0], _scalar(graph, fill), *others[2:]]
    elif node.op.op_type not in _MOVES and not (node.op.op_type in ("Dropout", "MaxPool") and len(node.outputs) == 1):
        return False
    _behind(graph, node, [source.x, *others], source)
    _drop(graph, source)
    return True


def _is_zero(value: Value) -> bool:
    contents = constant_array(value)
    return contents is not None and not contents.any()


def _scalar(graph: Graph, value: Value) -> Value:
    assert value.constant is not None
    return value if value.type.rank == 0 else graph.add_constant(value.constant.reshape(()), value.name)


def _move_concat(graph: Graph, node: Node) -> bool:
    sources = [_single(v) for v in node.inputs]
    found = [s for s in sources if s is not None]
    first = found[0] if found else None
    if first is None or len(found) < len(sources) or all(s.x.is_constant for s in found) or not all(
            s.x.type.dtype is first.x.type.dtype and same_parameters((s.scale, s.zero), (first.scale, first.zero))
            for s in found):
        return False
    _behind(graph, node, [s.x for s in found], first)
    for source in dict.fromkeys(found):
        _drop(graph, source)
    return True


def _behind(graph: Graph, node: Node, inputs: list[Value | None], source: Quantized) -> None:
    """The node on integers, and the DequantizeLinear behind each of its outputs."""
    names = [v.name for v in node.outputs]
    dropout = node.op.op_type == "Dropout"  # is for real numbers only
    moved = graph.add_node(Identity() if dropout else node.op, inputs[:1] if dropout else inputs, name=node.name,
                           before=node, outputs=[f"{name}.integers" for name in names],
                           symbols=node.symbols)
    parameters: list[Any] = [source.scale] if source.zero is None else [source.scale, source.zero]
    for old, new in zip(node.outputs, moved.outputs, strict=True):
        real = graph.add_node(source.node.op, [new, *parameters], name=f"{node.name}.dequantize", before=node)
        graph.replace_uses(old, real.output)
    graph.remove_node(node)
    for name, new in zip(names, moved.outputs, strict=True):
        for use in new.uses:
            if use.node.op is source.node.op:
                graph.rename(use.node.output, name)
