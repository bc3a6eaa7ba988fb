"""The graph: Values that know their producer and uses, Nodes that apply an Op, and the Graph that owns them.

Types are never stale: adding a node infers its outputs' types, and a graph is changed only by the methods below.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import field
from itertools import chain, count
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import GraphError, OpError
from ..records import record
from .dims import symbols_of
from .op import KNOWN_LIMIT, Op, Operand, known_outputs, name_unknown
from .types import DType, TensorType

if TYPE_CHECKING:
    import networkx as nx

__all__ = ["Graph", "Node", "Use", "Value"]

Array = np.ndarray[Any, Any]


@record
class Use:
    """Input `index` of `node`; a graph output counts as no Use (see Graph.outputs)."""

    node: Node
    index: int


@record(frozen=False)
class Value:
    """A tensor: a graph input, a constant, or an output of a node.

    `constant` holds a constant's contents; `known` what shape arithmetic knows of a small integer tensor (ints and
    symbolic Dims in an object array), and for a small constant the constant itself.
    """

    name: str
    type: TensorType
    producer: Node | None = None
    index: int = 0
    constant: Array | None = None
    known: Array | None = None
    uses: dict[Use, None] = field(default_factory=dict)

    @property
    def is_constant(self) -> bool:
        return self.constant is not None

    @property
    def operand(self) -> Operand:
        return Operand(self.type, self.constant if self.constant is not None else self.known)

    @property
    def users(self) -> list[Node]:
        """The nodes that read this value, each once, in the order in which they began to."""
        return list(dict.fromkeys(use.node for use in self.uses))

    def __repr__(self) -> str:
        return f"%{self.name}: {self.type}"


@record(frozen=False)
class Node:
    """One application of an operator. `inputs` holds None for an absent optional input; `symbols` are the sizes of its
    outputs that only the data decide."""

    op: Op
    inputs: tuple[Value | None, ...]
    outputs: tuple[Value, ...] = ()
    name: str = ""
    symbols: tuple[str, ...] = ()
    _before: Node | None = field(default=None, repr=False)  # neighbours in the graph's list of nodes
    _after: Node | None = field(default=None, repr=False)

    @property
    def output(self) -> Value:
        """The first output."""
        return self.outputs[0]

    def __repr__(self) -> str:
        return f"{self.op.op_type} '{self.name or self.output.name}'"


class Graph:
    """A directed acyclic graph of nodes in topological order, with named inputs and outputs.

    The names of values are unique. `outputs` may hold inputs, constants and the same value twice;
    `output_names` are what the user calls them.
    """

    def __init__(self, name: str = "net") -> None:
        self.name = name
        self.inputs: list[Value] = []
        self.outputs: list[Value] = []
        self.output_names: list[str] = []
        self._asked: list[Value] = []  # the list of outputs, never changed in place, whose members `_output_set` holds
        self._output_set: frozenset[Value] = frozenset()
        self._first: Node | None = None
        self._last: Node | None = None
        self._count = 0
        self._values: dict[str, Value] = {}
        self._fresh: dict[str, int] = {}
        self._symbols: set[str] = set()  # that inputs and nodes have named
        self._taken = 0  # u0, u1, ... up to this one are among them

    # -- reading -------------------------------------------------------------------------------------------------

    @property
    def nodes(self) -> list[Node]:
        """The nodes in topological order (a copy: the graph may be changed while it is walked)."""
        return list(self.walk())

    def walk(self) -> Iterator[Node]:
        """The nodes in order, without a copy: the graph must not change meanwhile."""
        node = self._first
        while node is not None:
            yield node
            node = node._after

    def __len__(self) -> int:
        return self._count

    def value(self, name: str) -> Value:
        return self._values[name]

    @property
    def values(self) -> list[Value]:
        return list(self._values.values())

    @property
    def constants(self) -> list[Value]:
        """The constants that a node reads or that are outputs, in order of first use."""
        read = dict.fromkeys(v for n in self.walk() for v in n.inputs if v is not None and v.is_constant)
        read.update(dict.fromkeys(v for v in self.outputs if v.is_constant))
        return list(read)

    @property
    def symbols(self) -> list[str]:
        """The symbolic dimensions of the inputs, in order of appearance."""
        return list(dict.fromkeys(s for v in self.inputs for d in v.type.shape for s in symbols_of(d)))

    @property
    def signature(self) -> tuple[tuple[TensorType, ...], tuple[TensorType, ...]]:
        """The types of the inputs and of the outputs."""
        return tuple(v.type for v in self.inputs), tuple(v.type for v in self.outputs)

    def first_result(self, number: int) -> tuple[bool, Array | None]:
        """Whether the first output is the input of this number, and its contents where it is a constant."""
        return self.outputs[0] is self.inputs[number], self.outputs[0].constant

    def bodies(self) -> list[Graph]:
        """The graphs that operators of this graph run, without those within them."""
        return [body for node in self.walk() for body in node.op.bodies.values()]

    def is_output(self, value: Value) -> bool:
        if self._asked is not self.outputs:
            self._asked, self._output_set = self.outputs, frozenset(self.outputs)
        return value in self._output_set

    # -- building ------------------------------------------------------------------------------------------------

    def fresh_name(self, hint: str = "v") -> str:
        """`hint` if no value bears it yet, otherwise hint_1, hint_2, ..."""
        if hint not in self._values:
            return hint
        while True:
            number = self._fresh[hint] = self._fresh.get(hint, 0) + 1
            if f"{hint}_{number}" not in self._values:
                return f"{hint}_{number}"

    def add_input(self, name: str, type_: TensorType) -> Value:
        value = self._register(Value(name, type_))
        self._symbols |= type_.symbols
        self.inputs.append(value)
        return value

    def add_constant(self, array: Array | np.generic, name: str = "const") -> Value:
        """A constant with a name made unique; the array is kept, not copied, and must not change."""
        array = np.asarray(array)
        type_ = TensorType(DType.of(array.dtype), tuple(array.shape))
        known = array if array.size <= KNOWN_LIMIT and (type_.dtype.is_integer or type_.dtype is DType.BOOL) else None
        return self._register(Value(self.fresh_name(name), type_, constant=array, known=known))

    def add_node(self, op: Op, inputs: Sequence[Value | None], *, name: str = "", outputs: int | Sequence[str] = 1,
                 before: Node | None = None, symbols: Sequence[str] = ()) -> Node:
        """Appends a node (or puts it before another) and infers its outputs' types.

        `outputs` is how many of the operator's outputs are used, or their names. Sizes that only the data decide are
        called by `symbols`, as far as these go, and then u0, u1, ...
        Raises OpError where the operands do not fit the operator.
        """
        inputs = tuple(inputs)
        op.check_arity([v is not None for v in inputs])
        types, contents, symbols = self._infer(op, inputs, symbols)
        hints = [f"{name or op.op_type}" if i == 0 else f"{name or op.op_type}.{i}" for i in range(outputs)] \
            if isinstance(outputs, int) else list(outputs)
        if len(hints) > len(types):
            raise OpError(f"{op.op_type} has {len(types)} outputs, but {len(hints)} are used")
        node = Node(op, inputs, name=name, symbols=symbols)
        node.outputs = tuple(
            self._register(Value(self.fresh_name(hint), types[i], node, i, known=contents[i]))
            for i, hint in enumerate(hints))
        for i, value in enumerate(inputs):
            if value is not None:
                value.uses[Use(node, i)] = None
        self._link(node, before)
        return node

    def set_outputs(self, values: Iterable[Value], names: Iterable[str] | None = None) -> None:
        self.outputs = list(values)
        self.output_names = list(names) if names is not None else [v.name for v in self.outputs]

    # -- changing ------------------------------------------------------------------------------------------------

    def replace_uses(self, old: Value, new: Value) -> None:
        """Every reader of `old`, the graph's outputs included, reads `new` instead."""
        if old is new:
            return
        for use in list(old.uses):
            self.set_input(use.node, use.index, new)
        if self.is_output(old):
            self.outputs = [new if v is old else v for v in self.outputs]

    def set_input(self, node: Node, index: int, value: Value | None) -> None:
        """Input `index` of `node` becomes `value`. The types of what follows are not inferred again: call `reinfer`
        if the new value's type or contents differ."""
        old = node.inputs[index]
        if old is not None:
            old.uses.pop(Use(node, index), None)
        node.inputs = (*node.inputs[:index], value, *node.inputs[index + 1:])
        if value is not None:
            value.uses[Use(node, index)] = None

    def replace_node(self, old: Node, op: Op, inputs: Sequence[Value | None], *, name: str | None = None) -> Node:
        """Puts a new node in the place of `old`, whose outputs' names and uses pass to it."""
        names = [v.name for v in old.outputs]
        new = self.add_node(op, inputs, name=old.name if name is None else name, outputs=len(names), before=old,
                            symbols=old.symbols)
        for was, now in zip(old.outputs, new.outputs, strict=True):
            self.replace_uses(was, now)
        self.remove_node(old)
        for value, given in zip(new.outputs, names, strict=True):
            self.rename(value, given)
        return new

    def remove_node(self, node: Node) -> None:
        """Removes a node whose outputs nobody reads."""
        for value in node.outputs:
            if value.uses or self.is_output(value):
                raise GraphError(f"{node!r} cannot be removed: %{value.name} is still read")
        for i, read in enumerate(node.inputs):
            if read is not None:
                read.uses.pop(Use(node, i), None)
        for value in node.outputs:
            self._values.pop(value.name, None)
        self._unlink(node)

    def remove_input(self, value: Value) -> None:
        """Removes an input that nobody reads."""
        if value.uses or self.is_output(value):
            raise GraphError(f"the input %{value.name} cannot be removed: it is still read")
        self.inputs.remove(value)
        self._values.pop(value.name)

    def rename(self, value: Value, name: str) -> None:
        """Gives `value` the name, made unique where it is taken."""
        if value.name == name:
            return
        self._values.pop(value.name, None)
        value.name = self.fresh_name(name)
        self._values[value.name] = value

    def drop_unused_constants(self) -> bool:
        unused = [v for v in self._values.values() if v.is_constant and not v.uses and not self.is_output(v)]
        for value in unused:
            del self._values[value.name]
        return bool(unused)

    def sort(self) -> None:
        """Restores topological order, keeping the present order where it is free; raises GraphError on a cycle."""
        import networkx as nx

        rank = {node: i for i, node in enumerate(self.walk())}
        try:
            order = list(nx.lexicographical_topological_sort(self.to_networkx(), key=rank.__getitem__))
        except nx.NetworkXUnfeasible:
            cycle = nx.find_cycle(self.to_networkx())
            names = " -> ".join(edge[0].output.name for edge in cycle)
            raise GraphError(f"the graph '{self.name}' has a cycle: {names}") from None
        for node in order:
            self._unlink(node)
            self._link(node, None)

    def reinfer(self) -> None:
        """Infers all types and known contents again, in order. An OpError names the node."""
        for node in self.walk():
            try:
                types, contents, node.symbols = self._infer(node.op, node.inputs, node.symbols)
            except OpError as error:
                raise OpError(f"{node!r}: {error}") from None
            for value in node.outputs:
                value.type, value.known = types[value.index], contents[value.index]

    # -- as a networkx graph ---------------------------------------------------------------------------------------

    def to_networkx(self) -> nx.DiGraph:
        """Nodes as vertices (attributes op_type, label), an edge for every value passed (attribute value)."""
        import networkx as nx

        g = nx.DiGraph(name=self.name)
        for node in self.walk():
            g.add_node(node, op_type=node.op.op_type, label=node.output.name if node.outputs else node.name)
        for node in self.walk():
            for value in node.inputs:
                if value is not None and value.producer is not None:
                    g.add_edge(value.producer, node, value=value.name)
        return g

    # -- inside ------------------------------------------------------------------------------------------------------

    def _infer(self, op: Op, inputs: Sequence[Value | None], symbols: Sequence[str],
               ) -> tuple[tuple[TensorType, ...], tuple[Array | None, ...], tuple[str, ...]]:
        """The outputs' types and known contents, and the symbols for sizes that only the data decide."""
        operands = [None if v is None else v.operand for v in inputs]
        types, named = name_unknown(op.infer(*operands), chain(symbols, self._fresh_symbols()))
        self._symbols.update(named)
        return types, known_outputs(op, operands, types), named

    def _fresh_symbols(self) -> Iterator[str]:
        while f"u{self._taken}" in self._symbols:
            self._taken += 1
        return (f"u{i}" for i in count(self._taken) if f"u{i}" not in self._symbols)

    def _register(self, value: Value) -> Value:
        if value.name in self._values:
            raise GraphError(f"the graph '{self.name}' already has a value named '{value.name}'")
        self._values[value.name] = value
        return value

    def _link(self, node: Node, before: Node | None) -> None:
        node._after, node._before = before, self._last if before is None else before._before
        if node._before is None:
            self._first = node
        else:
            node._before._after = node
        if before is None:
            self._last = node
        else:
            before._before = node
        self._count += 1

    def _unlink(self, node: Node) -> None:
        if node._before is None:
            self._first = node._after
        else:
            node._before._after = node._after
        if node._after is None:
            self._last = node._before
        else:
            node._after._before = node._before
        node._before = node._after = None
        self._count -= 1
