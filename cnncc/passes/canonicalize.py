"""canonicalize: of several ways to write a computation one is kept, so that other passes and kernels need know one."""

from __future__ import annotations

from collections.abc import Callable

from ..ir import Graph, Node, Op, Value
from ..ops import OPS
from ..ops.gemm import Gemm, MatMul
from ..ops.pool import AveragePool, GlobalAveragePool, GlobalMaxPool, MaxPool, Pool
from ..ops.shape import Squeeze
from .matching import known_ints

__all__ = ["canonicalize"]


def canonicalize(graph: Graph) -> bool:
    """Rewrites operators into simpler ones that compute the same.

        Sum(%a, %b)                                                   -> Add(%a, %b)
        MatMul(%a, %w), both matrices, %w a constant                  -> Gemm(%a, %w)
        AveragePool or MaxPool with one window, all of the input      -> GlobalAveragePool or GlobalMaxPool
        ReduceMean or ReduceMax over all spatial axes                 -> GlobalAveragePool or GlobalMaxPool, followed
                                                                         by a Squeeze where keepdims=0
    """
    changed = False
    for node in graph.nodes:
        form = _FORMS.get(node.op.op_type)
        op = form(node) if form is not None and len(node.outputs) == 1 else None
        if op is not None:
            _replace(graph, node, op)
            changed = True
    if changed:
        graph.drop_unused_constants()
    return changed


def _replace(graph: Graph, node: Node, op: Op) -> None:
    """The node becomes `op` of as many of its operands, and a Squeeze where it has dropped the reduced axes."""
    operands = node.inputs[:len(op.operands)]
    if node.output.type == op.infer(*(None if v is None else v.operand for v in operands))[0]:
        graph.replace_node(node, op, operands)
        return
    whole = graph.add_node(op, operands, name=f"{node.output.name}.kept", before=node)
    graph.replace_node(node, Squeeze(), [whole.output, node.inputs[1]])


def _add(node: Node) -> Op | None:
    return OPS["Add"]() if len(node.inputs) == 2 else None


def _gemm(node: Node) -> Op | None:
    a, b = node.inputs[:2]
    assert a is not None and b is not None and isinstance(node.op, MatMul)
    matrices = a.type.rank == b.type.rank == 2 and b.is_constant and a.type.dtype.is_float
    return Gemm(activation=node.op.activation) if matrices else None


def _global_pool(node: Node) -> Op | None:
    """One window without pads that covers the whole of every spatial axis."""
    op, x = node.op, _read(node)[0].type
    assert isinstance(op, Pool)
    geometry = op.windows(x.shape)
    if geometry.kernel != x.shape[2:] or any(d != 1 for d in geometry.dilations) or not x.dtype.is_float \
            or any((*geometry.begin, *geometry.end)) or any(n != 1 for n in geometry.output):
        return None
    return _GLOBAL[type(op)]()


def _global_reduction(node: Node) -> Op | None:
    """A reduction over all spatial axes."""
    operands = _read(node)
    x = operands[0].type
    axes = known_ints(operands[1]) if len(operands) > 1 else ()
    spatial = list(range(2, x.rank))
    if not spatial or axes is None or sorted(a % x.rank for a in axes) != spatial or not x.dtype.is_float:
        return None
    return GlobalAveragePool() if node.op.op_type == "ReduceMean" else GlobalMaxPool()


def _read(node: Node) -> list[Value]:
    return [v for v in node.inputs if v is not None]


_GLOBAL: dict[type[Op], type[Op]] = {AveragePool: GlobalAveragePool, MaxPool: GlobalMaxPool}

_FORMS: dict[str, Callable[[Node], Op | None]] = {
    "AveragePool": _global_pool,
    "MatMul": _gemm,
    "MaxPool": _global_pool,
    "ReduceMax": _global_reduction,
    "ReduceMean": _global_reduction,
    "Sum": _add,
}
