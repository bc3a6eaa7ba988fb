"""eliminate_identities: nodes that give back their input are removed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..ir import Graph, Node, Value
from .matching import constant_of, known_ints, replace_value

__all__ = ["eliminate_identities"]


def eliminate_identities(graph: Graph) -> bool:
    """A node whose first output always equals one of its inputs, in type and contents, is bypassed.

        %0 = Dropout(%x)
        %1 = Reshape(%0, const [1,8])         (%x: f32[1,8])
        %2 = Mul(%1, const 1.0)
        %3 = Relu(%2)
    becomes
        %3 = Relu(%x)

    Not where another output is read (the mask of a Dropout, the indices of a MaxPool).
    """
    changed = False
    for node in graph.nodes:
        same = _same_as(graph, node)
        if same is not None and same.type == node.output.type:
            replace_value(graph, node, same)
            changed = True
    if changed:
        graph.drop_unused_constants()
    return changed


def _same_as(graph: Graph, node: Node) -> Value | None:
    """The input whose elements the node hands on, if its type shows that it hands on all of them."""
    if any(v.uses or graph.is_output(v) for v in node.outputs[1:]):
        return None
    neutral = _NEUTRAL.get(node.op.op_type)
    if neutral is not None:
        return _beside_neutral(node, *neutral)
    source = node.inputs[0] if node.inputs else None
    if node.op.alias or node.op.op_type in _BY_TYPE:  # alias: Identity, Dropout, Reshape and its like
        return source
    test = _TESTS.get(node.op.op_type)
    return source if test is not None and test(node) else None


def _beside_neutral(node: Node, element: int, either_side: bool) -> Value | None:
    """The operand of a binary operator beside a constant that is `element` everywhere."""
    a, b = node.inputs
    if _is_all(b, element):
        return a
    return b if either_side and _is_all(a, element) else None


def _is_all(value: Value | None, element: int) -> bool:
    contents = constant_of(value)
    return contents is not None and contents.size > 0 and bool((contents == element).all())


def _input(node: Node, index: int) -> Value | None:
    return node.inputs[index] if index < len(node.inputs) else None


def _keeps_order(node: Node) -> bool:
    op: Any = node.op
    axes = tuple(range(node.output.type.rank))
    return bool(op.permutation(len(axes)) == axes)


def _pads_nothing(node: Node) -> bool:
    amounts = known_ints(_input(node, 1))
    return amounts is not None and not any(amounts)


def _steps_forwards(node: Node) -> bool:
    steps = _input(node, 4)
    known = known_ints(steps)
    return steps is None or (known is not None and min(known, default=1) > 0)


def _has_one_operand(node: Node) -> bool:
    return len(node.inputs) == 1


def _is_single_tap(node: Node) -> bool:
    op: Any = node.op
    return all(k == 1 for k in op.kernel_shape) and not any(op.pads)


# Binary operators with the constant that changes nothing, and whether it may stand on the left, too.
# x + 0 turns -0 into 0, which compares equal.
_NEUTRAL = {"Add": (0, True), "Sub": (0, False), "Mul": (1, True), "Div": (1, False), "Pow": (1, False)}

# Operators that change nothing if they leave the type as it is: they repeat, or reduce axes of size 1.
_BY_TYPE = ("Cast", "CastLike", "Expand", "GlobalAveragePool", "GlobalMaxPool", "ReduceMax", "ReduceMean", "ReduceMin",
            "ReduceProd", "ReduceSum", "Split", "Tile")

# Operators that change nothing if they leave the type as it is and this holds.
_TESTS: dict[str, Callable[[Node], bool]] = {
    "AveragePool": _is_single_tap,
    "Concat": _has_one_operand,
    "Max": _has_one_operand,
    "MaxPool": _is_single_tap,
    "Mean": _has_one_operand,
    "Min": _has_one_operand,
    "Pad": _pads_nothing,
    "Slice": _steps_forwards,
    "Sum": _has_one_operand,
    "Transpose": _keeps_order,
}
