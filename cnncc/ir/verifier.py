"""The verifier: every rule a graph must keep. Passes may trust a verified graph, and tests verify after each pass."""

from __future__ import annotations

from ..errors import GraphError
from .graph import Graph, Node, Use, Value
from .op import name_unknown

__all__ = ["verify"]


def verify(graph: Graph) -> None:
    """Raises GraphError, listing all that is wrong, unless

    - every value read is an input, a constant, or an output of an earlier node of this graph (so there is no cycle);
    - names of values are unique, and names of outputs are as many as the outputs;
    - every size that the data decide has a symbol, and no two nodes define one of the same name;
    - uses and inputs agree in both directions, as do outputs and producers;
    - the bodies of operators keep these rules;
    - every type is what the operator infers from its operands, and every constant's contents fit its type.
    """
    problems: list[str] = []
    defined: set[Value] = set(graph.inputs)
    symbols: set[str] = set(graph.symbols)
    names = [v.name for v in graph.values]
    problems += [f"two values are named '{n}'" for n in {n for n in names if names.count(n) > 1}] \
        if len(set(names)) != len(names) else []
    for node in graph.walk():
        problems += _check_operands(node, defined)
        problems += _check_outputs(node)
        defined.update(node.outputs)
        problems += _check_bodies(node)
        problems += [f"{node!r} defines the size {s}, which is defined already" for s in node.symbols if s in symbols]
        symbols.update(node.symbols)
    members = set(graph.walk())
    for value in graph.values:
        if value.is_constant and value.constant is not None and (
                value.constant.shape != value.type.shape or value.constant.dtype != value.type.dtype.numpy):
            problems.append(f"the constant {value!r} holds {value.constant.dtype}{list(value.constant.shape)}")
        for use in value.uses:
            if use.node not in members or use not in _reads(use.node, value):
                problems.append(f"{value!r} lists a use by {use.node!r} that does not read it")
    for value in graph.outputs:
        if value not in defined and not value.is_constant:
            problems.append(f"the output {value!r} is not computed by the graph")
    if len(graph.outputs) != len(graph.output_names):
        problems.append(f"there are {len(graph.outputs)} outputs, but {len(graph.output_names)} names for them")
    if problems:
        raise GraphError(f"the graph '{graph.name}' is not valid: " + "; ".join(problems))


def _check_bodies(node: Node) -> list[str]:
    problems = []
    for name, body in node.op.bodies.items():
        try:
            verify(body)
        except GraphError as error:
            problems.append(f"{name} of {node!r}: {error}")
    return problems


def _reads(node: Node, value: Value) -> list[Use]:
    return [Use(node, i) for i, v in enumerate(node.inputs) if v is value]


def _check_operands(node: Node, defined: set[Value]) -> list[str]:
    problems = []
    for i, value in enumerate(node.inputs):
        if value is None:
            continue
        if value not in defined and not value.is_constant:
            problems.append(f"{node!r} reads {value!r} before it is computed")
        if Use(node, i) not in value.uses:
            problems.append(f"{node!r} reads {value!r}, which does not list that use")
    return problems


def _check_outputs(node: Node) -> list[str]:
    problems = []
    operands = [None if v is None else v.operand for v in node.inputs]
    try:
        node.op.check_arity([o is not None for o in operands])
        types, symbols = name_unknown(node.op.infer(*operands), iter(node.symbols))
    except GraphError as error:
        return [f"{node!r}: {error}"]
    if symbols != node.symbols:
        problems.append(f"{node!r} defines the sizes {', '.join(symbols) or 'none'}, not {', '.join(node.symbols)}")
    for i, value in enumerate(node.outputs):
        if value.producer is not node or value.index != i:
            problems.append(f"{value!r} does not know {node!r} as its producer")
        if value.type != types[i]:
            problems.append(f"{value!r} should be of type {types[i]}")
    return problems
