"""The graph IR: types, operators' base, graph, verifier, text, evaluation."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .activation import ACTIVATIONS, Activation
from .attributes import format_op, make_op, parse_attributes
from .dims import Dim, DimLike, evaluate_dim, is_unknown, parse_dim, solve_dim, symbol, symbols_of, unknown
from .evaluate import evaluate
from .op import Op, Operand, known_outputs, name_unknown, new_symbols
from .types import MAX_RANK, DType, TensorType, check_extent, parse_type

if TYPE_CHECKING:
    from .graph import Graph, Node, Use, Value
    from .parser import parse_graph
    from .printer import format_graph, format_node
    from .verifier import verify

__all__ = [
    "ACTIVATIONS", "MAX_RANK", "Activation", "DType", "Dim", "DimLike", "Graph", "Node", "Op", "Operand", "TensorType",
    "Use", "Value", "check_extent", "evaluate", "evaluate_dim", "format_graph", "format_node", "format_op",
    "is_unknown", "known_outputs", "make_op", "name_unknown", "new_symbols", "parse_attributes", "parse_dim",
    "parse_graph", "parse_type", "solve_dim", "symbol", "symbols_of", "unknown", "verify",
]


# What is imported when it is first used: a process that runs a plan has no graphs.
_PLACES = {"Graph": "graph", "Node": "graph", "Use": "graph", "Value": "graph", "format_graph": "printer",
           "format_node": "printer", "parse_graph": "parser", "verify": "verifier"}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'cnncc.ir' has no attribute '{name}'")
    value = globals()[name] = getattr(import_module(f".{_PLACES[name]}", __name__), name)
    return value
