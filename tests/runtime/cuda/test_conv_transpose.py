"""Transposed convolution against the operator's reference in double precision."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from cnncc.ops import OPS
from cnncc.runtime.cpu.lower.conv_transpose import transpose_shape
from cnncc.runtime.cuda.kernels import conv_transpose
from cnncc.runtime.cuda.kernels.conv_direct import Tile
from cnncc.runtime.cuda.tf32 import tf32_bound
from tests.runtime.cuda.harness import run

UNIT = 2.0**-24
TILE = Tile(64, 16, 4)
TENSOR = Tile(64, 64, 8, tensor=True)

CASES = {
    "stride 2, 4x4": ((1, 6, 3, 4), (6, 5, 4, 4), {"strides": (2, 2), "pads": (1, 1, 1, 1)}),
    "stride 3 leaves phases empty": ((2, 3, 3, 2), (3, 4, 2, 1), {"strides": (3, 2), "output_padding": (2, 1)}),
    "dilated, cut": ((1, 4, 4, 5), (4, 3, 3, 2), {"strides": (2, 1), "dilations": (2, 3), "pads": (1, 0, 2, 1)}),
    "grouped": ((1, 8, 3, 3), (8, 2, 2, 2), {"strides": (2, 2), "group": 4}),
    "3-D": ((1, 3, 2, 3, 2), (3, 4, 2, 3, 2), {"strides": (2, 1, 2), "pads": (0, 1, 0, 0, 1, 1)}),
    "1-D": ((2, 5, 7), (5, 70, 5), {"strides": (3,), "pads": (2, 1)}),
}


@pytest.mark.parametrize(("name", "tile"), [*((name, TILE) for name in CASES), ("stride 2, 4x4", TENSOR)])
def test_transposed(name: str, tile: Tile) -> None:
    x_shape, w_shape, attributes = CASES[name]
    rng = np.random.default_rng(len(name))
    op: Any = OPS["ConvTranspose"](**attributes)
    x, w = (rng.standard_normal(s).astype(np.float32) for s in (x_shape, w_shape))
    b = rng.standard_normal(w_shape[1] * op.group).astype(np.float32)
    want, size = (op.reference(*(np.asarray(f(a), np.float64) for a in (x, w, b)))[0] for f in (np.array, np.abs))
    shape = transpose_shape(op, x.shape, w.shape)
    y = np.full(want.shape, np.nan, np.float32)
    step = conv_transpose.launch(shape, tile)
    assert step.stages[0].grid[2] == math.prod(shape.stride) * op.group
    run(step, {"x": x, "w": conv_transpose.pack_weights(w, shape, tile.m, tile.k, tile.tensor), "y": y,
               "bias": conv_transpose.pack_bias(b, shape.out_channels, op.group, tile.m),
               "taps": conv_transpose.pack_taps(shape)})
    assert np.all(abs(y - want) <= (tf32_bound(w[:, 0].size) if tile.tensor else 16) * UNIT * size)
