"""Pools over windows of up to three spatial axes, in NCHWc (a vector of channels a position) or plain (one number).

A task is some rows of outputs of one plane: a block of channels of one image, or a channel where plain. Each window is
clipped to the input before its taps are read, so that padding is never touched; between the clipped columns at both
ends of a row four windows are reduced at a time.
"""

import math
from dataclasses import dataclass

from cnncc.runtime.cpu.elements import SIZES
from cnncc.runtime.cpu.kernel import Kernel, Launch, ceil_div, make_params

OPERANDS = ("x", "y")
DIMS = (
    "in_d", "in_h", "in_w", "out_d", "out_h", "out_w", "k_d", "k_h", "k_w", "stride_d", "stride_h", "stride_w",
    "dilation_d", "dilation_h", "dilation_w", "begin_d", "begin_h", "begin_w", "room_d", "room_h", "room_w",
    "shift_d", "shift_h", "shift_w", "rows", "pieces",
)  # fmt: skip
KINDS = ("max", "mean", "lp")
TASK_BYTES = 32 << 10
Three = tuple[int, int, int]


@dataclass(frozen=True)
class PoolShape:
    """A pool with the spatial rank lifted to 3 (leading ones). ``planes`` is N * C where plain, N * blocks otherwise.

    ``count_pads`` are the elements before and after each axis that count in a mean although they are not there.
    """

    planes: int
    size: Three
    out_size: Three
    kernel: Three
    stride: Three
    dilation: Three
    begin: Three
    count_pads: tuple[Three, Three] = ((0, 0, 0), (0, 0, 0))


def launch(shape: PoolShape, kind: str, lanes: int, dtype: str = "f32", p: int = 2) -> Launch:
    """The step of a pool; ``lanes`` 1 means plain. ``kind`` is max, mean, or lp of order ``p``."""
    item = SIZES[dtype] * lanes
    row_bytes = item * shape.out_size[2] * shape.kernel[1]
    rows = max(1, min(shape.out_size[1], TASK_BYTES // max(1, row_bytes)))
    pieces = ceil_div(shape.out_size[1], rows)
    before, after = shape.count_pads
    room = tuple(n + b + a for n, b, a in zip(shape.size, before, after, strict=True))
    dims = (
        *shape.size, *shape.out_size, *shape.kernel, *shape.stride, *shape.dilation, *shape.begin, *room, *before,
        rows, pieces,
    )  # fmt: skip
    params = make_params(kind=kind, lanes=lanes, dtype=dtype, p=p if kind == "lp" else 1)
    outputs = shape.planes * math.prod(shape.out_size)
    return Launch(
        KERNEL, params, dims, tasks=shape.planes * shape.out_size[0] * pieces if outputs else 0,
        reads={"x": (0, item * shape.planes * math.prod(shape.size))}, writes={"y": (0, item * outputs)},
    )  # fmt: skip


def _windows(reduction, dtype: str, lanes: int, columns: int):
    """An intrinsic that reduces ``columns`` windows, ``move`` bytes from each to the next, and stores the results.

    (y, at, depth, plane_step, height, row_step, width, tap_step, move, count): each window is depth x height x width
    taps from ``at`` on, ``count`` what a mean is divided by.
    """
    from cnncc.runtime.cpu.emit import emitted, load, loop, number, store
    from cnncc.runtime.cpu.simd import I64

    def emit(context, builder, y, at, depth, plane_step, height, row_step, width, tap_step, move, count):
        def across(start, times, step, totals, body):
            def again(_, carried):
                return [builder.add(carried[0], step), *body(carried[0], carried[1:])]

            return loop(builder, I64(0), times, 1, [start, *totals], again)[1:]

        def tap(place, totals):
            places = [builder.add(place, builder.mul(move, I64(i))) for i in range(columns)]
            return [
                reduction.step(builder, total, load(builder, p, dtype, lanes))
                for total, p in zip(totals, places, strict=True)
            ]

        def row(place, totals):
            return across(place, width, tap_step, totals, tap)

        def plane(place, totals):
            return across(place, height, row_step, totals, row)

        totals = across(at, depth, plane_step, [number(dtype, lanes, reduction.start)] * columns, plane)
        for i, total in enumerate(totals):
            result = reduction.finish(context, builder, total, count)
            store(builder, builder.add(y, I64(i * SIZES[dtype] * lanes)), result, dtype, lanes)

    return emitted("windows", 10, emit)


def build(kind: str, lanes: int, dtype: str, p: int):
    from numba.extending import register_jitable

    from cnncc.runtime.cpu.emit import larger, quotient, remainder, smaller
    from cnncc.runtime.cpu.memory_access import load_i64
    from cnncc.runtime.cpu.reduction import build_reduction

    reduction = build_reduction(kind, dtype, p)
    one, four = (_windows(reduction, dtype, lanes, columns) for columns in (1, 4))
    item = SIZES[dtype] * lanes
    word = {name: 8 * (len(OPERANDS) + i) for i, name in enumerate(DIMS)}
    IN, OUT, KERNEL_SIZE, STRIDE, DILATION = (word[n] for n in ("in_d", "out_d", "k_d", "stride_d", "dilation_d"))
    BEGIN, ROOM, SHIFT, ROWS, PIECES = (word[n] for n in ("begin_d", "room_d", "shift_d", "rows", "pieces"))

    @register_jitable
    def first_tap(first, dilation):
        """The first tap at a place >= 0, tap 0 being at ``first``."""
        return quotient(larger(0, dilation - 1 - first), dilation)

    @register_jitable
    def taps_before(first, dilation, taps, size):
        """How many of the taps lie before ``size``."""
        return smaller(taps, quotient(larger(0, size - 1 - first + dilation), dilation))

    @register_jitable
    def counted(args, axis, position):
        """How many taps of a window count in a mean along one axis (its word offset)."""
        dilation = load_i64(args + DILATION + axis)
        first = position * load_i64(args + STRIDE + axis) - load_i64(args + BEGIN + axis)
        first += load_i64(args + SHIFT + axis)
        inside = taps_before(first, dilation, load_i64(args + KERNEL_SIZE + axis), load_i64(args + ROOM + axis))
        return larger(0, inside - first_tap(first, dilation))

    @register_jitable
    def reduce_row(args, x, y, od, oh):
        """One row of outputs, at ``y``, from the plane at ``x``."""
        in_h, in_w, out_w = load_i64(args + IN + 8), load_i64(args + IN + 16), load_i64(args + OUT + 16)
        stride, dilation = load_i64(args + STRIDE + 16), load_i64(args + DILATION + 16)
        begin, taps = load_i64(args + BEGIN + 16), load_i64(args + KERNEL_SIZE + 16)
        d = od * load_i64(args + STRIDE) - load_i64(args + BEGIN)
        h = oh * load_i64(args + STRIDE + 8) - load_i64(args + BEGIN + 8)
        d0, h0 = first_tap(d, load_i64(args + DILATION)), first_tap(h, load_i64(args + DILATION + 8))
        depth = taps_before(d, load_i64(args + DILATION), load_i64(args + KERNEL_SIZE), load_i64(args + IN)) - d0
        height = taps_before(h, load_i64(args + DILATION + 8), load_i64(args + KERNEL_SIZE + 8), in_h) - h0
        plane_step = load_i64(args + DILATION) * in_h * in_w * item
        row_step = load_i64(args + DILATION + 8) * in_w * item
        area = counted(args, 0, od) * counted(args, 8, oh)
        at = x + (d * in_h + h) * in_w * item + d0 * plane_step + h0 * row_step
        tap_step, move = dilation * item, stride * item
        # Windows of whole width begin between columns 0 and in_w - 1 - (taps - 1) * dilation.
        stop = smaller(out_w, quotient(larger(0, in_w - 1 - (taps - 1) * dilation + begin + stride), stride))
        w = 0
        while w < out_w:
            first = w * stride - begin
            count = larger(1, area * counted(args, 16, w))
            if first >= 0 and w + 4 <= stop:
                while w + 4 <= stop:
                    place = at + (w * stride - begin) * item
                    four(y + w * item, place, depth, plane_step, height, row_step, taps, tap_step, move, count)
                    w += 4
            else:
                w0 = first_tap(first, dilation)
                width = taps_before(first, dilation, taps, in_w) - w0
                place = at + (first + w0 * dilation) * item
                one(y + w * item, place, depth, plane_step, height, row_step, width, tap_step, move, count)
                w += 1

    def pool(args, begin, end):
        x, y = load_i64(args), load_i64(args + 8)
        out_d, out_h, out_w = load_i64(args + OUT), load_i64(args + OUT + 8), load_i64(args + OUT + 16)
        rows, pieces = load_i64(args + ROWS), load_i64(args + PIECES)
        plane = load_i64(args + IN) * load_i64(args + IN + 8) * load_i64(args + IN + 16) * item
        for task in range(begin, end):
            piece, rest = remainder(task, pieces), quotient(task, pieces)
            od, number = remainder(rest, out_d), quotient(rest, out_d)
            for oh in range(piece * rows, smaller(out_h, (piece + 1) * rows)):
                reduce_row(args, x + number * plane, y + ((number * out_d + od) * out_h + oh) * out_w * item, od, oh)

    return pool


KERNEL = Kernel("pool", OPERANDS, DIMS, build)
