"""MaxPool with the places of the largest elements, and MaxUnpool, which puts elements back there; both plain.

A task of the pool is a row of outputs. The unpool is one task, for any element may go anywhere and the last one counts;
places outside the output are left out.
"""

import math
from collections.abc import Sequence

from cnncc.runtime.cpu.elements import SIZES, limits
from cnncc.runtime.cpu.kernel import Kernel, Launch, make_params

Three = tuple[int, int, int]
POOL_OPERANDS, OPERANDS = ("x", "y", "places"), ("x", "places", "y")
POOL_DIMS = (
    "in_d", "in_h", "in_w", "out_d", "out_h", "out_w", "k_d", "k_h", "k_w", "stride_d", "stride_h", "stride_w",
    "dilation_d", "dilation_h", "dilation_w", "begin_d", "begin_h", "begin_w", "number_d", "number_h", "number_w",
)  # fmt: skip


def launch_pool(planes: int, size: Three, out_size: Three, kernel: Three, stride: Three, dilation: Three, begin: Three,
                numbers: Sequence[int], dtype: str) -> Launch:  # fmt: skip
    """The step of a pool of ``planes`` = N * C; ``numbers`` are by how much a place grows along each axis."""
    outputs = planes * math.prod(out_size)
    return Launch(
        POOL, make_params(dtype=dtype), (*size, *out_size, *kernel, *stride, *dilation, *begin, *numbers),
        planes * out_size[0] * out_size[1] if outputs else 0,
        reads={"x": (0, SIZES[dtype] * planes * math.prod(size))},
        writes={"y": (0, SIZES[dtype] * outputs), "places": (0, 8 * outputs)},
    )  # fmt: skip


def launch_unpool(count: int, outputs: int, dtype: str) -> Launch:
    """The step that puts ``count`` elements among ``outputs`` zeros."""
    item = SIZES[dtype]
    return Launch(
        UNPOOL, make_params(dtype=dtype), (count, outputs), 1 if outputs else 0,
        reads={"x": (0, item * count), "places": (0, 8 * count)}, writes={"y": (0, item * outputs)},
    )  # fmt: skip


def build_pool(dtype: str):
    from numba.extending import register_jitable

    from cnncc.runtime.cpu.elements import access
    from cnncc.runtime.cpu.memory_access import load_i64, store_i64

    load_element, store_element = access(dtype)
    item, least = SIZES[dtype], limits(dtype)[0]
    word = {name: 8 * (len(POOL_OPERANDS) + i) for i, name in enumerate(POOL_DIMS)}
    IN, OUT, K, STRIDE, DILATION, BEGIN, NUMBER = (
        word[f"{name}_d"] for name in ("in", "out", "k", "stride", "dilation", "begin", "number"))

    @register_jitable
    def window(args, axis, position):
        """Where a window begins along an axis (8 times its number), its first tap inside and the one after the last."""
        dilation, size = load_i64(args + DILATION + axis), load_i64(args + IN + axis)
        start = position * load_i64(args + STRIDE + axis) - load_i64(args + BEGIN + axis)
        first = (-start + dilation - 1) // dilation if start < 0 else 0
        last = (size - start + dilation - 1) // dilation if start < size else 0
        return start, first, min(load_i64(args + K + axis), last)

    @register_jitable
    def largest(args, plane, base, d, h, w):
        """The largest element under a window, and its place."""
        best, place = least, -1
        in_h, in_w = load_i64(args + IN + 8), load_i64(args + IN + 16)
        start_d, first_d, last_d = window(args, 0, d)
        start_h, first_h, last_h = window(args, 8, h)
        start_w, first_w, last_w = window(args, 16, w)
        for td in range(first_d, last_d):
            at_d = start_d + td * load_i64(args + DILATION)
            for th in range(first_h, last_h):
                at_h = start_h + th * load_i64(args + DILATION + 8)
                for tw in range(first_w, last_w):
                    at_w = start_w + tw * load_i64(args + DILATION + 16)
                    value = load_element(plane + ((at_d * in_h + at_h) * in_w + at_w) * item)
                    if place < 0 or value > best or (value != value and best == best):  # NaN
                        best = value
                        place = (base + at_d * load_i64(args + NUMBER) + at_h * load_i64(args + NUMBER + 8)
                                 + at_w * load_i64(args + NUMBER + 16))
        return best, place

    def pool_places(args, begin, end):
        x, y, places = load_i64(args), load_i64(args + 8), load_i64(args + 16)
        volume = load_i64(args + IN) * load_i64(args + IN + 8) * load_i64(args + IN + 16)
        out_d, out_h, out_w = load_i64(args + OUT), load_i64(args + OUT + 8), load_i64(args + OUT + 16)
        for task in range(begin, end):
            plane, d, h = task // (out_d * out_h), task // out_h % out_d, task % out_h
            for w in range(out_w):
                best, place = largest(args, x + plane * volume * item, plane * volume, d, h, w)
                store_element(y + (task * out_w + w) * item, best)
                store_i64(places + (task * out_w + w) * 8, place)

    return pool_places


def build_unpool(dtype: str):
    from cnncc.runtime.cpu.elements import access
    from cnncc.runtime.cpu.memory_access import load_i64, store_i8

    load_element, store_element = access(dtype)
    item, first = SIZES[dtype], 8 * len(OPERANDS)

    def unpool(args, begin, end):
        x, places, y = load_i64(args), load_i64(args + 8), load_i64(args + 16)
        count, outputs = load_i64(args + first), load_i64(args + first + 8)
        for _ in range(begin, end):
            for i in range(outputs * item):
                store_i8(y + i, 0)
            for i in range(count):
                place = load_i64(places + 8 * i)
                if 0 <= place < outputs:
                    store_element(y + place * item, load_element(x + i * item))

    return unpool


POOL = Kernel("pool_places", POOL_OPERANDS, POOL_DIMS, build_pool)
UNPOOL = Kernel("unpool", OPERANDS, ("count", "outputs"), build_unpool)
