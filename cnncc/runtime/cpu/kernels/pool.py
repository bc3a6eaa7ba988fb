"""Pools over windows of up to three spatial axes, in NCHWc (a vector of channels a position) or plain (one number).

A task is some rows of outputs of one plane: a block of channels of one image, or a channel where plain. Each window is
clipped to the input before its taps are read, so that padding is never touched; between the clipped columns at both
ends of a row four windows are reduced at a time. Maxima and means of plain float32 with short steps along the rows have
a kernel of their own, in which a vector is so many neighbouring windows.
"""

import math

from cnncc.records import record
from cnncc.runtime.cpu.elements import SIZES
from cnncc.runtime.cpu.kernel import Kernel, Launch, ceil_div, make_params

OPERANDS = ("x", "y")
DIMS = (
    "in_d", "in_h", "in_w", "out_d", "out_h", "out_w", "k_d", "k_h", "k_w", "stride_d", "stride_h", "stride_w",
    "dilation_d", "dilation_h", "dilation_w", "begin_d", "begin_h", "begin_w", "room_d", "room_h", "room_w",
    "shift_d", "shift_h", "shift_w", "rows", "pieces",
)  # fmt: skip
TASK_BYTES = 32 << 10
COLUMN_STRIDES, COLUMN_TAPS = (1, 2), 7
Three = tuple[int, int, int]


@record
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


def has_columns(kind: str, dtype: str, taps: int, stride: int) -> bool:
    """Whether plain windows can be reduced a vector at a time; ``taps`` and ``stride`` are those along a row."""
    return kind in ("max", "mean") and dtype == "f32" and stride in COLUMN_STRIDES and taps <= COLUMN_TAPS


def launch_columns(shape: PoolShape, kind: str, lanes: int) -> Launch:
    """The step of a pool for which `has_columns` holds."""
    whole = launch(shape, kind, 1)
    params = make_params(kind=kind, lanes=lanes, taps=shape.kernel[2], stride=shape.stride[2])
    return Launch(COLUMNS, params, whole.dims, tasks=whole.tasks, reads=whole.reads, writes=whole.writes)


class _Emitter:
    """Writes the code of one row of outputs."""

    def __init__(self, kind: str, lanes: int, dtype: str, p: int) -> None:
        from cnncc.runtime.cpu.reduction import build_reduction

        self.lanes, self.dtype, self.item = lanes, dtype, SIZES[dtype] * lanes
        self.reduction = build_reduction(kind, dtype, p)

    def row(self):
        """(args, x, y, od, oh): row (od, oh) of outputs, at ``y``, from the plane at ``x``."""
        from cnncc.runtime.cpu.emit import Whole, emitted, loop, words
        from cnncc.runtime.cpu.simd import I64

        def code(context, b, args, x, y, od, oh):
            word, od, oh = words(b, args, (*OPERANDS, *DIMS)), Whole(b, od), Whole(b, oh)
            d, depth_from, depth = self._clipped(word, od, "d")
            h, height_from, height = self._clipped(word, oh, "h")
            in_w, out_w, begin, stride = word("in_w"), word("out_w"), word("begin_w"), word("stride_w")
            taps, dilation = word("k_w"), word("dilation_w")
            row_step = word("dilation_h") * in_w * self.item
            plane_step = word("dilation_d") * word("in_h") * in_w * self.item
            at = Whole(b, x) + (d * word("in_h") + h) * in_w * self.item
            at = at + depth_from * plane_step + height_from * row_step
            area = self._counted(word, od, "d") * self._counted(word, oh, "h")

            def reduce(w, width, first, columns):
                place, steps = at + first * self.item, (plane_step, row_step, dilation * self.item)
                count = (area * self._counted(word, w, "w")).at_least(1)
                self._windows(
                    context, b, Whole(b, y) + w * self.item, place, (depth, height, width), steps,
                    stride * self.item, count, columns)  # fmt: skip
                return []

            def border(w, _):
                w = Whole(b, w)
                first, first_tap, width = self._clipped(word, w, "w")
                return reduce(w, width, first + first_tap * dilation, 1)

            def inside(columns):
                return lambda w, _: reduce(Whole(b, w), taps, Whole(b, w) * stride - begin, columns)

            # Windows of whole width begin between columns 0 and in_w - 1 - (taps - 1) * dilation.
            last = (in_w - 1 - (taps - 1) * dilation + begin + stride).at_least(0) // stride
            start = ((begin + stride - 1) // stride).at_most(out_w)
            stop = start + (last.at_most(out_w) - start).at_least(0)
            fours = start + (stop - start) // 4 * 4
            loop(b, I64(0), start.v, 1, [], border)
            loop(b, start.v, fours.v, 4, [], inside(4))
            loop(b, fours.v, stop.v, 1, [], inside(1))
            loop(b, stop.v, out_w.v, 1, [], border)

        return emitted("row", 5, code)

    def _clipped(self, word, position, axis):
        """Where tap 0 of a window stands, its first tap within the input, and how many are."""
        dilation = word(f"dilation_{axis}")
        first = position * word(f"stride_{axis}") - word(f"begin_{axis}")
        return first, *self._inside(word, first, dilation, word(f"in_{axis}"), axis)

    def _inside(self, word, first, dilation, size, axis):
        """The first tap at 0 or behind, and the number of taps from there on before ``size``, tap 0 being at first."""
        start = (dilation - 1 - first).at_least(0) // dilation
        before = ((size - 1 - first + dilation).at_least(0) // dilation).at_most(word(f"k_{axis}"))
        return start, (before - start).at_least(0)

    def _counted(self, word, position, axis):
        """How many taps of a window count in a mean along one axis."""
        first = position * word(f"stride_{axis}") - word(f"begin_{axis}") + word(f"shift_{axis}")
        return self._inside(word, first, word(f"dilation_{axis}"), word(f"room_{axis}"), axis)[1]

    def _windows(self, context, b, y, at, sizes, steps, move, count, columns):
        """``columns`` windows from ``at`` on, ``move`` bytes from each to the next: sizes and steps are those of depth,
        height and width, and ``count`` is what a mean is divided by."""
        from cnncc.runtime.cpu.emit import load, loop, number, store
        from cnncc.runtime.cpu.simd import I64

        def across(axis, start, totals):
            def again(_, carried):
                place, totals = carried[0], carried[1:]
                inner = across(axis + 1, place, totals) if axis < 2 else tap(place, totals)
                return [b.add(place, steps[axis].v), *inner]

            return loop(b, I64(0), sizes[axis].v, 1, [start, *totals], again)[1:]

        def tap(place, totals):
            places = [b.add(place, b.mul(move.v, I64(i))) for i in range(columns)]
            return [
                self.reduction.step(b, total, load(b, p, self.dtype, self.lanes))
                for total, p in zip(totals, places, strict=True)
            ]

        start = number(self.dtype, self.lanes, self.reduction.start)
        for i, total in enumerate(across(0, at.v, [start] * columns)):
            result = self.reduction.finish(context, b, total, count.v)
            store(b, (y + i * self.item).v, result, self.dtype, self.lanes)


class _ColumnsEmitter(_Emitter):
    """Writes the code of ``vector`` neighbouring columns of outputs."""

    def __init__(self, kind: str, vector: int, taps: int, stride: int) -> None:
        super().__init__(kind, 1, "f32", 1)
        self.kind, self.vector, self.taps, self.stride = kind, vector, taps, stride

    def columns(self):
        """(args, x, y, od, first, rows, w): outputs [first, first + rows) x [w, w + vector) of plane od, at ``y``."""
        from cnncc.runtime.cpu.emit import Whole, emitted, first_lanes, loop, store, words

        def code(context, b, args, x, y, od, first, rows, w):
            word, od, w = words(b, args, (*OPERANDS, *DIMS)), Whole(b, od), Whole(b, w)
            in_w, dilation = word("in_w"), word("dilation_w")
            left = w * self.stride - word("begin_w")
            loads = [left + dilation * t + h * self.vector for t in range(self.taps) for h in range(self.stride)]
            masks = [self._below(b, at, in_w) for at in loads]
            kept = first_lanes(b, (word("out_w") - w).v, self.vector)
            wide = self._counts(b, left + word("shift_w"), dilation, word("room_w")) if self.kind == "mean" else None
            row_step, plane_step = word("dilation_h") * in_w * 4, word("dilation_d") * word("in_h") * in_w * 4
            d, depth_from, depth = self._clipped(word, od, "d")

            def row(number, _):
                h, height_from, height = self._clipped(word, Whole(b, number), "h")
                at = Whole(b, x) + (d * word("in_h") + h) * in_w * 4 + depth_from * plane_step + height_from * row_step
                total = self._window(b, at, (depth, plane_step), (height, row_step), loads, masks)
                if wide is not None:
                    area = self._counted(word, od, "d") * self._counted(word, Whole(b, number), "h")
                    total = self._mean(b, total, wide, area)
                place = Whole(b, y) + (Whole(b, number) * word("out_w") + w) * 4
                store(b, place.v, total, "f32", self.vector, kept)
                return []

            loop(b, first, b.add(first, rows), 1, [], row)

        return emitted("columns", 7, code)

    def _lanes(self, b, start, step):
        """<vector x i32>: start + lane * step."""
        from cnncc.runtime.cpu.emit import spread
        from cnncc.runtime.cpu.simd import I32, ir

        lanes = ir.Constant(ir.VectorType(I32, self.vector), [lane * step for lane in range(self.vector)])
        return b.add(lanes, spread(b, b.trunc(start.v, I32), self.vector))

    def _below(self, b, start, size, step=1):
        """The lanes where start + lane * step is in [0, size)."""
        from cnncc.runtime.cpu.emit import spread
        from cnncc.runtime.cpu.simd import I32

        return b.icmp_unsigned("<", self._lanes(b, start, step), spread(b, b.trunc(size.v, I32), self.vector))

    def _counts(self, b, start, dilation, room):
        """How many taps of each window count along the row."""
        from cnncc.runtime.cpu.simd import F32, ir

        total = ir.Constant(ir.VectorType(F32, self.vector), None)
        for t in range(self.taps):
            inside = self._below(b, start + dilation * t, room, self.stride)
            total = b.fadd(total, b.uitofp(inside, total.type))
        return total

    def _mean(self, b, total, wide, area):
        from cnncc.runtime.cpu.emit import number, spread
        from cnncc.runtime.cpu.simd import F32

        count = b.fmul(wide, spread(b, b.sitofp(area.v, F32), self.vector))
        one = number("f32", self.vector, 1)
        return b.fdiv(total, b.select(b.fcmp_ordered("<", count, one), one, count))

    def _window(self, b, at, planes, rows, loads, masks):
        """The vector of windows whose first row of taps is at ``at``."""
        from cnncc.runtime.cpu.emit import load, loop, number
        from cnncc.runtime.cpu.simd import I32, I64, ir

        start = number("f32", self.vector, self.reduction.start)
        evens = ir.Constant(ir.VectorType(I32, self.vector), list(range(0, 2 * self.vector, 2)))

        def taps(place, total):
            found = []
            for column, mask in zip(loads, masks, strict=True):
                value = load(b, b.add(place, (column * 4).v), "f32", self.vector, mask)
                found.append(b.select(mask, value, start))
            for t in range(self.taps):
                value = found[t * self.stride]
                if self.stride == 2:
                    value = b.shuffle_vector(value, found[2 * t + 1], evens)
                total = self.reduction.step(b, total, value)
            return total

        def line(_, carried):
            place, total = carried
            return [b.add(place, rows[1].v), taps(place, total)]

        def plane(_, carried):
            place, total = carried
            return [b.add(place, planes[1].v), loop(b, I64(0), rows[0].v, 1, [place, total], line)[1]]

        return loop(b, I64(0), planes[0].v, 1, [at.v, start], plane)[1]


def build_columns(kind: str, lanes: int, taps: int, stride: int):
    from cnncc.runtime.cpu.emit import quotient, remainder, smaller
    from cnncc.runtime.cpu.memory_access import load_i64

    columns = _ColumnsEmitter(kind, lanes, taps, stride).columns()
    word = {name: 8 * (len(OPERANDS) + i) for i, name in enumerate(DIMS)}
    IN_D, IN_H, IN_W, OUT_D, OUT_H, OUT_W = (word[f"{side}_{axis}"] for side in ("in", "out") for axis in "dhw")
    ROWS, PIECES = word["rows"], word["pieces"]

    def pool_columns(args, begin, end):
        x, y, rows, pieces = load_i64(args), load_i64(args + 8), load_i64(args + ROWS), load_i64(args + PIECES)
        out_d, out_h, out_w = load_i64(args + OUT_D), load_i64(args + OUT_H), load_i64(args + OUT_W)
        plane = load_i64(args + IN_D) * load_i64(args + IN_H) * load_i64(args + IN_W) * 4
        for task in range(begin, end):
            first, rest = remainder(task, pieces) * rows, quotient(task, pieces)
            od, number = remainder(rest, out_d), quotient(rest, out_d)
            count = smaller(out_h, first + rows) - first
            for w in range(0, out_w, lanes):
                columns(args, x + number * plane, y + rest * out_h * out_w * 4, od, first, count, w)

    return pool_columns


def build(kind: str, lanes: int, dtype: str, p: int):
    from cnncc.runtime.cpu.emit import quotient, remainder, smaller
    from cnncc.runtime.cpu.memory_access import load_i64

    emitter = _Emitter(kind, lanes, dtype, p)
    reduce_row, item = emitter.row(), emitter.item
    word = {name: 8 * (len(OPERANDS) + i) for i, name in enumerate(DIMS)}
    IN_D, IN_H, IN_W, OUT_D, OUT_H, OUT_W = (word[f"{side}_{axis}"] for side in ("in", "out") for axis in "dhw")
    ROWS, PIECES = word["rows"], word["pieces"]

    def pool(args, begin, end):
        x, y, rows, pieces = load_i64(args), load_i64(args + 8), load_i64(args + ROWS), load_i64(args + PIECES)
        out_d, out_h, out_w = load_i64(args + OUT_D), load_i64(args + OUT_H), load_i64(args + OUT_W) * item
        plane = load_i64(args + IN_D) * load_i64(args + IN_H) * load_i64(args + IN_W) * item
        for task in range(begin, end):
            first, rest = remainder(task, pieces) * rows, quotient(task, pieces)
            od, number = remainder(rest, out_d), quotient(rest, out_d)
            for oh in range(first, smaller(out_h, first + rows)):
                reduce_row(args, x + number * plane, y + (rest * out_h + oh) * out_w, od, oh)

    return pool


KERNEL = Kernel("pool", OPERANDS, DIMS, build)
COLUMNS = Kernel("pool_columns", OPERANDS, DIMS, build_columns)
