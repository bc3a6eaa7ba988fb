"""Elementwise operators: every formula and every way of broadcasting, against the operators' references."""

import numpy as np
import pytest

from cnncc.runtime.cpu.kernels.elementwise import plain_view
from cnncc.runtime.cuda.kernels import elementwise
from tests.runtime.cuda.harness import run

SHAPES = [((2, 3, 5), (2, 3, 5)), ((2, 3, 5), (3, 1)), ((4, 1, 3), (1, 5, 1)), ((7,), ()), ((2, 1, 3, 1), (1, 4, 1, 2))]


@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_broadcast(shapes):
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(shape).astype(np.float32) for shape in shapes)
    y = np.full(np.broadcast_shapes(*shapes), np.nan, np.float32)
    view = plain_view(shapes, y.shape)
    run(elementwise.launch("sub", ["f32", "f32"], "f32", view), {"a": a, "b": b, "y": y})
    assert np.array_equal(y, a - b)
