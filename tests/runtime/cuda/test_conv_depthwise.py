"""Convolution of narrow groups against float64: unrolled segments, any geometry, tails of strips."""

from __future__ import annotations

import numpy as np
import pytest

from cnncc.runtime.cuda.kernels import conv_depthwise
from tests.runtime.cuda.convolutions import UNIT, numbers, reference, shape_of
from tests.runtime.cuda.harness import run

CASES = {
    "3x3": shape_of(5, 5, (1, 6, 5), (1, 3, 3), pad=(0, 1, 1), after=(0, 1, 1), groups=5, images=2),
    "3x3 stride 2": shape_of(4, 4, (1, 9, 8), (1, 3, 3), (1, 2, 2), pad=(0, 1, 0), after=(0, 1, 1), groups=4),
    "5x5": shape_of(3, 3, (1, 5, 4), (1, 5, 5), pad=(0, 2, 2), after=(0, 2, 2), groups=3),
    "two outputs a channel": shape_of(3, 6, (1, 4, 4), (1, 3, 2), pad=(0, 1, 0), after=(0, 1, 1), groups=3),
    "groups of 4": shape_of(8, 8, (1, 5, 5), (1, 3, 3), pad=(0, 1, 1), after=(0, 1, 1), groups=2),
    "dilated": shape_of(2, 2, (1, 9, 7), (1, 3, 3), dilation=(1, 2, 3), pad=(0, 2, 3), after=(0, 2, 3), groups=2),
    "stride 3, 9 rows": shape_of(2, 2, (1, 15, 9), (1, 9, 3), (1, 3, 3), pad=(0, 4, 1), after=(0, 4, 0), groups=2),
    "1-D": shape_of(4, 4, (1, 1, 20), (1, 1, 7), (1, 1, 2), pad=(0, 0, 3), after=(0, 0, 3), groups=4),
}


@pytest.mark.parametrize("name", CASES)
def test_narrow_groups(name: str) -> None:
    shape = CASES[name]
    rng = np.random.default_rng(len(name))
    x = numbers(rng, shape.images, shape.channels, *shape.size)
    w = numbers(rng, shape.out_channels, shape.channels // shape.groups, *shape.kernel)
    b, add = numbers(rng, shape.out_channels), numbers(rng, shape.images, shape.out_channels, *shape.out_size)
    y = np.full(add.shape, np.nan, np.float32)
    step = conv_depthwise.launch(shape, True, "clip", 0.0, np.inf, threads=64)
    assert dict(step.stages[0].params)["kh"] == (0 if name in ("dilated", "stride 3, 9 rows") else shape.kernel[1])
    run(step, {"x": x, "w": w, "bias": b, "add": add, "y": y})
    want, size = reference(shape, x, w)
    broad = b.reshape(-1, 1, 1, 1).astype(np.float64)
    want, size = np.maximum(want + broad + add, 0), size + abs(broad) + abs(add)
    assert np.all(abs(y - want) <= 16 * UNIT * size)
