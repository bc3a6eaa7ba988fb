"""Strassen's algorithm: how far a NaN spreads, scales of output channels, tasks. tests/property judges its numbers."""

from typing import Any

import numpy as np
import pytest

from cnncc.errors import PlanInvalid
from cnncc.ops import OPS
from cnncc.runtime.cpu import native
from cnncc.runtime.cpu.conv_shape import ConvShape
from cnncc.runtime.cpu.kernels import conv_strassen
from cnncc.runtime.cpu.lower.accuracy import strassen_bound
from cnncc.runtime.cpu.lower.conv import ALGORITHMS
from cnncc.runtime.cpu.lowering import BLOCKED, PLAIN, Choice
from tests.runtime.cpu.lowered import Setting, run_lowered

LANES = native.host_lanes()
ROWS, MIN_TASKS, PAIRS = min(conv_strassen.ROWS[LANES]), conv_strassen.MIN_TASKS, conv_strassen.PAIRS
CONV = OPS["Conv"](kernel_shape=(1,))


def run(x: np.ndarray, w: np.ndarray, b: np.ndarray | None = None, threads: int = 1, op: Any = CONV) -> np.ndarray:
    choice = Choice("conv_strassen", {}, (BLOCKED,) * 4, (BLOCKED,))
    setting = Setting(LANES, threads)
    [y] = run_lowered(op, [x, w, b], (1, 2), [BLOCKED, PLAIN, PLAIN], setting, 1, choice)
    return y


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape, np.float32)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("place", ["first", "second", "alone"])
@pytest.mark.parametrize("pixels", [4 * ROWS - 1, 4 * ROWS + 1])
def test_nan_and_infinity_reach_only_the_paired_pixel(pixels: int, place: str, value: float) -> None:
    """Pixels whose partner would lie beyond the image are paired with none."""
    rows = conv_strassen.choose_rows(pixels, LANES)
    partners = {p: p + rows if p % (2 * rows) < rows else p - rows for p in range(pixels)}
    pixel = {"first": 0, "second": 2 * rows - 1, "alone": max(p for p in partners if partners[p] >= pixels)}[place]
    x, w = numbers(1, 4 * LANES, pixels), numbers(2 * LANES, 4 * LANES, 1)
    x[0, 3, pixel] = value
    y = run(x, w)
    spoilt = np.isin(np.arange(pixels), (pixel, partners[pixel]))
    assert np.isfinite(y[:, :, ~spoilt]).all()
    assert not np.isfinite(y[:, :, pixel]).any()


def test_output_channels_of_any_sizes_keep_their_bounds() -> None:
    """An output channel is as exact beside one that is 2^60 times as large, and beside zeros gives its bias."""
    x, w, b = numbers(1, 2 * LANES, 40), numbers(4 * LANES, 2 * LANES, 1), numbers(4 * LANES)
    w[: 2 * LANES] *= np.exp2(np.arange(2 * LANES) * 2.0 - 30)[:, None, None].astype(np.float32)
    w[5], w[-1] = 0, 0
    want = w[:, :, 0].astype(np.float64) @ x[0].astype(np.float64) + b[:, None]
    units = strassen_bound(2 * LANES) * 2.0**-24
    allowed = units * np.abs(x).max() * np.abs(w[:, :, 0]).sum(1) + 2.0**-23 * np.abs(b)
    y = run(x, w, b)[0]
    assert (np.abs(y - want) <= allowed[:, None]).all()
    assert (y[5] == b[5]).all() and (y[-1] == b[-1]).all()


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("images", [1, 3])
def test_wide_weights_are_read_for_few_groups_of_pixels(images: int, threads: int) -> None:
    """A thread has sums of pixels from the task before, or not."""
    channels = next(c for c in range(2 * LANES, 2000, 2 * LANES)
                    if conv_strassen.weight_bytes(shape_of(1, c, c, 60), LANES) >= conv_strassen.WIDE_BYTES)
    shape = shape_of(images, channels, channels, 60)
    launch, panels = conv_strassen.launch(shape, LANES), -(-channels // (2 * LANES * conv_strassen.VECTORS[LANES]))
    assert launch.tasks >= conv_strassen.MIN_WIDE_TASKS > launch.tasks - images * panels
    x, w = numbers(images, channels, 60), numbers(channels, channels, 1)
    want = np.einsum("oc,ncp->nop", w[:, :, 0].astype(np.float64), x.astype(np.float64))
    np.testing.assert_allclose(run(x, w, threads=threads), want, atol=1e-4 * np.abs(want).max())


def shape_of(images: int, channels: int, out_channels: int, pixels: int) -> ConvShape:
    size = (1, 1, pixels)
    return ConvShape(images, channels, out_channels, size, size, (1, 1, 1))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("pairs", [1, 5, MIN_TASKS + 3, MIN_TASKS * PAIRS + 5])
def test_tasks_cover_every_pixel(pairs: int, threads: int) -> None:
    """The pairs of an image do not divide evenly among its tasks, and the last one is not whole."""
    pixels = pairs * 2 * ROWS - 1
    assert conv_strassen.choose_tasks(shape_of(2, 2 * LANES, 2 * LANES, pixels), LANES)[0] == pairs
    x, w = numbers(2, 2 * LANES, pixels), numbers(2 * LANES, 2 * LANES, 1)
    want = np.einsum("oc,ncp->nop", w[:, :, 0].astype(np.float64), x.astype(np.float64))
    np.testing.assert_allclose(run(x, w, threads=threads), want, atol=1e-4 * np.abs(want).max())


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("size", "strides"), [((12 * ROWS, 9), (2, 3)), ((5, 4 * ROWS, 5), (2, 1, 2))])
def test_strides_read_the_pixels_of_their_outputs(size: tuple[int, ...], strides: tuple[int, ...],
                                                  threads: int) -> None:
    """With several pairs in a task, several tasks, and two panels that read the same copies."""
    channels = 2 * LANES * (conv_strassen.VECTORS[LANES] + 1)
    op = OPS["Conv"](kernel_shape=(1,) * len(size), strides=strides)
    x, w = numbers(2, 2 * LANES, *size), numbers(channels, 2 * LANES, *(1,) * len(size))
    read = x[:, :, *(slice(None, None, step) for step in strides)].astype(np.float64)
    want = np.einsum("oc,nc...->no...", w.reshape(channels, -1).astype(np.float64), read)
    np.testing.assert_allclose(run(x, w, threads=threads, op=op), want, atol=1e-4 * np.abs(want).max())


@pytest.mark.parametrize("pixels", [1, 49, 196, 784, 3136])
def test_each_task_has_pairs_of_tiles(pixels: int) -> None:
    for channels in (2 * LANES, 1024, 2048):
        pairs, groups, _ = conv_strassen.choose_tasks(shape_of(1, channels, 1024, pixels), LANES)
        rows = conv_strassen.choose_rows(pixels, LANES)
        assert (pairs - 1) * 2 * rows < pixels <= pairs * 2 * rows
        assert 1 <= groups <= pairs


def test_what_it_cannot_run_is_refused() -> None:
    strassen, none = ALGORITHMS["conv_strassen"], ("clip", -np.inf, np.inf)
    for shape in (shape_of(1, 3 * LANES, 2 * LANES, 5), shape_of(1, 2 * LANES, LANES, 5),
                  ConvShape(1, 2 * LANES, 2 * LANES, (1, 1, 9), (1, 1, 7), (1, 1, 3)),
                  ConvShape(1, 2 * LANES, 2 * LANES, (1, 1, 9), (1, 1, 11), (1, 1, 1), pad=(0, 0, 1))):
        with pytest.raises(PlanInvalid, match="needs a 1x1 kernel, no padding"):
            strassen.launch(shape, {}, LANES, False, none)
