"""eliminate_common_subexpressions: what is computed, or stored, twice is kept once."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable
from typing import Any

import numpy as np

from ..ir import Graph, Node, Value

__all__ = ["eliminate_common_subexpressions"]

Array = np.ndarray[Any, Any]
_SAMPLES = 32


def eliminate_common_subexpressions(graph: Graph) -> bool:
    """Constants of equal bytes, type and shape become one, and so do nodes with equal operators and operands.

        %0 = Relu(%x)
        %1 = Relu(%x)
        %2 = Add(%0, %1)
    becomes
        %0 = Relu(%x)
        %2 = Add(%0, %0)

    All operators of the IR are functions of their operands, so two equal ones always agree.
    """
    changed, stale = _merge_constants(graph), False
    seen: dict[Hashable, Node] = {}
    for node in graph.nodes:
        first = seen.setdefault((node.op, node.inputs, len(node.outputs)), node)
        if first is not node:
            for duplicate, value in zip(node.outputs, first.outputs, strict=True):
                graph.replace_uses(duplicate, value)
            graph.remove_node(node)
            changed, stale = True, stale or bool(node.symbols)
    if stale:  # sizes that had a symbol of their own are now those of the first
        graph.reinfer()
    return changed


def _merge_constants(graph: Graph) -> bool:
    """Large contents are read in full only where type, shape and a few samples agree with another constant's."""
    alike: dict[Hashable, list[Value]] = {}
    for value in graph.constants:
        alike.setdefault((value.type, _samples(value)), []).append(value)
    changed = False
    for group in alike.values():
        seen: dict[bytes, Value] = {}
        for value in group if len(group) > 1 else ():
            first = seen.setdefault(_digest(value), value)
            if first is not value:
                graph.replace_uses(value, first)
                changed = True
    if changed:
        graph.drop_unused_constants()
    return changed


def _contents(value: Value) -> Array:
    assert value.constant is not None
    return value.constant


def _samples(value: Value) -> bytes:
    array = _contents(value)
    return array.flat[::max(1, array.size // _SAMPLES)].tobytes()


def _digest(value: Value) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(_contents(value)).view(np.uint8).data, digest_size=32).digest()
