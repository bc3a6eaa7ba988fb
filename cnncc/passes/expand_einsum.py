"""expand_einsum: Einsum becomes matrix products, which have kernels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..ir import DimLike, Graph, Node, Op, Value, make_op
from ..ops import OPS
from ..ops.einsum import Einsum
from ..ops.gemm import MatMul
from ..ops.shape import Transpose, Unsqueeze
from .reshaping import reshaped

__all__ = ["expand_einsum"]

_MORE = "ⁿᵐˡᵏʲⁱʰᵍ"  # stand for the axes of `...`, the last one first


def expand_einsum(graph: Graph) -> bool:
    """Einsum becomes matrix products, which have kernels.

        %y = Einsum(%a, %b) {equation="bqhd,bkhd->bhqk"}
    becomes
        %q = Transpose(%a) {perm=[0,2,1,3]}
        %k = Transpose(%b) {perm=[0,2,3,1]}
        %y = MatMul(%q, %k)

    Several letters that are summed, or that one factor alone has, become one axis by Reshapes; letters of one factor
    that the output has not are summed before; where nothing is summed there is a Mul. More than two factors are
    multiplied one after the other. Not where a letter comes twice in a factor, nor where sizes are unknown that a
    Reshape would need.
    """
    changed = False
    for node in graph.nodes:
        if isinstance(node.op, Einsum):
            changed |= _Expansion(graph, node).run(node.op)
    if changed:
        graph.drop_unused_constants()
    return changed


class _NoShape(Exception):
    """Sizes are unknown that a Reshape would need."""


class _Expansion:
    """The nodes that take the place of one; their outputs are named after its own."""

    def __init__(self, graph: Graph, node: Node) -> None:
        self._graph, self._node, self._stem = graph, node, node.output.name
        self._made: list[Node] = []

    def run(self, op: Einsum) -> bool:
        factors = [v for v in self._node.inputs if v is not None]
        terms, output = _letters(op, factors)
        if any(len(set(term)) < len(term) for term in (*terms, output)) or not factors[0].type.dtype.is_float:
            return False
        try:
            value = self._product_of(list(zip(factors, terms, strict=True)), output)
        except _NoShape:
            value = None
        if value is None or value.type != self._node.output.type or value in factors:
            for node in reversed(self._made):
                self._graph.remove_node(node)
            return False
        self._graph.replace_uses(self._node.output, value)
        self._graph.remove_node(self._node)
        self._graph.rename(value, self._stem)
        return True

    def _product_of(self, factors: list[tuple[Value, str]], output: str) -> Value:
        while len(factors) > 1:
            (a, left), (b, right), *rest = factors
            later = output + "".join(term for _, term in rest)
            factors = [self._product(self._summed(a, left, right + later), self._summed(b, right, left + later), later),
                       *rest]
        value, letters = self._summed(*factors[0], output)
        return self._ordered(value, letters, output)

    def _product(self, first: tuple[Value, str], second: tuple[Value, str], later: str) -> tuple[Value, str]:
        """The product of two factors, without the letters that are not needed later."""
        (a, left), (b, right) = first, second
        groups = ([c for c in left if c in right and c in later], [c for c in left if c not in right],
                  [c for c in right if c not in left])
        batch, rows, columns = ("".join(sorted(group, key=later.index)) for group in groups)
        inner = "".join(c for c in left if c in right and c not in later)
        if not inner:
            letters = "".join(sorted(batch + rows + columns, key=later.index))
            factors = [self._spread(x, own, letters) for x, own in ((a, left), (b, right))]
            return self._add(OPS["Mul"](), factors, "product"), letters
        a = self._matrices(self._ordered(a, left, batch + rows + inner), len(batch), len(rows), "left")
        b = self._matrices(self._ordered(b, right, batch + inner + columns), len(batch), len(inner), "right")
        if a.type.shape[-1] != b.type.shape[-2]:
            raise _NoShape
        product = self._add(MatMul(), [a, b], "product")
        sizes = dict(zip(left, first[0].type.shape, strict=True)) | dict(zip(right, second[0].type.shape, strict=True))
        shape = (*product.type.shape[:len(batch)], *(sizes[c] for c in rows + columns))
        return self._reshaped(product, shape, "split"), batch + rows + columns

    def _summed(self, x: Value, letters: str, needed: str) -> tuple[Value, str]:
        """The sum over the letters that nobody needs."""
        gone = [i for i, letter in enumerate(letters) if letter not in needed]
        if not gone:
            return x, letters
        axes = self._graph.add_constant(np.array(gone), f"{self._stem}.axes")
        total = self._add(make_op(OPS, "ReduceSum", {"keepdims": False}), [x, axes], "sum")
        return total, "".join(c for c in letters if c in needed)

    def _ordered(self, x: Value, letters: str, wanted: str) -> Value:
        perm = tuple(letters.index(c) for c in wanted)
        return x if perm == tuple(range(len(perm))) else self._add(Transpose(perm=perm), [x], "turned")

    def _spread(self, x: Value, letters: str, wanted: str) -> Value:
        """x with an axis for each wanted letter, of size 1 where it has not got it."""
        x = self._ordered(x, letters, "".join(c for c in wanted if c in letters))
        missing = [i for i, c in enumerate(wanted) if c not in letters]
        if not missing:
            return x
        return self._add(Unsqueeze(), [x, self._graph.add_constant(np.array(missing), f"{self._stem}.axes")], "spread")

    def _matrices(self, x: Value, batch: int, rows: int, name: str) -> Value:
        """x [*batch, *rows, *columns] as matrices [*batch, rows, columns]."""
        shape = x.type.shape
        parts = shape[batch:batch + rows], shape[batch + rows:]
        return self._reshaped(x, (*shape[:batch], *(_size(part) for part in parts)), name)

    def _reshaped(self, x: Value, shape: tuple[DimLike, ...], name: str) -> Value:
        result = reshaped(self._graph, self._node, x, shape, f"{self._stem}.{name}")
        if result is None:
            raise _NoShape
        if result is not x and result.producer is not None:
            self._made.append(result.producer)
        return result

    def _add(self, op: Op, inputs: Sequence[Value], name: str) -> Value:
        self._made.append(self._graph.add_node(op, inputs, outputs=[f"{self._stem}.{name}"], before=self._node))
        return self._made[-1].output


def _size(part: Sequence[DimLike]) -> DimLike:
    size: DimLike = 1
    for d in part:
        size = size * d
    return size


def _letters(op: Einsum, factors: Sequence[Value]) -> tuple[list[str], str]:
    """The terms of the equation with letters for the axes of `...`."""
    terms, output = op.terms()
    extra = [x.type.rank - len(term.replace(".", "")) for x, term in zip(factors, terms, strict=True)]
    most = max((n for n, term in zip(extra, terms, strict=True) if "." in term), default=0)
    if most > len(_MORE):
        return ["aa"], ""
    more = _MORE[:most][::-1]
    found = [term.replace(".", more[most - n:] if n else "") for term, n in zip(terms, extra, strict=True)]
    return found, output.replace(".", more)
