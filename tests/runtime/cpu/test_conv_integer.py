"""Integer convolutions: random configurations between guard pages, equal to exact sums in double precision."""

from dataclasses import replace

import numpy as np
import pytest

from cnncc.runtime.cpu.conv_shape import ConvShape
from cnncc.runtime.cpu.kernel import ceil_div
from cnncc.runtime.cpu.kernels import conv_integer
from cnncc.runtime.cpu.lowering import to_blocked
from tests.runtime.cpu.harness import conv_reference, from_blocked
from tests.runtime.cpu.lowered import CANARY, Guarded, run_guarded
from tests.runtime.cpu.test_conv_direct import random_shape

TYPES = {"u8": np.uint8, "i8": np.int8, "f32": np.float32, "i32": np.int32}
CLIP = (-3.0, 4.0)


TILES = {(16, False): (6, 4), (16, True): (6, 3), (8, False): (6, 2), (8, True): (4, 2), (4, False): (6, 4),
         (4, True): (6, 3)}


def numbers(rng, dtype: str, shape) -> np.ndarray:
    """All of the type's range, its ends often."""
    limits = np.iinfo(TYPES[dtype])
    values = rng.integers(limits.min, limits.max, shape, endpoint=True)
    return np.where(rng.random(shape) < 0.2, rng.choice([limits.min, limits.max], shape), values).astype(TYPES[dtype])


def blocked_bytes(x: np.ndarray, lanes: int, rng) -> np.ndarray:
    """NCHWc whose surplus lanes hold anything."""
    n, c, *spatial = x.shape
    wide = rng.integers(0, 256, (n, ceil_div(c, lanes) * lanes, *spatial)).astype(np.uint8).view(x.dtype)
    wide[:, :c] = x
    return to_blocked(wide, lanes)


def expected(result: str, total: np.ndarray, scale, shift, factor, y_zero: int) -> np.ndarray:
    """What ``total`` becomes, in the kernel's precision."""
    if result == "i32":
        return total.astype(np.int64).astype(np.int32)
    multiplier = scale.reshape(-1, 1, 1, 1) * np.float32(factor)
    real = total.astype(np.int64).astype(np.int32).astype(np.float32) * multiplier
    if result == "f32":
        return np.clip(real + shift.reshape(-1, 1, 1, 1), *CLIP)
    limits = np.iinfo(TYPES[result])
    return np.clip(np.rint(real) + y_zero, limits.min, limits.max).astype(TYPES[result])


def check(shape: ConvShape, lanes: int, seed: int, source: str, result: str, sums: bool, vnni: bool) -> None:
    rng = np.random.default_rng([lanes, seed])
    groups, oc = shape.groups, shape.out_channels
    x = numbers(rng, source, (shape.images, shape.channels, *shape.size))
    w = numbers(rng, "i8", (oc, shape.channels // groups, *shape.kernel))
    zero, w_zero = int(numbers(rng, source, ())), numbers(rng, "i8", oc) if sums else np.zeros(oc, np.int8)
    bias = rng.integers(-1000, 1000, oc).astype(np.int32)
    centred, weights = x.astype(np.float64) - zero, w.astype(np.float64) - w_zero.reshape(-1, 1, 1, 1, 1)
    total, _ = conv_reference(centred, weights, shape.stride, shape.dilation, shape.pad, shape.out_size, groups)
    total += bias.reshape(-1, 1, 1, 1)
    spread = 60 / (1 + abs(total).mean())
    scale = (spread * rng.uniform(0.5, 1.5, oc)).astype(np.float32)
    shift, factor, y_zero = rng.standard_normal(oc).astype(np.float32), 1.25, 3
    _, vectors = tile = TILES[lanes, sums]
    ends = CLIP
    if result in ("u8", "i8"):
        limits = np.iinfo(TYPES[result])
        ends = (float(limits.min - y_zero), float(limits.max - y_zero))
    step = conv_integer.launch(shape, lanes, tile, source, result, sums, "clip", *ends, y_zero=y_zero, vnni=vnni)

    def channels(values: np.ndarray) -> Guarded:
        return Guarded(conv_integer.pack_channels(values, groups, lanes, vectors))

    weight_sums = w.reshape(oc, -1).sum(1, dtype=np.int32) - np.prod(w.shape[1:], dtype=np.int32) * w_zero
    operands = {
        "x": Guarded(blocked_bytes(x, lanes, rng)), "zero": Guarded(np.asarray([zero], TYPES[source])),
        "w": Guarded(conv_integer.pack_weights(w, groups, lanes, vectors, sums)), "bias": channels(bias),
        "weight_sums": channels(weight_sums.astype(np.int32)), "zeros": channels(w_zero.astype(np.int32)),
        "scale": channels(scale), "shift": channels(shift), "factor": Guarded(np.asarray([factor], np.float32)),
        "y": Guarded(bytes([CANARY]) * step.writes["y"][1]),
    }  # fmt: skip
    run_guarded(step, operands, threads=1 + seed % 2)
    y = operands["y"].data.view(TYPES[result]).reshape(shape.images, -1, *shape.out_size, lanes)
    got = from_blocked(y.reshape(shape.images, -1, *shape.out_size, lanes), oc)
    want = expected(result, total, scale, shift, factor, y_zero)
    if result == "f32":
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-6)
    else:
        np.testing.assert_array_equal(got, want)


# lanes, x, y, sums of x, VNNI: each is a kernel of its own
FORMS = [(16, "u8", "u8", False, True), (16, "i8", "i32", True, True), (16, "u8", "f32", True, False),
         (8, "i8", "i8", False, True), (4, "u8", "u8", True, False)]


@pytest.mark.parametrize("seed", range(9))
@pytest.mark.parametrize(("lanes", "source", "result", "sums", "vnni"), FORMS)
def test_random(lanes: int, source: str, result: str, sums: bool, vnni: bool, seed: int) -> None:
    rng = np.random.default_rng([lanes, seed])
    shape = random_shape(rng, lanes, 1 + seed % 3)
    if shape.is_pointwise:
        shape = replace(shape, stride=(1, 1, 2), out_size=(*shape.out_size[:2], ceil_div(shape.out_size[2], 2)))
    check(shape, lanes, seed, source, result, sums, vnni)


@pytest.mark.parametrize("pixels", [1, 5, 49, 200])
@pytest.mark.parametrize("channels", [(16, 64), (3, 5), (100, 130)])
def test_pointwise(channels, pixels: int) -> None:
    shape = ConvShape(2, *channels, (1, 1, pixels), (1, 1, pixels), (1, 1, 1))
    check(shape, 16, pixels, "u8", "u8", sums=False, vnni=True)


def test_the_largest_sums_do_not_saturate() -> None:
    """255 * 127 * 4 overflows 16 bits many times over."""
    shape = ConvShape(1, 64, 16, (1, 1, 8), (1, 1, 4), (1, 1, 1), stride=(1, 1, 2))
    x, w = np.full((1, 64, 1, 1, 8), 255, np.uint8), np.full((16, 64, 1, 1, 1), 127, np.int8)
    step = conv_integer.launch(shape, 16, (6, 3), "u8", "f32", True, vnni=False)

    def channels(value: float, dtype: type) -> Guarded:
        return Guarded(conv_integer.pack_channels(np.full(16, value, dtype), 1, 16, 3))

    operands = {
        "x": Guarded(to_blocked(x, 16)), "zero": Guarded(np.zeros(1, np.uint8)),
        "w": Guarded(conv_integer.pack_weights(w, 1, 16, 3, True)), "bias": channels(0, np.int32),
        "weight_sums": channels(64 * 127, np.int32), "zeros": channels(0, np.int32), "scale": channels(1, np.float32),
        "shift": channels(0, np.float32), "factor": Guarded(np.ones(1, np.float32)), "y": Guarded(bytes(16 * 4 * 4)),
    }  # fmt: skip
    run_guarded(step, operands)
    assert set(operands["y"].data.view(np.float32).tolist()) == {64 * 127 * 255}


def test_merged_groups() -> None:
    """Groups that cut blocks become fewer wide ones, whose weights in between add nothing."""
    rng = np.random.default_rng(0)
    w, zeros = numbers(rng, "i8", (12, 2, 3, 3)), numbers(rng, "i8", 12)
    wide = conv_integer.merge_weights(w, zeros, 6, 2).astype(np.int64) - zeros.reshape(-1, 1, 1, 1)
    x = rng.integers(0, 9, (1, 12, 3, 3))
    part = w.astype(np.int64) - zeros.reshape(-1, 1, 1, 1)
    for o in range(12):
        mine = (part[o] * x[0, o // 2 * 2 : o // 2 * 2 + 2]).sum()
        assert (wide[o] * x[0, o // 6 * 6 : o // 6 * 6 + 6]).sum() == mine
    shape = ConvShape(1, 32, 32, (1, 4, 4), (1, 4, 4), (1, 1, 1), groups=8)
    assert conv_integer.merged(shape, 16).groups == 2 and conv_integer.merged(shape, 8).groups == 4
    odd = ConvShape(1, 9, 6, (1, 4, 4), (1, 4, 4), (1, 1, 1), groups=3)
    assert conv_integer.merged(odd, 16).groups == 1
