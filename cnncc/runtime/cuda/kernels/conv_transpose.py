"""Transposed convolution on the kernel of conv_direct: a plain convolution for each phase, nothing is computed twice.

Along an axis, output o = u * stride + phase is reached by tap t from input u + (phase + pad - t * dilation) / stride
where that division leaves no rest; so each tap belongs to one phase. Weights are packed as conv_direct has them, taps
in the order of their phases. The table begins with 8 words for each phase: its first tap, how many it has, and its
three remainders; then it has (d, h, w, 0) for each tap, which is where it reads, seen from u.
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from cnncc.runtime.cpu.kernels.conv_transpose import TransposeShape
from cnncc.runtime.cuda.kernel import Launch, Stage, Work, ceil_div, make_params
from cnncc.runtime.cuda.kernels import conv_direct
from cnncc.runtime.cuda.kernels.conv_direct import STEP, Tile, pack_bias

__all__ = ["launch", "order_taps", "pack_bias", "pack_taps", "pack_weights"]

Three = tuple[int, int, int]


def order_taps(shape: TransposeShape) -> list[tuple[Three, list[tuple[Three, Three]]]]:
    """For each phase its remainders, and its taps with their steps from u; of ``shape`` no size counts."""
    def along(axis: int, phase: int) -> list[tuple[int, int]]:
        stride, reach = shape.stride[axis], phase + shape.pad[axis]
        moves = [(t, reach - t * shape.dilation[axis]) for t in range(shape.kernel[axis])]
        return [(t, move // stride) for t, move in moves if move % stride == 0]

    phases = []
    for d, h, w in np.ndindex(*shape.stride):
        found = list(itertools.product(along(0, d), along(1, h), along(2, w)))
        phases.append(((d, h, w), [((a[0], b[0], c[0]), (a[1], b[1], c[1])) for a, b, c in found]))
    return phases


def pack_taps(shape: TransposeShape) -> np.ndarray:
    """A phase without taps begins with the first of all: a block fetches a step before it asks whether there is one."""
    first, heads, moves = 0, [], []
    for remainders, taps in order_taps(shape):
        heads += [first if taps else 0, len(taps), *remainders, 0, 0, 0]
        moves += [number for _, move in taps for number in (*move, 0)]
        first += len(taps)
    return np.array(heads + moves, np.int32)


def pack_weights(w: np.ndarray, shape: TransposeShape, m: int, step: int = STEP, tensor: bool = False) -> np.ndarray:
    """w [C, OC/G, *kernel], of any rank, as conv_direct's [G, K, OC/G up to a multiple of m]; for tensor cores rounded
    to TF32."""
    channels, per_group = w.shape[0] // shape.groups, w.shape[1]
    order = [np.ravel_multi_index(tap, shape.kernel) for _, taps in order_taps(shape) for tap, _ in taps]
    w = w.reshape(shape.groups, channels, per_group, -1)[..., order]
    plain = w.transpose(0, 2, 1, 3).reshape(shape.groups * per_group, channels, -1)
    return conv_direct.pack_weights(plain, shape.groups, "channels", m, step, tensor)


def launch(shape: TransposeShape, tile: Tile, activation: str = "clip", p: float = -math.inf,
           q: float = math.inf) -> Launch:
    """The step of a transposed convolution; ``p`` and ``q`` belong to the activation."""
    channels, out_channels = shape.channels // shape.groups, shape.out_channels // shape.groups
    plane, taps, phases = math.prod(shape.size), math.prod(shape.kernel), math.prod(shape.stride)
    cells = [ceil_div(o, s) for o, s in zip(shape.out_size, shape.stride, strict=True)]
    pixels, out_pixels = math.prod(cells), math.prod(shape.out_size)
    channel_steps, m_tiles = ceil_div(channels, tile.k), ceil_div(out_channels, tile.m)
    steps, total, y_size = taps * channel_steps, shape.images * pixels, shape.images * shape.out_channels * out_pixels
    w_pitch = m_tiles * tile.m
    dims = (
        channels, plane, shape.channels * plane, *shape.size, *cells[1:], pixels, total, *shape.stride, channel_steps,
        steps, steps, 1, shape.groups, out_channels, w_pitch, steps * tile.k * w_pitch, *shape.out_size, out_pixels,
        shape.out_channels * out_pixels, y_size, 0, 0,
    )  # fmt: skip
    params = make_params(form="transposed", bm=tile.m, bn=tile.n, bk=tile.k, tensor=int(tile.tensor), wide=0,
                         split=0, residual=0, activation=activation)
    grid = (ceil_div(total, tile.n), m_tiles, shape.groups * phases)
    reads = {"x": (0, 4 * shape.images * shape.channels * plane), "w": (0, 4 * shape.groups * steps * tile.k * w_pitch),
             "bias": (0, 4 * shape.groups * w_pitch), "taps": (0, 32 * phases + 16 * taps)}
    if not y_size:
        return Launch(conv_direct.KERNEL.name, (), reads, {"y": (0, 0)})
    flops = 2.0 * grid[0] * tile.n * shape.groups * w_pitch * steps * tile.k
    stage = Stage(conv_direct.KERNEL, params, dims, grid, (tile.threads, 1, 1), (p, q),
                  work=Work(flops, reads["x"][1] + reads["w"][1] + 4.0 * y_size))
    return Launch(conv_direct.KERNEL.name, (stage,), reads, {"y": (0, 4 * y_size)})
