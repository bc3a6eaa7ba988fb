"""fold_constants: what depends on constants only is computed once, when compiling."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..errors import GraphError, OpError
from ..ir import Graph, Node, Value
from ..records import record

__all__ = ["GROWTH_EACH", "GROWTH_SHARE", "GROWTH_TOTAL", "WEIGHTS_TOTAL", "WEIGHT_OPERANDS", "fold_constants"]

Array = np.ndarray[Any, Any]

# Bytes by which folding one node may make the model larger.
GROWTH_EACH = 64 << 10
# All nodes of one run together: so many bytes, and this share of the constants that it found.
GROWTH_TOTAL = 1 << 20
GROWTH_SHARE = 1 / 16
# Bytes of weights that may be written out from a compact form (see `_weights`), beside four times the constants found.
WEIGHTS_TOTAL = 1 << 30

# Operators whose work the sizes of operands and results do not bound are folded where it is at most so many steps;
# bodies never are, since a Loop may go on for ever.
EFFORT = 1 << 30
_LABORIOUS = frozenset({
    "Attention", "AveragePool", "Conv", "ConvInteger", "ConvTranspose", "DeformConv", "Einsum", "LRN", "LpPool",
    "MaxPool", "MaxRoiPool", "NonMaxSuppression", "QLinearAveragePool", "QLinearConv", "RoiAlign"})

# The operands that kernels pack when a plan is loaded, by operator.
WEIGHT_OPERANDS = {"Conv": (1, 2), "ConvTranspose": (1, 2), "Gemm": (1, 2), "MatMul": (1,), "PRelu": (1,),
                    "PointwiseDepthwiseConv": (1, 2, 3, 4), "BatchNormalization": (1, 2, 3, 4)}


def fold_constants(graph: Graph) -> bool:
    """A node whose operands are all constants is replaced by its results, as its reference computes them.

        %0 = Transpose(%w) {perm=[1,0]}       (%w a constant)
        %1 = MatMul(%x, %0)
    becomes
        %0 = const @0
        %1 = MatMul(%x, %0)

    Folding never inflates a model: results may be larger than the constants they replace only within a budget, so a
    large Expand, Tile or ConstantOfShape stays. Excepted are the weights of Conv, Gemm and the like: kernels need them
    as constants, and a model that stores them in a narrower type or as a fill value means the weights themselves. Nor
    does it take long: see EFFORT. The budget is one run's, so a pipeline runs this pass once, outside groups.
    """
    stored = sum(v.type.nbytes for v in graph.constants)
    budget = _Budget(GROWTH_TOTAL + int(stored * GROWTH_SHARE), WEIGHTS_TOTAL + 4 * stored)
    weights = _weights(graph)
    changed = False
    for node in graph.nodes:
        if all(v is None or v.is_constant for v in node.inputs) and not node.op.bodies and _effort(node) <= EFFORT \
                and budget.allows(graph, node, node in weights):
            changed |= _fold(graph, node)
    if changed:
        graph.drop_unused_constants()
        graph.reinfer()  # contents may tell more about the types of what follows
    return changed


@record(frozen=False)
class _Budget:
    """What is left of the bytes that may be added."""

    growth: int
    weights: int

    def allows(self, graph: Graph, node: Node, is_weight: bool) -> bool:
        """Whether the node may be folded; if so, it is charged for."""
        if not all(v.type.is_static for v in node.outputs):
            return False
        added = sum(v.type.nbytes for v in node.outputs if v.uses or graph.is_output(v))
        added -= sum(v.type.nbytes for v in set(node.inputs) if v is not None and _is_freed(graph, v, node))
        if is_weight and 0 <= added <= self.weights:
            self.weights -= added
            return True
        if added > min(GROWTH_EACH, self.growth):
            return False
        self.growth -= max(added, 0)
        return True


def _effort(node: Node) -> int:
    """No less than the steps in which the reference computes a laborious operator, 0 for any other one."""
    if node.op.op_type not in _LABORIOUS:
        return 0
    numbers = [n for value in node.op.attributes.values() for n in (value if isinstance(value, tuple) else (value,))]
    sizes = [d for v in (*node.inputs, *node.outputs) if v is not None for d in v.type.shape]
    return math.prod(max(n, 1) for n in (*numbers, *sizes) if isinstance(n, int))


def _is_freed(graph: Graph, constant: Value, node: Node) -> bool:
    """Whether nobody but the node reads the constant."""
    return len(constant.uses) == node.inputs.count(constant) and not graph.is_output(constant)


def _weights(graph: Graph) -> set[Node]:
    """The nodes whose first output goes nowhere but into weights, be it through other such nodes."""
    found: set[Node] = set()
    for node in reversed(graph.nodes):
        if len(node.outputs) == 1 and node.output.uses and not graph.is_output(node.output) and all(
                use.node in found or use.index in WEIGHT_OPERANDS.get(use.node.op.op_type, ())
                for use in node.output.uses):
            found.add(node)
    return found


def _fold(graph: Graph, node: Node) -> bool:
    """False where there is no memory for it: the node stays."""
    try:
        with np.errstate(all="ignore"):
            results = node.op.reference(*(None if v is None else v.constant for v in node.inputs))
    except MemoryError:
        return False
    except (OpError, ArithmeticError, IndexError, ValueError) as error:
        raise GraphError(f"{node!r} cannot be computed from its constants ({error}): the model would fail whenever it "
                         "ran; correct it where it is made") from error
    for value, result in zip(node.outputs, results, strict=False):
        if value.uses or graph.is_output(value):
            array = np.asarray(result, value.type.dtype.numpy, order="C")
            assert array.shape == value.type.shape, f"{node!r} computes {array.shape} for {value!r}"
            name = value.name
            graph.rename(value, f"{name}.before")
            graph.replace_uses(value, graph.add_constant(array, name))
    graph.remove_node(node)
    return True
