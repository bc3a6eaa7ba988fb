"""A random configuration for a kernel: operator, shapes, numbers, the kernel forced. One draw a kernel, in one table.

Parameters that a kernel is compiled for (register tiles, activations, short kernels' taps) are drawn from few, sizes
that are run-time integers from many: a multiple of nothing more often than not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from cnncc.ir import Activation, Op
from cnncc.ops import OPS
from cnncc.runtime.cpu.kernels import conv_direct, conv_first, conv_grouped, conv_plain, conv_pointwise_depthwise
from cnncc.runtime.cpu.lower.conv import ALGORITHMS, conv_shape
from cnncc.runtime.cpu.lowering import BLOCKED, PLAIN, Choice

Array = np.ndarray[Any, Any]
Random = np.random.Generator

# Of inputs, and of weights: values of 1e6 here and there, or all of one channel; tiny, huge and subnormal ones.
NUMBERS = ("normal", "normal", "normal", "spikes", "tiny", "huge", "positive", "subnormal")
WEIGHTS = ("normal", "normal", "spikes", "spike")
# Run-time words of one compiled epilogue; one activation that is compiled for itself.
CLIPS = (None, Activation("relu"), Activation("clip", (-1.0, 6.0)))
CURVED = Activation("hard_swish")


@dataclass
class Case:
    """An operator on arrays; ``choice`` forces the kernel, None takes what the lowering chooses."""

    op: Op
    arrays: list[Array | None]
    constants: tuple[int, ...] = ()
    choice: Choice | None = None
    layouts: tuple[str, ...] = ()


def numbers(rng: Random, shape: tuple[int, ...], kind: str) -> Array:
    x = rng.standard_normal(shape, np.float32)
    if kind == "spike":
        x[:, 0] *= np.float32(1e6)
    elif kind == "spikes":
        x[rng.random(shape) < 0.02] *= np.float32(1e6)
    elif kind == "positive":
        x = np.abs(x)
    return x * np.float32({"tiny": 2.0**-60, "huge": 2.0**40, "subnormal": 2.0**-130}.get(kind, 1.0))


def several(rng: Random, low: int, high: int, count: int) -> tuple[int, ...]:
    return tuple(int(v) for v in rng.integers(low, high, count))


def windows(rng: Random, rank: int, longest: int, strides: int, dilations: int, size: int) -> dict[str, Any]:
    """Attributes of a window, and under `size` what x must at least have; pads may exceed what the window needs."""
    kernel = several(rng, 1, longest + 1, rank)
    pads = tuple(int(rng.integers(0, k + 1)) for k in kernel * 2)
    dilation = several(rng, 1, dilations + 1, rank)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    sizes = tuple(int(max(1, rng.integers(1, size), r - p - q))
                  for r, p, q in zip(reach, pads[:rank], pads[rank:], strict=True))
    return {"kernel": kernel, "pads": pads, "dilations": dilation, "strides": several(rng, 1, strides + 1, rank),
            "size": sizes}


def convolution(rng: Random, name: str, params: dict[str, int | str], window: dict[str, Any], channels: int,
                out_channels: int, group: int = 1, curved: bool = True) -> Case:
    """A Conv on the algorithm `name`, with and without bias, residual and activation."""
    activation = CURVED if curved and rng.integers(8) == 0 else CLIPS[rng.integers(3)]
    op = OPS["Conv"](group=group, kernel_shape=window["kernel"], pads=window["pads"], dilations=window["dilations"],
                     strides=window["strides"], activation=activation)
    kind = NUMBERS[rng.integers(len(NUMBERS))]
    x = numbers(rng, (int(rng.integers(1, 3)), channels, *window["size"]), kind)
    w = numbers(rng, (out_channels, channels // group, *window["kernel"]), WEIGHTS[rng.integers(len(WEIGHTS))])
    b = numbers(rng, (out_channels,), kind) if rng.integers(3) else None
    out = tuple(int(d) for d in conv_shape(op, x.shape, w.shape).out_size)[3 - len(window["kernel"]):]
    # The curved epilogue is compiled without a residual only.
    r = numbers(rng, (len(x), out_channels, *out), kind) if rng.integers(2) and activation is not CURVED else None
    arrays: list[Array | None] = [x, w, b, r]
    into, to = ALGORITHMS[name].layouts
    choice = Choice(name.split("/")[0], params, (into, BLOCKED, BLOCKED, to), (to,))
    return Case(op, arrays, (1, 2), choice, (into, PLAIN, PLAIN, to))


def pick(rng: Random, tiles: Any, count: int = 2) -> dict[str, int | str]:
    """One of the first register tiles."""
    rows, vectors = list(tiles)[rng.integers(count)]
    return {"rows": rows, "vectors": vectors}


def draw_direct(rng: Random, lanes: int) -> Case:
    rank = int(rng.integers(1, 4))
    if rng.integers(4) == 0:
        window = {"kernel": (1,) * rank, "pads": (0,) * 2 * rank, "dilations": (1,) * rank, "strides": (1,) * rank,
                  "size": several(rng, 1, 12, rank)}
    else:
        window = windows(rng, rank, 4 if rank < 3 else 3, 3, 3, 12)
    group = int(rng.choice([1, 1, 1, 2, 3]))
    channels, outs = several(rng, 1, 4 * lanes, 2) if group == 1 else (lanes * n * group for n in several(rng, 1, 3, 2))
    params = pick(rng, conv_direct.TILES[lanes])
    return convolution(rng, "conv_direct", params, window, channels, outs, group, params["vectors"] != 1)


def draw_first(rng: Random, lanes: int) -> Case:
    window = windows(rng, int(rng.integers(1, 4)), 7, 3, 2, 20)
    params = pick(rng, conv_first.TILES[lanes])
    return convolution(rng, "conv_first", params, window, int(rng.integers(1, lanes // 2 + 1)),
                       int(rng.integers(1, 4 * lanes)))


def draw_winograd(m: int, raw: bool = False) -> Callable[[Random, int], Case]:
    def draw(rng: Random, lanes: int) -> Case:
        kernel = ((3, 3), (1, 3), (3,), (3, 1))[rng.integers(3 if raw else 4)]
        rank = len(kernel)
        pads = several(rng, 0, 3, 2 * rank)
        strides = (1,) * rank
        if raw and m == 2 and rng.integers(2):
            strides = tuple(2 if taps == 3 else 1 for taps in kernel)
        size = tuple(int(max(1, rng.integers(1, 22), k - p - q))
                     for k, p, q in zip(kernel, pads[:rank], pads[rank:], strict=True))
        window = {"kernel": kernel, "pads": pads, "dilations": (1,) * rank, "strides": strides, "size": size}
        channels, outs = several(rng, 1, 4 * lanes, 2)
        if raw:
            return convolution(rng, f"conv_winograd_raw/{m}", {"m": m}, window, channels, outs, curved=False)
        params = {"m": m, **pick(rng, conv_direct.TILES[lanes], 1)}
        return convolution(rng, f"conv_winograd/{m}", params, window, channels, outs, curved=False)

    return draw


def draw_strassen(rng: Random, lanes: int) -> Case:
    rank = int(rng.integers(1, 4))
    strides = several(rng, 1, 4, rank) if rng.integers(3) == 0 else (1,) * rank
    window = {"kernel": (1,) * rank, "pads": (0,) * 2 * rank, "dilations": (1,) * rank, "strides": strides,
              "size": several(rng, 1, (150, 13, 6)[rank - 1], rank)}
    channels, outs = (2 * lanes * n for n in several(rng, 1, 7, 2))
    return convolution(rng, "conv_strassen", {}, window, channels, outs, curved=False)


def draw_depthwise(rng: Random, lanes: int) -> Case:
    window = windows(rng, int(rng.integers(1, 4)), 5, 3, 2, 20)
    if rng.integers(2):  # lengths and strides that have code of their own
        rank, side, stride = 2, int(rng.choice([3, 5])), int(rng.integers(1, 3))
        window = windows(rng, rank, 1, 1, 1, 20) | {"kernel": (side,) * rank, "pads": several(rng, 0, side, 2 * rank),
                                                    "strides": (stride,) * rank, "size": several(rng, side, 20, rank)}
    group = int(rng.integers(1, 3 * lanes))
    return convolution(rng, "conv_depthwise", {"rows": 8}, window, group, group, group, curved=False)


def draw_groups(rng: Random, lanes: int) -> Case:
    """Groups of blocks, and groups that divide one."""
    window = windows(rng, int(rng.integers(1, 4)), 4, 3, 3, 30)
    inner, outer = (lanes * n for n in several(rng, 1, 4, 2)) if rng.integers(2) else (lanes // 2,) * 2
    tiles = conv_grouped.NARROW_TILES if inner < lanes else conv_grouped.WIDE_TILES
    group = int(rng.integers(2, 12 if inner < lanes else 4))
    return convolution(rng, "conv_grouped", pick(rng, tiles[lanes]), window, group * inner, group * outer, group,
                       curved=False)


def draw_plain(rng: Random, lanes: int) -> Case:
    window = windows(rng, int(rng.integers(1, 4)), 4, 3, 3, 20)
    group, inner, outer = several(rng, 1, 6, 3)
    return convolution(rng, "conv_plain", pick(rng, conv_plain.TILES[lanes]), window, group * inner * 3, group * outer,
                       group)


def draw_grouped(rng: Random, lanes: int) -> Case:
    rank = int(rng.integers(1, 4))
    window = {"kernel": (1,) * rank, "pads": (0,) * 2 * rank, "dilations": (1,) * rank, "strides": (1,) * rank,
              "size": several(rng, 1, 20, rank)}
    group = int(rng.integers(2, 6))
    return convolution(rng, "conv_grouped_1x1", {}, window, group * int(rng.integers(1, 40)),
                       group * int(rng.choice([4, 8, 30])), group, curved=False)


def draw_pointwise_depthwise(rng: Random, lanes: int) -> Case:
    """Pads, strides down and heights as they come; what kernels are compiled for is drawn from few."""
    taps, stride = ((3, 1), (3, 2), (5, 2))[rng.integers(3)]
    high, down = int(rng.integers(1, 6)), int(rng.integers(1, 4))
    pads = (*several(rng, 0, high + 1, 1), *several(rng, 0, taps, 1), *several(rng, 0, high + 1, 1),
            *several(rng, 0, taps, 1))
    size = (int(max(1, rng.integers(1, 24), high - pads[0] - pads[2])), int(rng.integers(6 * stride + taps, 40)))
    channels, outs = several(rng, 1, 3 * lanes, 1)[0], several(rng, 1, 5 * lanes, 1)[0]
    op = OPS["PointwiseDepthwiseConv"](pads=pads, strides=(down, stride), activation=CLIPS[rng.integers(3)],
                                       inner=CLIPS[rng.integers(3)])
    kind = NUMBERS[rng.integers(len(NUMBERS))]
    x = numbers(rng, (int(rng.integers(1, 3)), channels, *size), kind)
    w = numbers(rng, (outs, channels, 1, 1), WEIGHTS[rng.integers(len(WEIGHTS))])
    v = numbers(rng, (outs, 1, high, taps), "normal")
    b, d = (numbers(rng, (outs,), kind) if rng.integers(3) else None for _ in range(2))
    params = pick(rng, [tile for tile in conv_pointwise_depthwise.TILES[lanes] if tile[0] <= size[1]])
    choice = Choice("conv_pointwise_depthwise", params, (BLOCKED, *(PLAIN,) * 4), (BLOCKED,))
    return Case(op, [x, w, v, b, d], (1, 2, 3, 4), choice, (BLOCKED, *(PLAIN,) * 4))


def draw_transpose(rng: Random, lanes: int) -> Case:
    rank = int(rng.integers(1, 4))
    kernel, stride, dilation = several(rng, 1, 5, rank), several(rng, 1, 4, rank), several(rng, 1, 4, rank)
    size = several(rng, 1, 9 if rank < 3 else 5, rank)
    more = tuple(int(rng.integers(0, s)) for s in stride)
    pads = [0] * (2 * rank)
    for i in range(rank):
        room = (size[i] - 1) * stride[i] + more[i] + (kernel[i] - 1) * dilation[i]
        pads[i] = int(rng.integers(0, min(room, 5) + 1))
        pads[i + rank] = int(rng.integers(0, min(room - pads[i], 5) + 1))
    group = int(rng.choice([1, 1, 2, 3, 16]))
    inner, outer = several(rng, 1, 40 if group < 4 else 4, 2)
    op = OPS["ConvTranspose"](strides=stride, dilations=dilation, pads=tuple(pads), output_padding=more, group=group,
                              activation=CLIPS[rng.integers(3)])
    kind = NUMBERS[rng.integers(len(NUMBERS))]
    x = numbers(rng, (int(rng.integers(1, 3)), inner * group, *size), kind)
    w = numbers(rng, (inner * group, outer, *kernel), "normal")
    b = numbers(rng, (outer * group,), kind) if rng.integers(3) else None
    rows, vectors = list(conv_direct.TILES[lanes])[rng.integers(2)]
    choice = Choice("conv_transpose", {"rows": rows, "vectors": vectors}, (BLOCKED,), (BLOCKED,))
    return Case(op, [x, w, b], (1, 2), choice, (BLOCKED, PLAIN, PLAIN))


def draw_gemm(rng: Random, lanes: int) -> Case:
    """Gemm: one row (a matrix times a vector), few and many, packed and as it lies."""
    m = int(rng.choice([1, 2, 7, 33]))
    n, k = several(rng, 1, 300, 2)
    ta, tb = bool(rng.integers(4) == 0), bool(rng.integers(2))
    op = OPS["Gemm"](transA=ta, transB=tb, alpha=float(rng.choice([1.0, 0.5])), beta=float(rng.choice([1.0, -2.0])),
                     activation=CLIPS[rng.integers(3)])
    kind = NUMBERS[rng.integers(len(NUMBERS))]
    a = numbers(rng, (k, m) if ta else (m, k), kind)
    b = numbers(rng, (n, k) if tb else (k, n), "normal")
    c = numbers(rng, ((n,), (1, n), (m, n), (m, 1))[rng.integers(4)], kind) if rng.integers(3) else None
    return Case(op, [a, b, c], (1,) if rng.integers(2) else ())


def draw_matmul(rng: Random, lanes: int) -> Case:
    m, n, k = several(rng, 1, 40, 3)
    batch = several(rng, 1, 4, int(rng.integers(0, 3)))
    shared = batch if rng.integers(2) else ()
    a, b = (numbers(rng, shape, NUMBERS[rng.integers(len(NUMBERS))]) for shape in ((*batch, m, k), (*shared, k, n)))
    return Case(OPS["MatMul"](), [a, b], (1,) if rng.integers(2) else ())


def draw_pool(name: str) -> Callable[[Random, int], Case]:
    def draw(rng: Random, lanes: int) -> Case:
        rank = int(rng.integers(1, 4))
        kernel, dilation = several(rng, 1, 5, rank), several(rng, 1, 3, rank)
        size = tuple((k - 1) * d + 1 + int(rng.integers(0, 9)) for k, d in zip(kernel, dilation, strict=True))
        more = {"AveragePool": {"count_include_pad": bool(rng.integers(2))}, "LpPool": {"p": int(rng.integers(1, 3))}}
        op = OPS[name](kernel_shape=kernel, dilations=dilation, strides=several(rng, 1, 4, rank),
                       pads=tuple(int(rng.integers(0, k)) for k in kernel * 2), ceil_mode=bool(rng.integers(2)),
                       **more.get(name, {}))
        x = numbers(rng, (*several(rng, 1, 3, 1), *several(rng, 1, 3 * lanes, 1), *size), "normal")
        return Case(op, [x], layouts=((PLAIN, BLOCKED)[rng.integers(2)],))

    return draw


def draw_global(name: str) -> Callable[[Random, int], Case]:
    def draw(rng: Random, lanes: int) -> Case:
        size = several(rng, 1, 20, int(rng.integers(1, 4)))
        if rng.integers(8) == 0:
            size = (int(rng.integers(300, 2000)),)
        x = numbers(rng, (*several(rng, 1, 3, 1), *several(rng, 1, 3 * lanes, 1), *size), "normal")
        return Case(OPS[name](), [x], layouts=((PLAIN, BLOCKED)[rng.integers(2)],))

    return draw


# In turns: case number i is of the i-th kind, modulo their number.
DRAWS: dict[str, Callable[[Random, int], Case]] = {
    "conv_direct": draw_direct,
    "conv_winograd/2": draw_winograd(2),
    "conv_winograd_raw/2": draw_winograd(2, raw=True),
    "gemm": draw_gemm,
    "conv_depthwise": draw_depthwise,
    "MaxPool": draw_pool("MaxPool"),
    "conv_winograd/4": draw_winograd(4),
    "conv_winograd_raw/4": draw_winograd(4, raw=True),
    "conv_first": draw_first,
    "conv_strassen": draw_strassen,
    "matmul": draw_matmul,
    "conv_plain": draw_plain,
    "AveragePool": draw_pool("AveragePool"),
    "conv_winograd/5": draw_winograd(5),
    "conv_winograd_raw/5": draw_winograd(5, raw=True),
    "conv_winograd/6": draw_winograd(6),
    "conv_winograd_raw/6": draw_winograd(6, raw=True),
    "conv_grouped": draw_groups,
    "conv_grouped_1x1": draw_grouped,
    "LpPool": draw_pool("LpPool"),
    "conv_transpose": draw_transpose,
    "conv_pointwise_depthwise": draw_pointwise_depthwise,
    "GlobalAveragePool": draw_global("GlobalAveragePool"),
    "GlobalMaxPool": draw_global("GlobalMaxPool"),
}


def draw(seed: int, number: int, lanes: int) -> tuple[str, Case]:
    """The case of this number, and its kind."""
    kind = list(DRAWS)[number % len(DRAWS)]
    return kind, DRAWS[kind](np.random.default_rng([seed, number]), lanes)
