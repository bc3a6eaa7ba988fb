"""Col2Im: the sum of overlapping blocks, columns [N, C, taps, blocks] -> [N, C, *image]; plain, up to three axes.

A task is a row of the image, to which the taps that reach it are added in their order.
"""

import math

from cnncc.runtime.cpu.elements import SIZES
from cnncc.runtime.cpu.kernel import Kernel, Launch, make_params

OPERANDS = ("x", "y")
DIMS = (
    "size_d", "size_h", "size_w", "k_d", "k_h", "k_w", "count_d", "count_h", "count_w", "stride_d", "stride_h",
    "stride_w", "dilation_d", "dilation_h", "dilation_w", "begin_d", "begin_h", "begin_w",
)  # fmt: skip
Three = tuple[int, int, int]


def launch(planes: int, size: Three, kernel: Three, counts: Three, stride: Three, dilation: Three, begin: Three,
           dtype: str) -> Launch:  # fmt: skip
    """The step for ``planes`` = N * C; ``counts`` are the blocks along each axis."""
    item, pixels = SIZES[dtype], planes * math.prod(size)
    return Launch(
        KERNEL, make_params(dtype=dtype), (*size, *kernel, *counts, *stride, *dilation, *begin),
        planes * size[0] * size[1] if pixels else 0,
        reads={"x": (0, item * planes * math.prod(kernel) * math.prod(counts))}, writes={"y": (0, item * pixels)},
    )  # fmt: skip


def build(dtype: str):
    from numba.extending import register_jitable

    from cnncc.runtime.cpu.elements import access, is_float
    from cnncc.runtime.cpu.memory_access import load_i64

    load_element, store_element = access(dtype)
    item, nothing = SIZES[dtype], 0.0 if is_float(dtype) else 0
    word = {name: 8 * (len(OPERANDS) + i) for i, name in enumerate(DIMS)}
    SIZE, K, COUNT, STRIDE, DILATION, BEGIN = (
        word[f"{name}_d"] for name in ("size", "k", "count", "stride", "dilation", "begin"))

    @register_jitable
    def block_at(args, axis, position, tap):
        """The block whose tap lies at a position of an axis (8 times its number); -1 if there is none."""
        at = position + load_i64(args + BEGIN + axis) - tap * load_i64(args + DILATION + axis)
        stride = load_i64(args + STRIDE + axis)
        if at < 0 or at % stride != 0 or at // stride >= load_i64(args + COUNT + axis):
            return -1
        return at // stride

    @register_jitable
    def add_row(args, source, tap, to):
        """Adds one tap of a row of blocks to the row of the image."""
        stride, size, count = load_i64(args + STRIDE + 16), load_i64(args + SIZE + 16), load_i64(args + COUNT + 16)
        start = tap * load_i64(args + DILATION + 16) - load_i64(args + BEGIN + 16)
        first = (-start + stride - 1) // stride if start < 0 else 0
        last = min(count, (size - start + stride - 1) // stride if start < size else 0)
        for block in range(first, last):
            place = to + (start + block * stride) * item
            store_element(place, load_element(place) + load_element(source + block * item))

    def col2im(args, begin, end):
        x, y = load_i64(args), load_i64(args + 8)
        depth, height, width = load_i64(args + SIZE), load_i64(args + SIZE + 8), load_i64(args + SIZE + 16)
        k_d, k_h, k_w = load_i64(args + K), load_i64(args + K + 8), load_i64(args + K + 16)
        n_d, n_h, n_w = load_i64(args + COUNT), load_i64(args + COUNT + 8), load_i64(args + COUNT + 16)
        for task in range(begin, end):
            to, plane = y + task * width * item, task // (depth * height)
            for i in range(width):
                store_element(to + i * item, nothing)
            for tap in range(k_d * k_h):
                far = block_at(args, 0, task // height % depth, tap // k_h)
                down = block_at(args, 8, task % height, tap % k_h)
                if far < 0 or down < 0:
                    continue
                for across in range(k_w):
                    column = (plane * k_d * k_h + tap) * k_w + across
                    add_row(args, x + ((column * n_d + far) * n_h + down) * n_w * item, across, to)

    return col2im


KERNEL = Kernel("col2im", OPERANDS, DIMS, build)
