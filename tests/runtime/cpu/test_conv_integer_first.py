"""Integer convolutions of few channels: random configurations between guard pages, exact."""

import numpy as np
import pytest

from cnncc.runtime.cpu.conv_shape import ConvShape
from cnncc.runtime.cpu.kernels import conv_integer, conv_integer_first
from tests.runtime.cpu.harness import conv_reference, from_blocked, lift
from tests.runtime.cpu.lowered import CANARY, Guarded, run_guarded
from tests.runtime.cpu.test_conv_integer import CLIP, TILES, TYPES, expected, numbers


def shape_of(rng, lanes: int, rank: int) -> ConvShape:
    kernel = tuple(int(k) for k in rng.integers(2, 8 if rank < 3 else 4, rank))
    stride = tuple(int(s) for s in rng.integers(1, 4, rank))
    dilation = (*(int(d) for d in rng.integers(1, 3, rank - 1)), 1)
    pad = tuple(int(rng.integers(0, k + 1)) for k in kernel)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    size = tuple(int(max(1, rng.integers(1, 30), r - 2 * p)) for r, p in zip(reach, pad, strict=True))
    out = tuple((i + 2 * p - r) // s + 1 for i, p, r, s in zip(size, pad, reach, stride, strict=True))
    return ConvShape(
        int(rng.integers(1, 3)), 1, int(rng.integers(1, lanes * 4)), lift(size, 1), lift(out, 1), lift(kernel, 1),
        lift(stride, 1), lift(dilation, 1), lift(pad, 0),
    )  # fmt: skip


def check(shape: ConvShape, lanes: int, seed: int, source: str, result: str, sums: bool, vnni: bool) -> None:
    rng, oc = np.random.default_rng([lanes, seed]), shape.out_channels
    assert conv_integer_first.supports(shape)
    x = numbers(rng, source, (shape.images, shape.channels, *shape.size))
    w = numbers(rng, "i8", (oc, shape.channels, *shape.kernel))
    zero, w_zero = int(numbers(rng, source, ())), numbers(rng, "i8", oc) if sums else np.zeros(oc, np.int8)
    bias = rng.integers(-1000, 1000, oc).astype(np.int32)
    centred, weights = x.astype(np.float64) - zero, w.astype(np.float64) - w_zero.reshape(-1, 1, 1, 1, 1)
    total, _ = conv_reference(centred, weights, shape.stride, shape.dilation, shape.pad, shape.out_size, 1)
    total += bias.reshape(-1, 1, 1, 1)
    scale = (60 / (1 + abs(total).mean()) * rng.uniform(0.5, 1.5, oc)).astype(np.float32)
    shift, factor, y_zero = rng.standard_normal(oc).astype(np.float32), 1.25, 3
    ends = CLIP
    if result in ("u8", "i8"):
        limits = np.iinfo(TYPES[result])
        ends = (float(limits.min - y_zero), float(limits.max - y_zero))
    tile = TILES[lanes, sums]
    step = conv_integer_first.launch(shape, lanes, tile, source, result, sums, "clip", *ends, y_zero=y_zero, vnni=vnni)

    def channels(values: np.ndarray) -> Guarded:
        return Guarded(conv_integer.pack_channels(values, 1, lanes, tile[1]))

    weight_sums = w.reshape(oc, -1).sum(1, dtype=np.int64) - shape.channels * shape.taps * w_zero.astype(np.int64)
    operands = {
        "x": Guarded(x), "zero": Guarded(np.asarray([zero], TYPES[source])),
        "w": Guarded(conv_integer_first.pack_weights(w, lanes, tile[1], sums)), "bias": channels(bias),
        "weight_sums": channels(weight_sums.astype(np.int32)), "zeros": channels(w_zero.astype(np.int32)),
        "scale": channels(scale), "shift": channels(shift), "factor": Guarded(np.asarray([factor], np.float32)),
        "y": Guarded(bytes([CANARY]) * step.writes["y"][1]),
    }  # fmt: skip
    run_guarded(step, operands, threads=1 + seed % 2)
    got = from_blocked(operands["y"].data.view(TYPES[result]).reshape(shape.images, -1, *shape.out_size, lanes), oc)
    want = expected(result, total, scale, shift, factor, y_zero)
    if result == "f32":
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-6)
    else:
        np.testing.assert_array_equal(got, want)


# lanes, x, y, sums of x, VNNI: each is a kernel of its own
FORMS = [(16, "u8", "u8", False, True), (16, "i8", "i32", True, True), (8, "u8", "f32", True, False)]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("lanes", "source", "result", "sums", "vnni"), FORMS)
def test_random(lanes: int, source: str, result: str, sums: bool, vnni: bool, seed: int) -> None:
    rng = np.random.default_rng([lanes, seed])
    check(shape_of(rng, lanes, 1 + seed % 3), lanes, seed, source, result, sums, vnni)


def test_three_channels() -> None:
    shape = ConvShape(1, 3, 16, (1, 33, 41), (1, 17, 21), (1, 3, 3), (1, 2, 2), pad=(0, 1, 1))
    check(shape, 16, 1, "u8", "u8", False, True)
