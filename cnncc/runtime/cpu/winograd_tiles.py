"""The tiles of Winograd convolutions: how many there are, and how they are read, transformed and written.

An output tile of m_h x m_w pixels needs an input tile of n_h x n_w. An axis with 3 taps has n = m + 2, or 2 m + 1 with
stride 2; an axis with one tap is not transformed: m = n = 1, which makes the 1-D forms for 1x3 and 3x1 kernels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from cnncc.runtime.cpu.kernel import ceil_div
from cnncc.runtime.cpu.winograd import BACKWARD, axis_of

if TYPE_CHECKING:
    from cnncc.runtime.cpu.conv_shape import ConvShape

Ranges = dict[str, tuple[int, int]]

# The integers that both kernels have among theirs.
TILE_DIMS = (
    "images", "channels", "in_h", "in_w", "out_h", "out_w", "pad_h", "pad_w", "out_blocks", "tiles_h", "tiles_w",
)  # fmt: skip


def is_winograd(shape: ConvShape) -> bool:
    """3x3, 1x3 or 3x1, stride 1, no dilation, no groups, at most two spatial axes, something to compute."""
    return shape.kernel in ((1, 3, 3), (1, 1, 3), (1, 3, 1)) and shape.stride == (1, 1, 1) and _is_dense(shape)


def is_strided(shape: ConvShape) -> bool:
    """3x3 or 1x3, stride 2 along the axes that have 3 taps, otherwise as ``is_winograd``."""
    return (shape.kernel, shape.stride) in (((1, 3, 3), (1, 2, 2)), ((1, 1, 3), (1, 1, 2))) and _is_dense(shape)


def _is_dense(shape: ConvShape) -> bool:
    flat = shape.pad[0] == 0 and shape.size[0] == 1
    return flat and shape.dilation == (1, 1, 1) and shape.groups == 1 and shape.images * shape.pixels > 0


def output_tile(shape: ConvShape, m: int) -> tuple[int, int]:
    """(m_h, m_w): m along the axes that have 3 taps, 1 along others."""
    return m if shape.kernel[1] == 3 else 1, m if shape.kernel[2] == 3 else 1


def input_length(m: int, stride: int = 1) -> int:
    """n: the elements of a line that m outputs of an axis need."""
    return (m - 1) * stride + 3 if m > 1 else 1


def count_points(shape: ConvShape, m: int) -> int:
    return math.prod(input_length(t, s) for t, s in zip(output_tile(shape, m), shape.stride[1:], strict=True))


def sum_rows(shape: ConvShape, m: int) -> tuple[int, int]:
    """(rows, columns) of what the products of a tile are added up to."""
    (m_h, m_w), (_, stride_h, stride_w) = output_tile(shape, m), shape.stride
    return len(axis_of(m_h, stride_h).backward[0]), len(axis_of(m_w, stride_w).backward[0])


def count_sums(shape: ConvShape, m: int) -> int:
    return math.prod(sum_rows(shape, m))


def count_tiles(shape: ConvShape, m: int) -> int:
    m_h, m_w = output_tile(shape, m)
    return shape.images * ceil_div(shape.out_size[1], m_h) * ceil_div(shape.out_size[2], m_w)


def tile_dims(shape: ConvShape, m: int, lanes: int) -> tuple[int, ...]:
    """Those of TILE_DIMS."""
    (_, in_h, in_w), (_, out_h, out_w), (m_h, m_w) = shape.size, shape.out_size, output_tile(shape, m)
    return (shape.images, shape.channels, in_h, in_w, out_h, out_w, shape.pad[1], shape.pad[2],
            ceil_div(shape.out_channels, lanes), ceil_div(out_h, m_h), ceil_div(out_w, m_w))


def operand_ranges(
    shape: ConvShape, lanes: int, w_bytes: int, bias_bytes: int, residual: bool
) -> tuple[Ranges, Ranges]:
    """What a launch reads and writes, for weights and a bias of so many bytes."""
    width = 4 * lanes
    x_bytes = shape.images * ceil_div(shape.channels, lanes) * math.prod(shape.size) * width
    y_bytes = shape.images * ceil_div(shape.out_channels, lanes) * shape.pixels * width
    reads = {"x": (0, x_bytes), "w": (0, w_bytes), "bias": (0, bias_bytes)}
    return reads | ({"add": (0, y_bytes)} if residual else {}), {"y": (0, y_bytes)}


def build_tiles(
    lanes: int, m_h: int, m_w: int, word: Mapping[str, int], activation: str, residual: int, unscaled: bool,
    stride: int = 1,
):
    """``(read_tile, write_tile)``; ``word`` has the place of each operand and integer among a kernel's arguments.

    ``unscaled``: the weights are those of ``axis_of``, not WEIGHTS."""
    from numba.extending import register_jitable

    from cnncc.runtime.cpu.epilogue import build_finish
    from cnncc.runtime.cpu.linear_map import finish_patch, map_patch
    from cnncc.runtime.cpu.memory_access import load_i64, outside, select
    from cnncc.runtime.cpu.simd import load, store

    n_h, n_w, width = input_length(m_h, stride), input_length(m_w, stride), 4 * lanes
    step_h, step_w = (m * stride if m > 1 else 1 for m in (m_h, m_w))
    axis_h, axis_w = axis_of(m_h, stride), axis_of(m_w, stride)
    down, across = (axis_h.backward, axis_w.backward) if unscaled else (BACKWARD[m_h], BACKWARD[m_w])
    factor = 1 / (axis_h.denominator * axis_w.denominator) if unscaled else 1.0
    forward = map_patch(axis_h.forward, axis_w.forward, lanes)
    finish = register_jitable(build_finish(activation, residual, lanes))
    backward = finish_patch(down, across, finish, lanes, factor)
    X, ADD, Y = (word[k] for k in ("x", "add", "y"))
    IN_H, IN_W, PAD_H, PAD_W, TILES_H, TILES_W = (
        word[k] for k in ("in_h", "in_w", "pad_h", "pad_w", "tiles_h", "tiles_w"))
    OUT_H, OUT_W, OUT_BLOCKS = (word[k] for k in ("out_h", "out_w", "out_blocks"))

    @register_jitable
    def fetch(plane, patch, zeros, top, left, in_h, in_w):
        """The n_h x n_w input vectors at (top, left), zeros outside the image, to ``patch``."""
        for i in range(n_h):
            row = plane + ((top + i) * in_w + left) * width
            off = outside(top + i, in_h)
            for j in range(n_w):
                missing = off | outside(left + j, in_w)
                store(patch + (i * n_w + j) * width, load(select(missing, zeros, row + j * width), lanes))

    @register_jitable
    def read_tile(args, number, in_blocks, patch, zeros, target, block_step, row_step, column_step):
        """The points (i, j) of a tile, for each block of channels, to ``target + block * block_step + i * row_step +
        j * column_step``. ``patch`` is room for an input tile, ``zeros`` a vector of them."""
        in_h, in_w = load_i64(args + IN_H), load_i64(args + IN_W)
        tiles_h, tiles_w = load_i64(args + TILES_H), load_i64(args + TILES_W)
        plane = in_h * in_w * width
        left = number % tiles_w * step_w - load_i64(args + PAD_W)
        q = number // tiles_w
        top = q % tiles_h * step_h - load_i64(args + PAD_H)
        inside = (top >= 0) & (left >= 0) & (top + n_h <= in_h) & (left + n_w <= in_w)
        image = load_i64(args + X) + q // tiles_h * in_blocks * plane
        for block in range(in_blocks):
            source, step = image + block * plane + (top * in_w + left) * width, in_w * width
            if not inside:
                fetch(image + block * plane, patch, zeros, top, left, in_h, in_w)
                source, step = patch, n_w * width
            forward(source, step, width, target + block * block_step, row_step, column_step)

    @register_jitable
    def write_tile(args, source, row_step, column_step, number, block, bias, a, b):
        """A^T M A, then the epilogue, of one tile and block of output channels. The sums (i, j) of M are vectors at
        ``source + i * row_step + j * column_step``."""
        out_h, out_w = load_i64(args + OUT_H), load_i64(args + OUT_W)
        tiles_h, tiles_w = load_i64(args + TILES_H), load_i64(args + TILES_W)
        y = load_i64(args + Y)
        left = number % tiles_w * m_w
        q = number // tiles_w
        top = q % tiles_h * m_h
        plane = q // tiles_h * load_i64(args + OUT_BLOCKS) + block
        place = y + ((plane * out_h + top) * out_w + left) * width
        backward(
            source, row_step, column_step, bias, place, out_w * width, width, out_h - top, out_w - left,
            load_i64(args + ADD) - y, a, b,
        )  # fmt: skip

    return read_tile, write_tile
