"""sink_transposes: a Transpose moves behind what follows it, until it meets its inverse."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..ir import DimLike, Graph, Node, Op, Value
from ..ops import OPS
from ..ops.activation import ActivationOp
from ..ops.batch_norm import BatchNormalization
from ..ops.elementwise import Elementwise
from ..ops.reduce import ArgMax, Reduce
from ..ops.shape import Transpose
from ..ops.softmax import Softmax
from ..records import record
from .eliminate_dead_nodes import eliminate_dead_nodes
from .matching import constant_of, known_ints, renew_constant
from .reshaping import reshape_operand, reshaped

__all__ = ["sink_transposes"]

Array = np.ndarray[Any, Any]
Perm = tuple[int, ...]


def sink_transposes(graph: Graph) -> bool:
    """An operator that treats all axes alike, or names them, is applied before the Transpose of its input.

        %0 = Transpose(%x) {perm=[0,2,3,1]}            %x: [N,C,H,W]
        %1 = Relu(%0)
        %2 = Concat(%1, %y) {axis=3}                   %y: a Transpose {perm=[0,2,3,1]} of %z
    becomes
        %3 = Relu(%x)
        %4 = Concat(%3, %z) {axis=1}
        %2 = Transpose(%4) {perm=[0,2,3,1]}

    Elementwise operators, Concat, Split, Pad, Slice, reductions, Softmax, Squeeze and Resize are such; their other
    operands are Transposes of the same kind, constants, or values whose own Transpose would move axes of size 1 only.
    A BatchNormalization becomes a product and a sum. So Transposes of TensorFlow's models, put around each convolution,
    vanish from the interior. Where a Transpose does not move channels of pictures to the end, it sinks only if another
    Transpose lies on its way.
    """
    changed, meets = False, _meeting(graph)
    for node in graph.nodes:
        perm = _perm_of(node)
        if perm is None or not (node in meets or _moves_channels(perm)):
            continue
        changed |= _sink(graph, node, perm)
    if changed:
        eliminate_dead_nodes(graph)
        graph.drop_unused_constants()
    return changed


def _meeting(graph: Graph) -> set[Node]:
    """Nodes that a Transpose could pass on its way to another one."""
    found: set[Node] = set()
    for node in reversed(graph.nodes):
        if _rule_of(node.op) is not None and any(
                use.node in found or isinstance(use.node.op, Transpose) for v in node.outputs for use in v.uses):
            found.add(node)
    return found


def _moves_channels(perm: Perm) -> bool:
    """Whether channels go from axis 1 to the last."""
    return len(perm) >= 4 and perm == (0, *range(2, len(perm)), 1)


def _perm_of(node: Node) -> Perm | None:
    """The permutation of the first Transpose that the node reads as data."""
    rule = _rule_of(node.op)
    for value in node.inputs[:_data(node)] if rule is not None else ():
        if value is not None and value.producer is not None and isinstance(value.producer.op, Transpose):
            return value.producer.op.permutation(value.type.rank)
    return None


@record
class _Sunk:
    """The operator before the Transpose: `operands` beside the data (None: none), and what is left of the permutation
    for its results."""

    op: Op
    operands: Sequence[Value | Array | None]
    perm: Perm


Rule = Callable[[Node, Perm], _Sunk | None]


def _sink(graph: Graph, node: Node, perm: Perm) -> bool:
    rule = _rule_of(node.op)
    assert rule is not None
    sunk = rule(node, perm)
    if sunk is None or not all(v is not None and _is_known_before(v, perm) for v in node.inputs[:_data(node)]):
        return False
    inputs = [None if v is None else _before(graph, node, v, perm) for v in node.inputs[:_data(node)]]
    for value in sunk.operands:
        inputs.append(graph.add_constant(value, f"{node.output.name}.operand") if isinstance(value, np.ndarray)
                      else value)
    op = sunk.op
    if isinstance(op, BatchNormalization):
        new = _affine(graph, node, op, inputs, perm)
    else:
        new = graph.add_node(op, inputs, name=node.name, outputs=[f"{v.name}.sunk" for v in node.outputs], before=node)
    for old, value in zip(node.outputs, new.outputs, strict=True):
        last = value
        if sunk.perm != tuple(range(len(sunk.perm))):
            last = graph.add_node(Transpose(sunk.perm), [value], outputs=[f"{old.name}.turned"], before=node).output
        assert last.type == old.type, f"{node!r}: {last!r} instead of {old!r}"
        name = old.name
        graph.replace_uses(old, last)
        graph.rename(old, f"{name}.before")
        graph.rename(last, name)
    graph.remove_node(node)
    return True


def _is_known_before(value: Value, perm: Perm) -> bool:
    """Whether it costs nothing to have the operand as it is before the Transpose `perm` of all operands."""
    if value.type.rank > len(perm):
        return False
    if _is_turned(value, perm) or value.is_constant:
        return True
    shape = _padded(value, perm)
    moved = [a for a in _inverse(perm) if shape[a] != 1]
    return moved == sorted(moved) and reshape_operand(value, tuple(shape[a] for a in _inverse(perm))) is not None


def _before(graph: Graph, node: Node, value: Value, perm: Perm) -> Value | None:
    """The operand as it is before the Transpose."""
    if _is_turned(value, perm):
        assert value.producer is not None
        return value.producer.inputs[0]
    shape, inverse, contents = _padded(value, perm), _inverse(perm), constant_of(value)
    if contents is None:
        return reshaped(graph, node, value, tuple(shape[a] for a in inverse), f"{value.name}.unturned")
    if contents.size == 1:
        return value
    padded = contents.reshape((1,) * (len(perm) - contents.ndim) + contents.shape)
    return renew_constant(graph, value, np.ascontiguousarray(padded.transpose(inverse)))


def _is_turned(value: Value, perm: Perm) -> bool:
    producer = value.producer
    return (producer is not None and isinstance(producer.op, Transpose) and value.type.rank == len(perm)
            and producer.op.permutation(len(perm)) == perm)


def _padded(value: Value, perm: Perm) -> tuple[DimLike, ...]:
    """The shape, as it broadcasts to as many axes as are turned."""
    return (1,) * (len(perm) - value.type.rank) + value.type.shape


def _inverse(perm: Perm) -> Perm:
    return tuple(perm.index(i) for i in range(len(perm)))


def _affine(graph: Graph, node: Node, op: BatchNormalization, inputs: Sequence[Value | None], perm: Perm) -> Node:
    """A BatchNormalization of axis perm[1] as a product and a sum."""
    parameters = [constant_of(v) for v in node.inputs[1:]]
    gamma, beta, mean, var = (p.astype(np.float64) for p in parameters if p is not None)
    scale = gamma / np.sqrt(var + op.epsilon)
    shape = [1] * len(perm)
    shape[perm[1]] = len(gamma)
    dtype, name = node.output.type.dtype.numpy, node.name or node.output.name
    factor = graph.add_constant(scale.reshape(shape).astype(dtype), f"{name}.factor")
    shift = graph.add_constant((beta - mean * scale).reshape(shape).astype(dtype), f"{name}.shift")
    product = graph.add_node(OPS["Mul"](), [inputs[0], factor], outputs=[f"{name}.scaled"], before=node)
    return graph.add_node(OPS["Add"](), [product.output, shift], outputs=[f"{name}.shifted"], before=node)


# -- what each operator becomes ----------------------------------------------------------------------------------------

def _data(node: Node) -> int:
    """How many of the inputs are data, with axes of their own."""
    op = node.op
    if isinstance(op, Elementwise) or op.op_type in ("Concat", "Where", "PRelu"):
        return len(node.inputs)
    return 1


def _elementwise(node: Node, perm: Perm) -> _Sunk | None:
    return _Sunk(node.op, node.inputs[_data(node):], perm) if node.output.type.rank == len(perm) else None


def _along_axis(node: Node, perm: Perm) -> _Sunk | None:
    """Concat, Split and Softmax: the attribute `axis`."""
    op: Any = node.op
    return _Sunk(dataclasses.replace(op, axis=perm[op.axis % len(perm)]), node.inputs[_data(node):], perm)


def _batch_norm(node: Node, perm: Perm) -> _Sunk | None:
    parameters = [constant_of(v) for v in node.inputs[1:]]
    if any(p is None for p in parameters):
        return None
    finite = all(np.isfinite(p).all() for p in parameters if p is not None)
    op: Any = node.op
    var = parameters[3]
    return _Sunk(op, (), perm) if finite and var is not None and (var + op.epsilon > 0).all() else None


def _pad(node: Node, perm: Perm) -> _Sunk | None:
    """The pads of all axes, first all beginnings, then all ends."""
    _, pads, value, axes = (*node.inputs, None, None)[:4]
    amounts = known_ints(pads)
    rank = len(perm)
    if amounts is None or axes is not None or len(amounts) != 2 * rank:
        return None
    inverse = _inverse(perm)
    turned = [amounts[a] for a in inverse] + [amounts[rank + a] for a in inverse]
    return _Sunk(node.op, [np.array(turned, np.int64), *([value] if value is not None else [])], perm)


def _slice(node: Node, perm: Perm) -> _Sunk | None:
    axes = known_ints(node.inputs[3]) if len(node.inputs) > 3 and node.inputs[3] is not None else None
    count = node.inputs[1].type.shape[0] if node.inputs[1] is not None else None
    if axes is None and isinstance(count, int):
        axes = tuple(range(count))
    if axes is None:
        return None
    turned = np.array([perm[a % len(perm)] for a in axes], np.int64)
    return _Sunk(node.op, [*node.inputs[1:3], turned, *node.inputs[4:]], perm)


def _without(perm: Perm, gone: Sequence[int]) -> Perm:
    """The permutation of what is left without the results' axes `gone`."""
    kept = [p for i, p in enumerate(perm) if i not in gone]
    order = sorted(kept)
    return tuple(order.index(p) for p in kept)


def _reduce(node: Node, perm: Perm) -> _Sunk | None:
    op: Any = node.op
    given = known_ints(node.inputs[1]) if len(node.inputs) > 1 and node.inputs[1] is not None else ()
    if given is None:
        return None
    gone = op.axes(len(perm), given)
    if not gone:
        return None
    turned = np.array(sorted(perm[a] for a in gone), np.int64)
    return _Sunk(op, [turned], perm if op.keepdims else _without(perm, gone))


def _squeeze(node: Node, perm: Perm) -> _Sunk | None:
    axes = known_ints(node.inputs[1]) if len(node.inputs) > 1 and node.inputs[1] is not None else None
    if axes is None:
        return None
    gone = [a % len(perm) for a in axes]
    return _Sunk(node.op, [np.array(sorted(perm[a] for a in gone), np.int64)], _without(perm, gone))


def _arg_extreme(node: Node, perm: Perm) -> _Sunk | None:
    op: Any = node.op
    axis = op.axis % len(perm)
    left = perm if op.keepdims else _without(perm, [axis])
    return _Sunk(dataclasses.replace(op, axis=perm[axis]), [], left)


def _resize(node: Node, perm: Perm) -> _Sunk | None:
    op: Any = node.op
    _, roi, scales, sizes = (*node.inputs, None, None, None)[:4]
    if op.axes or roi is not None or (len(node.inputs) > 3 and scales is not None and sizes is not None):
        return None
    inverse = list(_inverse(perm))
    contents = constant_of(scales if scales is not None else sizes)
    if contents is None or contents.size != len(perm):
        return None
    turned = np.ascontiguousarray(contents[inverse])
    return _Sunk(op, [None, turned] if scales is not None else [None, None, turned], perm)


_RULES: dict[str, Rule] = {
    "BatchNormalization": _batch_norm,
    "Cast": _elementwise,
    "Concat": _along_axis,
    "Pad": _pad,
    "Resize": _resize,
    "Slice": _slice,
    "Split": _along_axis,
    "Squeeze": _squeeze,
    "Where": _elementwise,
}


def _rule_of(op: Op) -> Rule | None:
    if isinstance(op, (Elementwise, ActivationOp)):
        return _elementwise
    if isinstance(op, Reduce):
        return _reduce
    if isinstance(op, ArgMax):
        return _arg_extreme
    return _along_axis if isinstance(op, Softmax) else _RULES.get(op.op_type)
