"""Runs a graph on its operators' references, in NumPy: slow, and what everything else is compared with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import InputError
from .graph import Graph, Value

__all__ = ["evaluate"]

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

    def widen(array: Array) -> Array:
        return array.astype(np.float64) if fp64 and array.dtype.kind == "f" else array

    values: dict[Value, Array] = {v: widen(np.asarray(feeds[v.name])) for v in graph.inputs}
    values.update((v, widen(v.constant)) for v in graph.constants if v.constant is not None)
    for node in graph.walk():
        results = node.op.reference(*(None if v is None else values[v] for v in node.inputs))
        for value, result in zip(node.outputs, results, strict=False):
            values[value] = np.asarray(result)
    if every:
        return {v.name: values[v] for v in graph.values if v in values}
    return {name: values[v] for name, v in zip(graph.output_names, graph.outputs, strict=True)}
