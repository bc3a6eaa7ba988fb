"""Depthwise convolutions of bytes: random configurations between guard pages, exact."""

import numpy as np
import pytest

from cnncc.runtime.cpu.conv_shape import ConvShape
from cnncc.runtime.cpu.kernel import ceil_div
from cnncc.runtime.cpu.kernels import conv_integer, conv_integer_depthwise
from tests.runtime.cpu.harness import conv_reference, from_blocked, lift
from tests.runtime.cpu.lowered import CANARY, Guarded, run_guarded
from tests.runtime.cpu.test_conv_integer import CLIP, TYPES, blocked_bytes, expected, numbers


def shape_of(rng, lanes: int, rank: int, kernel: tuple[int, ...], stride: int, dilation: int) -> ConvShape:
    pad = tuple(int(rng.integers(0, k + 1)) for k in kernel)
    reach = [(k - 1) * dilation + 1 for k in kernel]
    size = tuple(int(max(r, rng.integers(1, 22))) for r in reach)
    out = tuple((i + 2 * p - r) // stride + 1 for i, p, r in zip(size, pad, reach, strict=True))
    channels = int(rng.integers(2, 3 * lanes))
    return ConvShape(
        int(rng.integers(1, 3)), channels, channels, lift(size, 1), lift(out, 1), lift(kernel, 1),
        lift((stride,) * rank, 1), lift((dilation,) * rank, 1), lift(pad, 0), channels,
    )  # fmt: skip


def check(shape: ConvShape, lanes: int, seed: int, source: str, result: str, sums: bool, vnni: bool) -> None:
    rng = np.random.default_rng([lanes, seed])
    c = shape.channels
    x = numbers(rng, source, (shape.images, c, *shape.size))
    w = numbers(rng, "i8", (c, 1, *shape.kernel))
    zero, w_zero = int(numbers(rng, source, ())), numbers(rng, "i8", c) if sums else np.zeros(c, np.int8)
    bias = rng.integers(-1000, 1000, c).astype(np.int32)
    centred, weights = x.astype(np.float64) - zero, w.astype(np.float64) - w_zero.reshape(-1, 1, 1, 1, 1)
    total, _ = conv_reference(centred, weights, shape.stride, shape.dilation, shape.pad, shape.out_size, c)
    total += bias.reshape(-1, 1, 1, 1)
    scale = (60 / (1 + abs(total).mean()) * rng.uniform(0.5, 1.5, c)).astype(np.float32)
    shift, factor, y_zero = rng.standard_normal(c).astype(np.float32), 1.25, 3
    ends = CLIP
    if result in ("u8", "i8"):
        limits = np.iinfo(TYPES[result])
        ends = (float(limits.min - y_zero), float(limits.max - y_zero))
    step = conv_integer_depthwise.launch(shape, lanes, source, result, sums, "clip", *ends, y_zero=y_zero, vnni=vnni)
    weight_sums = w.reshape(c, -1).sum(1, dtype=np.int64)
    count = shape.kernel[0] * ceil_div(shape.kernel[1], 4) * 4 * shape.kernel[2]

    def channels(values: np.ndarray) -> Guarded:
        return Guarded(conv_integer.pack_channels(values, 1, lanes, 1))

    operands = {
        "x": Guarded(blocked_bytes(x, lanes, rng)), "zero": Guarded(np.asarray([zero], TYPES[source])),
        "w": Guarded(conv_integer_depthwise.pack_weights(w, lanes)), "bias": channels(bias),
        "weight_sums": channels((weight_sums - count * w_zero.astype(np.int64)).astype(np.int32)),
        "zeros": channels(w_zero.astype(np.int32)), "scale": channels(scale), "shift": channels(shift),
        "factor": Guarded(np.asarray([factor], np.float32)), "y": Guarded(bytes([CANARY]) * step.writes["y"][1]),
    }  # fmt: skip
    run_guarded(step, operands, threads=1 + seed % 2)
    got = from_blocked(operands["y"].data.view(TYPES[result]).reshape(shape.images, -1, *shape.out_size, lanes), c)
    want = expected(result, total, scale, shift, factor, y_zero)
    if result == "f32":
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-6)
    else:
        np.testing.assert_array_equal(got, want)


# lanes, x, y, sums of x, VNNI, taps along the row, stride: each is a kernel of its own
FORMS = [(16, "u8", "u8", False, True, 3, 1), (16, "i8", "i32", True, True, 5, 2), (16, "u8", "f32", True, False, 4, 2),
         (8, "i8", "i8", True, True, 3, 1), (4, "u8", "u8", True, False, 3, 2)]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("lanes", "source", "result", "sums", "vnni", "taps", "stride"), FORMS)
def test_random(lanes, source, result, sums, vnni, taps, stride, seed: int) -> None:
    rng = np.random.default_rng([lanes, taps, seed])
    rank = 1 + seed % 3
    kernel = (*(int(k) for k in rng.integers(1, 6, rank - 1)), taps)
    check(shape_of(rng, lanes, rank, kernel, stride, 1), lanes, seed, source, result, sums, vnni)


@pytest.mark.parametrize("seed", range(2))
def test_dilation(seed: int) -> None:
    shape = shape_of(np.random.default_rng(seed), 16, 2, (3, 4), 2, 1 + seed)
    check(shape, 16, seed, "u8", "f32", True, False)
