"""Convolution by implicit GEMM against float64: tails of every tile, groups, strides, dilations, padding."""

from __future__ import annotations

import numpy as np
import pytest

from cnncc.runtime.cpu.conv_shape import ConvShape
from cnncc.runtime.cuda.kernels import conv_direct
from cnncc.runtime.cuda.kernels.conv_direct import Tile
from tests.runtime.cuda.convolutions import UNIT, numbers, reference, shape_of
from tests.runtime.cuda.harness import ORDERS, run

SMALL = Tile(64, 16, 4)


def check(shape: ConvShape, tile: Tile = SMALL, form: str | None = None, residual=False, bias=True,
          activation=("clip",), orders=ORDERS) -> None:
    rng = np.random.default_rng(shape.channels)
    form = form or conv_direct.packed_form(shape, tile.k)
    x = numbers(rng, shape.images, shape.channels, *shape.size)
    w = numbers(rng, shape.out_channels, shape.channels // shape.groups, *shape.kernel)
    b, add = numbers(rng, shape.out_channels), numbers(rng, shape.images, shape.out_channels, *shape.out_size)
    step = conv_direct.launch(shape, tile, form, residual, *activation)
    y = np.full(add.shape, np.nan, np.float32)
    operands = {"x": x, "w": conv_direct.pack_weights(w, shape.groups, form, tile.m, tile.k),
                "bias": conv_direct.pack_bias(b if bias else None, shape.out_channels, shape.groups, tile.m),
                "taps": conv_direct.pack_taps(shape, form, tile.k), "y": y}
    run(step, operands | ({"add": add} if residual else {}), orders)
    want, size = reference(shape, x, w)
    wide = b.reshape(-1, 1, 1, 1).astype(np.float64)
    want, size = want + bias * wide + residual * add, size + abs(wide) + abs(add)
    if activation != ("clip",):
        want = np.clip(want, *activation[1:])
    assert np.all(abs(y - want) <= 16 * UNIT * size)


CASES = {
    "3x3": shape_of(5, 7, (1, 5, 6), (1, 3, 3), pad=(0, 1, 1), after=(0, 1, 1)),
    "rows cross images": shape_of(4, 66, (1, 3, 3), (1, 3, 3), pad=(0, 1, 1), after=(0, 1, 1), images=3),
    "strided, one side padded": shape_of(6, 9, (1, 7, 8), (1, 3, 2), (1, 2, 3), pad=(0, 1, 0), after=(0, 0, 1)),
    "dilated": shape_of(8, 3, (1, 9, 7), (1, 3, 3), dilation=(1, 2, 3), pad=(0, 2, 1), after=(0, 2, 3)),
    "grouped": shape_of(10, 6, (1, 4, 5), (1, 2, 3), pad=(0, 0, 1), after=(0, 1, 1), groups=2),
    "3-D": shape_of(4, 5, (3, 4, 3), (2, 3, 3), (2, 1, 1), pad=(1, 1, 1), after=(0, 1, 1)),
    "1-D": shape_of(7, 4, (1, 1, 19), (1, 1, 5), (1, 1, 2), pad=(0, 0, 2), after=(0, 0, 1)),
    "1x1 wide": shape_of(6, 5, (1, 4, 5), images=2),
    "1x1 odd": shape_of(6, 5, (1, 3, 5), images=2),
    "1x1 strided": shape_of(5, 5, (1, 5, 5), stride=(1, 2, 2)),
}


@pytest.mark.parametrize("name", CASES)
def test_channels(name: str) -> None:
    """All channels of a tap, then the next tap; residual and bias are added."""
    check(CASES[name], form="channels", residual=True)


@pytest.mark.parametrize("name", ["3x3", "strided, one side padded", "dilated", "grouped", "3-D", "1-D"])
def test_taps(name: str) -> None:
    """Each k has its place in a table."""
    check(CASES[name], form="taps", bias=False, activation=("clip", 0.0, 2.0))


@pytest.mark.parametrize(("name", "form"), [("3x3", "channels"), ("3-D", "taps"), ("1x1 wide", "channels")])
def test_split(name: str, form: str) -> None:
    """Blocks share the steps of a tile; parts are added up in order."""
    check(CASES[name], Tile(64, 16, 4, 3), form, residual=True, activation=("clip", 0.0, 1e9))


def test_few_channels_are_packed_by_taps() -> None:
    assert conv_direct.packed_form(shape_of(3, 64, (1, 224, 224), (1, 7, 7))) == "taps"
    assert conv_direct.packed_form(shape_of(64, 64, (1, 56, 56), (1, 3, 3))) == "channels"
    assert conv_direct.packed_form(shape_of(3, 8, (1, 1, 500), (1, 1, 31))) == "channels"  # more steps than bits


def test_nothing_to_do() -> None:
    shape = ConvShape(0, 3, 4, (1, 5, 5), (1, 5, 5), (1, 1, 1))
    assert conv_direct.launch(shape, SMALL, "channels").stages == ()


@pytest.mark.parametrize(("tile", "form"), [(Tile(64, 64), "channels"), (Tile(128, 64), "taps")])
def test_real_tiles(tile: Tile, form: str) -> None:
    """As they run on a GPU, in one order of threads."""
    shape = shape_of(3, 67, (1, 9, 9), (1, 3, 3), pad=(0, 1, 1), after=(0, 1, 1))
    check(shape, tile, form, residual=True, orders=[(3, False)])
