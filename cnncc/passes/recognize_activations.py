"""recognize_activations: activations that a model spells out in arithmetic become one operator."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..ir import Activation, Graph, Node, Op, Value
from ..ops.activation import Gelu, HardSigmoid, HardSwish, LeakyRelu, Mish, PRelu, Swish
from .eliminate_dead_nodes import eliminate_dead_nodes
from .matching import activation_of, constant_of, is_private, number_of, operands_of

__all__ = ["recognize_activations"]

Array = np.ndarray[Any, Any]


def recognize_activations(graph: Graph) -> bool:
    """Swish, HardSigmoid, HardSwish, Mish and Gelu in the forms in which frameworks export them.

        Mul(%x, Sigmoid(%x))                                          -> Swish(%x)
        Mul(%x, Tanh(Softplus(%x)))                                   -> Mish(%x)
        Div(Clip(Add(%x, 3), 0, 6), 6)                                -> HardSigmoid(%x) {alpha=1/6, beta=0.5}
        Mul(%x, HardSigmoid(%x) {alpha=1/6, beta=0.5})                -> HardSwish(%x)
        Div(Mul(%x, Clip(Add(%x, 3), 0, 6)), 6)                       -> HardSwish(%x)
        Mul(Mul(%x, Add(Erf(Div(%x, sqrt(2))), 1)), 0.5)              -> Gelu(%x), likewise with 0.5 further inside
        the same with Tanh(0.79788 (%x + 0.044715 %x^3)) for the Erf  -> Gelu(%x) {approximate="tanh"}
        Max(%x, Mul(%x, a)), 0 <= a <= 1                              -> LeakyRelu(%x) {alpha=a}
        Sub(Relu(%x), Mul(Relu(Neg(%x)), a))                          -> PRelu(%x, a)
        Add(Relu(%x), Mul(Mul(Sub(%x, Abs(%x)), a), 0.5))             -> PRelu(%x, a)

    Operands may be swapped, and a division may be a multiplication by the reciprocal. Not where a value in between is
    read by others or is an output: it is then computed anyway.
    """
    changed = False
    for node in graph.nodes:
        for form in _FORMS:
            found = form(graph, node)
            if found is not None and found[0].type == node.output.type:
                graph.replace_node(node, found[1], [found[0], *found[2:]])
                changed = True
                break
    if changed:
        eliminate_dead_nodes(graph)
    return changed


Match = tuple[Value, Op] | tuple[Value, Op, Value] | None  # x, the operator, and its slope
_TOLERANCE = 1e-6  # constants of the formulas are stored as f32


def _swish(graph: Graph, node: Node) -> Match:
    for x, other in _factors(node):
        if _argument(graph, other, "sigmoid") is x:
            return x, Swish()
    return None


def _mish(graph: Graph, node: Node) -> Match:
    for x, other in _factors(node):
        inner = _argument(graph, other, "tanh")
        if inner is not None and _argument(graph, inner, "softplus") is x:
            return x, Mish()
    return None


def _hard_sigmoid(graph: Graph, node: Node) -> Match:
    sixfold = _scaled(node, 1 / 6)
    x = None if sixfold is None else _clipped(graph, sixfold)
    return None if x is None else (x, HardSigmoid(alpha=1 / 6, beta=0.5))


def _hard_swish(graph: Graph, node: Node) -> Match:
    for x, other in _factors(node):
        inner, op = _argument(graph, other, "hard_sigmoid"), other.producer
        if inner is x and op is not None and isinstance(op.op, HardSigmoid) and _near(op.op.alpha, 1 / 6) \
                and _near(op.op.beta, 0.5):
            return x, HardSwish()
    sixfold = _scaled(node, 1 / 6)
    if sixfold is not None and sixfold.producer is not None and is_private(graph, sixfold):
        for x, other in _factors(sixfold.producer):
            if _clipped(graph, other) is x:
                return x, HardSwish()
    return None


def _gelu(graph: Graph, node: Node) -> Match:
    """0.5, x and 1 + erf(x / sqrt(2)) multiplied in any order."""
    factors = list(_product(graph, node))
    halves = [v for v in factors if _is_number(v, 0.5)]
    rest = [v for v in factors if v not in halves]
    if len(halves) != 1 or len(rest) != 2:
        return None
    for x, other in (rest, rest[::-1]):
        if _one_plus_erf(graph, other) is x:
            return x, Gelu()
        if _one_plus_tanh(graph, other) is x:
            return x, Gelu(approximate="tanh")
    return None


def _leaky_relu(graph: Graph, node: Node) -> Match:
    if node.op.op_type != "Max" or len(node.inputs) != 2:
        return None
    a, b = node.inputs
    assert a is not None and b is not None
    for x, other in ((a, b), (b, a)):
        for same, alpha in _factors(other.producer) if other.producer is not None else ():
            number = number_of(alpha)
            if same is x and number is not None and 0 <= number <= 1 and is_private(graph, other):
                return x, LeakyRelu(alpha=float(str(np.float32(number))))
    return None


def _prelu(graph: Graph, node: Node) -> Match:
    """Relu(x) plus a negative part: -slope * Relu(-x), or slope / 2 * (x - |x|)."""
    if node.op.op_type not in ("Add", "Sub"):
        return None
    a, b = node.inputs
    sign = 1.0 if node.op.op_type == "Add" else -1.0
    for positive, negative in ((a, b), (b, a)) if sign > 0 else ((a, b),):
        x = None if positive is None else _argument(graph, positive, "relu")
        found = None if x is None or negative is None else _negative_part(graph, negative, x)
        if x is not None and found is not None and _broadcasts(found, x):
            slope = graph.add_constant((sign * found).astype(x.type.dtype.numpy), f"{node.output.name}.slope")
            return x, PRelu(), slope
    return None


def _negative_part(graph: Graph, value: Value, x: Value) -> Array | None:
    """The slope of `value` where x < 0, if it is 0 where x > 0; constants in any order."""
    slope: Array = np.ones((), np.float64)
    while is_private(graph, value):
        producer = value.producer
        if producer is None or producer.op.op_type != "Mul":
            break
        constants = [v for v in producer.inputs if v is not None and v.is_constant]
        others = [v for v in producer.inputs if v is not None and not v.is_constant]
        if len(constants) != 1 or len(others) != 1:
            return None
        contents = constant_of(constants[0])
        assert contents is not None
        slope, value = slope * contents.astype(np.float64), others[0]
    if not is_private(graph, value):
        return None
    turned = _argument(graph, value, "relu")
    if turned is not None and turned.producer is not None and turned.producer.op.op_type == "Neg":
        return -slope if turned.producer.inputs[0] is x else None
    difference = operands_of(value, "Sub")
    if difference is None or difference[0] is not x:
        return None
    size = difference[1].producer
    return 2 * slope if size is not None and size.op.op_type == "Abs" and size.inputs[0] is x else None


def _broadcasts(slope: Array, x: Value) -> bool:
    shape = (1,) * (x.type.rank - slope.ndim) + slope.shape
    return slope.ndim <= x.type.rank and all(d in (1, n) for d, n in zip(shape, x.type.shape, strict=True))


_FORMS = (_swish, _mish, _hard_sigmoid, _hard_swish, _gelu, _leaky_relu, _prelu)


def _factors(node: Node) -> Iterator[tuple[Value, Value]]:
    """Both orders of the operands of a Mul."""
    if node.op.op_type == "Mul":
        a, b = node.inputs
        assert a is not None and b is not None
        yield a, b
        yield b, a


def _product(graph: Graph, node: Node) -> Iterator[Value]:
    """The factors of a Mul of which at most one is a Mul itself, seen by nobody else."""
    for value in node.inputs if node.op.op_type == "Mul" else ():
        assert value is not None
        inner = value.producer
        if inner is not None and inner.op.op_type == "Mul" and is_private(graph, value):
            yield from (v for v in inner.inputs if v is not None)
        else:
            yield value


def _argument(graph: Graph, value: Value, kind: str) -> Value | None:
    """x where `value` is the activation `kind` of x, for one reader."""
    node = value.producer
    found = activation_of(node)
    if node is None or found is None or found.kind != kind or not is_private(graph, value):
        return None
    return node.inputs[0]


def _clipped(graph: Graph, value: Value) -> Value | None:
    """x where `value` is Clip(x + 3, 0, 6), for one reader."""
    node = value.producer
    if (node is None or activation_of(node) != Activation("clip", (0.0, 6.0)) or node.inputs[0] is None
            or not is_private(graph, value)):
        return None
    return _shifted(graph, node.inputs[0], 3.0)


def _one_plus_erf(graph: Graph, value: Value) -> Value | None:
    """x where `value` is 1 + erf(x / sqrt(2)), for one reader."""
    inner = _shifted(graph, value, 1.0)
    node = None if inner is None or not is_private(graph, inner) else inner.producer
    if node is None or node.op.op_type != "Erf" or node.inputs[0] is None or not is_private(graph, node.inputs[0]):
        return None
    scaling = node.inputs[0].producer
    return None if scaling is None else _scaled(scaling, 1 / math.sqrt(2))


def _one_plus_tanh(graph: Graph, value: Value) -> Value | None:
    """x where `value` is 1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)), for one reader."""
    inner = _shifted(graph, value, 1.0)
    argument = None if inner is None else _argument(graph, inner, "tanh")
    scaling = None if argument is None or not is_private(graph, argument) else argument.producer
    total = None if scaling is None else _scaled(scaling, math.sqrt(2 / math.pi))
    terms = None if total is None or not is_private(graph, total) else operands_of(total, "Add")
    for x, cubic in (terms, terms[::-1]) if terms is not None else ():
        producer = cubic.producer
        cube = None if producer is None else _scaled(producer, 0.044715)
        if cube is not None and _is_cube(cube, x):
            return x
    return None


def _is_cube(value: Value, x: Value) -> bool:
    power, product = operands_of(value, "Pow"), operands_of(value, "Mul")
    if power is not None:
        return power[0] is x and number_of(power[1]) == 3.0
    squares = [] if product is None else [operands_of(other, "Mul") for other in product if other is not x]
    return product is not None and x in product and squares == [(x, x)]


def _shifted(graph: Graph, value: Value, amount: float) -> Value | None:
    """x where `value` is x + amount, for one reader."""
    node = value.producer
    if node is None or node.op.op_type != "Add" or not is_private(graph, value):
        return None
    a, b = node.inputs
    return a if _is_number(b, amount) else b if _is_number(a, amount) else None


def _scaled(node: Node, factor: float) -> Value | None:
    """x where the node is x * factor or x / (1 / factor)."""
    if node.op.op_type == "Div" and _is_number(node.inputs[1], 1 / factor):
        return node.inputs[0]
    if node.op.op_type == "Mul":
        a, b = node.inputs
        return a if _is_number(b, factor) else b if _is_number(a, factor) else None
    return None


def _is_number(value: Value | None, wanted: float) -> bool:
    contents = constant_of(value)
    return contents is not None and contents.size == 1 and _near(contents.item(), wanted)


def _near(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=_TOLERANCE)
