"""Products of matrices of bytes: random configurations between guard pages, exact."""

import numpy as np
import pytest

from cnncc.runtime.cpu.kernels import conv_integer, gemm_integer
from tests.runtime.cpu.lowered import CANARY, Guarded, run_guarded
from tests.runtime.cpu.test_conv_integer import CLIP, TYPES, expected, numbers


def check(m: int, n: int, k: int, lanes: int, seed: int, source: str, result: str, sums: bool, vnni: bool) -> None:
    rng = np.random.default_rng([m, n, k, seed])
    a, b = numbers(rng, source, (m, k)), numbers(rng, "i8", (k, n))
    zero, b_zero = int(numbers(rng, source, ())), numbers(rng, "i8", n) if sums else np.zeros(n, np.int8)
    bias = rng.integers(-1000, 1000, n).astype(np.int32)
    total = (a.astype(np.int64) - zero) @ (b.astype(np.int64) - b_zero) + bias
    scale = (60 / (1 + abs(total).mean()) * rng.uniform(0.5, 1.5, n)).astype(np.float32)
    shift, factor, y_zero = rng.standard_normal(n).astype(np.float32), 1.25, -2
    ends = CLIP
    if result in ("u8", "i8"):
        limits = np.iinfo(TYPES[result])
        ends = (float(limits.min - y_zero), float(limits.max - y_zero))
    tile = (6, 4 - sums) if lanes == 16 else (4, 2)
    step = gemm_integer.launch(m, n, k, lanes, tile, source, result, sums, "clip", *ends, y_zero=y_zero, vnni=vnni)

    def columns(values: np.ndarray) -> Guarded:
        return Guarded(conv_integer.pack_channels(values, 1, lanes, tile[1]))

    operands = {
        "a": Guarded(a), "zero": Guarded(np.asarray([zero], TYPES[source])),
        "b": Guarded(gemm_integer.pack_weights(b, lanes, tile[1], sums)), "bias": columns(bias),
        "weight_sums": columns((b.sum(0, dtype=np.int64) - k * b_zero.astype(np.int64)).astype(np.int32)),
        "zeros": columns(b_zero.astype(np.int32)), "scale": columns(scale), "shift": columns(shift),
        "factor": Guarded(np.asarray([factor], np.float32)), "y": Guarded(bytes([CANARY]) * step.writes["y"][1]),
    }  # fmt: skip
    run_guarded(step, operands, threads=1 + seed % 2)
    got = operands["y"].data.view(TYPES[result]).reshape(m, n)
    want = expected(result, total.T.reshape(1, n, 1, 1, m), scale, shift, factor, y_zero).reshape(n, m).T
    if result == "f32":
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-6)
    else:
        np.testing.assert_array_equal(got, want)


SIZES = [(1, 10, 256), (1, 1, 1), (1, 70, 7), (7, 100, 33), (50, 17, 64), (13, 130, 5), (3, 5, 0), (0, 5, 4)]


# lanes, A, y, sums of A, VNNI
FORMS = [(16, "u8", "u8", False, True), (16, "i8", "f32", True, True), (8, "u8", "i32", True, False)]


@pytest.mark.parametrize(("lanes", "source", "result", "sums", "vnni"), FORMS)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_random(size, lanes: int, source: str, result: str, sums: bool, vnni: bool) -> None:
    check(*size, lanes, sum(size), source, result, sums, vnni)
