"""What a network consists of: shapes, parameters, multiplications and receptive fields, layer by layer."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from .costs import cost
from .ir import DimLike, Graph, Node, Value, evaluate_dim
from .ops.conv import Conv
from .ops.conv_transpose import ConvTranspose
from .ops.pool import Pool
from .ops.reduce import REDUCTIONS
from .records import record

__all__ = ["LayerSummary", "Summary", "summary"]

# Operands whose numbers are not trained: statistics, sizes.
_NOT_PARAMETERS = {"input_mean", "input_var", "scales", "roi", "ratio"}
_WHOLE = {"Gemm", "MatMul", "Flatten", "GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool", "ArgMax", "ArgMin",
          "InstanceNormalization", "GroupNormalization", "MeanVarianceNormalization", "Expand",
          *(op.op_type for op in REDUCTIONS)}
_ALONG_AXIS = {"Softmax", "LogSoftmax", "Hardmax", "LayerNormalization", "RMSNormalization", "LpNormalization",
               "CumSum"}

Field = tuple[tuple[Fraction, Fraction], ...] | None  # (extent, step) by spatial axis; None: the whole input


@record
class LayerSummary:
    """One layer.

    `parameters` are the trained numbers that it is the first to read. `macs` are its multiply-accumulates in matrix
    products and convolutions, for a batch of one where the batch is symbolic; a text where they depend on another
    symbolic size. `receptive_field` is how many pixels along each axis an output depends on, None if on all.
    """

    name: str
    operator: str
    shape: str
    parameters: int
    macs: int | str
    receptive_field: tuple[int, ...] | None


@record
class Summary:
    """A network's layers and their totals; `str` gives a table."""

    name: str
    inputs: dict[str, str]
    outputs: dict[str, str]
    layers: tuple[LayerSummary, ...]
    parameters: int
    macs: int | str

    def as_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def rows(self) -> list[tuple[str, ...]]:
        """The cells of the table: layer, operator, output, parameters, MACs, receptive field."""
        return [(layer.name, layer.operator, layer.shape, _number(layer.parameters), _number(layer.macs),
                 "all" if layer.receptive_field is None else "x".join(map(str, layer.receptive_field)))
                for layer in self.layers]

    def __str__(self) -> str:
        table = [("layer", "operator", "output", "parameters", "MACs", "field"), *self.rows(),
                 ("total", "", "", _number(self.parameters), _number(self.macs), "")]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        return "\n".join("  ".join(c.rjust(w) if at in (3, 4) else c.ljust(w)
                                   for at, (c, w) in enumerate(zip(row, widths, strict=True))).rstrip()
                         for row in table)


def summary(graph: Graph) -> Summary:
    """The layers of a graph, nodes on constants alone left out."""
    weights: dict[Value, int] = {}  # trained numbers behind a value that depends on constants alone
    counted: set[Value] = set()
    fields: dict[Value, Field] = {v: ((Fraction(1), Fraction(1)),) * max(v.type.rank - 2, 0) for v in graph.inputs}
    batch = _batch(graph)
    layers = []
    total: list[int | str] = []
    for node in graph.walk():
        parameters = sum(_trained(node, at, v, weights, counted) for at, v in enumerate(node.inputs) if v is not None)
        if all(v is None or v.is_constant or v in weights for v in node.inputs) and node.inputs:
            weights.update(dict.fromkeys(node.outputs, 0))
            weights[node.output] = parameters
            continue
        fields.update(dict.fromkeys(node.outputs, _field(node, fields)))
        macs = _at_batch(_cost(node), batch)
        total.append(macs)
        field = fields[node.output]
        layers.append(LayerSummary(
            node.name or node.output.name, node.op.op_type, str(node.output.type), parameters, macs,
            None if field is None else tuple(math.ceil(extent) for extent, _ in field)))
    symbolic = [m for m in total if isinstance(m, str)]
    fixed = sum(m for m in total if isinstance(m, int))
    return Summary(
        graph.name, {v.name: str(v.type) for v in graph.inputs},
        {n: str(v.type) for n, v in zip(graph.output_names, graph.outputs, strict=True)}, tuple(layers),
        sum(layer.parameters for layer in layers),
        " + ".join([*symbolic, *([str(fixed)] if fixed else [])]) if symbolic else fixed)


def _number(n: int | str) -> str:
    return n if isinstance(n, str) else f"{n:,}"


def _trained(node: Node, at: int, value: Value, weights: dict[Value, int], counted: set[Value]) -> int:
    if value in weights:
        return weights.pop(value) + weights.setdefault(value, 0)
    formal = node.op.operands[min(at, len(node.op.operands) - 1)].rstrip("?*")
    if not value.is_constant or value in counted or not value.type.dtype.is_float or not value.type.rank \
            or formal in _NOT_PARAMETERS:
        return 0
    counted.add(value)
    return math.prod(value.type.static_shape)


def _batch(graph: Graph) -> Mapping[str, int]:
    """The symbol that is the first dimension of an input, at size 1."""
    return {str(v.type.shape[0]): 1 for v in graph.inputs
            if v.type.rank and str(v.type.shape[0]) in graph.symbols}


def _cost(node: Node) -> DimLike:
    return cost(node.op, [None if v is None else v.type for v in node.inputs], [v.type for v in node.outputs]).macs


def _at_batch(size: DimLike, batch: Mapping[str, int]) -> int | str:
    """The size for a batch of one, as a text where it depends on more."""
    size = evaluate_dim(size, batch)
    return size if isinstance(size, int) else f"({size})"


# -- receptive fields ------------------------------------------------------------------------------------------------


def _field(node: Node, fields: Mapping[Value, Field]) -> Field:
    """The field of a node's outputs: the largest of its inputs', grown by its window."""
    read = [fields[v] for v in node.inputs if v is not None and v in fields]
    if not read or any(f is None for f in read):
        return None
    known = [f for f in read if f]
    before: Field = () if not known else tuple(
        (max(f[axis][0] for f in known), max(f[axis][1] for f in known)) for axis in range(min(map(len, known))))
    assert before is not None
    op = node.op
    shapes = [() if v is None else v.type.shape for v in node.inputs]
    if op.op_type in _WHOLE:
        return None
    if isinstance(op, (Conv, ConvTranspose, Pool)):
        rank = len(shapes[0]) - 2
        kernel = op.kernel_shape or tuple(d for d in shapes[1][2:] if isinstance(d, int))
        return _grow(op, before, kernel, op.strides or (1,) * rank, op.dilations or (1,) * rank)
    if op.op_type == "Resize":
        return _resized(node, before)
    if op.op_type in _ALONG_AXIS:
        axis = getattr(op, "axis", -1) % len(shapes[0])
        return None if axis >= 2 else before
    if op.op_type in ("Reshape", "Transpose", "Squeeze", "Unsqueeze"):
        return before if _keeps_last(node, len(before)) else None
    return before


def _grow(op: Any, before: Any, kernel: tuple[int, ...], strides: tuple[int, ...], dilations: tuple[int, ...]) -> Field:
    if len(before) != len(kernel):
        return None
    grown = []
    for (extent, step), k, s, d in zip(before, kernel, strides, dilations, strict=True):
        if isinstance(op, ConvTranspose):
            # an output reads ceil(((k - 1) * d + 1) / s) neighbouring pixels
            grown.append((extent + (math.ceil(Fraction((k - 1) * d + 1, s)) - 1) * step, step / s))
        else:
            grown.append((extent + (k - 1) * d * step, step * s))
    return tuple(grown)


def _resized(node: Node, before: Any) -> Field:
    """The step shrinks as the picture grows; interpolation reads one neighbour more."""
    first = node.inputs[0]
    assert first is not None
    sizes = list(zip(first.type.shape[2:], node.output.type.shape[2:], strict=True))
    if len(sizes) != len(before) or not all(isinstance(a, int) and isinstance(b, int) and b for a, b in sizes):
        return None
    more = 0 if getattr(node.op, "mode", "nearest") == "nearest" else 1
    return tuple((extent + more * step, step * Fraction(int(str(a)), int(str(b))))
                 for (extent, step), (a, b) in zip(before, sizes, strict=True))


def _keeps_last(node: Node, axes: int) -> bool:
    """Whether the last axes are still the pixels."""
    first = node.inputs[0]
    assert first is not None
    rank = first.type.rank
    if node.op.op_type == "Transpose":
        perm = getattr(node.op, "perm", ()) or tuple(reversed(range(rank)))
        return perm[rank - axes:] == tuple(range(rank - axes, rank))
    return axes > 0 and first.type.shape[-axes:] == node.output.type.shape[-axes:]
