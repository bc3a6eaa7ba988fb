"""Pools over windows of up to three spatial axes, a thread for each output; and maxima together with their places.

Each window is clipped to the input before its taps are read, so that padding is never touched. Neighbouring threads
have neighbouring columns.
"""

from __future__ import annotations

import math

from cnncc.runtime.cpu.elements import SIZES
from cnncc.runtime.cpu.kernels.pool import PoolShape, Three
from cnncc.runtime.cuda.kernel import Kernel, Launch, Work, ceil_div, make_params, simple

__all__ = ["KERNEL", "PLACES", "launch", "launch_places"]

BLOCK = 128
WINDOW = ("in_d", "in_h", "in_w", "out_d", "out_h", "out_w", "k_d", "k_h", "k_w", "stride_d", "stride_h", "stride_w",
          "dilation_d", "dilation_h", "dilation_w", "begin_d", "begin_h", "begin_w")
DIMS = ("count", *WINDOW, "room_d", "room_h", "room_w", "shift_d", "shift_h", "shift_w")


def launch(shape: PoolShape, kind: str, dtype: str = "f32", p: int = 1) -> Launch:
    """The step of a pool over `planes` channels of images; ``kind`` is max, mean, or lp of order ``p``."""
    before, after = shape.count_pads
    room = tuple(n + b + a for n, b, a in zip(shape.size, before, after, strict=True))
    params = make_params(kind=kind, dtype=dtype, p=p if kind == "lp" else 1)
    return _launch(KERNEL, params, shape, dtype, (*room, *before))


def launch_places(shape: PoolShape, numbers: Three, dtype: str) -> Launch:
    """MaxPool with the place of each maximum; along an axis an element's number grows by ``numbers``."""
    outputs = shape.planes * math.prod(shape.out_size)
    launched = _launch(PLACES, make_params(dtype=dtype), shape, dtype, numbers)
    return Launch(launched.name, launched.stages, launched.reads, {**launched.writes, "places": (0, 8 * outputs)})


def _launch(kernel: Kernel, params, shape: PoolShape, dtype: str, more: tuple[int, ...]) -> Launch:
    item, outputs = SIZES[dtype], shape.planes * math.prod(shape.out_size)
    inputs = shape.planes * math.prod(shape.size)
    dims = (outputs, *shape.size, *shape.out_size, *shape.kernel, *shape.stride, *shape.dilation, *shape.begin, *more)
    work = Work(outputs * math.prod(shape.kernel), item * (inputs + outputs))
    return simple(kernel, params, dims, (ceil_div(outputs, BLOCK), 1, 1), (BLOCK, 1, 1), work=work,
                  reads={"x": (0, item * inputs)}, writes={"y": (0, item * outputs)})


def build_inside():
    """(first, dilation, size, taps) -> the first tap at 0 or behind, and the first beyond `size`, of so many taps, of
    which tap 0 stands at `first`."""
    from cnncc.runtime.cuda.indexing import quotient
    from cnncc.runtime.cuda.language import device

    @device
    def inside(first, dilation, size, taps):
        start, stop = 0, 0
        if first < 0:
            start = quotient(dilation - 1 - first, dilation)
        if size > first:
            stop = min(taps, quotient(size - 1 - first, dilation) + 1)
        return start, max(start, stop)

    return inside


def build_window():
    """A function of an output's number and WINDOW: its plane, where its window begins along each axis, and from which
    tap to which it lies inside the input."""
    from cnncc.runtime.cuda.indexing import quotient, remainder
    from cnncc.runtime.cuda.language import device

    inside = build_inside()

    @device
    def window(at, in_d, in_h, in_w, out_d, out_h, out_w, k_d, k_h, k_w, stride_d, stride_h, stride_w,
               dilation_d, dilation_h, dilation_w, begin_d, begin_h, begin_w):
        w, rest = remainder(at, out_w), quotient(at, out_w)
        h, rest = remainder(rest, out_h), quotient(rest, out_h)
        d, plane = remainder(rest, out_d), quotient(rest, out_d)
        d, h, w = d * stride_d - begin_d, h * stride_h - begin_h, w * stride_w - begin_w
        return (plane, (d, h, w), inside(d, dilation_d, in_d, k_d), inside(h, dilation_h, in_h, k_h),
                inside(w, dilation_w, in_w, k_w))

    return window


def elements(kind: str, dtype: str, p: int) -> dict[str, str]:
    return {"x": dtype, "y": dtype}


def build(kind: str, dtype: str, p: int):
    from cnncc.runtime.cuda.indexing import element, whole
    from cnncc.runtime.cuda.reduction import build_reduction

    reduction, inside, window = build_reduction(kind, dtype, p), build_inside(), build_window()
    start, step, finish = reduction.start, reduction.step, reduction.finish
    counts = kind == "mean"

    def pool(x, y, count, in_d, in_h, in_w, out_d, out_h, out_w, k_d, k_h, k_w, stride_d, stride_h, stride_w,
             dilation_d, dilation_h, dilation_w, begin_d, begin_h, begin_w, room_d, room_h, room_w,
             shift_d, shift_h, shift_w):
        at = element()
        if at >= count:
            return
        plane, (d, h, w), (from_d, to_d), (from_h, to_h), (from_w, to_w) = window(
            at, in_d, in_h, in_w, out_d, out_h, out_w, k_d, k_h, k_w, stride_d, stride_h, stride_w,
            dilation_d, dilation_h, dilation_w, begin_d, begin_h, begin_w)
        area = 1
        if counts:
            some_d, all_d = inside(d + shift_d, dilation_d, room_d, k_d)
            some_h, all_h = inside(h + shift_h, dilation_h, room_h, k_h)
            some_w, all_w = inside(w + shift_w, dilation_w, room_w, k_w)
            area = max(1, (all_d - some_d) * (all_h - some_h) * (all_w - some_w))
        total = start
        for i in range(from_d, to_d):
            for j in range(from_h, to_h):
                row = whole(((plane * in_d + d + i * dilation_d) * in_h + h + j * dilation_h) * in_w + w)
                for k in range(from_w, to_w):
                    total = step(total, x[row + k * dilation_w])
        y[at] = finish(total, area)

    return pool


def build_places(dtype: str):
    from cnncc.runtime.cuda.indexing import element, whole
    from cnncc.runtime.cuda.reduction import build_reduction

    start, window = build_reduction("max", dtype).start, build_window()

    def pool_places(x, y, places, count, in_d, in_h, in_w, out_d, out_h, out_w, k_d, k_h, k_w, stride_d, stride_h,
                    stride_w, dilation_d, dilation_h, dilation_w, begin_d, begin_h, begin_w, step_d, step_h, step_w):
        at = element()
        if at >= count:
            return
        plane, (d, h, w), (from_d, to_d), (from_h, to_h), (from_w, to_w) = window(
            at, in_d, in_h, in_w, out_d, out_h, out_w, k_d, k_h, k_w, stride_d, stride_h, stride_w,
            dilation_d, dilation_h, dilation_w, begin_d, begin_h, begin_w)
        first, best, place = whole(plane * in_d * in_h * in_w), start, -1
        for i in range(from_d, to_d):
            for j in range(from_h, to_h):
                for k in range(from_w, to_w):
                    a, b, c = d + i * dilation_d, h + j * dilation_h, w + k * dilation_w
                    value = x[first + whole((a * in_h + b) * in_w + c)]
                    if place < 0 or value > best or (value != value and best == best):
                        best, place = value, whole(a * step_d + b * step_h + c * step_w)
        y[at] = best
        places[at] = place if place < 0 else first + place

    return pool_places


KERNEL = Kernel("pool", ("x", "y"), DIMS, build, elements=elements, threads=lambda **_: BLOCK)
PLACES = Kernel("max_pool_places", ("x", "y", "places"), ("count", *WINDOW, "step_d", "step_h", "step_w"), build_places,
                elements=lambda dtype: {"x": dtype, "y": dtype, "places": "i64"}, threads=lambda **_: BLOCK)
