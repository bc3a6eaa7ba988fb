"""Runs a graph on its operators' references, in NumPy: slow, and what everything else is compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from .types import DType

if TYPE_CHECKING:
    from .graph import Graph, Value

__all__ = ["evaluate", "evaluate_arrays"]

Array = np.ndarray[Any, Any]


def evaluate(graph: Graph, feeds: Mapping[str, Array], *, fp64: bool = False, every: bool = False) -> dict[str, Array]:
    """The graph's outputs by name.

    Args:
        feeds: an array for every input.
        fp64: compute all floating point in double precision: the judge of the numeric policy.
        every: return the values of all nodes by name, not only the outputs.
    """
    missing = [v.name for v in graph.inputs if v.name not in feeds]
    if missing:
        raise InputError(f"no array was given for the input '{missing[0]}' of the graph '{graph.name}'")

    found = _evaluate(graph, [np.asarray(feeds[v.name]) for v in graph.inputs], fp64)
    if every:
        return {v.name: found[v] for v in graph.values if v in found}
    return {name: found[v] for name, v in zip(graph.output_names, graph.outputs, strict=True)}


def evaluate_arrays(graph: Graph, arrays: Sequence[Array]) -> list[Array]:
    """The outputs in order, for the inputs in order; in double precision where an input of type f32 is given in it."""
    fp64 = any(array.dtype == np.float64 and v.type.dtype is DType.F32
               for v, array in zip(graph.inputs, arrays, strict=True))
    found = _evaluate(graph, arrays, fp64)
    return [found[v] for v in graph.outputs]


def _evaluate(graph: Graph, arrays: Sequence[Array], fp64: bool) -> dict[Value, Array]:
    def widen(array: Array) -> Array:
        return array.astype(np.float64) if fp64 and array.dtype.kind == "f" else array

    values = {v: widen(array) for v, array in zip(graph.inputs, arrays, strict=True)}
    values.update((v, widen(v.constant)) for v in graph.constants if v.constant is not None)
    for node in graph.walk():
        results = node.op.reference(*(None if v is None else values[v] for v in node.inputs))
        for value, result in zip(node.outputs, results, strict=False):
            values[value] = np.asarray(result)
    return values
