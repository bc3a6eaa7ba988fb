"""How a pass is tested: IR text before and after, where it must not fire, and equal numbers through the references."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable

import numpy as np

from cnncc.ir import Graph, TensorType, evaluate, format_graph, parse_graph, parse_type, verify
from cnncc.ops import OPS

__all__ = ["check_rewrite", "check_same_numbers", "check_stays", "parse"]

SYMBOL_SIZE = 3  # what symbolic dimensions are bound to
_NAMED_CONSTANT = re.compile(r"const @([\w./:-]+) : (\w+\[[^\]]*\])")


def random_array(type_: TensorType, name: str, seed: int = 0) -> np.ndarray:
    """Values that depend on the name, the type and the seed only. Floats are in [-1, 1), or in [0.5, 1.5) where the
    name ends in "var" or "positive"; integers are in [0, 8)."""
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    shape = type_.static_shape
    if not type_.dtype.is_float:
        return rng.integers(0, 8, shape).astype(type_.dtype.numpy)
    low = 0.5 if name.endswith(("var", "positive")) else -1.0
    return rng.uniform(low, low + (1 if low > 0 else 2), shape).astype(type_.dtype.numpy)


def parse(text: str, seed: int = 0) -> Graph:
    """The graph of `text`, with random contents for the constants that stand there by name; verified."""
    weights = {name: random_array(parse_type(t), name, seed) for name, t in _NAMED_CONSTANT.findall(text)}
    graph = parse_graph(text, OPS, weights)
    verify(graph)
    return graph


def check_rewrite(rewrite: Callable[[Graph], bool], before: str, after: str, *, tolerance: float = 0.0) -> Graph:
    """`rewrite` turns `before` into `after`, computes the same, and then finds nothing more to do.

    See check_same_numbers for the tolerance. The names that fresh constants bear in `after` count, their contents do
    not: the numbers tell.
    """
    graph = parse(before)
    assert rewrite(graph), "the pass did not fire"
    verify(graph)
    assert format_graph(graph) == format_graph(parse(after))
    check_same_numbers(parse(before), graph, tolerance=tolerance)
    assert not rewrite(graph), "the pass fires on its own result"
    return graph


def check_stays(rewrite: Callable[[Graph], bool], text: str) -> None:
    """`rewrite` must not fire on `text`."""
    graph = parse(text)
    before = format_graph(graph)
    assert not rewrite(graph), f"the pass fired:\n{format_graph(graph)}"
    assert format_graph(graph) == before


def check_same_numbers(first: Graph, second: Graph, *, tolerance: float = 0.0, seed: int = 0) -> None:
    """Both graphs compute the same from the same random feeds.

    `tolerance` is relative to the largest element of each output, in double precision; with 0 nothing may be rounded
    anew, and the outputs are equal in their own precision.
    """
    feeds = {v.name: random_array(v.type.bind(dict.fromkeys(first.symbols, SYMBOL_SIZE)), v.name, seed)
             for v in first.inputs}
    expected, found = (evaluate(g, feeds, fp64=tolerance > 0) for g in (first, second))
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert found[name].shape == array.shape and found[name].dtype == array.dtype, name
        if tolerance == 0.0 or array.dtype.kind != "f":
            np.testing.assert_array_equal(found[name], array, err_msg=name)
        else:
            scale = np.abs(array).max(initial=0.0)
            np.testing.assert_allclose(found[name], array, rtol=0, atol=tolerance * scale, err_msg=name)
