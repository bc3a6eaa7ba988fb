"""Evaluation on the references."""

from __future__ import annotations

import numpy as np
import pytest

from cnncc.errors import InputError
from cnncc.ir import evaluate, parse_graph
from cnncc.ops import OPS

TEXT = """\
graph @net(%x: f32[N,2], %i: i64[N]) {
  %c = const 0.1 : f32[]
  %a = Add(%x, %c) : f32[N,2]
  %b = Relu(%a) : f32[N,2]
  return %b as "y", %i, %c
}
"""
FEEDS = {"x": np.array([[1, -1]], np.float32), "i": np.array([7])}


def test_outputs_by_name() -> None:
    found = evaluate(parse_graph(TEXT, OPS), FEEDS)
    assert list(found) == ["y", "i", "c"]
    assert found["y"].dtype == np.float32
    np.testing.assert_array_equal(found["y"], np.array([[1.1, 0]], np.float32))
    np.testing.assert_array_equal(found["i"], [7])


def test_in_double_precision() -> None:
    found = evaluate(parse_graph(TEXT, OPS), FEEDS, fp64=True)
    assert found["y"].dtype == np.float64 and found["i"].dtype == np.int64
    assert found["y"][0, 0] == 1 + float(np.float32(0.1))


def test_every_value() -> None:
    found = evaluate(parse_graph(TEXT, OPS), FEEDS, every=True)
    assert set(found) == {"x", "i", "a", "b", "c"}
    np.testing.assert_array_equal(found["a"], np.array([[1.1, -0.9]], np.float32))


def test_missing_feed() -> None:
    with pytest.raises(InputError, match="no array was given for the input 'i' of the graph 'net'"):
        evaluate(parse_graph(TEXT, OPS), {"x": FEEDS["x"]})
