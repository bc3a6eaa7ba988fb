"""Matrix products and convolutions on tensor cores: operands are rounded to TF32, and nothing else is lost."""

from __future__ import annotations

import numpy as np
import pytest

from cnncc.runtime.cpu.conv_shape import ConvShape
from cnncc.runtime.cuda.kernels import conv_direct, gemm
from cnncc.runtime.cuda.kernels.conv_direct import Tile
from cnncc.runtime.cuda.kernels.gemm import GemmShape
from cnncc.runtime.cuda.tf32 import round_tf32, tf32_bound
from tests.runtime.cuda.convolutions import UNIT, reference
from tests.runtime.cuda.harness import run
from tests.runtime.cuda.test_conv_direct import CASES as CONVOLUTIONS
from tests.runtime.cuda.test_gemm import CASES as PRODUCTS
from tests.runtime.cuda.test_gemm import operands, view

SMALL = Tile(64, 64, 8, tensor=True)
ONCE = [(1, True)]  # in one order of threads, in which races are found


def within(found: np.ndarray, exact, rounded, size, terms: int) -> None:
    """`exact` is what float32 operands give, `rounded` what operands rounded to TF32 do, from which only the sums may
    differ; both in float64."""
    assert np.all(abs(found - exact) <= tf32_bound(terms) * UNIT * size)
    assert np.all(abs(found - rounded) <= (tf32_bound(terms) - 2**14) * UNIT * size)


def multiply(shape: GemmShape, a, b):
    a = view(a, (*shape.batch, shape.m, shape.k), (*shape.a_batch, *shape.a)).astype(np.float64)
    return a @ view(b, (*shape.batch, shape.k, shape.n), (*shape.b_batch, *shape.b)).astype(np.float64)


def check_product(shape: GemmShape, tile: Tile, arrays) -> None:
    a, b = arrays["a"], arrays["b"]
    run(gemm.launch(shape, tile, alpha=0.5), {word: arrays[word] for word in ("a", "b", "y")}, ONCE)
    within(arrays["y"], 0.5 * multiply(shape, a, b), 0.5 * multiply(shape, round_tf32(a), round_tf32(b)),
           0.5 * multiply(shape, abs(a), abs(b)), shape.k)


@pytest.mark.parametrize("name", ["runs and lines, wide", "runs and runs, odd", "lines and lines, odd"])
def test_products(name: str) -> None:
    shape = PRODUCTS[name]
    shape = GemmShape(shape.m, shape.n, shape.k, shape.a, shape.b, None, shape.batch, shape.a_batch, shape.b_batch)
    check_product(shape, SMALL, operands(shape, residual=False))


@pytest.mark.parametrize(("tile", "shape"), [
    (Tile(128, 128, 8, tensor=True), GemmShape(100, 70, 12, (12, 1), (70, 1))),
    (Tile(64, 64, 8, 2, tensor=True), GemmShape(20, 12, 33, (33, 1), (12, 1)))])
def test_tiles_and_parts(tile: Tile, shape: GemmShape) -> None:
    check_product(shape, tile, operands(shape, residual=False))


@pytest.mark.parametrize(("name", "form", "parts"), [
    ("3x3", "channels", 3), ("3-D", "taps", 1), ("grouped", "channels", 1), ("1x1 wide", "channels", 1)])
def test_convolutions(name: str, form: str, parts: int) -> None:
    shape, tile = CONVOLUTIONS[name], Tile(64, 64, 8, parts, tensor=True)
    rng = np.random.default_rng(parts)
    x = rng.standard_normal((shape.images, shape.channels, *shape.size)).astype(np.float32)
    w = rng.standard_normal((shape.out_channels, shape.channels // shape.groups, *shape.kernel)).astype(np.float32)
    y = convolve(shape, tile, form, x, w)
    (exact, size), (rounded, _) = reference(shape, x, w), reference(shape, round_tf32(x), round_tf32(w))
    within(y, exact, rounded, size, w[0].size)


def convolve(shape: ConvShape, tile: Tile, form: str, x, w) -> np.ndarray:
    y = np.full((shape.images, shape.out_channels, *shape.out_size), np.nan, np.float32)
    packed = conv_direct.pack_weights(w, shape.groups, form, tile.m, tile.k, tensor=True)
    run(conv_direct.launch(shape, tile, form), {
        "x": x, "w": packed, "bias": conv_direct.pack_bias(None, shape.out_channels, shape.groups, tile.m),
        "taps": conv_direct.pack_taps(shape, form, tile.k), "y": y}, ONCE)
    return y


@pytest.mark.parametrize("kind", ["spikes", "tiny", "huge", "mixed"])
def test_hostile_numbers(kind: str) -> None:
    shape = GemmShape(9, 10, 16, (16, 1), (10, 1))
    arrays, rng = operands(shape, residual=False), np.random.default_rng(5)
    for word, exponent in {"spikes": (), "tiny": (("a", -120), ("b", 0)), "huge": (("a", 120), ("b", -3)),
                           "mixed": (("a", None), ("b", None))}[kind]:
        scale = rng.integers(-60, 60, arrays[word].size) if exponent is None else exponent
        arrays[word] = np.ldexp(arrays[word], scale).astype(np.float32)
    if kind == "spikes":
        arrays["a"][rng.random(arrays["a"].size) < 0.1] *= np.float32(1e6)
    check_product(shape, SMALL, arrays)


def test_nan_and_infinity_are_where_the_definition_has_them() -> None:
    shape = GemmShape(9, 10, 16, (16, 1), (10, 1))
    arrays = operands(shape, residual=False)
    a, b = arrays["a"].reshape(9, 16), arrays["b"].reshape(16, 10)
    a[1, 3], a[2, 5], a[4, 6] = np.nan, np.inf, -np.inf
    a.view(np.uint32)[7, 0], b[6, 2] = 0x7FFFFFFF, 0  # a GPU's NaN; and infinity times zero
    run(gemm.launch(shape, SMALL), {word: arrays[word] for word in ("a", "b", "y")}, ONCE)
    with np.errstate(all="ignore"):
        wanted = a.astype(np.float64) @ b.astype(np.float64)
    for of in (np.isnan, np.isposinf, np.isneginf):
        np.testing.assert_array_equal(of(arrays["y"]), of(wanted))


def test_rounding_is_to_the_nearest_and_away_from_zero() -> None:
    rng = np.random.default_rng(3)
    x = rng.integers(0, 2**32, 4000, dtype=np.uint32)
    x[::4] = x[::4] & 0xFFFFE000 | 0x1000  # halfway
    x = x.view(np.float32)
    x = x[abs(x) < 2.0**127]
    unit = np.ldexp(1.0, np.maximum(np.frexp(x.astype(np.float64))[1], -125) - 11)
    wanted = np.copysign(np.floor(abs(x) / unit + 0.5) * unit, x)
    np.testing.assert_array_equal(round_tf32(x), wanted)
    special = np.array([np.inf, -np.inf, np.nan, -0.0, np.finfo(np.float32).max], np.float32)
    np.testing.assert_array_equal(round_tf32(special), np.array([np.inf, -np.inf, np.nan, -0.0, np.inf], np.float32))


@pytest.mark.parametrize(("m", "n"), [(64, 64), (128, 64), (128, 128)])
def test_lanes_that_read_or_store_at_once_ask_each_bank_once(m: int, n: int) -> None:
    """A by 64 bits and sums by 64 bits half a warp at a time, B by 32 bits a whole one."""
    from cnncc.runtime.cuda.sums import PAD
    from cnncc.runtime.cuda.tensor_core import lie_in_warps

    places = [lie_in_warps(n // 2, m + PAD, n + PAD)(np.int32(t)) for t in range(32)]
    for lanes in (places[:16], places[16:]):
        for word in (0, 2):
            assert sorted((place[word] + i) % 32 for place in lanes for i in (0, 1)) == list(range(32))
    assert sorted(place[1] % 32 for place in places) == list(range(32))
