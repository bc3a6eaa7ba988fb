"""Direct convolution against float64 over random configurations."""

import numpy as np
import pytest

from cnncc.runtime.cpu.conv_shape import ConvShape
from cnncc.runtime.cpu.kernel import LINE, ask_every, ceil_div
from cnncc.runtime.cpu.kernels import conv_direct
from tests.runtime.cpu.harness import UNIT, conv_reference, from_blocked, lift, run, to_blocked


def check(shape: ConvShape, lanes: int, seed: int, tile=None, residual=False, threads=1, relu=False):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((shape.images, shape.channels, *shape.size)).astype(np.float32)
    w = rng.standard_normal((shape.out_channels, shape.channels // shape.groups, *shape.kernel)).astype(np.float32)
    bias = rng.standard_normal(shape.out_channels).astype(np.float32)
    add = rng.standard_normal((shape.images, shape.out_channels, *shape.out_size)).astype(np.float32)
    lo = 0.0 if relu else -np.inf
    step = conv_direct.launch(shape, lanes, tile, residual=residual, a=lo)
    vectors = dict(step.params)["vectors"]
    y = to_blocked(np.full(add.shape, np.nan), lanes)
    run(
        step,
        {
            "x": to_blocked(x, lanes),
            "w": conv_direct.pack_weights(w, shape.groups, lanes, vectors),
            "bias": conv_direct.pack_bias(bias, shape.out_channels, shape.groups, lanes, vectors),
            "add": to_blocked(add, lanes),
            "y": y,
        },
        threads,
    )
    want, size = conv_reference(x, w, shape.stride, shape.dilation, shape.pad, shape.out_size, shape.groups)
    broad = bias.reshape(1, -1, 1, 1, 1)
    want, size = want + broad + residual * add, size + abs(broad) + residual * abs(add)
    if relu:
        want = np.maximum(want, 0)
    assert np.all(abs(from_blocked(y, shape.out_channels) - want) <= 16 * UNIT * size)


def random_shape(rng, lanes: int, rank: int) -> ConvShape:
    kernel = tuple(int(k) for k in rng.integers(1, 5 if rank < 3 else 3, rank))
    stride = tuple(int(s) for s in rng.integers(1, 3, rank))
    dilation = tuple(int(d) for d in rng.integers(1, 3, rank))
    pad = tuple(int(rng.integers(0, k + 1)) for k in kernel)
    after = tuple(int(rng.integers(0, k + 1)) for k in kernel)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    size = tuple(int(max(1, rng.integers(1, 10), r - p - q)) for r, p, q in zip(reach, pad, after, strict=True))
    out = tuple((i + p + q - r) // s + 1 for i, p, q, r, s in zip(size, pad, after, reach, stride, strict=True))
    groups = int(rng.choice([1, 1, 2]))
    ic, oc = (int(lanes * n) if groups > 1 else int(rng.integers(1, lanes * 4)) for n in rng.integers(1, 3, 2))
    return ConvShape(
        int(rng.integers(1, 3)), ic * groups, oc * groups, lift(size, 1), lift(out, 1), lift(kernel, 1),
        lift(stride, 1), lift(dilation, 1), lift(pad, 0), groups,
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(24))
@pytest.mark.parametrize("lanes", [16, 8, 4])
def test_random(lanes: int, seed: int) -> None:
    rng = np.random.default_rng([lanes, seed])
    shape = random_shape(rng, lanes, 1 + seed % 3)
    tile = [(6, 4), (12, 2)][seed % 2] if lanes != 8 else [(6, 2), (4, 3)][seed % 2]
    flags = {"residual": seed % 4 == 2, "relu": seed % 4 == 1}
    check(shape, lanes, seed, tile, threads=1 + seed % 2, **flags)


@pytest.mark.parametrize("pixels", [1, 5, 6, 49, 200])
@pytest.mark.parametrize("channels", [(16, 64), (3, 5), (100, 130)])
def test_pointwise(channels, pixels: int) -> None:
    shape = ConvShape(2, *channels, (1, 1, pixels), (1, 1, pixels), (1, 1, 1))
    assert shape.is_pointwise
    check(shape, 16, pixels, (6, 4), residual=True, threads=2)


@pytest.mark.parametrize("lanes", [16, 8, 4])
@pytest.mark.parametrize("groups", [1, 2])
def test_sampled(groups: int, lanes: int) -> None:
    """With strides and one tap pixels are copied, in groups that begin and end within rows, planes and claims."""
    channels = (lanes * 3, lanes * 7) if groups > 1 else (lanes * 3 - 1, lanes * 7 - 2)
    for size, stride in [((1, 19, 23), (1, 2, 3)), ((5, 6, 7), (2, 3, 2)), ((1, 1, 90), (1, 1, 4))]:
        out = tuple(ceil_div(n, s) for n, s in zip(size, stride, strict=True))
        shape = ConvShape(3, channels[0] * groups, channels[1] * groups, size, out, (1, 1, 1), stride, groups=groups)
        assert shape.is_sampling and not shape.is_pointwise
        check(shape, lanes, groups, conv_direct.choose_tile(shape, lanes), residual=groups > 1, relu=True, threads=2)
    padded = ConvShape(1, channels[0], channels[1], (1, 5, 5), (1, 4, 4), (1, 1, 1), (1, 2, 2), pad=(0, 1, 1))
    assert not padded.is_sampling
    check(padded, lanes, groups)


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (1, 1), (1, 2)])
def test_chunks_of_input_channels(kernel: int, stride: int) -> None:
    """The reduction is cut where a panel of weights outgrows a cache: with one tap the first-level one."""
    channels, size = (640, 5) if kernel == 3 else (296, 13)
    shape = ConvShape(1, channels, 72, (1, size * stride, size * stride), (1, size, size), (1, kernel, kernel),
                      (1, stride, stride), pad=(0, kernel // 2, kernel // 2))
    step = conv_direct.launch(shape, 16, (6, 4))
    assert step.dims[conv_direct.DIMS.index("chunk")] < channels // 16
    check(shape, 16, 0, (6, 4), residual=True, relu=True, threads=2)


@pytest.mark.parametrize(("images", "channels", "pixels", "pixels_first"),
                         [(2, (512, 512), 60, False), (2, (64, 512), 60, True), (3, (1024, 130), 100, True)])
def test_order_of_tasks(images: int, channels: tuple[int, int], pixels: int, pixels_first: bool) -> None:
    """Weights are gone over once where they outgrow a cache and the pixels of all images do not, else once for each
    group of pixels."""
    shape = ConvShape(images, *channels, (1, 1, pixels), (1, 1, pixels), (1, 1, 1))
    words = dict(zip(conv_direct.DIMS, conv_direct.launch(shape, 16, (6, 4)).dims, strict=True))
    assert words["oc_outer"] == (not pixels_first)
    assert words["tiles"] > 1 and words["pixel_groups"] > 1
    check(shape, 16, images, (6, 4), relu=True, threads=2)


@pytest.mark.parametrize("step", [1, 8, 16, 17, 32, 33, 64, 200])
def test_lines_asked_for(step: int) -> None:
    """As few as reach every line, if one in an update can."""
    every = ask_every(step)
    assert every in (1, 2, 4)
    assert every * step <= LINE or every == 1
    assert every == 4 or 2 * every * step > LINE
