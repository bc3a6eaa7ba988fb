"""The graph IR: types, operators' base, graph, verifier, text, evaluation."""

from typing import TYPE_CHECKING, Any

from .activation import ACTIVATIONS, Activation
from .attributes import format_op, make_op, parse_attributes
from .dims import Dim, DimLike, evaluate_dim, is_unknown, parse_dim, solve_dim, symbol, symbols_of, unknown
from .evaluate import evaluate
from .graph import Graph, Node, Use, Value
from .op import Op, Operand, known_outputs, name_unknown, new_symbols
from .printer import format_graph, format_node
from .types import MAX_RANK, DType, TensorType, check_extent, parse_type
from .verify import verify

if TYPE_CHECKING:
    from .parser import parse_graph

__all__ = [
    "ACTIVATIONS", "MAX_RANK", "Activation", "DType", "Dim", "DimLike", "Graph", "Node", "Op", "Operand", "TensorType",
    "Use", "Value", "check_extent", "evaluate", "evaluate_dim", "format_graph", "format_node", "format_op",
    "is_unknown", "known_outputs", "make_op", "name_unknown", "new_symbols", "parse_attributes", "parse_dim",
    "parse_graph", "parse_type", "solve_dim", "symbol", "symbols_of", "unknown", "verify",
]


def __getattr__(name: str) -> Any:
    """`parse_graph`, imported when it is first used: a process that runs a plan reads no text."""
    if name != "parse_graph":
        raise AttributeError(f"module 'cnncc.ir' has no attribute '{name}'")
    from .parser import parse_graph

    globals()[name] = parse_graph
    return parse_graph
