"""recognize_normalization: normalizations that a model spells out in arithmetic become one operator."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..ir import Graph, Node, Op, Value
from ..ops.normalization import InstanceNormalization, LayerNormalization, RMSNormalization
from ..records import record
from .eliminate_dead_nodes import eliminate_dead_nodes
from .matching import constant_of, is_private, known_ints, number_of, operands_of

__all__ = ["recognize_normalization"]

Array = np.ndarray[Any, Any]


def recognize_normalization(graph: Graph) -> bool:
    """LayerNormalization, RMSNormalization and InstanceNormalization in the forms in which frameworks export them.

        %m = ReduceMean(%x, axes)
        %d = Sub(%x, %m)
        %q = Pow(%d, 2)
        %v = ReduceMean(%q, axes)
        %e = Add(%v, epsilon)
        %s = Sqrt(%e)
        %n = Div(%d, %s)
        %g = Mul(%n, %gamma)
        %y = Add(%g, %beta)
    becomes
        %y = LayerNormalization(%x, %gamma, %beta) {axis=the first of axes, epsilon=epsilon}

    Where the axes are the last ones and gamma and beta vary along these; InstanceNormalization where they are all axes
    from 2 on, and gamma and beta are numbers of each channel; RMSNormalization where nothing is subtracted. The square
    may be Mul(%d, %d); the quotient Mul(%d, Reciprocal(%s)) or Mul(%d, Pow(%e, -0.5)); gamma and beta may be absent.
    TensorFlow's form Add(Mul(%x, %r), Sub(%beta, Mul(%m, %r))) with %r = Mul(Reciprocal(%s), %gamma) is known, too.

    Gamma and beta must be constants, and what they are applied to must be read by nobody else.
    """
    changed = False
    for node in graph.nodes:
        if not node.outputs or not (node.output.uses or graph.is_output(node.output)):
            continue  # part of a pattern that was replaced
        for last, found in _found(graph, node):
            new = _operator(graph, found)
            if new is not None:
                graph.replace_node(last, *new)
                changed = True
                break
    if changed:
        eliminate_dead_nodes(graph)
    return changed


@record
class _Found:
    """(x [- mean]) / sqrt(variance + epsilon) [* gamma] [+ beta], statistics taken along `axes`."""

    x: Value
    axes: tuple[int, ...]
    epsilon: float
    centred: bool
    gamma: Value | None = None
    beta: Value | None = None


def _found(graph: Graph, node: Node) -> Iterator[tuple[Node, _Found]]:
    """The last nodes of patterns whose quotient (or, in TensorFlow's form, last sum) is `node`; the longest first."""
    whole = _shifted_product(node)
    if whole is not None:
        yield node, whole
    core = _quotient(node)
    if core is None:
        return
    scaled = _next(graph, node, "Mul")
    if scaled is not None:
        last, gamma = scaled
        added = _next(graph, last, "Add")
        if added is not None:
            yield added[0], _Found(*core, gamma, added[1])
        yield last, _Found(*core, gamma)
    yield node, _Found(*core)


def _next(graph: Graph, node: Node, op_type: str) -> tuple[Node, Value] | None:
    """The one reader of a node, if it is such an operator that keeps the type; and its other operand, a constant."""
    if not is_private(graph, node.output):
        return None
    (use,) = node.output.uses
    other = use.node.inputs[1 - use.index] if use.node.op.op_type == op_type and len(use.node.inputs) == 2 else None
    if other is None or not other.is_constant or use.node.output.type != node.output.type:
        return None
    return use.node, other


def _quotient(node: Node) -> tuple[Value, tuple[int, ...], float, bool] | None:
    """(x, axes, epsilon, centred) where the node computes x or x - mean over the root of its mean square."""
    for top, root in _over_root(node):
        squared = _mean_square(root)
        if squared is None or squared[0] is not top:
            continue
        _, axes, epsilon = squared
        difference = operands_of(top, "Sub")
        if difference is not None and _mean(difference[1]) == (difference[0], axes):
            return difference[0], axes, epsilon, True
        return top, axes, epsilon, False
    return None


def _over_root(node: Node) -> Iterator[tuple[Value, Value]]:
    """(a, b) where the node computes a / sqrt(b)."""
    a, b = (*node.inputs, None, None)[:2]
    if a is None or b is None:
        return
    if node.op.op_type == "Div":
        root = _only(b, "Sqrt")
        if root is not None:
            yield a, root
    elif node.op.op_type == "Mul":
        for x, factor in ((a, b), (b, a)):
            root = _inverse_root(factor)
            if root is not None:
                yield x, root


def _inverse_root(value: Value) -> Value | None:
    """b where the value is 1 / sqrt(b)."""
    reciprocal = _only(value, "Reciprocal")
    if reciprocal is not None:
        return _only(reciprocal, "Sqrt")
    quotient, power = operands_of(value, "Div"), operands_of(value, "Pow")
    if quotient is not None and number_of(quotient[0]) == 1.0:
        return _only(quotient[1], "Sqrt")
    return power[0] if power is not None and number_of(power[1]) == -0.5 else None


def _mean_square(value: Value) -> tuple[Value, tuple[int, ...], float] | None:
    """(x, axes, epsilon) where the value is the mean of x^2 plus a number."""
    total = operands_of(value, "Add")
    if total is None:
        return None
    for variance, other in (total, total[::-1]):
        epsilon, mean = number_of(other), _mean(variance)
        if epsilon is None or epsilon < 0 or mean is None:
            continue
        square, power = operands_of(mean[0], "Mul"), operands_of(mean[0], "Pow")
        if square is not None and square[0] is square[1]:
            return square[0], mean[1], float(str(np.float32(epsilon)))
        if power is not None and number_of(power[1]) == 2.0:
            return power[0], mean[1], float(str(np.float32(epsilon)))
    return None


def _mean(value: Value) -> tuple[Value, tuple[int, ...]] | None:
    """(x, axes) where the value is the mean of x along these axes, which are kept with size 1."""
    node = value.producer
    if node is None or node.op.op_type != "ReduceMean" or node.inputs[0] is None:
        return None
    op: Any = node.op
    x, axes = node.inputs[0], known_ints(node.inputs[1]) if len(node.inputs) > 1 else ()
    if not op.keepdims or axes is None:
        return None
    return x, tuple(sorted(op.axes(x.type.rank, axes)))


def _shifted_product(node: Node) -> _Found | None:
    """x * r + (beta - mean * r), where r is gamma over the root of the variance."""
    if node.op.op_type != "Add":
        return None
    a, b = node.inputs
    assert a is not None and b is not None
    for product, rest in ((a, b), (b, a)):
        factors, difference = operands_of(product, "Mul"), operands_of(rest, "Sub")
        inner = None if difference is None else operands_of(difference[1], "Mul")
        if factors is None or difference is None or inner is None or not difference[0].is_constant:
            continue
        for x, r in (factors, factors[::-1]):
            found = _inverse_deviation(r)
            if found is None or r not in inner:
                continue
            mean = inner[1] if inner[0] is r else inner[0]
            centred, axes, epsilon, gamma = found
            if _mean(mean) == (x, axes) and centred == (x, mean):
                return _Found(x, axes, epsilon, True, gamma, difference[0])
    return None


def _inverse_deviation(value: Value) -> tuple[tuple[Value, Value], tuple[int, ...], float, Value | None] | None:
    """((x, mean), axes, epsilon, gamma) where the value is gamma / sqrt(mean of (x - mean)^2 + epsilon)."""
    factors = operands_of(value, "Mul")
    pairs: list[tuple[Value, Value | None]] = [(value, None)]
    if factors is not None:
        pairs = [(r, gamma) for r, gamma in (factors, factors[::-1]) if gamma.is_constant]
    for r, gamma in pairs:
        root = _inverse_root(r)
        squared = None if root is None else _mean_square(root)
        difference = None if squared is None else operands_of(squared[0], "Sub")
        if squared is not None and difference is not None:
            return difference, squared[1], squared[2], gamma
    return None


def _only(value: Value, op_type: str) -> Value | None:
    """The operand of the unary operator `op_type` that computes the value."""
    node = value.producer
    return node.inputs[0] if node is not None and node.op.op_type == op_type else None


# -- the operator that computes it -----------------------------------------------------------------------------------

def _operator(graph: Graph, found: _Found) -> tuple[Op, list[Value | None]] | None:
    """The operator and its operands; None where none computes it."""
    x, rank = found.x, found.x.type.rank
    if not found.axes or found.axes != tuple(range(found.axes[0], rank)):
        return None
    layer = _trailing(graph, found)
    if layer is None and found.centred and found.axes[0] == 2:
        layer = _by_channel(graph, found)
    return layer if x.type.dtype.is_float else None


def _trailing(graph: Graph, found: _Found) -> tuple[Op, list[Value | None]] | None:
    """LayerNormalization or RMSNormalization, whose scale and bias vary along the normalized axes."""
    x, axis, rank = found.x, found.axes[0], found.x.type.rank
    if not all(p is None or _fits(p, x, axis) for p in (found.gamma, found.beta)):
        return None
    if not found.centred and found.beta is not None:
        return None
    scale = found.gamma if found.gamma is not None else _ones(graph, x)
    if scale is None:
        return None
    if not found.centred:
        return RMSNormalization(axis=axis - rank, epsilon=found.epsilon), [x, scale]
    parameters: list[Value | None] = [x, scale] if found.beta is None else [x, scale, found.beta]
    return LayerNormalization(axis=axis - rank, epsilon=found.epsilon), parameters


def _fits(p: Value, x: Value, axis: int) -> bool:
    """Whether a parameter broadcasts to x and varies along the axes from `axis` on only."""
    if p.type.rank > x.type.rank or p.type.dtype != x.type.dtype:
        return False
    shape = (1,) * (x.type.rank - p.type.rank) + p.type.shape
    return all(d == 1 or (i >= axis and d == x.type.shape[i]) for i, d in enumerate(shape))


def _ones(graph: Graph, x: Value) -> Value | None:
    """A scale of ones along the last axis; None where its size is not fixed."""
    size = x.type.shape[-1]
    return graph.add_constant(np.ones(size, x.type.dtype.numpy), f"{x.name}.ones") if isinstance(size, int) else None


def _by_channel(graph: Graph, found: _Found) -> tuple[Op, list[Value | None]] | None:
    """InstanceNormalization, whose scale and bias are numbers of each channel."""
    x = found.x
    channels = x.type.shape[1]
    if not isinstance(channels, int):
        return None
    parameters: list[Value | None] = [x]
    for p, default, name in ((found.gamma, 1.0, "scale"), (found.beta, 0.0, "bias")):
        contents = np.full(1, default) if p is None else constant_of(p)
        vector = None if contents is None else _channel_numbers(contents, x, channels)
        if vector is None:
            return None
        hint = p.name if p is not None else f"{x.name}.{name}"
        parameters.append(graph.add_constant(vector.astype(x.type.dtype.numpy), hint))
    return InstanceNormalization(epsilon=found.epsilon), parameters


def _channel_numbers(contents: Array, x: Value, channels: int) -> Array | None:
    """[C], if a constant has one number for each channel or one for all."""
    shape = (1,) * (x.type.rank - contents.ndim) + contents.shape
    if len(shape) != x.type.rank or any(d != 1 for i, d in enumerate(shape) if i != 1) or shape[1] not in (1, channels):
        return None
    return np.broadcast_to(contents.reshape(-1), (channels,))
