"""Resize of up to three spatial axes, in NCHWc (a vector of channels a position) or plain (lanes 1).

Along an axis output o lies at (o + shift) / scale + offset of the input, rounded to single precision as in the
reference; its kind tells which elements next to it are read, and with what weights. A task is some rows of outputs of
an image, in a piece of COLUMNS columns, for all blocks of channels: where and how to read along the columns is found
once for all of them, and put into a table on the stack.
"""

import math
import struct
from collections.abc import Sequence

from cnncc.records import record
from cnncc.runtime.cpu.kernel import Kernel, Launch, ceil_div, make_params

OPERANDS = ("x", "y")
DIMS = (
    "blocks", "in_d", "in_h", "in_w", "out_d", "out_h", "out_w", "kind_d", "kind_h", "kind_w",
    "shift_d", "shift_h", "shift_w", "scale_d", "scale_h", "scale_w", "offset_d", "offset_h", "offset_w",
    "cubic_a", "rows", "row_groups", "pieces",
)  # fmt: skip
FLOOR, CEIL, PREFER_FLOOR, PREFER_CEIL, LINEAR, CUBIC = range(6)
TAPS = (1, 1, 1, 1, 2, 4)
COLUMNS, MOST_ROWS, MANY_TASKS = 32, 8, 16
Three = tuple[int, int, int]


@record
class Line:
    """How an axis is sampled; the default leaves it as it is."""

    kind: int = FLOOR
    shift: float = 0.0
    scale: float = 1.0
    offset: float = 0.0


def launch(images: int, blocks: int, size: Three, out_size: Three, lines: Sequence[Line], cubic_a: float,
           lanes: int) -> Launch:  # fmt: skip
    """The step; ``blocks`` are those of an image, or its channels where plain (lanes 1)."""
    pieces, all_rows = ceil_div(out_size[2], COLUMNS), out_size[0] * out_size[1]
    rows = max(1, min(MOST_ROWS, images * all_rows * pieces // MANY_TASKS))
    row_groups = ceil_div(all_rows, rows)
    dims = (
        blocks, *size, *out_size, *(line.kind for line in lines), *(_word(line.shift) for line in lines),
        *(_word(line.scale) for line in lines), *(_word(line.offset) for line in lines), _word(cubic_a), rows,
        row_groups, pieces,
    )  # fmt: skip
    item = 4 * lanes * images * blocks
    tasks = images * row_groups * pieces if blocks else 0
    return Launch(
        KERNEL, make_params(lanes=lanes, taps=TAPS[lines[2].kind]), dims, tasks,
        reads={"x": (0, item * math.prod(size))}, writes={"y": (0, item * math.prod(out_size))},
    )  # fmt: skip


def _word(value: float) -> int:
    """The bits of a float64."""
    return struct.unpack("<q", struct.pack("<d", value))[0]


def build(lanes: int, taps: int):
    import numpy as np
    from numba.extending import register_jitable

    from cnncc.runtime.cpu.memory_access import load_f32, load_f64, load_i64, stack, store_f32, store_i64
    from cnncc.runtime.cpu.simd import fma, load, store

    item = 4 * lanes
    word = {name: 8 * (len(OPERANDS) + i) for i, name in enumerate(DIMS)}
    IN, OUT, KIND, SHIFT, SCALE, OFFSET = (word[f"{n}_d"] for n in ("in", "out", "kind", "shift", "scale", "offset"))
    BLOCKS, CUBIC_A, ROWS, ROW_GROUPS, PIECES = (word[n] for n in ("blocks", "cubic_a", "rows", "row_groups", "pieces"))
    entry = 16  # a tap in a table: its offset in bytes, its weight
    axis_bytes, rows_bytes, columns_bytes = 4 * entry, 16 * entry, COLUMNS * taps * entry

    @register_jitable
    def put(at, index, size, step, weight):
        store_i64(at, min(max(index, 0), size - 1) * step)
        store_f32(at + 8, np.float32(weight))

    @register_jitable
    def near(d, a):
        return ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0

    @register_jitable
    def far(d, a):
        return ((a * d - 5.0 * a) * d + 8.0 * a) * d - 4.0 * a

    @register_jitable
    def sample(args, axis, o, step, table):
        """Writes the taps of output ``o`` along an axis (8 times its number) and gives their count."""
        kind, size = load_i64(args + KIND + axis), load_i64(args + IN + axis)
        at = (o + load_f64(args + SHIFT + axis)) / load_f64(args + SCALE + axis) + load_f64(args + OFFSET + axis)
        at = np.float64(np.float32(at))
        base = np.floor(at)
        index = np.int64(base)
        if kind == LINEAR:
            put(table, index, size, step, 1.0 - (at - base))
            put(table + entry, index + 1, size, step, at - base)
            return 2
        if kind == CUBIC:
            d, a = at - base, load_f64(args + CUBIC_A)
            put(table, index - 1, size, step, far(d + 1.0, a))
            put(table + entry, index, size, step, near(d, a))
            put(table + 2 * entry, index + 1, size, step, near(1.0 - d, a))
            put(table + 3 * entry, index + 2, size, step, far(2.0 - d, a))
            return 4
        if kind == CEIL:
            index = np.int64(np.ceil(at))
        elif kind == PREFER_FLOOR:
            index = np.int64(np.ceil(at - 0.5))
        elif kind == PREFER_CEIL:
            index = np.int64(np.floor(at + 0.5))
        put(table, index, size, step, 1.0)
        return 1

    @register_jitable
    def pixel(x, rows_table, rows, table):
        """The weighted sum over the taps of the rows and those of one column."""
        total = load(x + load_i64(rows_table) + load_i64(table), lanes)
        if taps > 1 or rows > 1:
            total = total * (load_f32(rows_table + 8) * load_f32(table + 8))
            for t in range(1, taps):
                weight = load_f32(rows_table + 8) * load_f32(table + t * entry + 8)
                total = fma(load(x + load_i64(rows_table) + load_i64(table + t * entry), lanes), weight, total)
            for r in range(1, rows):
                row, outer = x + load_i64(rows_table + r * entry), load_f32(rows_table + r * entry + 8)
                for t in range(taps):
                    weight = outer * load_f32(table + t * entry + 8)
                    total = fma(load(row + load_i64(table + t * entry), lanes), weight, total)
        return total

    @register_jitable
    def row_taps(args, row, depth, height, rows_table):
        """Writes where the input rows of an output row are and their weights; gives their count."""
        out_h, in_h, in_w = load_i64(args + OUT + 8), load_i64(args + IN + 8), load_i64(args + IN + 16)
        count_d = sample(args, 0, row // out_h, in_h * in_w * item, depth)
        count_h = sample(args, 8, row % out_h, in_w * item, height)
        for d in range(count_d):
            for h in range(count_h):
                at = rows_table + (d * count_h + h) * entry
                store_i64(at, load_i64(depth + d * entry) + load_i64(height + h * entry))
                store_f32(at + 8, load_f32(depth + d * entry + 8) * load_f32(height + h * entry + 8))
        return count_d * count_h

    def resize(args, begin, end):
        x, y, blocks = load_i64(args), load_i64(args + 8), load_i64(args + BLOCKS)
        depth, height = stack(axis_bytes), stack(axis_bytes)
        rows_table, columns = stack(rows_bytes), stack(columns_bytes)
        in_plane = load_i64(args + IN) * load_i64(args + IN + 8) * load_i64(args + IN + 16) * item
        all_rows, out_w = load_i64(args + OUT) * load_i64(args + OUT + 8), load_i64(args + OUT + 16)
        rows, row_groups, pieces = load_i64(args + ROWS), load_i64(args + ROW_GROUPS), load_i64(args + PIECES)
        for task in range(begin, end):
            first = task % pieces * COLUMNS
            count = min(COLUMNS, out_w - first)
            group, image = task // pieces % row_groups, task // pieces // row_groups
            for i in range(count):
                sample(args, 16, first + i, item, columns + i * taps * entry)
            for row in range(group * rows, min(all_rows, (group + 1) * rows)):
                tall = row_taps(args, row, depth, height, rows_table)
                for block in range(image * blocks, (image + 1) * blocks):
                    source, to = x + block * in_plane, y + ((block * all_rows + row) * out_w + first) * item
                    for i in range(count):
                        store(to + i * item, pixel(source, rows_table, tall, columns + i * taps * entry))

    return resize


KERNEL = Kernel("resize", OPERANDS, DIMS, build)
